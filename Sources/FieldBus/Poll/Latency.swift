// How long a device thinks before it answers, learned from its replies: a mean and a spread, as TCP does for
// its round trips (RFC 6298), with the bound far enough out that a timeout means silence and not haste.

import StreamCore

package struct Latency: BitwiseCopyable, Sendable, Equatable {
  package var meanNs: Int64 = 0
  package var spreadNs: Int64 = 0
  package var worstNs: Int64 = 0
  package var count: UInt32 = 0
  package init() {}

  /// Enough replies to rest a timeout on.
  package var isKnown: Bool { count >= 16 }

  package mutating func add(_ tookNs: Int64) {
    if count == 0 {
      meanNs = tookNs
      spreadNs = tookNs / 2
    } else {
      let error = tookNs - meanNs
      meanNs += error / 8
      spreadNs += (abs(error) - spreadNs) / 4
    }
    // The worst fades, so that one hiccup does not stay for ever.
    worstNs = Swift.max(tookNs, worstNs - worstNs / 1_024)
    if count < .max { count += 1 }
  }

  /// Mean and eight spreads, at least twice the worst seen of late, and never less than the scheduler of a busy
  /// box needs.
  package var boundNs: Int64 {
    Swift.max(meanNs + 8 * spreadNs, 2 * worstNs) + Limits.timeoutSlackNs
  }
}
