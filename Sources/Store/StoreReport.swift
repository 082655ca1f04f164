// How the store is: what it holds, for whom, what was lost and why, what it has written. Values only.

import StreamCore

package struct ConsumerReport: Sendable {
  package var name: String
  package var held: Position
  /// Records behind the newest durable one, of the lanes that it may see.
  package var lagRecords: Int64
  /// Sequences that were reported to it as gaps, and are acknowledged.
  package var gapRecords: Int64
  /// Of this epoch; nil: not yet.
  package var lastSeen: Instant?
  /// When the oldest telemetry that it has yet to read was taken, at the earliest; nil: there is none.
  package var oldestUnread: (at: Instant, epoch: UInt32)?

  package init(name: String, held: Position, lagRecords: Int64, gapRecords: Int64, lastSeen: Instant?) {
    self.name = name
    self.held = held
    self.lagRecords = lagRecords
    self.gapRecords = gapRecords
    self.lastSeen = lastSeen
  }
}

package enum StoreState: String, Sendable {
  case good
  /// Disk or quota is full: telemetry waits in memory, alarms are still stored.
  case full
  /// The file system is read-only: what is stored is served, everything new waits in memory.
  case readOnly = "read-only"
  /// Reading or writing fails: what can be read is served, everything new waits in memory.
  case failing
}

/// How many samples went and why, since the store was made.
package struct StoreLosses: Sendable, Equatable {
  package var evicted: Int64 = 0
  package var thinned: Int64 = 0
  /// Lost for want of room while running, and at a stop.
  package var overflow: Int64 = 0
  package var unsaved: Int64 = 0
  package var damaged: Int64 = 0
  package var retention: Int64 = 0
  package init() {}

  init(_ book: LossBook) {
    (evicted, thinned, overflow) = (book.evicted, book.thinned, book.overflow)
    (unsaved, damaged, retention) = (book.unsaved, book.damaged, book.retention)
  }
}

package struct StoreReport: Sendable {
  /// Lower-case, with hyphens.
  package var storeID = ""
  package var epoch: UInt32 = 0
  package var state = StoreState.good
  /// The newest durable sequences.
  package var durable = Position()
  /// The oldest sequences that are still stored (newest + 1 if none).
  package var oldest = Position()
  /// Samples taken over from the buses but not yet durable.
  package var pendingSamples: Int64 = 0
  /// Samples and events stored now.
  package var storedSamples: Int64 = 0
  package var storedEvents: Int64 = 0
  /// Since this start: taken over from the buses (samples, events), reported lost by them.
  package var acceptedSamples: Int64 = 0
  package var acceptedEvents: Int64 = 0
  package var lostSamples: Int64 = 0
  /// Too many alarms come at once for anybody to look at each.
  package var isFlood = false
  /// Gone to make room since the store was made.
  package var evictedSamples: Int64 = 0
  package var losses = StoreLosses()
  /// Written to the flash by the agent: since the store was made, and by day since 1970 (UTC).
  package var flashBytes: Int64 = 0
  package var flashDays: [Int64: Int64] = [:]
  /// Of the stored samples, those in the reserve.
  package var reservedSamples: Int64 = 0
  /// What is in use, and what the files take on the disk.
  package var bytes: Int64 = 0
  package var fileBytes: Int64 = 0
  package var capacityBytes: Int64 = 0
  package var oldestAt: Instant?
  package var oldestEpoch: UInt32 = 0
  /// Since this start.
  package var commits: Int64 = 0
  /// Commits, reads and openings that failed, since this start; a full disk is not counted.
  package var failures: Int64 = 0
  /// The newest failure, for a person; empty: none since this start.
  package var lastFailure = ""
  /// Both files have their full size: a full disk can't stop them any more.
  package var isPrepared = false
  package var consumers: [ConsumerReport] = []
  package init() {}
}
