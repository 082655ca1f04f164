import Gateway
import Testing

@testable import kerb

@Suite("A point as `kerb watch` follows it")
struct WatchedPointTests {
  private func point(_ times: String, _ value: String = "3.4") throws -> JSONValue {
    try JSONParser.parse(Array(#"{"device":"d","point":"p","v":\#(value),"q":"good",\#(times)}"#.utf8))
  }

  private static let second: Int64 = 1_000_000_000

  @Test("Where the time is not known a reading that only grows older is no other one, and its time is the box's own")
  func unsynchronised() throws {
    var watched = WatchedPoint()
    // Read at 99.5 s; what the answer takes on its way differs a little each time.
    for (second, age, isNew) in [
      (100.0, 0.5, true), (101.0, 1.47, false), (102.0, 2.54, false), (103.0, 0.2, true), (104.0, 1.2, false),
    ] {
      let seen = try point(#""t":-\#(age),"unsynchronised":true"#)
      #expect(watched.take(seen, at: Int64(second * 1e9)) == isNew, "\(second)")
    }
    #expect(watched.change == "+    102.800  d/p  3.4  good")
    #expect(watched.take(try point(#""t":-2.2,"unsynchronised":true"#, "3.5"), at: 105 * Self.second))
  }

  @Test("Where it is known a reading is another one by its time, also of the same value")
  func synchronised() throws {
    var watched = WatchedPoint()
    #expect(watched.take(try point(#""t":1795212000.25"#), at: 0))
    #expect(!watched.take(try point(#""t":1795212000.25"#), at: Self.second))
    #expect(watched.take(try point(#""t":1795212000.251"#), at: Self.second))
    #expect(watched.change.hasPrefix("2026-11-2") && watched.change.hasSuffix("  d/p  3.4  good"))
  }
}
