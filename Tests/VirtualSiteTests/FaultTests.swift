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

  private func exchange(_ fault: Fault?, expecting count: Int, withinMs: Int64 = 2_000) throws -> [UInt8] {
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
    #expect(try exchange(Fault(.truncated(bytes: 3)), expecting: 7, withinMs: 100) == Array(Self.reply.prefix(4)))
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
    #expect(master.bytes(7, withinMs: 2_000) == Self.reply)
    #expect(kerb_monotonic_ns() - asked >= 60_000_000)
    master.send(Self.request)
    #expect(master.bytes(7, withinMs: 2_000) == Self.reply)
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
    line.site.inject("d5", Fault(.late(ns: 600_000_000)))
    let master = try #require(Master(link: line.link))
    master.send(Self.request)
    #expect(master.bytes(1, withinMs: 20) == [])
    #expect(master.read(6, .holding, 0, 1) == [6])
    #expect(Array(master.bytes(7, withinMs: 2_000).prefix(5)) == [5, 3, 2, 0, 5])
  }

  @Test("alternate answers every second request")
  func alternate() throws {
    let line = try running()
    defer { line.end() }
    line.site.inject("d", Fault(.alternate))
    let master = try #require(Master(link: line.link))
    master.setTimeout(ms: 50)
    let answered = (0..<6).map { _ in master.read(5, .holding, 0, 1) != nil }
    #expect(answered == [false, true, false, true, false, true])
  }

  @Test("of the whole line hangs up on who has it open, and the link leads to a new port afterwards")
  func lineUnplugged() throws {
    let line = try running()
    defer { line.end() }
    let before = try #require(Master(link: line.link))
    line.site.unplug(line: "line")
    let gone = kerb_fd_wait_readable(modbus_get_socket(before.context), 2_000_000_000)
    #expect(gone != 0)
    #expect(before.read(5, .holding, 0, 1) == nil)
    line.site.plug(line: "line")
    let deadline = kerb_monotonic_ns() + 2_000_000_000
    var after = Master(link: line.link)
    while after == nil, kerb_monotonic_ns() < deadline { after = Master(link: line.link) }
    #expect(after?.read(5, .holding, 0, 1) == [0x1234])
  }
}
