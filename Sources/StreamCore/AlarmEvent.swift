// What is told of an alarm: a change of its state, with the severity, the times and the values that belong
// to it. Made on the thread that owns the alarm, kept in the log, sent to every platform.

/// What a platform sees, named after ISA-18.2 / IEC 62682.
package enum AlarmState: UInt8, BitwiseCopyable, Sendable {
  case normal = 0
  case unacknowledged = 1
  case acknowledged = 2
  /// The condition is gone, nobody has acknowledged it.
  case returnedUnacknowledged = 3
  /// Somebody has put it aside until a given time.
  case shelved = 4
  /// Somebody has taken it out of use until it is put back.
  case outOfService = 5

  /// The condition holds. Of an alarm that is shelved or out of service its `process` says it.
  package var isActive: Bool { self == .unacknowledged || self == .acknowledged }
}

/// What happened.
package enum AlarmChange: UInt8, BitwiseCopyable, Sendable {
  case raised = 0
  case returned = 1
  case acknowledged = 2
  /// Nobody has acknowledged it for a while: nothing is new.
  case reminded = 3
  case escalated = 4
  case shelved = 5
  case unshelved = 6
  case outOfService = 7
  case inService = 8
  /// It was raised while another alarm suppressed it, and still stands now that the other one is over.
  case revealed = 9
  /// Not of an alarm: a platform has given a command to the device.
  case commanded = 10

  /// From here on it asks for somebody's attention.
  package var asks: Bool { self == .raised || self == .revealed }
}

package enum Severity: UInt8, Comparable, BitwiseCopyable, Sendable {
  case notice = 0
  case warning = 1
  case major = 2
  case critical = 3

  package static func < (a: Severity, b: Severity) -> Bool { a.rawValue < b.rawValue }
}

/// A value that a condition looked at when its alarm changed.
@frozen
package struct AlarmCause: BitwiseCopyable, Sendable {
  package var series: UInt16
  package var quality: Quality
  package var raw: Int64

  package init(series: UInt16, quality: Quality, raw: Int64) {
    self.series = series
    self.quality = quality
    self.raw = raw
  }
}

package struct AlarmEvent: BitwiseCopyable, Sendable {
  /// The alarm's number in the catalogue.
  package var alarm: UInt16
  package var state: AlarmState
  /// What `state` would be if nobody had shelved the alarm or taken it out of service.
  package var process: AlarmState
  package var change = AlarmChange.raised
  package var severity: Severity
  /// Another alarm explains this one: it is in the log, and calls nobody.
  package var isSuppressed = false
  /// One of too many at once: it is in the log, the flood is what calls.
  package var isFlood = false
  package var causeCount: UInt8 = 0
  /// Lengths of who did it and of the note, which stand in the batch's texts from `textOffset` on.
  package var byLength: UInt8 = 0
  package var noteLength: UInt8 = 0
  package var textOffset: UInt16 = 0
  /// Counts the states of this alarm: names the one that somebody acknowledges.
  package var serial: UInt32 = 0
  /// When the state changed.
  package var at: Instant
  /// When the condition began to hold (or to be gone), that is before its `for` time.
  package var since: Instant
  /// When it was raised; `escalate` counts from here.
  package var raisedAt: Instant
  /// When the shelving ends; `.distantFuture` in any other state.
  package var until = Instant.distantFuture
  package var causes: (AlarmCause, AlarmCause, AlarmCause, AlarmCause)

  package init(alarm: UInt16, state: AlarmState, severity: Severity, at: Instant, since: Instant) {
    self.alarm = alarm
    self.state = state
    process = state
    self.severity = severity
    self.at = at
    self.since = since
    raisedAt = at
    let none = AlarmCause(series: 0, quality: .bad, raw: 0)
    causes = (none, none, none, none)
  }

  package func cause(_ index: Int) -> AlarmCause {
    switch index {
    case 0: return causes.0
    case 1: return causes.1
    case 2: return causes.2
    default: return causes.3
    }
  }

  /// More than four causes are not kept: the message says what matters.
  package mutating func add(_ cause: AlarmCause) {
    switch causeCount {
    case 0: causes.0 = cause
    case 1: causes.1 = cause
    case 2: causes.2 = cause
    case 3: causes.3 = cause
    default: return
    }
    causeCount += 1
  }
}
