// Whether too many alarms come at once for anybody to look at each (ISA-18.2, 16.5.2: more than ten in ten
// minutes; over when fewer than five came in ten). Fixed memory; time is a parameter, and need not go forwards.
//
// Invariant: `times` holds the newest `Limits.floodAlarms` calls, at `next` the oldest of them.

package struct FloodMeter: BitwiseCopyable, Sendable {
  // Limits.floodAlarms; a value generic takes only a literal.
  private var times = InlineArray<10, Int64>(repeating: .min)
  private var next = 0
  package private(set) var isFlood = false

  package init() {}

  /// An alarm calls. True: it is one of too many.
  package mutating func note(at now: Instant) -> Bool {
    if times[next] != .min, now - Instant(nanoseconds: times[next]) <= Limits.floodNs { isFlood = true }
    settle(at: now)
    times[next] = now.nanoseconds
    next = (next + 1) % Limits.floodAlarms
    return isFlood
  }

  /// Lets time pass.
  package mutating func settle(at now: Instant) {
    guard isFlood else { return }
    // The fifth newest.
    let place = (next + Limits.floodAlarms - Limits.floodEndAlarms) % Limits.floodAlarms
    if now - Instant(nanoseconds: times[place]) > Limits.floodNs { isFlood = false }
  }
}
