// Decides what becomes of the samples of a stride of old blocks: what is kept whole, what makes room, which windows are
// merged into one. Pure; memory as long as a stride lasts.
//
//   each sample, in order -> its fate, provisionally   ->  end()  ->  fates, and the merged values by place
//
// Invariants:
//  1. Ten neighbouring windows of a series become one only if all ten are in the stride; others stay as they are.
//  2. A merged value is exactly that of the longer window, or there is none: what can't be merged exactly goes.
//  3. The merged window stands in the place of the last of its parts.

import StreamCore

struct Thinning {
  enum Fate: UInt8 {
    case evicted, thinned, kept, merged
  }

  private(set) var fates: [Fate] = []
  /// By place, ascending.
  private(set) var merged: [(place: Int, raw: Int64, quality: Quality)] = []
  /// The part before a part, by place.
  private var before: [UInt16] = []
  private var states: [State]
  private var touched: [UInt16] = []

  fileprivate static let none = UInt16.max

  fileprivate struct State {
    var interval = Int64.min
    var last = Thinning.none
    var parts: UInt8 = 0
    var valued: UInt8 = 0
    var quality = Quality.good
    var isBroken = false
    /// Sum, or the least, greatest, first or last.
    var number = 0.0
    var raw: Int64 = 0
    /// Of a mean: what its windows counted; the mean that still waits for its count, and the count that waits.
    var weight = 0.0
    var paired: UInt8 = 0
    var mean: (at: Instant, value: Double)?
    var count: (at: Instant, value: Int64)?
  }

  init(seriesCount: Int) {
    states = [State](repeating: State(), count: seriesCount)
    fates.reserveCapacity(Limits.samplesPerStrideMax)
    before.reserveCapacity(Limits.samplesPerStrideMax)
  }

  static func bytes(seriesCount: Int) -> Int {
    seriesCount * MemoryLayout<State>.stride + Limits.samplesPerStrideMax * 3 + Limits.samplesPerStrideMax / 10 * 24
  }

  /// The next sample. `isWanted`: somebody has yet to read it. `offsetNs`: what leads from its time to the wall's.
  mutating func take(_ sample: Sample, _ rule: SeriesRule, isWanted: Bool, offsetNs: Int64) {
    let place = fates.count
    before.append(Self.none)
    switch rule.keep {
    case .long: fates.append(.kept)
    case .normal where isWanted: thin(sample, rule, place, offsetNs)
    default: fates.append(.evicted)
    }
  }

  /// The next sample is of no concern.
  mutating func pass() {
    before.append(Self.none)
    fates.append(.evicted)
  }

  private mutating func thin(_ sample: Sample, _ rule: SeriesRule, _ place: Int, _ offsetNs: Int64) {
    fates.append(.kept)
    let series = Int(sample.series)
    // A text has nothing between it and the next one; a lost catalogue's series are unknown.
    guard !sample.hasText, series < states.count else { return }
    let spanNs = rule.statistic == nil ? Limits.thinReadingNs : rule.windowNs * Int64(Limits.windowsMerged)
    guard spanNs > 0 else { return }
    // A window's time is its end.
    let at = (sample.at + offsetNs).nanoseconds - (rule.statistic == nil ? 0 : 1)
    let interval = at >= 0 ? at / spanNs : (at + 1) / spanNs - 1
    if states[series].interval != interval { begin(interval, series, rule) }
    if rule.statistic == nil {
      // The last reading of each interval stays.
      if states[series].last != Self.none { fates[Int(states[series].last)] = .thinned }
    } else {
      before[place] = states[series].last
      add(sample, rule, series)
    }
    states[series].last = UInt16(place)
  }

  private mutating func begin(_ interval: Int64, _ series: Int, _ rule: SeriesRule) {
    if states[series].last == Self.none {
      touched.append(UInt16(series))
    } else if rule.statistic != nil {
      finish(series, rule)
    }
    // A count may come before its mean, and is then of the new interval already.
    states[series] = State(interval: interval, count: states[series].count)
  }

