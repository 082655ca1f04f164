// One alarm's life, after ISA-18.2 / IEC 62682. Decides; acts on nothing. Time is a parameter.
//
//              for                      acknowledge
//    normal ────────▶ unacknowledged ───────────────▶ acknowledged
//      ▲                │ clear_for        ▲   for         │ clear_for
//      │ acknowledge    ▼                  │               │
//      ├─────── returned unacknowledged ───┘               │
//      └───────────────────────────────────────────────────┘
//
// Over this lie two things that people do (shelved until a time, out of service) and one that other alarms
// do (suppressed): the condition is followed all the same, so that the right state stands there when they end.
//
// Invariants:
//  1. What is unknown neither raises nor ends.
//  2. `pendingSince` is set only while the condition for leaving the present state holds.
//  3. `observe` names a change, `take` makes it: with no room to report it, it stays due.
//  4. Every change but a reminder is a new state with a serial of its own.

/// What a person or a platform may do to an alarm.
package enum AlarmOrder: UInt8, BitwiseCopyable, Sendable {
  case acknowledge = 0
  case shelve = 1
  case unshelve = 2
  case takeOutOfService = 3
  case putInService = 4
}

package enum AlarmVerdict: Equatable, BitwiseCopyable, Sendable {
  case change(AlarmChange)
  /// It is so already: nothing changes.
  case already
  /// The alarm has changed since the one who orders has seen it.
  case outdated
  /// Shelved or out of service: that must end first.
  case held
}

