// The stages of one bus, in order: conditioning → range → report by exception → windows → alarm conditions →
// batch. Owned by the bus's thread. All memory comes from the arena; no stage allocates, and no sample costs
// more than the panes of its point's windows.
//
// Invariants:
//  1. produced = handed over + in the filling batch + lost, in samples; lost ones are announced in the next batch.
//  2. An alarm's change is taken only when there is room to report it: it can be late, never lost.
//  3. A value that is neither good nor uncertain enters no window and no condition.
//  4. A late reading enters no condition, and no window that is closed.

package struct Pipeline: ~Copyable {
  package let size: PipelineSize
  let rules: UnsafeMutablePointer<PointRule>
  let states: UnsafeMutablePointer<PointState>
  let conditioningRules: UnsafeMutablePointer<ConditioningRule>
  let conditioningWords: UnsafeMutablePointer<Int64>
  let windowRules: UnsafeMutablePointer<WindowRule>
  let windows: UnsafeMutablePointer<WindowState>
  let windowWords: UnsafeMutablePointer<Int64>
  let alarmRules: UnsafeMutablePointer<AlarmRule>
  let alarmPlaces: UnsafeMutablePointer<AlarmPlace>
  let alarms: UnsafeMutablePointer<AlarmMachine>
  /// Alarms that explain others, as their places name them.
  let suppressors: UnsafeMutablePointer<UInt16>
  let programs: ProgramMemory
  let computedRules: UnsafeMutablePointer<ComputedRule>
  let channel: BatchChannel

  /// Samples and events since start.
  package internal(set) var produced: Int64 = 0
  package internal(set) var lost: Int64 = 0
  /// Readings that came after a newer one of their point, or were replayed.
  package private(set) var late: Int64 = 0
  /// Of these, those that found a window of theirs already reported.
  package internal(set) var missedWindow: Int64 = 0
  /// What makes wall time of monotonic time; 0 until it is known. Windows end at full minutes and hours of it.
  package internal(set) var clockOffsetNs: Int64 = 0
  /// Lost since the last batch that could say so.
  var lostUnannounced = 0
  var lostFrom = Instant.zero
  var lostTo = Instant.zero
  var nextWindowEnd = Instant.distantFuture
  var nextAlarm = Instant.distantFuture
  /// When what rests on time or on other devices is looked at again; nothing does: never.
  var nextLook = Instant.distantFuture
  /// The store is behind: not before then is a hand-over tried again by the clock.
  var retryHandOverAt = Instant.zero
  /// A batch was handed over since `takeHandedOver()` was last asked.
  var handedOver = false

  package init(size: PipelineSize, arena: inout Arena, channel: BatchChannel) {
    self.size = size
    self.channel = channel
    rules = arena.take(PointRule.self, count: size.pointRules, first: PointRule())
    states = arena.take(PointState.self, count: size.points, first: PointState())
    conditioningRules = arena.take(
      ConditioningRule.self, count: size.conditioningRules, first: ConditioningRule())
    conditioningWords = arena.take(Int64.self, count: size.conditioningWords, first: 0)
    windowRules = arena.take(WindowRule.self, count: size.windowRules, first: WindowRule(everyNs: 1))
    windows = arena.take(WindowState.self, count: size.windows, first: WindowState())
    windowWords = arena.take(Int64.self, count: size.windowWords + Accumulators.plainWordsMax, first: 0)
    alarmRules = arena.take(AlarmRule.self, count: size.alarmRules, first: AlarmRule(severity: .notice))
    alarmPlaces = arena.take(AlarmPlace.self, count: size.alarms, first: AlarmPlace(rule: 0, alarm: 0))
    suppressors = arena.take(UInt16.self, count: size.suppressors, first: 0)
    alarms = arena.take(AlarmMachine.self, count: size.alarms, first: AlarmMachine())
    programs = ProgramMemory(
      code: arena.take(UInt64.self, count: size.codeWords, first: 0),
      links: arena.take(Link.self, count: size.links, first: Link()),
      cells: arena.take(Int64.self, count: size.cells, first: 0))
    computedRules = arena.take(
      ComputedRule.self, count: size.computed, first: ComputedRule(point: 0, program: Program()))
  }

  // MARK: Set-up, before the thread runs

  /// A point's rule names its conditioning by this number and one.
  package func setConditioningRule(_ index: Int, _ rule: ConditioningRule) {
    precondition(index >= 0 && index < size.conditioningRules)
    conditioningRules[index] = rule
  }
  package func setPointRule(_ index: Int, _ rule: PointRule) {
    precondition(index >= 0 && index < size.pointRules && Int(rule.conditioning) <= size.conditioningRules)
    rules[index] = rule
  }
  /// Its rule is set already.
  package func setPoint(_ index: Int, _ place: PointPlace) {
    precondition(index >= 0 && index < size.points && Int(place.rule) < size.pointRules)
    precondition(Int(place.firstWindow) + Int(rules[Int(place.rule)].windowCount) <= size.windows)
    states[index].place = place
  }
  package func setWindowRule(_ index: Int, _ rule: WindowRule) {
    precondition(index >= 0 && index < size.windowRules)
    windowRules[index] = rule
  }
  /// Its rule is set already.
  package func setWindow(_ index: Int, _ window: WindowState) {
    precondition(index >= 0 && index < size.windows && Int(window.rule) < size.windowRules)
    let end = window.words + windowRules[Int(window.rule)].words
    precondition(end <= size.windowWords && Int(window.point) < size.points)
    windows[index] = window
  }
  package func setAlarmRule(_ index: Int, _ rule: AlarmRule) {
    precondition(index >= 0 && index < size.alarmRules)
    alarmRules[index] = rule
  }
  package func setSuppressor(_ index: Int, alarm: Int) {
    precondition(index >= 0 && index < size.suppressors && alarm >= 0 && alarm < size.alarms)
    suppressors[index] = UInt16(truncatingIfNeeded: alarm)
  }
  /// `left`: how it was at the last stop, on the present clock. Its rule is set before.
  package mutating func setAlarm(_ index: Int, _ place: AlarmPlace, left: AlarmEvent?, at now: Instant) {
    precondition(index >= 0 && index < size.alarms && Int(place.rule) < size.alarmRules)
    precondition(Int(place.firstSuppressor) + Int(place.suppressorCount) <= size.suppressors)
    alarmPlaces[index] = place
    if place.when.isRestless || place.clear.isRestless { nextLook = .zero }
    guard let left else { return }
    let rule = alarmRules[Int(place.rule)]
    alarms[index] = AlarmMachine(left, rule: rule, at: now)
    nextAlarm = Swift.min(nextAlarm, alarms[index].deadline(rule))
  }
  package func setCode(_ index: Int, _ word: UInt64) {
    precondition(index >= 0 && index < size.codeWords)
    programs.code[index] = word
  }

  package func state(of point: Int) -> PointState {
    precondition(point >= 0 && point < size.points)
    return states[point]
  }

  // MARK: The data's way

  /// One reading of one point. `quality`: what the decoder knows (good or bad); the range is checked here.
  /// `text`: of encodings that have one, empty otherwise. A reading that is older than the one before, or is
  /// replayed after an outage, is late: see `keepLate`.
  package mutating func accept(
    point: Int, raw: Int64, quality: Quality, text: UnsafeBufferPointer<UInt8>, at now: Instant,
    isReplayed: Bool = false
  ) {
    precondition(point >= 0 && point < size.points)
    let before = states[point]
    let rule = rules[Int(before.place.rule)]
    if isReplayed || now < before.at {
      return keepLate(before.place, rule, raw: raw, quality: quality, text: text, at: now)
    }
    var raw = raw
    var quality = quality
    var value = Double.nan
    var identity: Int64 = 0
    if rule.encoding.hasText {
      identity = Pipeline.hash(text)
    } else {
      value = rule.value(raw)
      if quality == .good, !value.isFinite { quality = .bad }
      if rule.conditioning > 0 {
        condition(before.place, rule, raw: &raw, value: &value, quality: &quality, at: now)
      } else if quality == .good, value < rule.low || value > rule.high {
        quality = .uncertain
      }
      identity = raw
    }
    if quality <= .uncertain {
      states[point].value = value
      states[point].raw = raw
      states[point].hasValue = true
    }
    states[point].quality = quality
    states[point].at = now
    if isDue(rule, before, value: value, identity: identity, quality: quality, at: now) {
      report(before.place.series, rule, raw: raw, quality: quality, text: text, at: now)
      states[point].reportedRaw = identity
      states[point].reportedQuality = quality
      if rule.heartbeatNs > 0 { states[point].noteReport(at: now) }
      states[point].hasReported = true
    }
    guard rule.windowCount > 0, !rule.encoding.hasText else { return }
    enterWindows(of: rule, before, value: value, raw: raw, quality: quality, at: now)
  }

  /// A late reading is history: it goes out, and into those windows that are still open for its time. What is
  /// known of the present, and with it every condition, stays as it is. Neither filters nor counters can look
  /// back: what was read of a counter can't be placed any more.
  private mutating func keepLate(
    _ place: PointPlace, _ rule: PointRule, raw: Int64, quality: Quality, text: UnsafeBufferPointer<UInt8>,
    at then: Instant
  ) {
    late += 1
    if rule.conditioning > 0, conditioningRules[Int(rule.conditioning) - 1].counter != .none { return }
    var quality = quality
    var value = Double.nan
    if !rule.encoding.hasText {
      value = rule.value(raw)
      if quality == .good, !value.isFinite { quality = .bad }
      if quality == .good, value < rule.low || value > rule.high { quality = .uncertain }
    }
    report(place.series, rule, raw: raw, quality: quality, text: text, at: then)
    guard quality <= .uncertain, rule.windowCount > 0, !rule.encoding.hasText else { return }
    enterOpenWindows(of: rule, place, value: value, raw: raw, quality: quality, at: then)
  }

  /// What a point with conditioning makes of a reading.
  private func condition(
    _ place: PointPlace, _ rule: PointRule, raw: inout Int64, value: inout Double, quality: inout Quality,
    at now: Instant
  ) {
    let conditioning = Conditioning(
      words: conditioningWords + Int(truncatingIfNeeded: place.words),
      rule: conditioningRules[Int(rule.conditioning) - 1])
    guard quality <= .uncertain else { return conditioning.interrupt() }
    raw = conditioning.pass(raw, point: rule, at: now)
    value = rule.value(raw)
    let isDoubtful = conditioning.isDoubtful(value, raw: raw, at: now)
    if quality == .good, isDoubtful || value < rule.low || value > rule.high { quality = .uncertain }
  }

  /// The device answers no more: its points are bad until they are read again.
  package mutating func silence(points: Range<Int>, at now: Instant) {
    for point in points
    where !isComputed(point) && (states[point].quality != .bad || !states[point].hasReported) {
      accept(point: point, raw: 0, quality: .bad, text: UnsafeBufferPointer(start: nil, count: 0), at: now)
    }
  }

  /// Lets time pass: closes windows, lets alarms come due, hands an old batch over.
  package mutating func tick(at now: Instant) {
    if now >= nextWindowEnd { closeWindows(at: now) }
    if now >= nextAlarm || now >= nextLook { tickAlarms(at: now) }
    tickBatch(at: now)
  }

  /// When `tick` has something to do.
  package var nextDeadline: Instant {
    var deadline = nextWindowEnd < nextAlarm ? nextWindowEnd : nextAlarm
    if nextLook < deadline { deadline = nextLook }
    let filling = channel.filling
    if !filling.isEmpty {
      var due = filling.info.openedAt + Limits.batchAgeNsMax
      if due < retryHandOverAt || filling.eventCount > 0 { due = retryHandOverAt }
      if due < deadline { deadline = due }
    }
    return deadline
  }
}
