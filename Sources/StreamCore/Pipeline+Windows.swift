// The windows' part of the pipeline: opens panes, lets readings in, closes them, reports windows. On the bus's thread.
//
// Invariants:
//  1. The time that a window accounts for has no hole: each pane's is accounted up to the later of its begin and the
//     point's latest reading.
//  2. A window is reported once, in order, when its lateness is over, by the clock alone if nothing is read.
//  3. What one reading costs is bounded by the panes of its point's windows.

extension Pipeline {
  /// Wall time = monotonic time + `offsetNs`: it became known, or was stepped. Windows that are open end at full
  /// minutes and hours of the new time if that moment is still to come; the others do from their next pane on.
  package mutating func setClock(offsetNs: Int64, at now: Instant) {
    guard offsetNs != clockOffsetNs else { return }
    clockOffsetNs = offsetNs
    nextWindowEnd = .distantFuture
    for index in 0..<size.windows where windows[index].alive > 0 {
      let rule = windowRules[Int(windows[index].rule)]
      let pane = panes(index, rule)[0]
      let end = rule.end(ofPaneFrom: pane.startNs, offsetNs: offsetNs)
      if end > now.nanoseconds, pane.endNs > now.nanoseconds { pane.endNs = end }
      watch(index, rule)
    }
  }

  func panes(_ index: Int, _ rule: WindowRule) -> PaneRing {
    let window = windows[index]
    return PaneRing(
      words: windowWords + window.words, kept: rule.kept, stride: rule.kept.words,
      count: rule.paneCount, newest: window.newest)
  }

  /// A live reading. `before`: what was known of the point until now.
  mutating func enterWindows(
    of rule: PointRule, _ before: PointState, value: Double, raw: Int64, quality: Quality, at now: Instant
  ) {
    var index = Int(before.place.firstWindow)
    let end = index + Int(rule.windowCount)
    while index < end {
      let window = windowRules[Int(windows[index].rule)]
      // Windows begin with the first value.
      if windows[index].alive == 0, quality <= .uncertain { open(index, window, at: now) }
      if windows[index].alive > 0 {
        if now.nanoseconds >= panes(index, window)[0].endNs || windows[index].waiting > 0 {
          advance(index, window, before, at: now)
        }
        let pane = panes(index, window)[0]
        pass(rule, before, pane, until: now.nanoseconds)
        if quality <= .uncertain {
          pane.add(value: value, raw: raw, quality: quality, at: now.nanoseconds, rule: rule)
          if before.hasValue, before.value == 0, value != 0 { pane.addRise() }
          if before.hasValue, before.value != 0, value == 0 { pane.addFall() }
        }
      }
      index += 1
    }
  }

  /// A late reading: only into panes that are part of no reported window.
  mutating func enterOpenWindows(
    of rule: PointRule, _ place: PointPlace, value: Double, raw: Int64, quality: Quality, at then: Instant
  ) {
    var missed = false
    for index in Int(place.firstWindow)..<(Int(place.firstWindow) + Int(rule.windowCount)) {
      let window = windows[index]
      guard window.alive > 0 else { continue }
      let panes = panes(index, windowRules[Int(window.rule)])
      var position = 0
      while position <= window.waiting, then.nanoseconds < panes[position].startNs { position += 1 }
      guard position <= window.waiting, then.nanoseconds < panes[position].endNs else {
        missed = true
        continue
      }
      panes[position].add(
        value: value, raw: raw, quality: quality, at: then.nanoseconds, rule: rule, isLate: true)
    }
    if missed { missedWindow += 1 }
  }

  /// Closes and reports what is due, without waiting for a reading.
  mutating func closeWindows(at now: Instant) {
    nextWindowEnd = .distantFuture
    for index in 0..<size.windows where windows[index].alive > 0 {
      let rule = windowRules[Int(windows[index].rule)]
      advance(index, rule, states[Int(windows[index].point)], at: now)
    }
  }

  private mutating func open(_ index: Int, _ rule: WindowRule, at now: Instant) {
    let start = rule.bound(before: now.nanoseconds, offsetNs: clockOffsetNs)
    windows[index].alive = 1
    windows[index].waiting = 0
    panes(index, rule)[0].open(startNs: start, endNs: start &+ rule.slideNs)
    watch(index, rule)
  }

