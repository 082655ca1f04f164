// What passes between the store and the rest of the house: values only, no handle, no pointer.

import StreamCore

/// Whose a cursor is, and which lanes of it that one may see.
package struct CursorOwner: Sendable, Equatable {
  package var name: String
  package var alarms: Bool
  package var telemetry: Bool

  package init(name: String, alarms: Bool = true, telemetry: Bool = true) {
    self.name = name
    self.alarms = alarms
    self.telemetry = telemetry
  }
}

package struct StoreConfiguration: Sendable {
  /// Folder of telemetry.db and alarm.db; it exists and is ours.
  package var statePath: String
  package var telemetryBytes: Int
  package var alarmBytes: Int
  /// Telemetry is committed this often; alarms at once.
  package var commitNs: Int64
  /// The catalogue in its encoded form; the store keeps one copy for each version.
  package var catalogue: [UInt8]
  package var seriesCount: Int
  /// "device/alarm" by alarm number: an alarm's state outlives a change of its number.
  package var alarmNames: [String]
  /// Each gets its cursors.
  package var consumers: [CursorOwner]
  /// SQLite's file system of that name; nil: its own. Tests put their faults there.
  package var vfs: String?
  /// Of `telemetryBytes`: the part for what outlives the ring; 0: there is none.
  package var reserveBytes = 0
  /// Old windows are merged and old readings thinned for those who have yet to read them.
  package var isThinning = false
  /// Personal telemetry is kept so long; nil: as long as the rest.
  package var retentionNs: Int64?
  /// What there is to know of each series of an encoded catalogue; nil: it can't be read.
  package var rules: @Sendable ([UInt8]) -> [SeriesRule]? = { _ in [] }
  /// Where series of an older catalogue stand in `catalogue`, in the order asked; nil: nowhere, or their numbers mean
  /// something else.
  package var seriesNow: @Sendable (_ older: [UInt8], _ series: [UInt16]) -> [UInt16?] = { _, series in
    series.map { _ in nil }
  }
  /// The box's name: a file that another box wrote is known by it.
  package var gateway = ""
  /// A block takes no more; fewer than it could only where rings have to come round soon.
  package var samplesPerBlock = Limits.samplesPerBlockMax

  package init(
    statePath: String, telemetryBytes: Int, alarmBytes: Int, commitNs: Int64, catalogue: [UInt8], seriesCount: Int,
    alarmNames: [String], consumers: [CursorOwner], vfs: String? = nil
  ) {
    self.statePath = statePath
    self.telemetryBytes = telemetryBytes
    self.alarmBytes = alarmBytes
    self.commitNs = commitNs
    self.catalogue = catalogue
    self.seriesCount = seriesCount
    self.alarmNames = alarmNames
    self.consumers = consumers
    self.vfs = vfs
  }
}

extension StoreConfiguration {
  /// What packing and unpacking take: a model each, the open block's stream, the blocks that wait, and the last one
  /// that was unpacked.
  package static func blockBytes(seriesCount: Int) -> Int {
    2 * BlockModel.bytes(seriesCount: seriesCount) + (Limits.blocksPendingMax + 2) * Limits.blockBytes
      + Limits.samplesPerBlockMax * MemoryLayout<Sample>.stride
  }

  /// What giving a stride to the reserve, or rewriting blocks, takes as long as it lasts, and what is known of the
  /// series of two catalogues always.
  package static func strideBytes(seriesCount: Int, hasReserve: Bool) -> Int {
    2 * seriesCount * MemoryLayout<SeriesRule>.stride + BlockModel.bytes(seriesCount: seriesCount)
      + Limits.blocksPerSweepMax * Limits.blockBytes + (hasReserve ? Thinning.bytes(seriesCount: seriesCount) : 0)
  }
}

