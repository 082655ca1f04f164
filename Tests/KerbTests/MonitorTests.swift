import FieldBus
import Gateway
import StreamCore
import Testing

@testable import kerb

@Suite("What `kerb monitor` says of a frame's time")
struct MonitorTests {
  private let frame = LineFrame(
    number: 5, at: Instant(milliseconds: 4_711_250), kind: .request, origin: .poll,
    bytes: [1, 3, 0, 0, 0, 1, 0x84, 0x0A])
  private let offsetNs: Int64 = 1_795_212_000_000_000_000

  @Test("In JSON it is absolute only where the wall's time is known, else relative to now")
  func json() throws {
    func object(_ offsetNs: Int64?) throws -> JSONValue {
      try JSONParser.parse(FrameOutput.object(frame, offsetNs, now: 4_712_750_000_000).bytes)
    }
    let known = try object(offsetNs)
    #expect(known["t"] == .number(1_795_216_711.25) && known["unsynchronised"] == nil)
    let unknown = try object(nil)
    #expect(unknown["t"] == .number(-1.5) && unknown["unsynchronised"] == .bool(true))
    #expect(unknown["mono_ns"] == .integer(4_711_250_000_000) && FrameRecord.read(unknown) == frame)
  }

  @Test("A line has the time of day, or the seconds since the box's start, as wide")
  func line() {
    var line = FrameLine(showsBytes: false, .modbusRTU)
    let since = line.text(frame, offsetNs: nil)
    #expect(since.hasPrefix("+   4711.250  > 1   read holding 0"))
    let day = line.text(frame, offsetNs: offsetNs)
    #expect(day.prefix(12).hasSuffix(":31.250") && day.dropFirst(12) == since.dropFirst(12))
    #expect(FrameLine.sinceStart(7_000_000) == "+      0.007")
    #expect(FrameLine.sinceStart(123_456_789_012_000_000) == "+123456789.012")
  }
}