  /// Closes panes whose end has come, and reports windows whose lateness is over.
  private mutating func advance(_ index: Int, _ rule: WindowRule, _ state: PointState, at now: Instant) {
    let pointRule = rules[Int(state.place.rule)]
    var turns = 0
    while now.nanoseconds >= panes(index, rule)[0].endNs {
      let pane = panes(index, rule)[0]
      pass(pointRule, state, pane, until: pane.endNs)
      windows[index].waiting += 1
      if windows[index].waiting > Int(rule.panesWaiting) { reportWindow(index, rule, pointRule, isTurning: true) }
      turns += 1
      if turns > rule.paneCount {
        // Nobody has looked at the clock for longer than all panes: nothing is known of that time.
        while windows[index].waiting > 0 { reportWindow(index, rule, pointRule, isTurning: true) }
        open(index, rule, at: now)
        return
      }
      let newest = windows[index].newest + 1
      windows[index].newest = newest == rule.paneCount ? 0 : newest
      if windows[index].alive < rule.paneCount { windows[index].alive += 1 }
      panes(index, rule)[0].open(
        startNs: pane.endNs, endNs: rule.end(ofPaneFrom: pane.endNs, offsetNs: clockOffsetNs))
    }
    while windows[index].waiting > 0,
      now - Instant(nanoseconds: panes(index, rule)[windows[index].waiting].endNs) >= rule.latenessNs
    { reportWindow(index, rule, pointRule, isTurning: false) }
    watch(index, rule)
  }

  /// Notes when the clock has to look at a window next.
  private mutating func watch(_ index: Int, _ rule: WindowRule) {
    let panes = panes(index, rule)
    var due = Instant(nanoseconds: panes[0].endNs)
    let waiting = windows[index].waiting
    if waiting > 0 {
      let report = Instant(nanoseconds: panes[waiting].endNs) + rule.latenessNs
      if report < due { due = report }
    }
    if due < nextWindowEnd { nextWindowEnd = due }
  }

  /// The time that the point's state has held within a pane, until `endNs`.
  private func pass(_ rule: PointRule, _ state: PointState, _ pane: Pane, until endNs: Int64) {
    var until = endNs
    if rule.validNs > 0 {
      let validUntil = state.at + rule.validNs
      if validUntil.nanoseconds < until { until = validUntil.nanoseconds }
    }
    let from = state.at.nanoseconds > pane.startNs ? state.at.nanoseconds : pane.startNs
    if until > from { pane.pass(until &- from, quality: state.quality, isTrue: state.value != 0) }
  }

  // MARK: Reporting

  /// Reports the oldest window that waits. `isTurning`: the newest pane has ended and is still at 0.
  private mutating func reportWindow(
    _ index: Int, _ rule: WindowRule, _ pointRule: PointRule, isTurning: Bool
  ) {
    let ring = panes(index, rule)
    let last = windows[index].waiting - (isTurning ? 1 : 0)
    windows[index].waiting -= 1
    let count = Swift.min(Int(rule.panesPerWindow), windows[index].alive - last)
    let range = last..<(last + count)
    let whole = merged(ring, range, rule, pointRule)
    let missing = Int(rule.panesPerWindow) - count
    let lengthNs = (whole.endNs &- whole.startNs) &+ missing.wide &* rule.slideNs
    let isCovered = whole.goodNs.double >= lengthNs.double * Limits.coverageGood
    let quality = isCovered || whole.quality > .uncertain ? whole.quality : .uncertain
    var position = 0
    while position < Int(rule.statisticCount) {
      let statistic = rule.statistic(position)
      let series = windows[index].firstSeries + UInt16(truncatingIfNeeded: position)
      position += 1
      var raw: Int64
      if let percent = statistic.percentile {
        guard whole.count > 0 else { continue }
        raw = Sketch.quantile(percent, of: ring, range).asWord
      } else if statistic == .coverage {
        raw = Swift.min(whole.goodNs.double / lengthNs.double, 1).asWord
      } else {
        guard let plain = whole.raw(statistic, rule: pointRule) else { continue }
        raw = plain
      }
      // How often, and how much of the time: that is certain, whatever was read.
      var own = statistic == .count || statistic == .coverage ? .good : quality
      if statistic.isComputed, !raw.asDouble.isFinite {
        raw = 0
        own = .bad
      }
      emit(
        Sample(at: Instant(nanoseconds: whole.endNs), raw: raw, series: series, quality: own),
        text: UnsafeBufferPointer(start: nil, count: 0))
    }
  }

  /// All panes of a window as one; a single one as it stands.
  private func merged(
    _ ring: PaneRing, _ range: Range<Int>, _ rule: WindowRule, _ pointRule: PointRule
  ) -> Pane {
    guard range.count > 1 else { return ring[range.lowerBound] }
    // Behind the windows' own words there is room for one.
    let scratch = Pane(words: windowWords + size.windowWords, kept: rule.kept)
    let plain = rule.kept.plainWords
    let oldest = ring[range.upperBound - 1]
    var word = 0
    while word < plain {
      scratch.words[word] = oldest.words[word]
      word += 1
    }
    var position = range.upperBound - 2
    while position >= range.lowerBound {
      scratch.merge(ring[position], rule: pointRule)
      position -= 1
    }
    return scratch
  }
}