/// What the caller does next, with SQLite's extended code or errno as payload.
package enum StoreFailure: Error, Sendable {
  /// Another process has it: says who. Don't start.
  case held(by: String)
  /// The folder or a file can't be opened or made. Don't start. `code` is SQLite's, or a negated errno.
  case unusable(path: String, code: Int32)
  /// The file system can't be written: serve what can be read, and try again.
  case readOnly(path: String)
  /// Disk or quota is full: keep, and try again.
  case full
  /// A read, write or sync failed: close, reopen, verify.
  case io(code: Int32)
  /// Not to be trusted: quarantine, start anew.
  case corrupt(code: Int32)
  /// The same, of files that are only looked at: nothing becomes of them.
  case damaged(path: String, code: Int32)
  /// The WAL beside that file, which is only looked at, is not its own: nothing becomes of either.
  case foreignLog(path: String)
  /// What should take the place of the store is none. `code` as above.
  case noBackup(path: String, code: Int32)
  /// The same, since its two files are of two stores: each with its name.
  case mixedBackup(path: String, String, String)
  /// The same, since the WAL of that file is not its own.
  case strangeBackup(path: String)
  /// The same, since it is the folder of a running agent.
  case liveBackup(path: String, holder: String)
  /// What could not be trusted was moved there, and the store goes on.
  case movedAway(to: String)
  /// Deleted or replaced under the running agent. `isThere`: there is another one in its place.
  case missing(path: String, isThere: Bool)
  /// A newer program wrote it. Don't start: going back would lose what it means.
  case newer(path: String, version: Int32)
  /// Too many requests wait already: ask again.
  case busy
  /// The store is closing down.
  case closed
  /// There is no store yet: the agent waits for its state folder.
  case stateless(why: String)
}

/// The last sequence that somebody holds, on each lane; 0: nothing yet. The first sequence is 1.
package struct Position: Sendable, Hashable {
  package var alarms: Int64
  package var telemetry: Int64
  package init(alarms: Int64 = 0, telemetry: Int64 = 0) {
    self.alarms = alarms
    self.telemetry = telemetry
  }
}

package enum GapReason: UInt8, Sendable {
  /// The ring came round before the consumer did.
  case evicted = 1
  /// The store was behind and the RAM between bus and store was full.
  case overflow = 2
  /// A block's checksum was wrong.
  case damaged = 3
  /// Old readings and windows gave room: others speak for them.
  case thinned = 4
  /// Personal, and older than it may be kept.
  case retention = 5

  package var name: String {
    switch self {
    case .evicted: return "evicted"
    case .overflow: return "overflow"
    case .damaged: return "damaged"
    case .thinned: return "thinned"
    case .retention: return "retention"
    }
  }

  /// Of neighbours that are missing for different reasons the gravest is told.
  func joined(with other: GapReason) -> GapReason { gravity >= other.gravity ? self : other }
  private var gravity: Int {
    switch self {
    case .damaged: return 5
    case .overflow: return 4
    case .evicted: return 3
    case .thinned: return 2
    case .retention: return 1
    }
  }
}

/// Sequences that will never come, and why. Bounds inclusive; times where they are known, on the clock of `epoch`.
package struct Gap: Sendable, Hashable {
  package var from: Int64
  package var to: Int64
  package var epoch: UInt32
  package var start: Instant?
  package var end: Instant?
  package var reason: GapReason
  package var count: Int64 { to - from + 1 }

  package init(from: Int64, to: Int64, epoch: UInt32, start: Instant?, end: Instant?, reason: GapReason) {
    self.from = from
    self.to = to
    self.epoch = epoch
    self.start = start
    self.end = end
    self.reason = reason
  }
}

/// What one commit brought to a block of the telemetry ring, checked and decoded: a batch that never
/// changes. Sample `i` has sequence `firstSequence + i`; a sample with text points into `texts`.
package struct StoredBatch: Sendable {
  package var firstSequence: Int64
  package var epoch: UInt32
  package var catalogueVersion: UInt32
  package var samples: [Sample]
  package var texts: [UInt8]
  /// Its statistics are of so many windows merged into one; such a sample has the sequence of the last of them.
  package var windows = 1

  package init(firstSequence: Int64, epoch: UInt32, catalogueVersion: UInt32, samples: [Sample], texts: [UInt8]) {
    self.firstSequence = firstSequence
    self.epoch = epoch
    self.catalogueVersion = catalogueVersion
    self.samples = samples
    self.texts = texts
  }
}

/// An event on its way into the log. Its times are of the running epoch.
package struct NewEvent: Sendable {
  package var event: AlarmEvent
  /// Who did it, and what they wrote: UTF-8; empty where nobody did anything.
  package var by: [UInt8]
  package var note: [UInt8]

  package init(event: AlarmEvent, by: [UInt8] = [], note: [UInt8] = []) {
    self.event = event
    self.by = by
    self.note = note
  }
}

