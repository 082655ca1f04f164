// Report by exception: which readings go out as samples of their own. On the bus's thread.

extension Pipeline {
  /// Sends a reading out as a sample of the point's own series.
  mutating func report(
    _ series: UInt16, _ rule: PointRule, raw: Int64, quality: Quality, text: UnsafeBufferPointer<UInt8>,
    at moment: Instant
  ) {
    let carried = quality <= .uncertain
    let sample = Sample(at: moment, raw: carried ? raw : 0, series: series, quality: quality)
    emit(sample, text: carried && rule.encoding.hasText ? text : UnsafeBufferPointer(start: nil, count: 0))
  }

  func isDue(
    _ rule: PointRule, _ state: PointState, value: Double, identity: Int64, quality: Quality, at now: Instant
  ) -> Bool {
    if rule.isOccurrence || !state.hasReported || quality != state.reportedQuality { return true }
    if rule.heartbeatNs > 0, state.sinceReportNs(at: now) >= rule.heartbeatNs { return true }
    if quality > .uncertain { return false }
    guard rule.deadband > 0, !rule.encoding.hasText else { return identity != state.reportedRaw }
    let reported = rule.value(state.reportedRaw)
    let distance = rule.isDeadbandRelative ? rule.deadband * reported.magnitude : rule.deadband
    return (value - reported).magnitude > distance
  }

  /// FNV-1a: tells one text from the next; nothing rests on it but whether to report.
  static func hash(_ text: UnsafeBufferPointer<UInt8>) -> Int64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    var index = 0
    while index < text.count {
      hash = (hash ^ UInt64(bitPattern: Int(text[index]).wide)) &* 0x100_0000_01b3
      index += 1
    }
    return Int64(bitPattern: hash)
  }
}
