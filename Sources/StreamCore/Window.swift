// Tumbling windows: fixed memory, whatever passes through. A window's bounds are multiples of its length on the
// monotonic clock, so no step of the wall clock can empty, double or stretch it.

/// One nibble each, the first in the lowest bits: the order of the window's series.
package enum WindowStatistic: UInt8, BitwiseCopyable, Sendable {
  case min = 0, max, mean, last, count, sum
}

package struct WindowRule: BitwiseCopyable, Sendable {
  package var everyNs: Int64
  package var point: UInt16
  package var firstSeries: UInt16
  package var statisticCount: UInt8
  package var statistics: UInt32

  package init(point: Int, everyNs: Int64, firstSeries: Int) {
    self.everyNs = everyNs
    self.point = UInt16(truncatingIfNeeded: point)
    self.firstSeries = UInt16(truncatingIfNeeded: firstSeries)
    statisticCount = 0
    statistics = 0
  }

  /// At most eight.
  package mutating func add(_ statistic: WindowStatistic) {
    statistics |= UInt32(statistic.rawValue) &<< (4 * UInt32(statisticCount))
    statisticCount += 1
  }

  package func statistic(_ index: Int) -> WindowStatistic {
    WindowStatistic(rawValue: UInt8(truncatingIfNeeded: statistics &>> (4 * UInt32(truncatingIfNeeded: index)) & 0xF))
      ?? .count
  }
}

package struct WindowState: BitwiseCopyable, Sendable {
  /// Start of the open window on the monotonic clock; `.min`: none open yet.
  package var startNs: Int64 = .min
  package var count: Int64 = 0
  package var sum = 0.0
  package var min = 0.0
  package var max = 0.0
  package var minRaw: Int64 = 0
  package var maxRaw: Int64 = 0
  package var lastRaw: Int64 = 0
  package var quality = Quality.good

  package init() {}

  mutating func open(at now: Instant, everyNs: Int64) {
    self = WindowState()
    let remainder = now.nanoseconds % everyNs
    startNs = now.nanoseconds - (remainder < 0 ? remainder + everyNs : remainder)
  }

  /// Only values that may be used come here: good, or uncertain (which marks the whole window).
  mutating func add(value: Double, raw: Int64, quality: Quality) {
    if count == 0 || value < min {
      min = value
      minRaw = raw
    }
    if count == 0 || value > max {
      max = value
      maxRaw = raw
    }
    sum += value
    count += 1
    lastRaw = raw
    if quality > self.quality { self.quality = quality }
  }

  /// The raw value of one statistic's series; nil: there is none in an empty window.
  func raw(_ statistic: WindowStatistic) -> Int64? {
    if statistic == .count { return count }
    guard count > 0 else { return nil }
    switch statistic {
    case .min: return minRaw
    case .max: return maxRaw
    case .last: return lastRaw
    case .sum: return Int64(bitPattern: sum.bitPattern)
    case .mean: return Int64(bitPattern: (sum / count.double).bitPattern)
    case .count: return count
    }
  }
}
