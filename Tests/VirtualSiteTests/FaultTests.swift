import CLinux
import CModbus
import FieldBus
import Glibc
import StreamCore
import Testing
import VirtualSite

/// What a master sees of each fault, byte by byte.
@Suite("A fault")
struct FaultTests {
  /// Reads holding 0 of unit 5, whose value is 0x1234.
  static let request: [UInt8] = [5, 3, 0, 0, 0, 1, 0x85, 0x8E]
  static let reply: [UInt8] = [5, 3, 2, 0x12, 0x34, 0x44, 0xF3]

  private func exchange(_ fault: Fault?, expecting count: Int, withinMs: Int64 = Patience.ms) throws -> [UInt8] {
    let line = try running()
    defer { line.end() }
    line.site.inject("d", fault)
    let master = try #require(Master(link: line.link))
    master.send(Self.request)
    return master.bytes(count, withinMs: withinMs)
  }

  private func running() throws -> RunningLine {
    try RunningLine([
      SiteDevice(
        name: "d", address: 5, profile: profile([point("p", .holding, 0)]),
        signals: ["p": Signal(.constant(.number(0x1234)))])
    ])
  }

  @Test("that there is none leaves the reply whole")
  func none() throws { #expect(try exchange(nil, expecting: 7) == Self.reply) }

  @Test("unplugged keeps silent")
  func unplugged() throws { #expect(try exchange(Fault(.silent), expecting: 1, withinMs: 100) == []) }

  @Test("truncated lets bytes out at the end")
  func truncated() throws {
    let line = try running()
    defer { line.end() }
    line.site.inject("d", Fault(.truncated(bytes: 3)))
    let master = try #require(Master(link: line.link))
    master.send(Self.request)
    #expect(master.bytes(4) == Array(Self.reply.prefix(4)))
    #expect(master.bytes(1, withinMs: 100) == [])
  }

  @Test("corrupted flips a bit under the old checksum")
  func corrupted() throws {
    #expect(try exchange(Fault(.corrupted), expecting: 7) == [5, 3, 2, 0x02, 0x34, 0x44, 0xF3])
  }

  @Test("wrong-unit sends another unit's reply first, with a right checksum, then its own")
  func wrongUnit() throws {
    let bytes = try exchange(Fault(.wrongUnit), expecting: 14)
    #expect(Array(bytes.prefix(5)) == [6, 3, 2, 0x12, 0x34])
    #expect(Array(bytes.suffix(7)) == Self.reply)
  }

  @Test("exception answers with its code")
  func exception() throws {
    #expect(Array(try exchange(Fault(.exception(6)), expecting: 5).prefix(3)) == [5, 0x83, 6])
  }

  @Test("echo and noise come in front of the reply")
  func inFront() throws {
    #expect(try exchange(Fault(.echo), expecting: 15) == Self.request + Self.reply)
    #expect(try exchange(Fault(.noise), expecting: 9) == [0, 0xFE] + Self.reply)
  }

  @Test("late sends the reply that much later, once or always")
  func late() throws {
    let line = try running()
    defer { line.end() }
    line.site.inject("d", Fault(.late(ns: 60_000_000), times: 1))
    let master = try #require(Master(link: line.link))
    let asked = kerb_monotonic_ns()
    master.send(Self.request)
    #expect(master.bytes(7) == Self.reply)
    #expect(kerb_monotonic_ns() - asked >= 60_000_000)
    master.send(Self.request)
    #expect(master.bytes(7) == Self.reply)
  }

  @Test("late leaves the line free for others in the meantime")
  func lateBesideOthers() throws {
    let devices = [5, 6].map {
      SiteDevice(
        name: "d\($0)", address: $0, profile: profile([point("p", .holding, 0)]),
        signals: ["p": Signal(.constant(.number(Double($0))))])
    }
    let line = try RunningLine(devices)
    defer { line.end() }
    let master = try #require(Master(link: line.link))
    // A machine that stops for longer than the reply is late shows nothing: the next one is later still.
    let isFree = shown(tries: 5) { number in
      line.site.inject("d5", Fault(.late(ns: 600_000_000 << Int64(number))))
      let before = line.site.counts(line: "line").replies
      master.send(Self.request)
      let isQuiet = master.bytes(1, withinMs: 20) == []
      if master.read(6, .holding, 0, 1) == [6], isQuiet {
        #expect(Array(master.bytes(7).prefix(5)) == [5, 3, 2, 0, 5])
        return true
      }
      #expect(eventually { line.site.counts(line: "line").replies == before + 2 })
      master.flush()
      return false
    }
    #expect(isFree)
  }

  @Test("alternate answers every second request")
  func alternate() throws {
    let line = try running()
    defer { line.end() }
    line.site.inject("d", Fault(.alternate))
    let master = try #require(Master(link: line.link))
    for number in 0..<6 {
      let isAnswered = number % 2 == 1
      master.setTimeout(ms: isAnswered ? UInt32(Patience.ms) : 50)
      #expect((master.read(5, .holding, 0, 1) != nil) == isAnswered, "request \(number)")
      // A master that gives up may do so before a busy machine has heard it.
      #expect(eventually { line.site.counts(line: "line").requests == number + 1 })
    }
  }

  @Test("of the whole line hangs up on who has it open, and the link leads to a new port afterwards")
  func lineUnplugged() throws {
    let line = try running()
    defer { line.end() }
    let before = try #require(Master(link: line.link))
    line.site.unplug(line: "line")
    let gone = kerb_fd_wait_readable(modbus_get_socket(before.context), Patience.ns)
    #expect(gone != 0)
    #expect(before.read(5, .holding, 0, 1) == nil)
    line.site.plug(line: "line")
    var after: Master?
    #expect(
      eventually {
        after = Master(link: line.link)
        return after != nil
      })
    #expect(after?.read(5, .holding, 0, 1) == [0x1234])
  }
}