/// 40 bytes.
package struct AlarmMachine: BitwiseCopyable, Sendable {
  private enum Hold: UInt8 { case none, shelved, outOfService }

  /// Since when the condition for the next change holds; `.distantFuture`: it doesn't.
  private var pendingSince = Instant.distantFuture
  private var since = Instant.zero
  private var raisedAt = Instant.zero
  /// Shelved: when that ends. Unacknowledged: when the next reminder is due.
  private var timerAt = Instant.distantFuture
  package private(set) var serial: UInt32 = 0
  package private(set) var severity = Severity.notice
  private var process = AlarmState.normal
  private var hold = Hold.none
  private var bits = Truth.unknown.rawValue

  package init() {}

  /// As it was at the last stop. The event's times are on the present clock.
  package init(_ event: AlarmEvent, rule: AlarmRule, at now: Instant) {
    serial = event.serial
    severity = event.severity
    process = event.process
    since = event.since
    raisedAt = event.raisedAt
    isQuiet = event.isSuppressed && process == .unacknowledged
    wasAcknowledged = event.change == .acknowledged
    switch event.state {
    case .shelved:
      hold = .shelved
      timerAt = event.until
    case .outOfService: hold = .outOfService
    default: if process == .unacknowledged { remindLater(rule, at: now) }
    }
  }

  // MARK: What it is

  package var state: AlarmState {
    switch hold {
    case .none: return process
    case .shelved: return .shelved
    case .outOfService: return .outOfService
    }
  }

  /// Its condition holds, or is about to be believed: what it explains is explained.
  package var stands: Bool { process.isActive || pendingSince != .distantFuture }

  /// Nothing of it can change while its condition doesn't hold.
  package var isIdle: Bool { process == .normal && hold == .none && pendingSince == .distantFuture }
  /// The condition for its end is what counts now.
  package var isActive: Bool { process.isActive }

  /// What the bus itself tells of an alarm without a program.
  package var told: Truth {
    get { Truth(rawValue: bits & 3) ?? .unknown }
    set { bits = bits & ~3 | newValue.rawValue }
  }
  private var isSuppressed: Bool {
    get { bits & 4 != 0 }
    set { bits = newValue ? bits | 4 : bits & ~4 }
  }
  /// Raised while suppressed: nobody was called.
  private var isQuiet: Bool {
    get { bits & 8 != 0 }
    set { bits = newValue ? bits | 8 : bits & ~8 }
  }
  /// The last change was an acknowledgement.
  private var wasAcknowledged: Bool {
    get { bits & 16 != 0 }
    set { bits = newValue ? bits | 16 : bits & ~16 }
  }

  private func escalates(_ rule: AlarmRule) -> Bool { rule.escalateNs > 0 && severity < rule.escalateTo }
  private func isLatched(_ rule: AlarmRule) -> Bool {
    rule.latches && process == .unacknowledged && hold == .none && !isQuiet
  }
  private func delayNs(_ rule: AlarmRule) -> Int64 { process.isActive ? rule.clearForNs : rule.forNs }
  /// Somebody should come, and is called.
  private var calls: Bool { process == .unacknowledged && hold == .none && !isSuppressed && !isQuiet }

  /// When the next change is due if nothing new is read.
  package func deadline(_ rule: AlarmRule) -> Instant {
    var deadline = Instant.distantFuture
    if pendingSince != .distantFuture, !isLatched(rule) { deadline = pendingSince + delayNs(rule) }
    if hold == .shelved || (calls && rule.remindNs > 0) { deadline = Swift.min(deadline, timerAt) }
    if calls, escalates(rule) { deadline = Swift.min(deadline, raisedAt + rule.escalateNs) }
    return deadline
  }

  // MARK: What time and the conditions do

  /// What the conditions say now, and whether an alarm stands that explains this one. The answer is the change that is
  /// due: take it once there is room to report it, and ask again.
  package mutating func observe(
    when: Truth, clear: Truth, isSuppressed: Bool, rule: AlarmRule, at now: Instant
  ) -> AlarmChange? {
    self.isSuppressed = isSuppressed
    let leaving = process.isActive ? clear : when
    if leaving != .yes {
      pendingSince = .distantFuture
    } else if pendingSince == .distantFuture {
      pendingSince = now
    }
    if hold == .shelved, now >= timerAt { return .unshelved }
    if leaving == .yes, now - pendingSince >= delayNs(rule), !isLatched(rule) {
      return process.isActive ? .returned : .raised
    }
    if isQuiet, !isSuppressed, hold == .none, when == .yes || clear == .no { return .revealed }
    guard calls else { return nil }
    if escalates(rule), now >= raisedAt + rule.escalateNs { return .escalated }
    return rule.remindNs > 0 && now >= timerAt ? .reminded : nil
  }

  // MARK: What people do

  /// `serial`: of the state that is meant; nil: whatever it is now.
  package func judge(_ order: AlarmOrder, serial meant: UInt32?) -> AlarmVerdict {
    switch order {
    case .acknowledge:
      if let meant, meant &+ 1 == serial, wasAcknowledged { return .already }
      if let meant, meant != serial { return .outdated }
      if hold != .none { return .held }
      return process == .unacknowledged || process == .returnedUnacknowledged ? .change(.acknowledged) : .already
    case .shelve: return hold == .outOfService ? .held : .change(.shelved)
    case .unshelve: return hold == .shelved ? .change(.unshelved) : .already
    case .takeOutOfService: return hold == .outOfService ? .already : .change(.outOfService)
    case .putInService: return hold == .outOfService ? .change(.inService) : .already
    }
  }

  // MARK: The change itself

  /// `until`: of a shelving, its end. The answer is the event to report, without its causes.
  package mutating func take(
    _ change: AlarmChange, alarm: UInt16, rule: AlarmRule, until: Instant = .distantFuture, at now: Instant
  ) -> AlarmEvent {
    if change != .reminded {
      serial &+= 1
      wasAcknowledged = change == .acknowledged
    }
    switch change {
    case .raised:
      process = .unacknowledged
      severity = rule.severity
      isQuiet = isSuppressed
      turn()
      call(rule, at: now)
    case .returned:
      let isKnown = process == .unacknowledged && hold == .none && !isQuiet
      process = isKnown ? .returnedUnacknowledged : .normal
      isQuiet = false
      turn()
    case .revealed:
      isQuiet = false
      call(rule, at: now)
    case .acknowledged: acknowledge(rule, at: now)
    case .reminded: remindLater(rule, at: now)
    case .escalated: severity = rule.escalateTo
    case .shelved:
      hold = .shelved
      timerAt = until
    case .outOfService: hold = .outOfService
    // No change of an alarm.
    case .commanded: break
    case .unshelved, .inService:
      hold = .none
      if process == .unacknowledged { call(rule, at: now) }
    }
    return event(change, alarm: alarm, at: now)
  }

  /// The condition for leaving has held long enough: from then on the new state counts.
  private mutating func turn() {
    if pendingSince != .distantFuture { since = pendingSince }
    pendingSince = .distantFuture
  }

  private mutating func call(_ rule: AlarmRule, at now: Instant) {
    raisedAt = now
    if hold != .shelved { remindLater(rule, at: now) }
  }

  private mutating func remindLater(_ rule: AlarmRule, at now: Instant) {
    timerAt = rule.remindNs > 0 ? now + rule.remindNs : .distantFuture
  }

  private mutating func acknowledge(_ rule: AlarmRule, at now: Instant) {
    let isGone = pendingSince != .distantFuture && now - pendingSince >= rule.clearForNs
    if process == .unacknowledged, !(rule.latches && isGone) {
      process = .acknowledged
    } else {
      if process == .unacknowledged { turn() }
      process = .normal
    }
    isQuiet = false
  }

  private func event(_ change: AlarmChange, alarm: UInt16, at now: Instant) -> AlarmEvent {
    var event = AlarmEvent(alarm: alarm, state: state, severity: severity, at: now, since: since)
    event.process = process
    event.change = change
    event.serial = serial
    event.raisedAt = raisedAt
    event.isSuppressed = isQuiet || isSuppressed
    if hold == .shelved { event.until = timerAt }
    return event
  }
}
