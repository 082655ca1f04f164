import Testing

@testable import kerb

@Suite("What was done to the demo's devices")
struct DemoTouchesTests {
  private func touched(_ times: Int64...) -> DemoTouches {
    var touches = DemoTouches()
    for time in times { touches.note("cover", at: time) }
    return touches
  }

  @Test("An alarm's cause is the last thing that was done before it was read")
  func cause() {
    let touches = touched(100, 6_000, 14_000)
    #expect(touches.span(of: "cover", until: 9_000, sinceReadNs: 2_500) == 3_000)
    // The platform was stopped: it hears of it after the cover lies in its place again.
    #expect(touches.span(of: "cover", until: 15_000, sinceReadNs: 8_500) == 9_000)
    #expect(touches.span(of: "cover", until: 15_000, sinceReadNs: nil) == 1_000)
    #expect(touches.span(of: "hydrant", until: 15_000, sinceReadNs: 1) == nil)
  }

  @Test("What was read before anything was done takes no less than nothing")
  func clockMoved() {
    #expect(touched(6_000).span(of: "cover", until: 9_000, sinceReadNs: 3_001) == 3_001)
  }
}
