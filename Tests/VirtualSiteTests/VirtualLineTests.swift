import CLinux
import CModbus
import FieldBus
import Glibc
import StreamCore
import Testing
import VirtualSite

/// Real libmodbus on both ends of a real pty.
@Suite("A virtual line")
struct VirtualLineTests {
  static let tilt = profile([point("tilt", .holding, 0, .i16, scale: 0.1)])

  @Test("serves all four tables to a libmodbus master")
  func tables() throws {
    let device = SiteDevice(
      name: "d", address: 5,
      profile: profile([
        point("h", .holding, 10), point("i", .input, 20), point("c", .coil, 3, .bool), point("n", .discrete, 7, .bool),
      ]),
      signals: [
        "h": Signal(.constant(.number(4_711))), "i": Signal(.constant(.number(815))),
        "c": Signal(.constant(.flag(true))), "n": Signal(.constant(.flag(true))),
      ],
      registers: [FixedRegister(.holding, 12, 99)])
    let line = try RunningLine([device])
    defer { line.end() }
    let master = try #require(Master(link: line.link))
    #expect(master.read(5, .holding, 10, 3) == [4_711, 0, 99])
    #expect(master.read(5, .input, 20, 1) == [815])
    #expect(master.read(5, .coil, 3, 1) == [1])
    #expect(master.read(5, .discrete, 7, 1) == [1])
    #expect(master.read(5, .holding, 13, 1) == nil)
    #expect(errno == MODBUS_ENOBASE + 2)
  }

  @Test("lays values into registers as each type and order says")
  func encodings() throws {
    let points = [
      point("i16", .holding, 0, .i16, .badc, scale: 0.1), point("u32", .holding, 1, .u32, .cdab),
      point("i32", .holding, 3, .i32, .dcba), point("f32", .holding, 5, .f32, .badc),
      point("f64", .holding, 7, .f64), point("u64", .holding, 11, .u64, .cdab), point("bcd16", .holding, 15, .bcd16),
      point("bcd32", .holding, 16, .bcd32, .cdab), point("text", .holding, 18, .text(characters: 5)),
      point("low", .holding, 21, .u16, bits: 0...3), point("bit", .holding, 21, .u16, bits: 8...8),
      point("wide", .holding, 22, .u32, .cdab, bits: 12...19),
    ]
    let line = try RunningLine([SiteDevice(name: "d", address: 1, profile: profile(points))])
    defer { line.end() }
    #expect(line.site.set("d", "i16", .number(-12.3)))
    #expect(line.site.set("d", "u32", .number(0x1234_5678)))
    #expect(line.site.set("d", "i32", .number(-2)))
    #expect(line.site.set("d", "f32", .number(1.5)))
    #expect(line.site.set("d", "f64", .number(-0.1)))
    #expect(line.site.set("d", "u64", .text("18446744073709551615")))
    #expect(line.site.set("d", "bcd16", .number(1_234)))
    #expect(line.site.set("d", "bcd32", .number(87_654_321)))
    #expect(line.site.set("d", "text", .text("Kerb!")))
    #expect(line.site.set("d", "low", .number(9)))
    #expect(line.site.set("d", "bit", .flag(true)))
    #expect(line.site.set("d", "wide", .number(0xAB)))
    let master = try #require(Master(link: line.link))
    let words = try #require(master.read(1, .holding, 0, 24))
    #expect(words[0] == UInt16(bitPattern: -123).byteSwapped)
    #expect(words[1...2] == [0x5678, 0x1234])
    #expect(words[3...4] == [0xFEFF, 0xFFFF])
    #expect(words[5...6] == [0xC03F, 0x0000])
    let pattern = (-0.1).bitPattern
    #expect(words[7...10] == [48, 32, 16, 0].map { UInt16(truncatingIfNeeded: pattern >> UInt64($0)) }[...])
    #expect(words[11...14] == [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF])
    #expect(words[15] == 0x1234)
    #expect(words[16...17] == [0x4321, 0x8765])
    #expect(words[18...20] == [0x4B65, 0x7262, 0x2100])
    #expect(words[21] == 0x0109)
    #expect(words[22...23] == [0xB000, 0x000A])
  }

