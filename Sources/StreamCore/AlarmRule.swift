// What an alarm is and when it changes, as configured: its delays, what it does while nobody cares, where
// its conditions stand.

/// Shared by all alarms of a bus that behave alike: those of the devices of one profile.
package struct AlarmRule: BitwiseCopyable, Sendable, Hashable {
  package var severity: Severity
  package var escalateTo: Severity
  /// Does not end by itself before somebody has acknowledged it.
  package var latches = false
  /// The condition must have held so long.
  package var forNs: Int64 = 0
  /// The clearing condition must have held so long.
  package var clearForNs: Int64 = 0
  /// An unacknowledged alarm is told again so often; 0: never.
  package var remindNs: Int64 = 0
  /// An alarm that nobody has acknowledged for so long becomes `escalateTo`; 0: never.
  package var escalateNs: Int64 = 0

  package init(severity: Severity) {
    self.severity = severity
    escalateTo = severity
  }
}

/// One alarm of one device, or of the bus itself.
package struct AlarmPlace: BitwiseCopyable, Sendable {
  /// In the bus's table of rules.
  package var rule: UInt16
  /// Its number in the catalogue.
  package var alarm: UInt16
  /// Empty: the bus itself tells what holds.
  package var when = Program()
  /// Empty: not `when`.
  package var clear = Program()
  /// Alarms of this bus that explain this one: where they stand in the bus's list.
  package var firstSuppressor: UInt16 = 0
  package var suppressorCount: UInt8 = 0
  /// It explains others.
  package var isSuppressor = false

  package init(rule: Int, alarm: Int) {
    self.rule = UInt16(truncatingIfNeeded: rule)
    self.alarm = UInt16(truncatingIfNeeded: alarm)
  }
}
