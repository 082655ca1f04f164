import StreamCore
import Testing

/// An alarm as one would write it who has memory and time: keeps all that was ever seen, and looks back.
private struct ReferenceAlarm {
  struct Told: Equatable {
    var change: AlarmChange
    var state: AlarmState
    var severity: Severity
    var since: Int64
    var suppressed: Bool
  }

  let rule: AlarmRule
  private var seen: [(at: Int64, when: Truth, clear: Truth)] = []
  /// Looks before this one are of an earlier state.
  private var turnedAt = 0
  private var active = false
  private var needsAcknowledgement = false
  private var shelvedUntil: Int64?
  private var outOfService = false
  private var quiet = false
  private var suppressed = false
  private var severity = Severity.notice
  private var since: Int64 = 0
  private var calledAt: Int64 = 0
  private var lastCallAt: Int64 = 0

  init(_ rule: AlarmRule) { self.rule = rule }

  private var held: Bool { shelvedUntil != nil || outOfService }
  private var state: AlarmState {
    if shelvedUntil != nil { return .shelved }
    if outOfService { return .outOfService }
    return active
      ? (needsAcknowledgement ? .unacknowledged : .acknowledged)
      : (needsAcknowledgement ? .returnedUnacknowledged : .normal)
  }

  /// Since when the condition for the other state has held at every look.
  private var leavingSince: Int64? {
    var since: Int64?
    for look in seen[turnedAt...].reversed() {
      guard (active ? look.clear : look.when) == .yes else { break }
      since = look.at
    }
    return since
  }

  private mutating func turn() {
    since = leavingSince ?? since
    turnedAt = seen.count
  }

  private mutating func call(at now: Int64) {
    calledAt = now
    lastCallAt = now
  }

  private func told(_ change: AlarmChange) -> Told {
    Told(change: change, state: state, severity: severity, since: since, suppressed: suppressed || quiet)
  }

  mutating func look(at now: Int64, when: Truth, clear: Truth, suppressed: Bool) -> Told? {
    self.suppressed = suppressed
    seen.append((now, when, clear))
    if let end = shelvedUntil, now >= end {
      shelvedUntil = nil
      if active, needsAcknowledgement { call(at: now) }
      return told(.unshelved)
    }
    let delay = active ? rule.clearForNs : rule.forNs
    let waits = rule.latches && active && needsAcknowledgement && !held && !quiet
    if let since = leavingSince, now - since >= delay, !waits {
      turn()
      active.toggle()
      if active {
        needsAcknowledgement = true
        quiet = suppressed
        severity = rule.severity
        call(at: now)
        return told(.raised)
      }
      if held || quiet { needsAcknowledgement = false }
      quiet = false
      return told(.returned)
    }
    if quiet, !suppressed, !held, when == .yes || clear == .no {
      quiet = false
      call(at: now)
      return told(.revealed)
    }
    guard active, needsAcknowledgement, !held, !suppressed, !quiet else { return nil }
    if rule.escalateNs > 0, severity < rule.escalateTo, now - calledAt >= rule.escalateNs {
      severity = rule.escalateTo
      return told(.escalated)
    }
    if rule.remindNs > 0, now - lastCallAt >= rule.remindNs {
      lastCallAt = now
      return told(.reminded)
    }
    return nil
  }

  mutating func order(_ order: AlarmOrder, until: Int64, at now: Int64) -> Told? {
    switch order {
    case .acknowledge:
      guard !held, needsAcknowledgement else { return nil }
      if active, rule.latches, let gone = leavingSince, now - gone >= rule.clearForNs {
        turn()
        active = false
      }
      needsAcknowledgement = false
      quiet = false
      return told(.acknowledged)
    case .shelve:
      if outOfService { return nil }
      shelvedUntil = until
      return told(.shelved)
    case .unshelve:
      guard shelvedUntil != nil else { return nil }
      shelvedUntil = nil
      if active, needsAcknowledgement { call(at: now) }
      return told(.unshelved)
    case .takeOutOfService:
      if outOfService { return nil }
      shelvedUntil = nil
      outOfService = true
      return told(.outOfService)
    case .putInService:
      guard outOfService else { return nil }
      outOfService = false
      if active, needsAcknowledgement { call(at: now) }
      return told(.inService)
    }
  }
}

@Suite("An alarm, against one that remembers everything")
struct AlarmPropertyTests {
  private static func rule(_ random: inout SplitMix64) -> AlarmRule {
    let severity = Severity(rawValue: UInt8.random(in: 0...3, using: &random)) ?? .notice
    var rule = AlarmRule(severity: severity)
    rule.forNs = [0, 0, 1, 5, 20].randomElement(using: &random) ?? 0
    rule.clearForNs = [0, 0, 3, 12].randomElement(using: &random) ?? 0
    rule.remindNs = [0, 7, 30].randomElement(using: &random) ?? 0
    rule.escalateNs = [0, 10, 50].randomElement(using: &random) ?? 0
    rule.escalateTo = Severity(rawValue: UInt8.random(in: 0...3, using: &random)) ?? .notice
    rule.latches = Int.random(in: 0..<4, using: &random) == 0
    return rule
  }

