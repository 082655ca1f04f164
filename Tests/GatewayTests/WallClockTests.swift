import StreamCore
import Testing

@testable import Gateway

@Suite("Faults 27 to 29: the wall clock")
struct WallClockTests {
  private static let now: Int64 = 1_780_000_000_000_000_000
  private static let second: Int64 = 1_000_000_000

  private func reading(_ seconds: Int64, wall: Int64, isBelieved: Bool = true) -> ClockReading {
    ClockReading(monotonicNs: seconds * Self.second, wallNs: wall, isBelieved: isBelieved)
  }

  @Test("27 A box that boots in 1970 knows no time until its clock is set, even if it is told to trust it")
  func boot() {
    for isBelieved in [false, true] {
      var clock = WallClock(trust: .auto)
      for second in 1...100 as ClosedRange<Int64> {
        #expect(clock.take(reading(second, wall: second * Self.second, isBelieved: isBelieved)) == nil)
      }
      #expect(clock.take(reading(101, wall: Self.now, isBelieved: false)) == nil)
      #expect(clock.take(reading(102, wall: Self.now)) == Self.now - 102 * Self.second)
      #expect(clock.take(reading(103, wall: Self.now + Self.second)) == nil, "no news")
    }
  }

  @Test("28 A step counts when the next reading agrees; jitter does not", arguments: [315_360_000, -3_600] as [Int64])
  func step(by seconds: Int64) {
    var clock = WallClock(trust: .auto)
    #expect(clock.take(reading(1, wall: Self.now)) != nil)
    #expect(clock.take(reading(2, wall: Self.now + Self.second + 19_000_000)) == nil)
    let stepped = Self.now + seconds * Self.second
    #expect(clock.take(reading(3, wall: stepped)) == nil)
    #expect(clock.take(reading(4, wall: stepped + Self.second)) == stepped - 3 * Self.second)
    #expect(clock.offsetNs == stepped - 3 * Self.second)
  }

  @Test("28 A single wild reading changes nothing")
  func spike() {
    var clock = WallClock(trust: .auto)
    #expect(clock.take(reading(1, wall: Self.now)) != nil)
    #expect(clock.take(reading(2, wall: Self.now + 9_000 * Self.second)) == nil)
    #expect(clock.take(reading(3, wall: Self.now + 2 * Self.second)) == nil)
    #expect(clock.take(reading(4, wall: Self.now + 9_000 * Self.second)) == nil)
  }

  @Test("29 A clock that stands still is told once and never again: no commit a second")
  func frozen() {
    var clock = WallClock(trust: .trusted)
    #expect(clock.take(reading(1, wall: Self.now)) != nil)
    for second in 2...1_000 as ClosedRange<Int64> { #expect(clock.take(reading(second, wall: Self.now)) == nil) }
    // And when it goes again, where it should be by then.
    let caught = Self.now + 1_000 * Self.second
    #expect(clock.take(reading(1_001, wall: caught)) == nil)
    #expect(clock.offsetNs == Self.now - Self.second)
  }
}
