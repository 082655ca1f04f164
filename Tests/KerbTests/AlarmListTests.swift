import Gateway
import Testing

@testable import kerb

@Suite("Alarms as `kerb alarms` lists them")
struct AlarmListTests {
  private func lines(_ times: String) throws -> [String] {
    let alarm = #"{"n":"box/hall-2/smoke","state":"shelved","severity":"major","active":true,"message":{},"#
    return AlarmList.lines(try JSONParser.parse(Array("\(alarm)\(times)}".utf8)), isHistory: false)
  }

  @Test("The end of a shelf is a time, or the span that is left where the box does not know the time")
  func shelf() throws {
    #expect(try lines(#""t":-2.5,"until":8.2,"unsynchronised":true"#).last == "  for another 8 s")
    #expect(try lines(#""t":-2.5,"until":8.2,"unsynchronised":true"#).first?.hasPrefix("-2 s  ") == true)
    #expect(try lines(#""t":-90,"until":-5,"unsynchronised":true"#).last == "  until -5 s")
    let known = try #require(try lines(#""t":1795212000,"until":1795219200"#).last)
    #expect(known.hasPrefix("  until 2026-11-2"))
    // Of an earlier start nothing is known.
    #expect(try lines(#""mono":12,"unsynchronised":true"#).count == 1)
  }
}
