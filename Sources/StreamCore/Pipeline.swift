// The stages of one bus, in order: range → report by exception → windows → alarm conditions → batch. Owned by
// the bus's thread. All memory comes from the arena; no stage allocates, and no sample costs more than the
// windows of its point.
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
  let windowRules: UnsafeMutablePointer<WindowRule>
  let windows: UnsafeMutablePointer<WindowState>
  let alarmRules: UnsafeMutablePointer<AlarmRule>
  let alarms: UnsafeMutablePointer<AlarmMachine>
  let programs: ProgramMemory
  let channel: BatchChannel

  /// Samples and events since start.
  package internal(set) var produced: Int64 = 0
  package internal(set) var lost: Int64 = 0
  /// Readings that came after a newer one of their point, or were replayed.
  package private(set) var late: Int64 = 0
  /// Lost since the last batch that could say so.
  var lostUnannounced = 0
  var lostFrom = Instant.zero
  var lostTo = Instant.zero
  var nextWindowEnd = Instant.distantFuture
  var nextAlarm = Instant.distantFuture
  /// The store is behind: not before then is a hand-over tried again by the clock.
  var retryHandOverAt = Instant.zero
  /// A batch was handed over since `takeHandedOver()` was last asked.
  var handedOver = false

  package init(size: PipelineSize, arena: inout Arena, channel: BatchChannel) {
    self.size = size
    self.channel = channel
    rules = arena.take(PointRule.self, count: size.points, first: PointRule())
    states = arena.take(PointState.self, count: size.points, first: PointState())
    windowRules = arena.take(
      WindowRule.self, count: size.windows, first: WindowRule(point: 0, everyNs: 1, firstSeries: 0))
    windows = arena.take(WindowState.self, count: size.windows, first: WindowState())
    alarmRules = arena.take(AlarmRule.self, count: size.alarms, first: AlarmRule(alarm: 0, severity: .notice))
    alarms = arena.take(AlarmMachine.self, count: size.alarms, first: AlarmMachine())
    programs = ProgramMemory(
      code: arena.take(UInt64.self, count: size.codeWords, first: 0),
      links: arena.take(Link.self, count: size.links, first: Link()),
      cells: arena.take(Int64.self, count: size.cells, first: 0))
  }

  // MARK: Set-up, before the thread runs

  package func setPoint(_ index: Int, _ rule: PointRule) {
    precondition(index >= 0 && index < size.points)
    rules[index] = rule
  }
  package func setWindow(_ index: Int, _ rule: WindowRule) {
    precondition(index >= 0 && index < size.windows)
    windowRules[index] = rule
  }
  package func setAlarm(_ index: Int, _ rule: AlarmRule, state: AlarmState) {
    precondition(index >= 0 && index < size.alarms)
    alarmRules[index] = rule
    alarms[index].state = state
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
    let rule = rules[point]
    var quality = quality
    let value: Double
    let identity: Int64
    if rule.encoding.hasText {
      value = .nan
      identity = Pipeline.hash(text)
    } else {
      value = rule.encoding.value(raw: raw, scale: rule.scale, offset: rule.offset)
      identity = raw
      if quality == .good, !value.isFinite { quality = .bad }
      if quality == .good, value < rule.low || value > rule.high { quality = .uncertain }
    }
    if isReplayed || now < states[point].at {
      return keepLate(point, value: value, raw: raw, quality: quality, text: text, at: now)
    }
    states[point].quality = quality
    states[point].at = now
    if quality <= .uncertain {
      states[point].value = value
      states[point].raw = raw
    }
    if isDue(rule, states[point], value: value, identity: identity, quality: quality, at: now) {
      report(rule, raw: raw, quality: quality, text: text, at: now)
      states[point].reportedValue = value
      states[point].reportedRaw = identity
      states[point].reportedQuality = quality
      states[point].reportedAt = now
      states[point].hasReported = true
    }
    guard quality <= .uncertain, !rule.encoding.hasText else { return }
    enterWindows(of: rule, value: value, raw: raw, quality: quality, at: now)
  }

  /// A late reading is history: it goes out, and into those windows that are still open for its time. What is known
  /// of the present, and with it every condition, stays as it is.
  private mutating func keepLate(
    _ point: Int, value: Double, raw: Int64, quality: Quality, text: UnsafeBufferPointer<UInt8>, at then: Instant
  ) {
    let rule = rules[point]
    late += 1
    report(rule, raw: raw, quality: quality, text: text, at: then)
    guard quality <= .uncertain, !rule.encoding.hasText else { return }
    enterOpenWindows(of: rule, value: value, raw: raw, quality: quality, at: then)
  }

  /// The device answers no more: its points are bad until they are read again.
  package mutating func silence(points: Range<Int>, at now: Instant) {
    for point in points where states[point].quality != .bad || !states[point].hasReported {
      accept(point: point, raw: 0, quality: .bad, text: UnsafeBufferPointer(start: nil, count: 0), at: now)
    }
  }

  /// Lets time pass: closes windows, lets alarms come due, hands an old batch over.
  package mutating func tick(at now: Instant) {
    if now >= nextWindowEnd { closeWindows(at: now) }
    if now >= nextAlarm { tickAlarms(at: now) }
    tickBatch(at: now)
  }

  /// When `tick` has something to do.
  package var nextDeadline: Instant {
    var deadline = nextWindowEnd < nextAlarm ? nextWindowEnd : nextAlarm
    let filling = channel.filling
    if !filling.isEmpty {
      var due = filling.info.openedAt + Limits.batchAgeNsMax
      if due < retryHandOverAt || filling.eventCount > 0 { due = retryHandOverAt }
      if due < deadline { deadline = due }
    }
    return deadline
  }
}
