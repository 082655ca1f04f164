// A piece of a window: its bounds, and what was accumulated between them. A view onto words of the arena; which
// words there are follows from the statistics asked for.
//
// Invariants:
//  1. What does not depend on the readings' order (count, extremes, sums, quantiles) is the same however they came.
//  2. The first follows the readings' times. The last, coverage, rises, falls and the time of true follow the live
//     readings alone: they were counted as time went by. Only where none was live is the last one late.

package struct Pane {
  let words: UnsafeMutablePointer<Int64>
  let kept: Accumulators

  /// Begin, end, count with quality and whether the last reading is live, and time with Good values.
  static let headWords = 4

  var startNs: Int64 {
    get { words[0] }
    nonmutating set { words[0] = newValue }
  }
  var endNs: Int64 {
    get { words[1] }
    nonmutating set { words[1] = newValue }
  }
  var count: Int64 { words[2] &>> 8 }
  /// The worst of those that entered.
  var quality: Quality { Quality(rawValue: UInt8(truncatingIfNeeded: words[2] & 3)) ?? .good }
  private static let liveLast: Int64 = 4
  var goodNs: Int64 { words[3] }
  var sketch: Sketch { Sketch(words: words + kept.plainWords) }

  /// Begins anew.
  func open(startNs: Int64, endNs: Int64) {
    var index = 2
    let all = kept.words
    while index < all {
      words[index] = 0
      index += 1
    }
    words[0] = startNs
    words[1] = endNs
  }

  /// Only values that may be used come here: good, or uncertain (which marks the whole window).
  func add(value: Double, raw: Int64, quality: Quality, at: Int64, rule: PointRule, isLate: Bool = false) {
    let isFirst = words[2] &>> 8 == 0
    var head = words[2] &+ 256
    if quality > self.quality { head = head & ~3 | Int(quality.rawValue).wide }
    if !isLate { head |= Pane.liveLast }
    words[2] = head
    var place = words + Pane.headWords
    if kept.keeps(Accumulators.sum) {
      place.pointee = (place.pointee.asDouble + value).asWord
      place += 1
    }
    if kept.keeps(Accumulators.moments) {
      let mean = place.pointee.asDouble
      let distance = value - mean
      let moved = mean + distance / (head &>> 8).double
      place.pointee = moved.asWord
      place[1] = (place[1].asDouble + distance * (value - moved)).asWord
      place += 2
    }
    if kept.keeps(Accumulators.min) {
      if isFirst || rule.ascends(raw, place.pointee) { place.pointee = raw }
      place += 1
    }
    if kept.keeps(Accumulators.max) {
      if isFirst || rule.ascends(place.pointee, raw) { place.pointee = raw }
      place += 1
    }
    if kept.keeps(Accumulators.first) {
      if isFirst || at < place[1] {
        place.pointee = raw
        place[1] = at
      }
      place += 2
    }
    if kept.keeps(Accumulators.last), !isLate || head & Pane.liveLast == 0 {
      place.pointee = raw
      if kept.keeps(Accumulators.lastTime) { place[1] = at }
    }
    if kept.keeps(Accumulators.sketch) { sketch.add(value) }
  }

  /// Time that passed while a reading held. Of readings that are not usable nothing is known.
  func pass(_ spanNs: Int64, quality: Quality, isTrue: Bool) {
    if quality == .good { words[3] &+= spanNs }
    if isTrue, quality <= .uncertain, kept.keeps(Accumulators.timeTrue) {
      words[kept.offset(of: Accumulators.timeTrue)] &+= spanNs
    }
  }

  func addRise() { if kept.keeps(Accumulators.rises) { words[kept.offset(of: Accumulators.rises)] &+= 1 } }
  func addFall() { if kept.keeps(Accumulators.falls) { words[kept.offset(of: Accumulators.falls)] &+= 1 } }

  /// Adds what the next pane of the same window holds; sketches stay where they are.
  func merge(_ next: Pane, rule: PointRule) {
    let before = count
    words[1] = next.endNs
    let worst = next.quality > quality ? next.quality : quality
    let isLive = (words[2] | next.words[2]) & Pane.liveLast
    let takesLast = next.words[2] & Pane.liveLast != 0 || (next.count > 0 && words[2] & Pane.liveLast == 0)
    words[2] = (before &+ next.count) &<< 8 | isLive | Int(worst.rawValue).wide
    words[3] &+= next.goodNs
    var index = Pane.headWords
    if kept.keeps(Accumulators.sum) {
      words[index] = (words[index].asDouble + next.words[index].asDouble).asWord
      index += 1
    }
    if kept.keeps(Accumulators.moments) {
      mergeMoments(next, at: index, before: before)
      index += 2
    }
    let isNews = next.count > 0
    if kept.keeps(Accumulators.min) {
      if isNews, before == 0 || rule.ascends(next.words[index], words[index]) { words[index] = next.words[index] }
      index += 1
    }
    if kept.keeps(Accumulators.max) {
      if isNews, before == 0 || rule.ascends(words[index], next.words[index]) { words[index] = next.words[index] }
      index += 1
    }
    if kept.keeps(Accumulators.first) {
      if isNews, before == 0 {
        words[index] = next.words[index]
        words[index + 1] = next.words[index + 1]
      }
      index += 2
    }
    if kept.keeps(Accumulators.last) {
      let hasTime = kept.keeps(Accumulators.lastTime)
      if takesLast {
        words[index] = next.words[index]
        if hasTime { words[index + 1] = next.words[index + 1] }
      }
      index += hasTime ? 2 : 1
    }
    // Rises, falls and the time of true are plain sums.
    while index < kept.plainWords {
      words[index] &+= next.words[index]
      index += 1
    }
  }

  /// Chan, Golub, LeVeque: updating formulae for two sets.
  private func mergeMoments(_ next: Pane, at index: Int, before: Int64) {
    guard next.count > 0 else { return }
    let total = (before &+ next.count).double
    let distance = next.words[index].asDouble - words[index].asDouble
    let share = next.count.double / total
    words[index] = (words[index].asDouble + distance * share).asWord
    words[index + 1] =
      (words[index + 1].asDouble + next.words[index + 1].asDouble + distance * distance * before.double * share).asWord
  }

  /// The raw value of one statistic's series, of all but quantiles and coverage; nil: there is none.
  func raw(_ statistic: Statistic, rule: PointRule) -> Int64? {
    switch statistic {
    case .count: return count
    case .rises: return words[kept.offset(of: Accumulators.rises)]
    case .falls: return words[kept.offset(of: Accumulators.falls)]
    case .timeTrue:
      guard count > 0 || goodNs > 0 else { return nil }
      return (words[kept.offset(of: Accumulators.timeTrue)].double / 1e9).asWord
    default: break
    }
    guard count > 0 else { return nil }
    switch statistic {
    case .min: return words[kept.offset(of: Accumulators.min)]
    case .max: return words[kept.offset(of: Accumulators.max)]
    case .first: return words[kept.offset(of: Accumulators.first)]
    case .last: return words[kept.offset(of: Accumulators.last)]
    case .sum: return words[kept.offset(of: Accumulators.sum)]
    case .mean: return (words[kept.offset(of: Accumulators.sum)].asDouble / count.double).asWord
    case .stddev:
      guard count > 1 else { return nil }
      let squares = words[kept.offset(of: Accumulators.moments) + 1].asDouble
      return (squares / (count - 1).double).squareRoot().asWord
    case .rate: return rate(rule)
    default: return nil
    }
  }

  /// Change per second from the first to the last reading.
  private func rate(_ rule: PointRule) -> Int64? {
    let first = words + kept.offset(of: Accumulators.first)
    let last = words + kept.offset(of: Accumulators.last)
    let spanNs = last[1] &- first[1]
    guard spanNs > 0 else { return nil }
    return ((rule.value(last[0]) - rule.value(first[0])) / (spanNs.double / 1e9)).asWord
  }
}

/// The panes of one window. Subscript: 0 is the newest, which is open.
struct PaneRing {
  let words: UnsafeMutablePointer<Int64>
  let kept: Accumulators
  let stride: Int
  let count: Int
  let newest: Int

  subscript(position: Int) -> Pane {
    var index = newest - position
    if index < 0 { index += count }
    return Pane(words: words + index * stride, kept: kept)
  }
}

extension Int64 {
  @inline(__always)
  var asDouble: Double { Double(bitPattern: UInt64(bitPattern: self)) }
}

extension Double {
  @inline(__always)
  var asWord: Int64 { Int64(bitPattern: bitPattern) }
}
