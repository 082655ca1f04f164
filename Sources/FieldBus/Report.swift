// What the rest of the house may know about the field: copies, made without stopping a bus thread.

import StreamCore

package enum BusState: String, Sendable {
  case starting, running, lost, stopped
}

package struct BusReport: Sendable {
  package var name = ""
  package var state = BusState.starting
  /// Of the last ten seconds, the part in which the wire was in use, 0 to 1.
  package var utilisation = 0.0
  /// Ideal wire time of the transactions ÷ wall time in which something was due, 0 to 1.
  package var efficiency = 0.0
  /// The last full round through everything due, in milliseconds.
  package var cycleMs = 0.0
  package var transactions: Int64 = 0
  package var good: Int64 = 0
  package var timeouts: Int64 = 0
  package var crcErrors: Int64 = 0
  package var exceptions: Int64 = 0
  package var lateReplies: Int64 = 0
  package var strayBytes: Int64 = 0
  package var reopened: Int64 = 0
  /// The own requests come back on this line.
  package var hasEcho = false
  /// Replies of the wrong unit or shape.
  package var otherErrors: Int64 = 0
  /// Reads that only proved that no late reply can come any more.
  package var fences: Int64 = 0
  /// How far the intervals are stretched: 1 is in time, 2 means read half as often as asked for.
  package var stretch = 1.0
  /// Why the port can't be used; empty if it can.
  package var problem = ""
  package var portTrouble = PortTrouble.other
  /// Samples and events that the bus's pipeline has made since start, and those that found no free batch.
  package var produced: Int64 = 0
  package var lost: Int64 = 0
  /// Readings that came late, and of these those that found a window closed.
  package var lateReadings: Int64 = 0
  package var missedWindow: Int64 = 0

  package init() {}
}

package enum DeviceState: String, Sendable {
  case unknown, online, offline
}

package struct DeviceReport: Sendable {
  package var name = ""
  package var kind = ""
  package var bus = ""
  package var address = 0
  /// Of a meter: its digits.
  package var meterAddress: String?
  package var state = DeviceState.unknown
  /// The last good reply.
  package var lastSeen: Instant?
  package var transactions: Int64 = 0
  package var good: Int64 = 0
  package var timeouts: Int64 = 0
  package var crcErrors: Int64 = 0
  package var exceptions: Int64 = 0
  /// How long it thinks before it answers, and how long the bus waits for it, in milliseconds, without the
  /// frames' own time.
  package var latencyMs = 0.0
  package var timeoutMs = 0.0
  /// The silence before a request to it, in milliseconds; nil: the bus does not learn it.
  package var silenceMs: Double?
  /// Requests that it refuses as a whole: read in parts since.
  package var refusedRequests = 0
  /// Of these, those that the plan has kept clear of since the start.
  package var refusedBefore = 0

  package init() {}
}

/// A point's latest value.
package struct PointReport: Sendable {
  package var quality = Quality.bad
  /// See the series' encoding; 0 for texts.
  package var raw: Int64 = 0
  /// Of texts and pseudonyms.
  package var text: [UInt8] = []
  /// When it was read last; nil: never.
  package var readAt: Instant?

  package init() {}
}
