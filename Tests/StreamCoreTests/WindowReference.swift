import StreamCore

/// Windows as one would compute them with paper and time: every reading is kept, and each window is computed from
/// all of them when it is reported.
struct WindowReference {
  struct Reading {
    var at: Int64
    var value: Double
    var quality: Quality
    var isLate: Bool
  }
  struct Report: CustomStringConvertible {
    var statistic: Statistic
    var endNs: Int64
    var value: Double
    var quality: Quality
    /// Of a quantile: the exact one is `value`.
    var description: String { "\(statistic) at \(endNs): \(value) \(quality)" }
  }

  let everyNs: Int64
  let slideNs: Int64
  let latenessNs: Int64
  let validNs: Int64
  let statistics: [Statistic]
  private var readings: [Reading] = []
  private var starts: [Int64] = []
  private var end = Int64.max
  private var waiting: [Int] = []
  private var reportedUpTo = -1
  private var offsetNs: Int64 = 0
  private(set) var reports: [Report] = []
  private(set) var missed = 0
  /// Begin and end of each pane.
  private(set) var panes: [(Int64, Int64)] = []

  init(everyNs: Int64, slideNs: Int64, latenessNs: Int64, validNs: Int64, statistics: [Statistic]) {
    self.everyNs = everyNs
    self.slideNs = slideNs
    self.latenessNs = latenessNs
    self.validNs = validNs
    self.statistics = statistics
  }

  private func multiple(atOrBefore moment: Int64) -> Int64 {
    var remainder = (moment + offsetNs) % slideNs
    if remainder < 0 { remainder += slideNs }
    return moment - remainder
  }

  /// The multiple nearest to one length after the start; of two as near the later one.
  private func end(after start: Int64) -> Int64 {
    let below = multiple(atOrBefore: start + slideNs)
    return (start + slideNs) - below < slideNs - ((start + slideNs) - below) ? below : below + slideNs
  }

  mutating func live(_ value: Double, _ quality: Quality, at now: Int64) {
    if starts.isEmpty, quality <= .uncertain {
      starts = [multiple(atOrBefore: now)]
      end = starts[0] + slideNs
    }
    tick(now)
    readings.append(Reading(at: now, value: value, quality: quality, isLate: false))
  }

  mutating func late(_ value: Double, at then: Int64) {
    guard !starts.isEmpty else { return }
    guard let pane = starts.lastIndex(where: { $0 <= then }), pane > reportedUpTo, then < end else {
      missed += 1
      return
    }
    readings.append(Reading(at: then, value: value, quality: .good, isLate: true))
  }

  mutating func clock(_ offset: Int64, at now: Int64) {
    guard offset != offsetNs else { return }
    offsetNs = offset
    guard let start = starts.last else { return }
    let aim = end(after: start)
    if aim > now, end > now { end = aim }
  }

  mutating func tick(_ now: Int64) {
    guard !starts.isEmpty else { return }
    while now >= end {
      panes.append((starts[starts.count - 1], end))
      waiting.append(starts.count - 1)
      if waiting.count > Int((latenessNs + slideNs - 1) / slideNs) { report() }
      starts.append(end)
      end = end(after: end)
    }
    while let first = waiting.first, now >= panes[first].1 + latenessNs { report() }
  }

  private mutating func report() {
    let last = waiting.removeFirst()
    reportedUpTo = last
    let count = min(Int(everyNs / slideNs), last + 1)
    let from = panes[last + 1 - count].0
    let to = panes[last].1
    let length = Double(to - from) + Double(Int(everyNs / slideNs) - count) * Double(slideNs)
    let inside = readings.filter { $0.at >= from && $0.at < to && $0.quality <= .uncertain }
    let live = readings.filter { !$0.isLate }
    var good = 0.0
    var isTrue = 0.0
    var rises = 0
    var falls = 0
    var known: Double?
    for (index, reading) in live.enumerated() {
      var until = index + 1 < live.count ? live[index + 1].at : to
      if validNs > 0 { until = min(until, reading.at + validNs) }
      let span = Double(max(0, min(until, to) - max(reading.at, from)))
      if reading.quality == .good { good += span }
      guard reading.quality <= .uncertain else { continue }
      if reading.value != 0 { isTrue += span }
      if let known, reading.at >= from, reading.at < to {
        if known == 0, reading.value != 0 { rises += 1 }
        if known != 0, reading.value == 0 { falls += 1 }
      }
      known = reading.value
    }
    var quality = inside.map(\.quality).max() ?? .good
    if good < length * Limits.coverageGood { quality = max(quality, .uncertain) }
    for statistic in statistics {
      let own = statistic == .count || statistic == .coverage ? .good : quality
      let value: Double?
      switch statistic {
      case .rises: value = Double(rises)
      case .falls: value = Double(falls)
      case .timeTrue: value = inside.isEmpty && good == 0 ? nil : isTrue / 1e9
      case .coverage: value = min(1, good / length)
      default: value = Self.value(statistic, inside, last: self.last(of: inside))
      }
      if let value { reports.append(Report(statistic: statistic, endNs: to, value: value, quality: own)) }
    }
  }

  /// By the live readings; where none is live, the one that came last into the newest pane.
  private func last(of inside: [Reading]) -> Reading? {
    if let live = inside.last(where: { !$0.isLate }) { return live }
    func pane(_ reading: Reading) -> Int { starts.lastIndex { $0 <= reading.at } ?? 0 }
    let newest = inside.map(pane).max()
    return inside.last { pane($0) == newest }
  }

  private static func value(_ statistic: Statistic, _ inside: [Reading], last: Reading?) -> Double? {
    let values = inside.map(\.value)
    if statistic == .count { return Double(values.count) }
    guard !values.isEmpty else { return nil }
    // By time; of readings of one time as they came.
    let ordered = inside.enumerated().sorted { ($0.element.at, $0.offset) < ($1.element.at, $1.offset) }.map(\.element)
    let mean = values.reduce(0, +) / Double(values.count)
    switch statistic {
    case .min: return values.min()
    case .max: return values.max()
    case .sum: return values.reduce(0, +)
    case .mean: return mean
    case .stddev:
      guard values.count > 1 else { return nil }
      return (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count - 1)).squareRoot()
    case .first: return ordered.first { $0.at == ordered[0].at }?.value
    case .last: return last?.value
    case .rate:
      guard let first = ordered.first, let last, last.at > first.at else { return nil }
      return (last.value - first.value) / (Double(last.at - first.at) / 1e9)
    default:
      guard let percent = statistic.percentile else { return nil }
      return values.sorted()[(values.count - 1) * percent / 100]
    }
  }
}
