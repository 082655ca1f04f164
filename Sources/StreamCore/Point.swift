// One point of a bus: what is to be done with its readings, and what is known of it now.

package struct PointRule: BitwiseCopyable, Sendable {
  package var scale = 1.0
  package var offset = 0.0
  package var low = -Double.infinity
  package var high = Double.infinity
  package var deadband = 0.0
  /// 0: only on change.
  package var heartbeatNs: Int64 = 0
  package var encoding = Encoding.signed
  package var series: UInt16 = 0
  package var firstWindow: UInt16 = 0
  package var windowCount: UInt8 = 0
  /// Each reading is an event of its own (a card was shown), reported even if it equals the one before.
  package var isOccurrence = false
  package init() {}
}

/// The latest reading, and what was last reported of it.
package struct PointState: BitwiseCopyable, Sendable {
  package var value = 0.0
  package var raw: Int64 = 0
  package var at = Instant.zero
  package var reportedValue = 0.0
  /// Of texts: their hash.
  package var reportedRaw: Int64 = 0
  package var reportedAt = Instant.zero
  package var quality = Quality.bad
  package var reportedQuality = Quality.bad
  package var hasReported = false
  package init() {}

  package var isUsable: Bool { quality <= .uncertain }
}
