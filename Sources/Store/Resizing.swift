// Brings a ring to another number of slots, when the configuration's quota has changed. Happens at a start, before
// service.
//
//   grows, not yet come round     the new number is written down; nothing moves
//   anything else                 the newest blocks are copied, in order, into a new file that takes the old one's
//   place
//
// Invariants:
//  1. At every moment one complete file is under the ring's name.
//  2. What does not fit is the oldest; its sequences come before the first block's, so it is told as evicted.
//  3. A failure leaves the old ring as it was.

import CSQLite
import Glibc
import StreamCore

enum Resizing {
  private static let draft = "telemetry.new"

  /// Both files have the configuration's number of slots afterwards, or are as they were: then the answer says why.
  /// Damage is left to those who open the files for service.
  static func settle(
    _ folder: borrowing StateFolder, _ configuration: StoreConfiguration
  ) throws(StoreFailure) -> StoreFailure? {
    remove(folder.file(draft))
    let log = resizeLog(folder, configuration)
    // The old ring is closed when this returns: two connections must never meet in one file.
    let ring = resizeRing(folder, configuration)
    try conclude(folder)
    return log ?? ring
  }

  private static func resizeLog(
    _ folder: borrowing StateFolder, _ configuration: StoreConfiguration
  ) -> StoreFailure? {
    let path = folder.file(StateFolder.alarms)
    guard access(path, F_OK) == 0 else { return nil }
    do throws(StoreFailure) {
      let log = try AlarmLog(path: path, configuration: configuration, interruption: nil)
      try log.resize(to: AlarmLog.slots(bytes: configuration.alarmBytes))
      return nil
    } catch {
      return error.isFull ? error : nil
    }
  }

  private static func resizeRing(
    _ folder: borrowing StateFolder, _ configuration: StoreConfiguration
  ) -> StoreFailure? {
    let path = folder.file(StateFolder.telemetry)
    guard access(path, F_OK) == 0 else { return nil }
    let copyPath = folder.file(draft)
    do throws(StoreFailure) {
      let old = try TelemetryRing(
        path: path, bytes: configuration.telemetryBytes, seriesCount: configuration.seriesCount, interruption: nil)
      let wanted = TelemetryRing.slots(bytes: configuration.telemetryBytes)
      guard wanted != old.slots, let storeID = try old.storeID() else { return nil }
      if wanted > old.slots, old.hasNotComeRound {
        try old.set(slots: wanted)
        return nil
      }
      try copy(old, to: copyPath, slots: wanted, bytes: configuration.telemetryBytes, storeID: storeID)
      unlink(copyPath + "-wal")
      guard try old.isCheckpointed() else { throw .io(code: SQLITE_IOERR) }
      return nil
    } catch {
      remove(copyPath)
      return error.isFull ? error : nil
    }
  }

  /// Puts the new file, if one was made, in the old one's place; the old one is closed. The WAL goes first: the
  /// database has all of it, and the new one must never meet it.
  private static func conclude(_ folder: borrowing StateFolder) throws(StoreFailure) {
    let path = folder.file(StateFolder.telemetry)
    guard access(folder.file(draft), F_OK) == 0 else { return }
    guard unlink(path + "-wal") == 0 || errno == ENOENT else { throw .unusable(path: path + "-wal", code: -errno) }
    StateFolder.sync(folder.path)
    guard rename(folder.file(draft), path) == 0 else { throw .unusable(path: path, code: -errno) }
    StateFolder.sync(folder.path)
  }

  private static func remove(_ path: String) {
    for suffix in ["-wal", "-shm", ""] { unlink(path + suffix) }
  }

  private static func copy(
    _ old: TelemetryRing, to path: String, slots: Int64, bytes: Int, storeID: String
  ) throws(StoreFailure) {
    let pages = Int64(bytes / Limits.pageBytes)
    let connection = try Connection.open(path: path, pagesMax: pages, cacheKiB: Limits.telemetryCacheKiB)
    try Schema.telemetry.apply(to: connection)
    let numbers = old.numbers.map { max($0.lowerBound, $0.upperBound - slots + 1)...$0.upperBound }
    let meta = try Statement(
      "INSERT INTO meta VALUES ('store', ?1), ('slots', ?2), ('mark', ?3), ('origin', ?4)", on: connection)
    meta.bind(1, storeID)
    meta.bind(2, slots)
    meta.bind(3, Int64(old.mark))
    meta.bind(4, numbers?.lowerBound ?? 0)
    try meta.run()
    guard let numbers else { return }
    let insert = try Statement("INSERT INTO ring(slot, block) VALUES (?, ?)", on: connection)
    var next = numbers.lowerBound
    while next <= numbers.upperBound {
      let end = min(numbers.upperBound, next + Int64(Limits.prefillSlotsPerStep) - 1)
      try connection.transaction { () throws(StoreFailure) in
        for number in next...end {
          insert.bind(1, number - numbers.lowerBound)
          // A block that can't be read stays a hole: its neighbours tell what is missing.
          try insert.run(2, bytes: try old.raw(number) ?? [UInt8](repeating: 0, count: Limits.blockBytes))
        }
      }
      next = end + 1
    }
  }
}

extension AlarmLog {
  /// Brings the log to another number of slots, in one transaction; the newest entries stay.
  func resize(to wanted: Int64) throws(StoreFailure) {
    guard wanted != slots else { return }
    // Both tables stand side by side until the commit.
    let limit = try connection.integer(of: "PRAGMA max_page_count") ?? 0
    try connection.execute("PRAGMA max_page_count = \(limit + (slots + wanted) / 30)")
    let newest = self.newest
    let slots = self.slots
    try connection.transaction { () throws(StoreFailure) in
      try connection.execute(
        """
        CREATE TABLE alarm_log_new(slot INTEGER PRIMARY KEY, record BLOB NOT NULL);
        WITH RECURSIVE place(slot) AS (SELECT 0 UNION ALL SELECT slot + 1 FROM place WHERE slot + 1 < \(wanted))
          INSERT INTO alarm_log_new
          SELECT slot, ifnull((SELECT record FROM alarm_log
            WHERE alarm_log.slot = (\(newest) - 1 - (\(newest) - 1 - place.slot) % \(wanted)) % \(slots)
              AND \(newest) - 1 - (\(newest) - 1 - place.slot) % \(wanted) >= 0
              AND (\(newest) - 1 - place.slot) % \(wanted) < \(slots)
              AND place.slot < \(newest)), zeroblob(\(AlarmRecord.bytes)))
          FROM place;
        DROP TABLE alarm_log;
        ALTER TABLE alarm_log_new RENAME TO alarm_log;
        UPDATE meta SET value = \(wanted) WHERE name = 'slots';
        """)
    }
  }
}
