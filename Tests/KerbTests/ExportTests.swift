import Gateway
import Testing

@testable import kerb

@Suite("The export's times and lines")
struct ExportTests {
  @Test(
    "Times are ago or in UTC",
    arguments: [
      ("90m", 1_000_000 - 5_400), ("2h", 1_000_000 - 7_200), ("0s", 1_000_000), ("1970-01-02", 86_400),
      ("1970-01-02T01:00", 90_000), ("1970-01-02T01:00:05Z", 90_005), ("2026-01-31 06:00", 1_769_839_200),
    ] as [(String, Int64)])
  func times(text: String, seconds: Int64) {
    #expect(ExportTime.unixMs(text, now: 1_000_000) == seconds * 1_000)
  }

  @Test(
    "What is no time is refused",
    arguments: ["", "h", "-2h", "yesterday", "2026-13-01", "2026-01-01T25:00", "2026-01"])
  func noTimes(text: String) { #expect(ExportTime.unixMs(text, now: 1_000_000) == nil) }

  @Test("A line of CSV quotes what RFC 4180 wants quoted, and has seconds since the box's start where no time is known")
  func lines() throws {
    let record = try JSONParser.parse(
      Array(#"{"n":"b/d,1/p","t":12.5,"vs":"a \"b\"","u":"deg","q":"good"}"#.utf8))
    #expect(ExportCommand.line(record) == "12.5,\"b/d,1/p\",\"a \"\"b\"\"\",deg,good,,,\r\n")
    let unknown = try JSONParser.parse(
      Array(#"{"n":"b/d/p","mono":123.25,"unsynchronised":true,"v":1.5,"q":"good","stat":"max","window":"1m"}"#.utf8))
    #expect(ExportCommand.line(unknown) == ",b/d/p,1.5,,good,max,1m,123.25\r\n")
    #expect(ExportCommand.header.split(separator: ",").count == ExportCommand.line(unknown).count { $0 == "," } + 1)
  }
}
