// The stages of one bus, in order: range → report by exception → windows → alarm conditions → batch. Owned by
// the bus's thread. All memory comes from the arena; no stage allocates, and no sample costs more than the
// windows of its point.
//
// Invariants:
//  1. produced = handed over + in the filling batch + lost, in samples; lost ones are announced in the next batch.
//  2. An alarm's change is taken only when there is room to report it: it can be late, never lost.
//  3. A value that is neither good nor uncertain enters no window and no condition.

package struct PointRule: BitwiseCopyable, Sendable {
  package var scale = 1.0
  package var offset = 0.0
  package var low = -Double.infinity
  package var high = Double.infinity
  package var deadband = 0.0
  /// 0: only on change.
  package var heartbeatNs: Int64 = 0
  package var encoding = Encoding.signed
  package var series: UInt16 = 0
  package var firstWindow: UInt16 = 0
  package var windowCount: UInt8 = 0
  /// Each reading is an event of its own (a card was shown), reported even if it equals the one before.
  package var isOccurrence = false
  package init() {}
}

/// The latest reading, and what was last reported of it.
package struct PointState: BitwiseCopyable, Sendable {
  package var value = 0.0
  package var raw: Int64 = 0
  package var at = Instant.zero
  package var reportedValue = 0.0
  /// Of texts: their hash.
  package var reportedRaw: Int64 = 0
  package var reportedAt = Instant.zero
  package var quality = Quality.bad
  package var reportedQuality = Quality.bad
  package var hasReported = false
  package init() {}

  package var isUsable: Bool { quality <= .uncertain }
}

/// How many of each thing a bus has; its memory follows.
package struct PipelineSize: BitwiseCopyable, Sendable {
  package var points = 0
  package var windows = 0
  package var alarms = 0
  /// Words of 8 bytes of the programs' code; what they keep between two evaluations; other devices' points that
  /// they name.
  package var codeWords = 0
  package var cells = 0
  package var links = 0
  package init() {}

  package var pointBytes: Int {
    Arena.bytes(of: PointRule.self, count: points) + Arena.bytes(of: PointState.self, count: points)
  }
  package var windowBytes: Int {
    Arena.bytes(of: WindowRule.self, count: windows) + Arena.bytes(of: WindowState.self, count: windows)
  }
  package var alarmBytes: Int {
    Arena.bytes(of: AlarmRule.self, count: alarms) + Arena.bytes(of: AlarmMachine.self, count: alarms)
  }
  package var programBytes: Int {
    Arena.bytes(of: UInt64.self, count: codeWords) + Arena.bytes(of: Int64.self, count: cells)
      + Arena.bytes(of: Link.self, count: links)
  }
  package var bytes: Int { pointBytes + windowBytes + alarmBytes + programBytes }
}

