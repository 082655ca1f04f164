// One alarm's state: raised when its condition has held for `for`, ended when its clearing condition has held for
// `clear_for`. Time is a parameter. What is unknown neither raises nor ends.

package struct AlarmRule: BitwiseCopyable, Sendable {
  package var alarm: UInt16
  package var severity: Severity
  package var when = Program()
  /// Empty: not `when`.
  package var clear = Program()
  package var forNs: Int64 = 0
  package var clearForNs: Int64 = 0

  package init(alarm: Int, severity: Severity) {
    self.alarm = UInt16(truncatingIfNeeded: alarm)
    self.severity = severity
  }
}

/// Invariant: `pendingSince` is set only while the condition for leaving the present state holds.
package struct AlarmMachine: BitwiseCopyable, Sendable {
  package var state = AlarmState.normal
  /// Since when the condition for the next change holds; `.distantFuture`: it doesn't.
  package var pendingSince = Instant.distantFuture
  package init() {}

  /// When the next change is due if nothing new is read.
  package func deadline(_ rule: AlarmRule) -> Instant {
    guard pendingSince != .distantFuture else { return .distantFuture }
    return pendingSince + (state.isActive ? rule.clearForNs : rule.forNs)
  }

  /// What the conditions say now. True: a change is due, take it with `advance` once there is room to report it.
  mutating func observe(when: Truth, clear: Truth, rule: AlarmRule, at now: Instant) -> Bool {
    let leaving = state.isActive ? clear : when
    guard leaving == .yes else {
      pendingSince = .distantFuture
      return false
    }
    if pendingSince == .distantFuture { pendingSince = now }
    return now >= deadline(rule)
  }

  /// Takes the change that is due; the answer is the event to report, without its causes.
  mutating func advance(rule: AlarmRule, at now: Instant) -> AlarmEvent {
    let since = pendingSince
    state =
      switch state {
      case .normal, .returnedUnacknowledged: .unacknowledged
      case .unacknowledged: .returnedUnacknowledged
      case .acknowledged: .normal
      }
    pendingSince = .distantFuture
    return AlarmEvent(alarm: rule.alarm, state: state, severity: rule.severity, at: now, since: since)
  }
}
