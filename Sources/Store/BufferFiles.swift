// The two files as one store: opened together, found to belong together, begun with a new epoch. On the store thread.
//
//   open alarm.db, telemetry.db  ->  same store?  ->  epoch + 1, catalogue, rows (one commit)  ->  service
//        | damaged, missing            | no                | can't be written
//        v                             v                   v
//   quarantine, salvage           a new id            read only: no epoch begins
//
// Invariants:
//  1. A file that is damaged or belongs to another store is moved away, never written to.
//  2. A store that lost a file gets a new id, so that no id of the old one comes again with other content.
//  3. Before anything of an epoch is stored, both databases have it, not only their WALs.

import CSQLite
import Glibc
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
  /// Sequences before that place that were given out and are in no block, and what became of them.
  var vanished: Int64
  var vanishedReason: GapReason
  /// The ring keeps its old size, because of this.
  var resizeFailure: StoreFailure?

  init(
    folder: borrowing StateFolder, configuration: StoreConfiguration, interruption: Interruption?, floor: Floor
  ) throws(StoreFailure) {
    try Restoring.conclude(folder)
    // Copies that a cut left unfinished.
    for name in [StateFolder.alarms, StateFolder.telemetry] { unlink(folder.file(name + ReturningFile.suffix)) }
    for name in [StateFolder.alarms, StateFolder.telemetry] {
      try folder.removeForeignLog(name, vfs: configuration.vfs)
    }
    try folder.removeForeignAlarms(configuration.gateway, vfs: configuration.vfs)
    resizeFailure = try Resizing.settle(folder, configuration)
    log = try Self.openLog(folder, configuration, interruption)
    (ring, storeID) = try Self.pair(log, folder, configuration, interruption)
    folder.salvageIsDone()
    log.raise(to: floor.position.alarms)
    let account = try RingAccount(in: log)
    if let account { try ring.findDamage(above: account.border) }
    let opening = try Self.opening(ring, floor, configuration)
    (epoch, catalogueVersion) = try log.begin(opening, configuration: configuration)
    try ring.note(epoch: epoch, version: catalogueVersion, configuration)
    (place, vanished, vanishedReason) = try Self.place(ring, log, floor, epoch, catalogueVersion)
    ring.begin(behind: place.firstSequence - 1, account)
  }

  /// A store that can be read and not be written: it is served as it is. Its next epoch begins when it can be written.
  init(reading folder: borrowing StateFolder, configuration: StoreConfiguration) throws(StoreFailure) {
    log = try AlarmLog(path: folder.file(StateFolder.alarms), configuration: configuration, isReadOnly: true)
    ring = try TelemetryRing(
      path: folder.file(StateFolder.telemetry), vfs: configuration.vfs, bytes: configuration.telemetryBytes,
      reserveBytes: configuration.reserveBytes, seriesCount: configuration.seriesCount, isReadOnly: true)
    guard let id = try log.storeID(), try ring.storeID() == id else { throw .corrupt(code: SQLITE_CORRUPT) }
    storeID = id
    let opening = try Self.opening(ring, Floor(), configuration)
    epoch = try log.nextEpoch(above: opening.epochFloor)
    catalogueVersion = try log.version(for: opening)
    (place, vanished, vanishedReason) = try Self.place(ring, log, Floor(), epoch, catalogueVersion)
  }

  private static func opening(
    _ ring: TelemetryRing, _ floor: Floor, _ configuration: StoreConfiguration
  ) throws(StoreFailure) -> Opening {
    let oldest = try ring.oldest()
    let fingerprints = try ring.fingerprints()
    let versions = max(fingerprints.keys.max() ?? 0, ring.newest?.catalogueVersion ?? 0)
    return Opening(
      epochFloor: max(floor.epoch, ring.newest?.epoch ?? 0, try ring.notedEpoch()), bootID: bootID(),
      catalogue: configuration.catalogue, mark: ring.mark, fingerprints: fingerprints, versionFloor: versions,
      newestEpoch: ring.newest?.epoch ?? 0, newestNs: ring.newest?.latest.nanoseconds ?? 0,
      oldestEpoch: oldest?.epoch ?? 0, oldestCatalogue: oldest?.catalogueVersion ?? 0)
  }

  private static func place(
    _ ring: TelemetryRing, _ log: AlarmLog, _ floor: Floor, _ epoch: UInt32, _ version: UInt32
  ) throws(StoreFailure) -> (BlockInfo, Int64, GapReason) {
    var known = max(floor.position.telemetry, try log.number("telemetry") ?? 0)
    for case let cursor? in try log.cursors().values { known = max(known, cursor.held.telemetry) }
    let stored = max(ring.newest?.last ?? 0, ring.settledLast)
    known = max(known, stored + ring.doubtful * Int64(Limits.samplesPerBlockMax))
    var place = ring.nextPlace(epoch: epoch, catalogueVersion: version)
    guard ring.newest != nil else {
      place.firstSequence = known + 1
      return (place, 0, .damaged)
    }
    // What a stop on a full disk could not save was counted, and is a loss for want of room, not by damage.
    let isUnsaved = try log.number("unsaved") == known
    return (place, known - stored, isUnsaved ? .overflow : .damaged)
  }

  static func openLog(
    _ folder: borrowing StateFolder, _ configuration: StoreConfiguration, _ interruption: Interruption?
  ) throws(StoreFailure) -> AlarmLog {
    let path = folder.file(StateFolder.alarms)
    var log: AlarmLog
    do throws(StoreFailure) {
      log = try AlarmLog(path: path, configuration: configuration, interruption: interruption)
    } catch {
      guard error.isCorrupt else { throw error }
      try folder.quarantine([StateFolder.alarms])
      log = try AlarmLog(path: path, configuration: configuration, interruption: interruption)
    }
    // A log without an id is new: what can be had of the old one goes into it first.
    if try log.storeID() == nil, let set = folder.unsalvaged(StateFolder.alarms) {
      try log.salvage(from: set, configuration: configuration)
    }
    return log
  }

  static func openRing(
    _ folder: borrowing StateFolder, _ configuration: StoreConfiguration, _ log: AlarmLog,
    _ interruption: Interruption?
  ) throws(StoreFailure) -> TelemetryRing {
    func opened() throws(StoreFailure) -> TelemetryRing {
      try TelemetryRing(
        path: folder.file(StateFolder.telemetry), vfs: configuration.vfs, bytes: configuration.telemetryBytes,
        reserveBytes: configuration.reserveBytes, seriesCount: configuration.seriesCount, interruption: interruption)
    }
    if access(folder.file(StateFolder.telemetry), F_OK) == 0 {
      do throws(StoreFailure) {
        return try opened()
      } catch {
        guard error.isCorrupt else { throw error }
        try folder.quarantine([StateFolder.telemetry])
      }
    }
    if let set = folder.unsalvaged(StateFolder.telemetry), let mark = try log.number("mark") {
      try RingSalvage.restore(
        from: set, into: folder, mark: UInt32(truncatingIfNeeded: mark), configuration: configuration,
        account: try RingAccount(in: log))
    }
    return try opened()
  }

  /// The ring that belongs to the log, and the id of both.
  private static func pair(
    _ log: AlarmLog, _ folder: borrowing StateFolder, _ configuration: StoreConfiguration,
    _ interruption: Interruption?
  ) throws(StoreFailure) -> (TelemetryRing, String) {
    var found: TelemetryRing? = try openRing(folder, configuration, log, interruption)
    let ringID = try found?.storeID()
    let logID = try log.storeID()
    if let ring = found, let logID {
      if ringID == logID { return (ring, logID) }
      if try belongs(ringID, to: log) {
        try ring.adopt(storeID: logID)
        try ring.connection.bringHome()
        try log.markPaired()
        return (ring, logID)
      }
      // It came from elsewhere. A ring whose log is lost stays: its blocks name their catalogue by themselves.
      if ringID != nil {
        found = nil
        try folder.quarantine([StateFolder.telemetry])
      }
    }
    let ring: TelemetryRing
    if let found { ring = found } else { ring = try openRing(folder, configuration, log, interruption) }
    return (ring, try renew(log, ring))
  }

  /// Whether a ring of this id goes with the log, or is about to: a cut in the middle of the first start, or of giving
  /// both a new id.
  static func belongs(_ ringID: String?, to log: AlarmLog) throws(StoreFailure) -> Bool {
    if let ringID, ringID == (try log.storeID()) { return true }
    guard try log.number("paired") != 1 else { return false }
    guard let ringID else { return true }
    return ringID == (try log.text("adopting"))
  }

  /// A new id for both, the log first: until the ring has it too, `paired` says that the ring is still to come.
  static func renew(_ log: AlarmLog, _ ring: TelemetryRing) throws(StoreFailure) -> String {
    let fresh = freshStoreID()
    let before = try ring.storeID() ?? ""
    try log.connection.transaction { () throws(StoreFailure) in
      try log.set("store", fresh)
      try log.set("adopting", before)
      try log.set("paired", 0)
      try log.set("mark", Int64(ring.mark))
    }
    try log.connection.bringHome()
    try ring.adopt(storeID: fresh)
    try ring.connection.bringHome()
    try log.markPaired()
    return fresh
  }
}

extension AlarmLog {
  /// The ring has this log's id.
  fileprivate func markPaired() throws(StoreFailure) {
    try connection.transaction { () throws(StoreFailure) in try set("paired", 1) }
  }
}

extension TelemetryRing {
  func nextPlace(epoch: UInt32, catalogueVersion: UInt32) -> BlockInfo {
    var place = BlockInfo()
    place.number = newest.map { $0.number + 1 } ?? origin
    place.firstSequence = max(newest?.last ?? 0, settledLast) + 1
    place.ordinal = newest.map { $0.ordinal + Int64($0.count) } ?? 0
    place.epoch = epoch
    place.catalogueVersion = catalogueVersion
    place.mark = mark
    return place
  }
}
