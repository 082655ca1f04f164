// The alarms' part of the pipeline: looks at conditions, reports changes. On the bus's thread.
//
// Invariant: a change is taken only when there is room to report it; it can be late, never lost.

extension Pipeline {
  /// Looks at the alarms of a device whose points were just read.
  package mutating func evaluate(alarms range: Range<Int>, at now: Instant) {
    for index in range {
      let rule = alarmRules[index]
      // An edge is seen once: not before there is room to say so.
      if rule.when.hasEdges || rule.clear.hasEdges, !roomForEvent() {
        nextAlarm = Swift.min(nextAlarm, now + Limits.handOverRetryNs)
        continue
      }
      let when = rule.when.evaluate(programs, states, at: now).truth
      var clear = Truth.unknown
      if !rule.clear.isEmpty {
        clear = rule.clear.evaluate(programs, states, at: now).truth
      } else if when != .unknown {
        clear = when == .yes ? .no : .yes
      }
      // With no room the change stays due and is looked at again.
      if alarms[index].observe(when: when, clear: clear, rule: rule, at: now), roomForEvent() {
        var event = alarms[index].advance(rule: rule, at: now)
        addCauses(to: &event, of: rule)
        _ = channel.filling.append(event)
        produced += 1
        handOverInHaste(at: now)
      }
      let deadline = alarms[index].deadline(rule)
      if deadline < nextAlarm { nextAlarm = deadline }
    }
  }

  /// Lets alarms come due by the clock alone.
  mutating func tickAlarms(at now: Instant) {
    if now >= nextLook { nextLook = now + Limits.lookAgainNs }
    nextAlarm = .distantFuture
    evaluate(alarms: 0..<size.alarms, at: now)
    // A change that found no room: look again soon, not at once for ever.
    if nextAlarm <= now { nextAlarm = now + Limits.handOverRetryNs }
  }

  func addCauses(to event: inout AlarmEvent, of rule: AlarmRule) {
    var index = 0
    while index < Int(rule.when.length) {
      if let point = rule.when.point(index, programs) {
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

  mutating func roomForEvent() -> Bool {
    if lostUnannounced > 0 { handOver() }
    if channel.filling.eventCount < Limits.eventsPerBatchMax { return true }
    handOver()
    return channel.filling.eventCount < Limits.eventsPerBatchMax
  }
}
