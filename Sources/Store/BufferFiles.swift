// The two files as one store: opened together, found to belong together, begun with a new epoch. On the store thread.
//
//   open alarm.db, telemetry.db  ->  same store?  ->  epoch + 1, catalogue, rows (one commit)  ->  service
//
// Invariants:
//  1. A file that is damaged or belongs to another store is moved away, never written to.
//  2. A store that lost a file gets a new id, so that no id of the old one comes again with other content.

import CSQLite
import StreamCore

/// What was given out before, by files that may be no more.
struct Floor {
  var position = Position()
  var epoch: UInt32 = 0
}

struct BufferFiles {
  var ring: TelemetryRing
  var log: AlarmLog
  var storeID: String
  var epoch: UInt32
  var catalogueVersion: UInt32
  /// Place of the next block in the ring.
  var place: BlockInfo
  /// Sequences before that place that were given out and are in no block.
  var vanished: Int64
  /// The ring keeps its old size, because of this.
  var resizeFailure: StoreFailure?

  init(
    folder: borrowing StateFolder, configuration: StoreConfiguration, interruption: Interruption?, floor: Floor
  ) throws(StoreFailure) {
    resizeFailure = try Resizing.settle(folder, configuration)
    let log = try Self.openLog(folder, configuration, interruption)
    let (ring, storeID) = try Self.pair(log, folder, configuration, interruption)
    log.raise(to: floor.position.alarms)
    let oldest = try ring.oldest()
    let opening = Opening(
      epochFloor: max(floor.epoch, ring.newest?.epoch ?? 0), bootID: bootID(), catalogue: configuration.catalogue,
      oldestEpoch: oldest?.epoch ?? 0, oldestCatalogue: oldest?.catalogueVersion ?? 0)
    (epoch, catalogueVersion) = try log.begin(opening, configuration: configuration)
    self.ring = ring
    self.log = log
    self.storeID = storeID

    var known = max(floor.position.telemetry, try log.number("telemetry") ?? 0)
    for case let cursor? in try log.cursors().values { known = max(known, cursor.held.telemetry) }
    let stored = ring.newest?.last ?? 0
    known = max(known, stored + ring.doubtful * Int64(Limits.samplesPerBlockMax))
    place = ring.nextPlace(epoch: epoch, catalogueVersion: catalogueVersion)
    vanished = 0
    if ring.newest == nil {
      place.firstSequence = known + 1
    } else {
      vanished = known - stored
    }
  }

  private static func openLog(
    _ folder: borrowing StateFolder, _ configuration: StoreConfiguration, _ interruption: Interruption?
  ) throws(StoreFailure) -> AlarmLog {
    let path = folder.file(StateFolder.alarms)
    do throws(StoreFailure) {
      return try AlarmLog(path: path, configuration: configuration, interruption: interruption)
    } catch {
      guard error.isCorrupt else { throw error }
      // Without the log nobody knows what the telemetry means: the catalogues are in it.
      try folder.quarantine([StateFolder.alarms, StateFolder.telemetry])
      return try AlarmLog(path: path, configuration: configuration, interruption: interruption)
    }
  }

  private static func openRing(
    _ folder: borrowing StateFolder, _ configuration: StoreConfiguration, _ interruption: Interruption?
  ) throws(StoreFailure) -> TelemetryRing {
    let path = folder.file(StateFolder.telemetry)
    do throws(StoreFailure) {
      return try TelemetryRing(
        path: path, bytes: configuration.telemetryBytes, seriesCount: configuration.seriesCount,
        interruption: interruption)
    } catch {
      guard error.isCorrupt else { throw error }
      try folder.quarantine([StateFolder.telemetry])
      return try TelemetryRing(
        path: path, bytes: configuration.telemetryBytes, seriesCount: configuration.seriesCount,
        interruption: interruption)
    }
  }

  /// The ring that belongs to the log, and the id of both.
  private static func pair(
    _ log: AlarmLog, _ folder: borrowing StateFolder, _ configuration: StoreConfiguration,
    _ interruption: Interruption?
  ) throws(StoreFailure) -> (TelemetryRing, String) {
    var ring: TelemetryRing? = try openRing(folder, configuration, interruption)
    let ringID = try ring?.storeID()
    let logID = try log.storeID()
    if let ring, let logID, ringID == logID { return (ring, logID) }
    if let ring, let logID, ringID == nil, try log.number("paired") != 1 {
      // A cut in the middle of the first start.
      try ring.adopt(storeID: logID)
      try log.set("paired", 1)
      return (ring, logID)
    }
    if ringID != nil {
      ring = nil
      try folder.quarantine([StateFolder.telemetry])
    }
    let own: TelemetryRing
    if let ring { own = ring } else { own = try openRing(folder, configuration, interruption) }
    return (own, try renew(log, own))
  }

  /// A new id for both, the log first: until the ring has it too, `paired` says that the ring is still to come.
  static func renew(_ log: AlarmLog, _ ring: TelemetryRing) throws(StoreFailure) -> String {
    let fresh = freshStoreID()
    try log.connection.transaction { () throws(StoreFailure) in
      try log.set(storeID: fresh)
      try log.set("paired", 0)
    }
    try ring.adopt(storeID: fresh)
    try log.set("paired", 1)
    return fresh
  }
}

extension TelemetryRing {
  func nextPlace(epoch: UInt32, catalogueVersion: UInt32) -> BlockInfo {
    var place = BlockInfo()
    place.number = newest.map { $0.number + 1 } ?? origin
    place.firstSequence = newest.map { $0.last + 1 } ?? 1
    place.ordinal = newest.map { $0.ordinal + Int64($0.count) } ?? 0
    place.epoch = epoch
    place.catalogueVersion = catalogueVersion
    place.mark = mark
    return place
  }
}