/// One entry of the alarm log.
package struct StoredEvent: Sendable {
  package var sequence: Int64
  package var epoch: UInt32
  package var catalogueVersion: UInt32
  package var event: AlarmEvent
  /// Who did it, and what they wrote: UTF-8.
  package var by: [UInt8] = []
  package var note: [UInt8] = []

  package init(sequence: Int64, epoch: UInt32, catalogueVersion: UInt32, event: AlarmEvent) {
    self.sequence = sequence
    self.epoch = epoch
    self.catalogueVersion = catalogueVersion
    self.event = event
  }
}

/// Wall time of one epoch: wall = monotonic + offset, where known.
package struct EpochClock: Sendable, Hashable {
  package var epoch: UInt32
  /// Nanoseconds to add to a monotonic instant to get Unix time; nil until the clock was known to be right.
  package var offsetNs: Int64?
  package init(epoch: UInt32, offsetNs: Int64?) {
    self.epoch = epoch
    self.offsetNs = offsetNs
  }
}

package struct ReadRequest: Sendable {
  package var after: Position
  /// Which lanes; alarms come first.
  package var alarms: Bool
  package var telemetry: Bool
  /// At most this many records in all, samples and events together.
  package var recordsMax: Int
  /// The last block may bring more than that: it is unpacked anyway.
  package var wholeBlocks = false
  /// Unix time, ns: telemetry begins with the first commit that reaches it, where the wall time is known.
  package var sinceNs: Int64?
  package init(after: Position, alarms: Bool, telemetry: Bool, recordsMax: Int) {
    self.after = after
    self.alarms = alarms
    self.telemetry = telemetry
    self.recordsMax = recordsMax
  }
}

package struct ReadAnswer: Sendable {
  /// The store's id at the time of reading: the ids of these records are (storeID, epoch, lane, sequence).
  package var storeID = ""
  /// The newest.
  package var epoch: UInt32 = 0
  package var alarmGaps: [Gap] = []
  package var telemetryGaps: [Gap] = []
  package var events: [StoredEvent] = []
  /// Whole blocks, or a block's beginning or end where `after` or `recordsMax` cuts it.
  package var batches: [StoredBatch] = []
  /// Everything up to here is in this answer (or was before).
  package var next = Position()
  /// The last batch ends where its commit ended, and not where `recordsMax` cut it.
  package var endsWhole = false
  /// There is more behind `next` already.
  package var more = false
  /// Of every epoch that occurs in the answer.
  package var clocks: [EpochClock] = []
  package init() {}
}

/// An alarm's durable state.
package struct StoredAlarm: Sendable {
  /// "device/alarm"
  package var name: String
  /// The log entry that brought it here: its sequence names this state in acknowledgements.
  package var stored: StoredEvent
  package var sequence: Int64 { stored.sequence }
  package var epoch: UInt32 { stored.epoch }
  package var catalogueVersion: UInt32 { stored.catalogueVersion }
  package var event: AlarmEvent { stored.event }

  package init(name: String, _ stored: StoredEvent) {
    self.name = name
    self.stored = stored
  }
}

/// What a start of the store found.
package struct StoreOpening: Sendable {
  package var storeID: String
  package var epoch: UInt32
  /// Of the catalogue in the configuration.
  package var catalogueVersion: UInt32
  /// Alarms that have ever changed, as they were left. Their numbers are those of their own catalogue version: the name
  /// is what identifies them.
  package var alarms: [StoredAlarm]
  /// The first epoch since the system was started: from there on, one monotonic clock has run.
  package var bootEpoch: UInt32
  /// Of the epochs of `alarms`.
  package var clocks: [EpochClock]

  package init(
    storeID: String, epoch: UInt32, catalogueVersion: UInt32, alarms: [StoredAlarm], bootEpoch: UInt32? = nil,
    clocks: [EpochClock] = []
  ) {
    self.bootEpoch = bootEpoch ?? epoch
    self.clocks = clocks
    self.storeID = storeID
    self.epoch = epoch
    self.catalogueVersion = catalogueVersion
    self.alarms = alarms
  }
}

/// One step of a look at everything that is stored.
package struct VerifyAnswer: Sendable {
  /// Blocks and alarm events that were looked at, and are whole.
  package var blocks: Int64 = 0
  package var samples: Int64 = 0
  package var events: Int64 = 0
  /// Blocks that can't be read, by number.
  package var damagedBlocks: [Int64] = []
  package var damagedReserveBlocks: [Int64] = []
  package var damagedEvents: Int64 = 0
  /// Where the next step goes on; nil: that was all.
  package var next: Int64?
  /// What SQLite finds wrong with the files' structure; looked at in the first step.
  package var structure: [String] = []
  package init() {}
}