package struct Pipeline: ~Copyable {
  package let size: PipelineSize
  private let rules: UnsafeMutablePointer<PointRule>
  private let states: UnsafeMutablePointer<PointState>
  private let windowRules: UnsafeMutablePointer<WindowRule>
  private let windows: UnsafeMutablePointer<WindowState>
  private let alarmRules: UnsafeMutablePointer<AlarmRule>
  private let alarms: UnsafeMutablePointer<AlarmMachine>
  private let programs: ProgramMemory
  private let channel: BatchChannel

  /// Samples and events since start.
  package private(set) var produced: Int64 = 0
  package private(set) var lost: Int64 = 0
  /// Lost since the last batch that could say so.
  private var lostUnannounced = 0
  private var lostFrom = Instant.zero
  private var lostTo = Instant.zero
  private var nextWindowEnd = Instant.distantFuture
  private var nextAlarm = Instant.distantFuture
  /// The store is behind: not before then is a hand-over tried again by the clock.
  private var retryHandOverAt = Instant.zero
  /// A batch was handed over since `takeHandedOver()` was last asked.
  private var handedOver = false

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
  /// `text`: of encodings that have one, empty otherwise.
  package mutating func accept(
    point: Int, raw: Int64, quality: Quality, text: UnsafeBufferPointer<UInt8>, at now: Instant
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
    states[point].quality = quality
    states[point].at = now
    if quality <= .uncertain {
      states[point].value = value
      states[point].raw = raw
    }
    if isDue(rule, states[point], value: value, identity: identity, quality: quality, at: now) {
      let carried = quality <= .uncertain
      let sample = Sample(at: now, raw: carried ? raw : 0, series: rule.series, quality: quality)
      emit(sample, text: carried && rule.encoding.hasText ? text : UnsafeBufferPointer(start: nil, count: 0))
      states[point].reportedValue = value
      states[point].reportedRaw = identity
      states[point].reportedQuality = quality
      states[point].reportedAt = now
      states[point].hasReported = true
    }
    guard quality <= .uncertain, !rule.encoding.hasText else { return }
    var index = Int(rule.firstWindow)
    let end = index + Int(rule.windowCount)
    while index < end {
      let everyNs = windowRules[index].everyNs
      if windows[index].startNs == .min {
        open(index, at: now)
      } else if now.nanoseconds - windows[index].startNs >= everyNs {
        close(index, at: now)
      }
      windows[index].add(value: value, raw: raw, quality: quality)
      index += 1
    }
  }

  /// The device answers no more: its points are bad until they are read again.
  package mutating func silence(points: Range<Int>, at now: Instant) {
    for point in points where states[point].quality != .bad || !states[point].hasReported {
      accept(point: point, raw: 0, quality: .bad, text: UnsafeBufferPointer(start: nil, count: 0), at: now)
    }
  }

  private func isDue(
    _ rule: PointRule, _ state: PointState, value: Double, identity: Int64, quality: Quality, at now: Instant
  ) -> Bool {
    if rule.isOccurrence || !state.hasReported || quality != state.reportedQuality { return true }
    if rule.heartbeatNs > 0, now - state.reportedAt >= rule.heartbeatNs { return true }
    if quality > .uncertain { return false }
    if rule.deadband > 0, !rule.encoding.hasText { return (value - state.reportedValue).magnitude > rule.deadband }
    return identity != state.reportedRaw
  }

  /// Looks at the alarms of a device whose points were just read.
  package mutating func evaluate(alarms range: Range<Int>, at now: Instant) {
    for index in range {
      let rule = alarmRules[index]
      let when = rule.when.evaluate(programs, states, at: now).truth
      var clear = Truth.unknown
      if !rule.clear.isEmpty {
        clear = rule.clear.evaluate(programs, states, at: now).truth
      } else if when != .unknown {
        clear = when == .yes ? .no : .yes
      }
      // Invariant 2: with no room the change stays due and is looked at again.
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

  private func addCauses(to event: inout AlarmEvent, of rule: AlarmRule) {
    var index = 0
    while index < Int(rule.when.length) {
      if let point = rule.when.point(index, programs) {
        let state = states[point]
        let series = rules[point].series
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

  /// Lets time pass: closes windows, lets alarms come due, hands an old batch over.
  package mutating func tick(at now: Instant) {
    if now >= nextWindowEnd {
      nextWindowEnd = .distantFuture
      for index in 0..<size.windows where windows[index].startNs != .min {
        let end = windows[index].startNs + windowRules[index].everyNs
        if now.nanoseconds >= end {
          close(index, at: now)
        } else if end < nextWindowEnd.nanoseconds {
          nextWindowEnd = Instant(nanoseconds: end)
        }
      }
    }
    if now >= nextAlarm {
      nextAlarm = .distantFuture
      evaluate(alarms: 0..<size.alarms, at: now)
      // A change that found no room: look again soon, not at once for ever.
      if nextAlarm <= now { nextAlarm = now + Limits.handOverRetryNs }
    }
    let filling = channel.filling
    guard !filling.isEmpty, now >= retryHandOverAt else { return }
    if now - filling.info.openedAt >= Limits.batchAgeNsMax {
      handOver()
      retryHandOverAt = now + Limits.handOverRetryNs
    } else if filling.eventCount > 0 {
      handOverInHaste(at: now)
    }
  }

  /// A batch with an alarm does not wait to be filled, unless the store is behind: then it is tried again soon.
  private mutating func handOverInHaste(at now: Instant) {
    if channel.waiting < Limits.batchesHastyMax {
      handOver()
    } else {
      retryHandOverAt = now + Limits.handOverRetryNs
    }
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

  private mutating func open(_ index: Int, at now: Instant) {
    windows[index].open(at: now, everyNs: windowRules[index].everyNs)
    let end = Instant(nanoseconds: windows[index].startNs) + windowRules[index].everyNs
    if end < nextWindowEnd { nextWindowEnd = end }
  }

  /// Reports the window that is over and opens the one that `now` is in.
  private mutating func close(_ index: Int, at now: Instant) {
    let rule = windowRules[index]
    let window = windows[index]
    let end = Instant(nanoseconds: window.startNs) + rule.everyNs
    var position = 0
    while position < Int(rule.statisticCount) {
      let series = rule.firstSeries + UInt16(truncatingIfNeeded: position)
      if let raw = window.raw(rule.statistic(position)) {
        emit(
          Sample(at: end, raw: raw, series: series, quality: window.quality),
          text: UnsafeBufferPointer(start: nil, count: 0))
      }
      position += 1
    }
    open(index, at: now)
  }

  // MARK: Batches

  private mutating func emit(_ sample: Sample, text: UnsafeBufferPointer<UInt8>) {
    produced += 1
    if put(sample, text) { return }
    handOver()
    if put(sample, text) { return }
    if lostUnannounced == 0 { lostFrom = sample.at }
    lostUnannounced += 1
    lostTo = sample.at
    lost += 1
  }

  private mutating func put(_ sample: Sample, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
    let filling = channel.filling
    if lostUnannounced > 0 {
      // The announcement stands before the samples of its batch, so it needs one that is still empty.
      guard filling.isEmpty else { return false }
      filling.addLost(lostUnannounced, from: lostFrom, to: lostTo)
      lostUnannounced = 0
    }
    return text.count > 0 ? filling.append(sample, text: text) : filling.append(sample)
  }

  private mutating func roomForEvent() -> Bool {
    if lostUnannounced > 0 { handOver() }
    if channel.filling.eventCount < Limits.eventsPerBatchMax { return true }
    handOver()
    return channel.filling.eventCount < Limits.eventsPerBatchMax
  }

  /// Hands the filling batch over if it holds something and another is free.
  package mutating func handOver() {
    if lostUnannounced > 0, channel.filling.isEmpty {
      channel.filling.addLost(lostUnannounced, from: lostFrom, to: lostTo)
      lostUnannounced = 0
    }
    if !channel.filling.isEmpty, channel.handOver() { handedOver = true }
  }

  /// True once after a hand-over: wake the store.
  package mutating func takeHandedOver() -> Bool {
    defer { handedOver = false }
    return handedOver
  }

  /// FNV-1a: tells one text from the next; nothing rests on it but whether to report.
  private static func hash(_ text: UnsafeBufferPointer<UInt8>) -> Int64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    var index = 0
    while index < text.count {
      hash = (hash ^ UInt64(bitPattern: Int(text[index]).wide)) &* 0x100_0000_01b3
      index += 1
    }
    return Int64(bitPattern: hash)
  }
}
