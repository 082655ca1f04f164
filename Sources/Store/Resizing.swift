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
  /// Both files have the configuration's number of slots afterwards, or are as they were: then the answer says why.
  /// Damage is left to those who open the files for service.
  static func settle(
    _ folder: borrowing StateFolder, _ configuration: StoreConfiguration
  ) throws(StoreFailure) -> StoreFailure? {
    RingDraft.discard(folder)
    let log = resizeLog(folder, configuration)
    // The old ring is closed when this returns: two connections must never meet in one file.
    let ring = resizeRing(folder, configuration)
    try RingDraft.conclude(folder)
    return log ?? ring
  }

  private static func resizeLog(
    _ folder: borrowing StateFolder, _ configuration: StoreConfiguration
  ) -> StoreFailure? {
    let path = folder.file(StateFolder.alarms)
    guard access(path, F_OK) == 0 else { return nil }
    do throws(StoreFailure) {
      let log = try AlarmLog(path: path, configuration: configuration)
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
    do throws(StoreFailure) {
      let old = try TelemetryRing(
        path: path, vfs: configuration.vfs, bytes: configuration.telemetryBytes,
        reserveBytes: configuration.reserveBytes, seriesCount: configuration.seriesCount)
      let wanted = RingLayout(configuration)
      guard wanted != old.layout, let storeID = try old.storeID() else { return nil }
      if wanted.slots > old.slots, wanted.reserveSlots == old.layout.reserveSlots, old.hasNotComeRound {
        try old.set(slots: wanted.slots)
        return nil
      }
      let draft = RingDraft(
        path: RingDraft.path(in: folder), vfs: configuration.vfs, layout: wanted,
        bytes: configuration.telemetryBytes, mark: old.mark, storeID: storeID, notes: try notes(old, wanted))
      try draft.write(
        ring: source(old.ring, old.numbers, wanted.slots),
        reserve: source(old.reserve, old.reserve?.numbers, wanted.reserveSlots))
      try old.connection.bringHome()
      return nil
    } catch {
      RingDraft.discard(folder)
      return error.isFull ? error : nil
    }
  }

  /// The newest that find room.
  private static func source(_ table: BlockTable?, _ numbers: ClosedRange<Int64>?, _ slots: Int64) -> RingDraft.Source {
    guard let table, let numbers, slots > 0 else { return .nothing }
    return RingDraft.Source(numbers: max(numbers.lowerBound, numbers.upperBound - slots + 1)...numbers.upperBound) {
      (number) throws(StoreFailure) in try table.raw(number)
    }
  }

  /// What goes along, and what is counted of the blocks that don't.
  private static func notes(
    _ old: TelemetryRing, _ wanted: RingLayout
  ) throws(StoreFailure) -> [(name: String, value: Int64)] {
    var book = old.losses
    if let reserve = old.reserve, let numbers = reserve.numbers {
      for number in numbers.prefix(max(0, numbers.count - Int(wanted.reserveSlots))) {
        if case .block(let info) = try reserve.info(number) { try old.departReserve(info, &book) }
      }
    }
    if let numbers = old.numbers {
      for number in numbers.prefix(max(0, numbers.count - Int(wanted.slots))) {
        guard case .block(let info) = try old.info(number) else { continue }
        try old.depart(info, &book)
      }
    }
    return try old.notes() + book.notes
  }
}

extension AlarmLog {
  /// Its rows are those of the first version of the format.
  private var isNarrow: Bool {
    get throws(StoreFailure) {
      let length = try connection.integer(of: "SELECT length(record) FROM alarm_log WHERE slot = 0")
      return length.map { $0 < Int64(AlarmRecord.bytes) } ?? false
    }
  }

  /// Brings the log to another number of slots, in one transaction; the newest entries stay, in rows of full length.
  func resize(to wanted: Int64) throws(StoreFailure) {
    let isNarrow = try isNarrow
    guard isNarrow || wanted != slots else { return }
    // Both tables stand side by side until the commit.
    let limit = try connection.integer(of: "PRAGMA max_page_count") ?? 0
    try connection.execute("PRAGMA max_page_count = \(limit + (slots + wanted) / 10)")
    let newest = self.newest
    let slots = self.slots
    try connection.transaction { () throws(StoreFailure) in
      try connection.execute(
        """
        CREATE TABLE alarm_log_new(slot INTEGER PRIMARY KEY, record BLOB NOT NULL);
        WITH RECURSIVE place(slot) AS (SELECT 0 UNION ALL SELECT slot + 1 FROM place WHERE slot + 1 < \(wanted))
          INSERT INTO alarm_log_new
          SELECT slot, ifnull((SELECT CAST(record || zeroblob(\(AlarmRecord.bytes) - length(record)) AS BLOB)
            FROM alarm_log
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
