// One point of a bus: what is to be done with its readings, which points of one profile share, and what is known of it.

package struct PointRule: BitwiseCopyable, Hashable, Sendable {
  package var scale = 1.0
  package var offset = 0.0
  package var low = -Double.infinity
  package var high = Double.infinity
  package var deadband = 0.0
  /// 0: only on change.
  package var heartbeatNs: Int64 = 0
  /// A value stands for so long after it was read; 0: until the next one.
  package var validNs: Int64 = 0
  /// From 1, in the bus's table; 0: readings are taken as they are.
  package var conditioning: UInt16 = 0
  package var encoding = Encoding.signed
  package var windowCount: UInt8 = 0
  /// The deadband is a part of the value last reported: 0.02 are two percent.
  package var isDeadbandRelative = false
  /// Each reading is an event of its own (a card was shown), reported even if it equals the one before.
  package var isOccurrence = false
  /// Made from others, not read: no silence of the device makes it bad but that of what it is made from.
  package var isComputed = false
  package init() {}

  /// The engineering value.
  @inline(__always)
  package func value(_ raw: Int64) -> Double { encoding.value(raw: raw, scale: scale, offset: offset) }

  /// The value of one raw is below that of another: without rounding, however large they are.
  @inline(__always)
  func ascends(_ a: Int64, _ b: Int64) -> Bool {
    switch encoding {
    case .signed: return scale < 0 ? a > b : a < b
    case .unsigned:
      let (first, second) = (UInt64(bitPattern: a), UInt64(bitPattern: b))
      return scale < 0 ? first > second : first < second
    default: return value(a) < value(b)
    }
  }
}

/// Where a point stands on its bus.
package struct PointPlace: BitwiseCopyable, Sendable {
  package var rule: UInt16
  package var series: UInt16
  package var firstWindow: UInt16
  /// What its conditioning keeps, in words.
  package var words: UInt32

  package init(rule: Int, series: Int, firstWindow: Int, words: Int) {
    self.rule = UInt16(truncatingIfNeeded: rule)
    self.series = UInt16(truncatingIfNeeded: series)
    self.firstWindow = UInt16(truncatingIfNeeded: firstWindow)
    self.words = UInt32(truncatingIfNeeded: words)
  }
}

/// The latest reading, after its conditioning, and what was last reported of it. 48 bytes.
package struct PointState: BitwiseCopyable, Sendable {
  package var value = 0.0
  package var raw: Int64 = 0
  package var at = Instant.zero
  /// Of texts: their hash.
  package var reportedRaw: Int64 = 0
  private var rule: UInt16 = 0
  private var series: UInt16 = 0
  private var firstWindow: UInt16 = 0
  package var quality = Quality.bad
  /// The quality last reported, and what is known at all.
  private var marks = Quality.bad.rawValue
  private var words: UInt32 = 0
  /// Of points with a heartbeat: when they were last reported, in milliseconds of which the upper half is cut off. A
  /// heartbeat is at most a day.
  private var reportedMs: UInt32 = 0
  package init() {}

  package var isUsable: Bool { quality <= .uncertain }

  package var place: PointPlace {
    get {
      var place = PointPlace(rule: Int(rule), series: Int(series), firstWindow: Int(firstWindow), words: 0)
      place.words = words
      return place
    }
    set {
      rule = newValue.rule
      series = newValue.series
      firstWindow = newValue.firstWindow
      words = newValue.words
    }
  }

  package var reportedQuality: Quality {
    get { Quality(rawValue: marks & 3) ?? .bad }
    set { marks = marks & ~3 | newValue.rawValue }
  }
  package var hasReported: Bool {
    get { marks & 4 != 0 }
    set { marks = newValue ? marks | 4 : marks & ~4 }
  }
  /// There was a value once; `value` and `raw` are the last one.
  package var hasValue: Bool {
    get { marks & 8 != 0 }
    set { marks = newValue ? marks | 8 : marks & ~8 }
  }

  mutating func noteReport(at now: Instant) {
    reportedMs = UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000)
  }

  func sinceReportNs(at now: Instant) -> Int64 {
    let now = UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000)
    return Int(truncatingIfNeeded: now &- reportedMs).wide &* 1_000_000
  }
}