  @Test("takes the wire time, the silences and the turnaround, and no more", arguments: [0, 5_000_000] as [Int64])
  func pacing(turnaroundNs: Int64) throws {
    let words = 4
    let device = SiteDevice(
      name: "d", address: 1, profile: profile((0..<words).map { point("p\($0)", .holding, $0) }))
    let line = try RunningLine([device], paced: true, turnaroundNs: turnaroundNs)
    defer { line.end() }
    let master = try #require(Master(link: line.link))
    let format = LineFormat()
    let transactions = 100
    let ideal = Int64(8 + 5 + 2 * words) * format.characterNs + 2 * format.silenceNs + turnaroundNs
    // Never faster than the wire; and what a busy machine adds to most is not the line's doing: the best few tell, and
    // are waited for. A line that takes too long does so each time.
    var took: [Int64] = []
    while took.count < transactions || (Double(took[2]) > Double(ideal) * 1.02 && took.count < 10 * transactions) {
      // The master keeps the silence after a reply by the monotonic clock, as it has to.
      let started = kerb_monotonic_ns()
      #expect(master.read(1, .holding, 0, words) != nil)
      let quietUntil = kerb_monotonic_ns() + format.silenceNs
      while kerb_monotonic_ns() < quietUntil {}
      let span = kerb_monotonic_ns() - started
      took.insert(span, at: took.firstIndex { $0 > span } ?? took.count)
    }
    #expect(took[0] >= ideal)
    #expect(Double(took[2]) <= Double(ideal) * 1.02, "\(took[2]) of \(ideal)")
    #expect(line.site.counts(line: "line").early == 0)
  }

  @Test("ignores a request that begins before t3.5 of silence")
  func early() throws {
    let line = try RunningLine([SiteDevice(name: "d", address: 1, profile: Self.tilt)], paced: true)
    defer { line.end() }
    let master = try #require(Master(link: line.link))
    // Where the machine stops between a reply and the next request, the line is silent meanwhile, and that is answered.
    let isIgnored = shown(tries: 100) { number in
      #expect(master.read(1, .holding, 0, 1) != nil)
      master.setTimeout(ms: 300)
      defer { master.setTimeout(ms: UInt32(Patience.ms)) }
      if master.read(1, .holding, 0, 1) == nil {
        #expect(errno == ETIMEDOUT)
        if line.site.counts(line: "line").early == 1 { return true }
      }
      #expect(eventually { line.site.counts(line: "line").replies == 2 * (number + 1) })
      _ = kerb_poll_until(nil, 0, kerb_monotonic_ns() + 10 * LineFormat().silenceNs)
      master.flush()
      return false
    }
    #expect(isIgnored)
    #expect(master.read(1, .holding, 0, 1) != nil)
    #expect(line.site.counts(line: "line").early == 1)
  }

  @Test("answers whoever opens it next")
  func reopening() throws {
    let line = try RunningLine([SiteDevice(name: "d", address: 1, profile: Self.tilt)])
    defer { line.end() }
    line.site.set("d", "tilt", .number(3))
    for _ in 0..<5 {
      let master = try #require(Master(link: line.link))
      #expect(kerb_tty_exclusive(modbus_get_socket(master.context)) == 0)
      #expect(master.read(1, .holding, 0, 1) == [30])
    }
  }

  @Test("keeps what a master writes, until somebody sets it anew")
  func writing() throws {
    let line = try RunningLine([SiteDevice(name: "d", address: 1, profile: Self.tilt)])
    defer { line.end() }
    let master = try #require(Master(link: line.link))
    #expect(master.write(1, register: 0, 77))
    #expect(master.read(1, .holding, 0, 1) == [77])
    #expect(line.site.registers("d", .holding, 0, count: 1) == [77])
    line.site.set("d", "tilt", .number(1))
    #expect(master.read(1, .holding, 0, 1) == [10])
  }

  @Test("serves Modbus TCP to several masters at once")
  func tcp() throws {
    let line = SiteLine(name: "tcp", busProtocol: .modbusTCP, end: .listen(host: "127.0.0.1", port: 0), paced: false)
    let devices = [1, 2].map { SiteDevice(name: "d\($0)", address: $0, profile: Self.tilt) }
    let site = try VirtualSite(SiteSpec(lines: [line], devices: devices))
    try site.start()
    defer { site.stop() }
    site.set("d1", "tilt", .number(1))
    site.set("d2", "tilt", .number(2))
    let masters = (0..<8).compactMap { _ in Master(port: site.port(line: "tcp")) }
    #expect(masters.count == 8)
    for master in masters {
      #expect(master.read(1, .holding, 0, 1) == [10])
      #expect(master.read(2, .holding, 0, 1) == [20])
    }
  }
}