  private mutating func add(_ sample: Sample, _ rule: SeriesRule, _ series: Int) {
    states[series].parts &+= 1
    states[series].quality = max(states[series].quality, sample.quality)
    guard sample.quality != .bad else { return }
    let isFirst = states[series].valued == 0
    states[series].valued &+= 1
    let number = rule.encoding.value(raw: sample.raw, scale: 1, offset: 0)
    switch rule.statistic {
    case .min: if isFirst || rule.isLess(sample.raw, than: states[series].raw) { states[series].raw = sample.raw }
    case .max: if isFirst || rule.isLess(states[series].raw, than: sample.raw) { states[series].raw = sample.raw }
    case .first: if isFirst { states[series].raw = sample.raw }
    case .last: states[series].raw = sample.raw
    case .count:
      states[series].raw &+= sample.raw
      if let mean = rule.partner { pair(Int(mean), count: (sample.at, sample.raw)) }
    case .rises, .falls: states[series].raw &+= sample.raw
    case .sum, .timeTrue, .coverage: states[series].number += number
    case .mean where rule.partner != nil: pair(series, mean: (sample.at, number))
    default: states[series].isBroken = true
    }
  }

  /// A mean goes in with the weight of its window's count, whichever of the two comes first.
  private mutating func pair(
    _ series: Int, mean: (at: Instant, value: Double)? = nil, count: (at: Instant, value: Int64)? = nil
  ) {
    guard series < states.count else { return }
    if let mean { states[series].mean = mean }
    if let count { states[series].count = count }
    guard let mean = states[series].mean, let count = states[series].count, mean.at == count.at else { return }
    states[series].number += mean.value * Double(count.value)
    states[series].weight += Double(count.value)
    states[series].paired &+= 1
    (states[series].mean, states[series].count) = (nil, nil)
  }

  /// The last of a series' interval has been seen.
  private mutating func finish(_ series: Int, _ rule: SeriesRule) {
    let state = states[series]
    guard Int(state.parts) == Limits.windowsMerged, state.last != Self.none else { return }
    var place = before[Int(state.last)]
    while place != Self.none {
      fates[Int(place)] = .thinned
      place = before[Int(place)]
    }
    guard !state.isBroken, let raw = state.merged(rule) else {
      fates[Int(state.last)] = .thinned
      return
    }
    fates[Int(state.last)] = .merged
    let quality: Quality = state.valued == 0 ? .bad : min(state.quality, .uncertain)
    merged.append((Int(state.last), raw, quality))
  }

  /// No more samples come.
  mutating func end(_ rules: SeriesRules) {
    for series in touched where rules[series].statistic != nil { finish(Int(series), rules[series]) }
    merged.sort { $0.place < $1.place }
  }
}

extension Thinning.State {
  fileprivate init(interval: Int64, count: (at: Instant, value: Int64)?) {
    self.interval = interval
    self.count = count
  }

  /// Nil: what is needed for it is not there.
  fileprivate func merged(_ rule: SeriesRule) -> Int64? {
    guard valued > 0 else { return 0 }
    switch rule.statistic {
    case .mean: return paired == valued && weight > 0 ? Self.bits(number / weight) : nil
    // Windows of one length: the whole's share is the mean of the shares; a window without values covers nothing.
    case .coverage: return Self.bits(number / Double(parts))
    case .sum, .timeTrue: return Self.bits(number)
    default: return raw
    }
  }

  private static func bits(_ number: Double) -> Int64 { Int64(bitPattern: number.bitPattern) }
}

extension SeriesRule {
  fileprivate func isLess(_ a: Int64, than b: Int64) -> Bool {
    switch encoding {
    case .unsigned: return UInt64(bitPattern: a) < UInt64(bitPattern: b)
    case .float, .double:
      return encoding.value(raw: a, scale: 1, offset: 0) < encoding.value(raw: b, scale: 1, offset: 0)
    default: return a < b
    }
  }
}
