// What can be computed over a window, and what a window must keep for it.

/// The numbers are kept in stored catalogues.
package enum Statistic: UInt8, BitwiseCopyable, Sendable {
  case min = 0, max, mean, last, count, sum
  case stddev, first, rate, rises, falls, timeTrue
  case p50, p90, p95, p99
  /// The share of the window's time that had Good values, 0 to 1.
  case coverage

  /// A Double; the others are raw values that the device sent, or counts.
  package var isComputed: Bool {
    switch self {
    case .min, .max, .first, .last, .count, .rises, .falls: return false
    default: return true
    }
  }

  /// Of a hundred; nil: no quantile.
  package var percentile: Int? {
    switch self {
    case .p50: return 50
    case .p90: return 90
    case .p95: return 95
    case .p99: return 99
    default: return nil
    }
  }
}

/// What a window keeps beyond its bounds, its count and its coverage; each in words of 8 bytes, in this order.
package struct Accumulators: BitwiseCopyable, Hashable, Sendable {
  package private(set) var rawValue: UInt16 = 0

  static let sum: UInt16 = 1
  /// Mean and sum of squared distances (Welford).
  static let moments: UInt16 = 2
  static let min: UInt16 = 4
  static let max: UInt16 = 8
  /// Raw value and time.
  static let first: UInt16 = 16
  static let last: UInt16 = 32
  static let lastTime: UInt16 = 1_024
  static let rises: UInt16 = 64
  static let falls: UInt16 = 128
  static let timeTrue: UInt16 = 256
  static let sketch: UInt16 = 512

  package init() {}

  package mutating func add(_ statistic: Statistic) {
    switch statistic {
    case .min: rawValue |= Accumulators.min
    case .max: rawValue |= Accumulators.max
    case .mean, .sum: rawValue |= Accumulators.sum
    case .last: rawValue |= Accumulators.last
    case .count, .coverage: break
    case .stddev: rawValue |= Accumulators.moments
    case .first: rawValue |= Accumulators.first
    case .rate: rawValue |= Accumulators.first | Accumulators.last | Accumulators.lastTime
    case .rises: rawValue |= Accumulators.rises
    case .falls: rawValue |= Accumulators.falls
    case .timeTrue: rawValue |= Accumulators.timeTrue
    case .p50, .p90, .p95, .p99: rawValue |= Accumulators.sketch
    }
  }

  @inline(__always)
  func keeps(_ part: UInt16) -> Bool { rawValue & part != 0 }

  /// Where a part begins, in words from the pane's begin.
  func offset(of part: UInt16) -> Int {
    var words = Pane.headWords
    if rawValue & Accumulators.sum != 0, part > Accumulators.sum { words += 1 }
    if rawValue & Accumulators.moments != 0, part > Accumulators.moments { words += 2 }
    if rawValue & Accumulators.min != 0, part > Accumulators.min { words += 1 }
    if rawValue & Accumulators.max != 0, part > Accumulators.max { words += 1 }
    if rawValue & Accumulators.first != 0, part > Accumulators.first { words += 2 }
    if rawValue & Accumulators.last != 0, part > Accumulators.last { words += 1 }
    if rawValue & Accumulators.lastTime != 0, part > Accumulators.last { words += 1 }
    if rawValue & Accumulators.rises != 0, part > Accumulators.rises { words += 1 }
    if rawValue & Accumulators.falls != 0, part > Accumulators.falls { words += 1 }
    if rawValue & Accumulators.timeTrue != 0, part > Accumulators.timeTrue { words += 1 }
    return words
  }

  /// Of all parts but the sketch.
  static let plainWordsMax = Pane.headWords + 13
  /// Without the sketch.
  var plainWords: Int { offset(of: Accumulators.sketch) }
  var words: Int { plainWords + (keeps(Accumulators.sketch) ? Sketch.words : 0) }
}