  @Test("says the same, whatever happens to it", arguments: 1...60 as ClosedRange<UInt64>)
  func sameAsReference(seed: UInt64) {
    var random = SplitMix64(state: seed &* 0x5851_F42D)
    let rule = Self.rule(&random)
    var machine = AlarmMachine()
    var reference = ReferenceAlarm(rule)
    var now: Int64 = 0
    var serial: UInt32 = 0
    var told = 0
    let truths: [Truth] = [.no, .no, .yes, .yes, .unknown]
    var when = Truth.no
    var clear = Truth.yes
    for step in 0..<4_000 {
      now += Int64.random(in: 0...4, using: &random)
      let at = Instant(nanoseconds: now)
      let event: AlarmEvent?
      let expected: ReferenceAlarm.Told?
      if Int.random(in: 0..<12, using: &random) == 0 {
        let order = AlarmOrder(rawValue: UInt8.random(in: 0...4, using: &random)) ?? .acknowledge
        let until = now + Int64.random(in: 1...60, using: &random)
        expected = reference.order(order, until: until, at: now)
        if case .change(let change) = machine.judge(order, serial: nil) {
          event = machine.take(
            change, alarm: 0, rule: rule, until: Instant(nanoseconds: until), at: at)
        } else {
          event = nil
        }
      } else {
        // Conditions last, so that delays can pass.
        if Int.random(in: 0..<5, using: &random) == 0 {
          when = truths.randomElement(using: &random) ?? .no
          clear = when == .no && Bool.random(using: &random) ? .yes : when == .unknown ? .unknown : .no
        }
        let suppressed = (now / 40) % 5 == 0
        expected = reference.look(at: now, when: when, clear: clear, suppressed: suppressed)
        event = machine.observe(when: when, clear: clear, isSuppressed: suppressed, rule: rule, at: at).map {
          machine.take($0, alarm: 0, rule: rule, at: at)
        }
      }
      let got = event.map {
        ReferenceAlarm.Told(
          change: $0.change, state: $0.state, severity: $0.severity, since: $0.since.nanoseconds,
          suppressed: $0.isSuppressed)
      }
      #expect(got == expected, "seed \(seed), step \(step)")
      if got != expected { return }
      guard let event else { continue }
      told += 1
      if event.change != .reminded { serial += 1 }
      #expect(event.serial == serial)
    }
    #expect(told > 50, "seed \(seed): next to nothing happened")
  }

  @Test(
    "that is put down at any moment and taken up again goes on as if nothing had been",
    arguments: 1...20 as ClosedRange<UInt64>)
  func survivesStops(seed: UInt64) {
    var random = SplitMix64(state: seed &* 77)
    var rule = Self.rule(&random)
    // What was pending at a stop begins anew, and reminders count from the start: not looked at here.
    (rule.forNs, rule.clearForNs, rule.remindNs, rule.latches) = (0, 0, 0, false)
    var machine = AlarmMachine()
    var left: AlarmEvent?
    var restarted: AlarmMachine?
    for step in Int64(1)..<3_000 {
      let at = Instant(nanoseconds: step)
      if Int.random(in: 0..<20, using: &random) == 0, let left { restarted = AlarmMachine(left, rule: rule, at: at) }
      let when: Truth = Int.random(in: 0..<10, using: &random) < 8 ? (step / 50 % 2 == 0 ? .no : .yes) : .unknown
      let clear: Truth = when == .unknown ? .unknown : when == .yes ? .no : .yes
      var change: AlarmChange?
      var until = Instant.distantFuture
      if Int.random(in: 0..<15, using: &random) == 0 {
        let order = AlarmOrder(rawValue: UInt8.random(in: 0...4, using: &random)) ?? .acknowledge
        until = at + Int64.random(in: 1...60, using: &random)
        if let restarted { #expect(restarted.judge(order, serial: nil) == machine.judge(order, serial: nil)) }
        if case .change(let ordered) = machine.judge(order, serial: nil) { change = ordered }
      } else {
        change = machine.observe(when: when, clear: clear, isSuppressed: false, rule: rule, at: at)
        let other = restarted?.observe(when: when, clear: clear, isSuppressed: false, rule: rule, at: at)
        if restarted != nil { #expect(other == change, "seed \(seed), step \(step)") }
      }
      guard let change else { continue }
      left = machine.take(change, alarm: 0, rule: rule, until: until, at: at)
      if let told = restarted?.take(change, alarm: 0, rule: rule, until: until, at: at) {
        #expect(told.state == left?.state && told.serial == left?.serial && told.severity == left?.severity)
      }
    }
    #expect((left?.serial ?? 0) > 30)
  }
}

@Suite struct FloodMeterTests {
  private static let minute: Int64 = 60 * secondNs

  @Test("ten in ten minutes are no flood, the eleventh is one; it ends when fewer than five came in ten minutes")
  func flood() {
    var meter = FloodMeter()
    let verdicts = (Int64(0)...10).map { meter.note(at: Instant(nanoseconds: $0 * secondNs)) }
    #expect(verdicts == Array(repeating: false, count: 10) + [true])
    meter.settle(at: Instant(nanoseconds: 10 * Self.minute))
    #expect(meter.isFlood)
    meter.settle(at: Instant(nanoseconds: 10 * Self.minute + 7 * secondNs))
    #expect(!meter.isFlood)
  }

  @Test("agrees with a list of all times", arguments: 1...10 as ClosedRange<UInt64>)
  func sameAsList(seed: UInt64) {
    var random = SplitMix64(state: seed)
    var meter = FloodMeter()
    var times: [Int64] = []
    var isFlood = false
    var now: Int64 = 0
    for _ in 0..<2_000 {
      now += Int64.random(in: 0...(seed % 2 == 0 ? 150 : 80), using: &random) * secondNs
      times.append(now)
      let recent = times.filter { now - $0 <= Limits.floodNs }.count
      let before = times.dropLast().filter { now - $0 <= Limits.floodNs }.count
      if before < Limits.floodEndAlarms { isFlood = false }
      if recent > Limits.floodAlarms { isFlood = true }
      let said = meter.note(at: Instant(nanoseconds: now))
      #expect(said == isFlood, "seed \(seed)")
    }
  }
}
