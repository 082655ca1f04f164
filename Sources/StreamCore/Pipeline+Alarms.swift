// The alarms' part of the pipeline: looks at conditions, reports changes, takes orders. On the bus's thread.
//
// Invariants:
//  1. A change is taken only when there is room to report it; it can be late, never lost.
//  2. Each look at an alarm makes one change at most: what is due besides comes with the next tick.

extension Pipeline {
  /// What becomes of an order.
  package enum OrderOutcome: Equatable {
    case judged(AlarmVerdict)
    /// The store is behind and has no room for the event: nothing was done.
    case noRoom
  }

  /// Looks at the alarms of a device whose points were just read.
  package mutating func evaluate(alarms range: Range<Int>, at now: Instant) {
    for index in range { look(at: index, now) }
  }

  /// What the bus knows of an alarm that has no condition of its own.
  package mutating func tell(alarm index: Int, _ truth: Truth, at now: Instant) {
    precondition(index >= 0 && index < size.alarms)
    guard alarms[index].told != truth else { return }
    alarms[index].told = truth
    look(at: index, now)
  }

  /// `serial`: of the state that is meant; nil: whatever it is now. `until`: of a shelving, its end. `by`
  /// and `note` are as long as the limits allow at most.
  package mutating func order(
    _ order: AlarmOrder, alarm index: Int, serial: UInt32?, until: Instant, by: UnsafeBufferPointer<UInt8>,
    note: UnsafeBufferPointer<UInt8>, at now: Instant
  ) -> OrderOutcome {
    precondition(index >= 0 && index < size.alarms)
    let verdict = alarms[index].judge(order, serial: serial)
    guard case .change(let change) = verdict else { return .judged(verdict) }
    guard roomForEvent(textBytes: by.count + note.count) else { return .noRoom }
    let place = alarmPlaces[index]
    var event = alarms[index].take(
      change, alarm: place.alarm, rule: alarmRules[Int(place.rule)], until: until, at: now)
    addCauses(to: &event, of: place.when)
    report(event, by: by, note: note, at: now)
    noteDeadline(of: index, rule: alarmRules[Int(place.rule)])
    return .judged(verdict)
  }

  /// Lets alarms come due by the clock alone.
  mutating func tickAlarms(at now: Instant) {
    if now >= nextLook { nextLook = now + Limits.lookAgainNs }
    nextAlarm = .distantFuture
    evaluate(alarms: 0..<size.alarms, at: now)
    // A change that found no room: look again soon, not at once for ever.
    if nextAlarm <= now { nextAlarm = now + Limits.handOverRetryNs }
  }

  private mutating func look(at index: Int, _ now: Instant) {
    let place = alarmPlaces[index]
    // What sees an edge sees it once: without room to report it, it is not looked at.
    if place.when.hasEdges || place.clear.hasEdges, !roomForEvent(textBytes: 0) {
      nextAlarm = now
      return
    }
    let when = place.when.isEmpty ? alarms[index].told : place.when.evaluate(programs, states, at: now).truth
    if when != .yes, alarms[index].isIdle { return }
    var clear = when == .unknown ? Truth.unknown : when == .yes ? .no : .yes
    if alarms[index].isActive, !place.clear.isEmpty { clear = place.clear.evaluate(programs, states, at: now).truth }

    let rule = alarmRules[Int(place.rule)]
    let stood = alarms[index].stands
    let change = alarms[index].observe(
      when: when, clear: clear, isSuppressed: isSuppressed(place), rule: rule, at: now)
    if let change, roomForEvent(textBytes: 0) {
      var event = alarms[index].take(change, alarm: place.alarm, rule: rule, at: now)
      addCauses(to: &event, of: place.when)
      let nothing = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
      report(event, by: nothing, note: nothing, at: now)
    }
    noteDeadline(of: index, rule: rule)
    // Those that it explains are to be looked at again.
    if place.isSuppressor, alarms[index].stands != stood { nextAlarm = now }
  }

  private mutating func noteDeadline(of index: Int, rule: AlarmRule) {
    let deadline = alarms[index].deadline(rule)
    if deadline < nextAlarm { nextAlarm = deadline }
  }

  private func isSuppressed(_ place: AlarmPlace) -> Bool {
    var index = Int(place.firstSuppressor)
    let end = index + Int(place.suppressorCount)
    while index < end {
      if alarms[Int(suppressors[index])].stands { return true }
      index += 1
    }
    return false
  }

  /// There is room: it was asked for before.
  private mutating func report(
    _ event: AlarmEvent, by: UnsafeBufferPointer<UInt8>, note: UnsafeBufferPointer<UInt8>, at now: Instant
  ) {
    _ = channel.filling.append(event, by: by, note: note)
    produced += 1
    handOverInHaste(at: now)
  }

  private func addCauses(to event: inout AlarmEvent, of condition: Program) {
    var index = 0
    while index < Int(condition.length) {
      if let point = condition.point(index, programs) {
        let state = states[point]
        let series = state.place.series
        var known = false
        var seen = 0
        while seen < Int(event.causeCount) {
          if event.cause(seen).series == series { known = true }
          seen += 1
        }
        if !known { event.add(AlarmCause(series: series, quality: state.quality, raw: state.raw)) }
      }
      index += 1
    }
  }

  private mutating func roomForEvent(textBytes: Int) -> Bool {
    if lostUnannounced > 0 { handOver() }
    if channel.filling.hasRoom(textBytes: textBytes) { return true }
    handOver()
    return channel.filling.hasRoom(textBytes: textBytes)
  }
}
