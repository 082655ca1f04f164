// The windows' part of the pipeline: opens them, closes them, reports them. On the bus's thread.

extension Pipeline {
  mutating func enterWindows(of rule: PointRule, value: Double, raw: Int64, quality: Quality, at now: Instant) {
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

  /// Of a late reading: only into windows that are open and hold its time.
  mutating func enterOpenWindows(
    of rule: PointRule, value: Double, raw: Int64, quality: Quality, at then: Instant
  ) {
    var index = Int(rule.firstWindow)
    let end = index + Int(rule.windowCount)
    while index < end {
      let startNs = windows[index].startNs
      if startNs != .min, then.nanoseconds >= startNs, then.nanoseconds - startNs < windowRules[index].everyNs {
        windows[index].add(value: value, raw: raw, quality: quality)
      }
      index += 1
    }
  }

  /// Closes the windows whose end has come, without waiting for a reading.
  mutating func closeWindows(at now: Instant) {
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

  mutating func open(_ index: Int, at now: Instant) {
    windows[index].open(at: now, everyNs: windowRules[index].everyNs)
    let end = Instant(nanoseconds: windows[index].startNs) + windowRules[index].everyNs
    if end < nextWindowEnd { nextWindowEnd = end }
  }

  /// Reports the window that is over and opens the one that `now` is in.
  mutating func close(_ index: Int, at now: Instant) {
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
}
