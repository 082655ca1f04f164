// A window over time: its rule, which windows of the same kind share, and its state. It is made of panes: one for
// a tumbling window, one for each slide within a sliding one's length, and those that still wait for late
// readings.
//
// Invariants:
//  1. A pane begins where the one before it ended. It ends at the multiple of its length, on the wall clock once
//     that is known, that is nearest to its begin plus its length: never earlier than after half of it, never
//     later than after one and a half. So no step of the clock makes a window empty, double or endless.
//  2. A pane that has been part of a reported window is closed: nothing enters it any more.

package struct WindowRule: BitwiseCopyable, Hashable, Sendable {
  package let everyNs: Int64
  /// Length of a pane: equal to `everyNs` for a tumbling window, else a part of it.
  package let slideNs: Int64
  /// A window is reported this long after its end, and takes late readings until then.
  package let latenessNs: Int64
  package private(set) var kept = Accumulators()
  package let panesPerWindow: UInt8
  /// Panes that wait for late readings, beside those of the newest window.
  let panesWaiting: UInt8
  package private(set) var statisticCount: UInt8 = 0
  /// Five bits each, twelve in a word: the order of the window's series.
  private var firstTwelve: Int64 = 0
  private var others: Int64 = 0

  /// `slideNs` divides `everyNs`; at most `Limits.panesPerWindowMax` panes. Lateness is at most the window's length.
  package init(everyNs: Int64, slideNs: Int64? = nil, latenessNs: Int64 = 0) {
    let slide = slideNs ?? everyNs
    self.everyNs = everyNs
    self.slideNs = slide
    self.latenessNs = latenessNs
    panesPerWindow = UInt8(truncatingIfNeeded: everyNs / slide)
    panesWaiting = UInt8(truncatingIfNeeded: (latenessNs + slide - 1) / slide)
  }

  /// Each statistic once.
  package mutating func add(_ statistic: Statistic) {
    let index = Int(statisticCount)
    let bits = Int(statistic.rawValue).wide &<< (5 * (index % 12).wide)
    if index < 12 { firstTwelve |= bits } else { others |= bits }
    statisticCount += 1
    kept.add(statistic)
  }

  package func statistic(_ index: Int) -> Statistic {
    let bits = (index < 12 ? firstTwelve : others) &>> (5 * (index % 12).wide)
    return Statistic(rawValue: UInt8(truncatingIfNeeded: bits & 31)) ?? .count
  }

  var paneCount: Int { Int(panesPerWindow) + Int(panesWaiting) }
  package var words: Int { paneCount * kept.words }
  /// Of these, what the quantiles take.
  package var sketchWords: Int { kept.keeps(Accumulators.sketch) ? paneCount * Sketch.words : 0 }

  /// The latest bound at or before a moment. `offsetNs`: what makes wall time of monotonic time.
  func bound(before moment: Int64, offsetNs: Int64) -> Int64 {
    let remainder = (moment &+ offsetNs) % slideNs
    return moment &- (remainder < 0 ? remainder + slideNs : remainder)
  }

  /// Invariant 1.
  func end(ofPaneFrom start: Int64, offsetNs: Int64) -> Int64 {
    let aim = start &+ slideNs
    let before = bound(before: aim, offsetNs: offsetNs)
    return aim &- before < slideNs - (aim &- before) ? before : before &+ slideNs
  }
}

/// Its panes' words stand one behind the other from `words` on, in a ring. 12 bytes.
package struct WindowState: BitwiseCopyable, Sendable {
  package var rule: UInt16 = 0
  package var point: UInt16 = 0
  package var firstSeries: UInt16 = 0
  /// Newest and alive, seven bits each: `Limits.panesPerWindowMax` twice fits.
  private var ring: UInt16 = 0
  /// The place of its words, and in the lowest seven bits how many panes wait.
  private var rest: UInt32 = 0

  package init() {}

  package init(rule: Int, point: Int, firstSeries: Int, words: Int) {
    self.rule = UInt16(truncatingIfNeeded: rule)
    self.point = UInt16(truncatingIfNeeded: point)
    self.firstSeries = UInt16(truncatingIfNeeded: firstSeries)
    rest = UInt32(truncatingIfNeeded: words) &<< 7
  }

  package var words: Int { Int(truncatingIfNeeded: rest &>> 7) }
  /// The pane that is open, in the ring.
  var newest: Int {
    get { Int(ring & 127) }
    set { ring = ring & ~127 | UInt16(truncatingIfNeeded: newValue) }
  }
  /// Panes that hold something; 0: no reading has come yet.
  var alive: Int {
    get { Int(ring &>> 7) }
    set { ring = ring & 127 | UInt16(truncatingIfNeeded: newValue) &<< 7 }
  }
  /// Panes that are over and not yet reported.
  var waiting: Int {
    get { Int(truncatingIfNeeded: rest & 127) }
    set { rest = rest & ~127 | UInt32(truncatingIfNeeded: newValue) }
  }
}
