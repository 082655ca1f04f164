import Gateway
import StreamCore
import Testing

@Suite("The watch over the threads")
struct WatchTests {
  private let now: Int64 = 1_000_000_000_000

  @Test("finds alive who moved lately, and who waits for what is not due yet")
  func alive() {
    #expect(Gateway.isAlive([now, now - Limits.stallNsMax + 1, now + 3_600_000_000_000, .max], at: now))
    #expect(Gateway.isAlive([], at: now))
  }

  @Test("FAULTS 39: sees one thread that hangs at work, or has slept through its own deadline, among all others")
  func stuck() {
    #expect(!Gateway.isAlive([now, .max, now - Limits.stallNsMax], at: now))
    // It was to wake in an hour, and did not.
    let announced = now + 3_600_000_000_000
    #expect(Gateway.isAlive([announced], at: announced + Limits.stallNsMax - 1))
    #expect(!Gateway.isAlive([announced], at: announced + Limits.stallNsMax))
  }
}
