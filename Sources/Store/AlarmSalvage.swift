// Takes out of a damaged alarm.db what is still good, into a new one. Events are found page by page, each with its own
// checksum; catalogues, epochs, states and cursors are asked of SQLite, row by row, as far as it gets.
//
// Invariants:
//  1. What has a checksum is taken only if that is right; an epoch, which has none, dates records and is no record.
//  2. It can be cut off and done again: until the new file has an id, all of it is repeated.
//  3. The quarantined file is only read.

import CLinux
import StreamCore

extension AlarmLog {
  func salvage(from set: String, configuration: StoreConfiguration) throws(StoreFailure) {
    let path = set + "/" + StateFolder.alarms
    let deadline = kerb_monotonic_ns() + Limits.salvageNs
    do throws(StoreFailure) {
      try salvageEvents(path, until: deadline)
      // Not through the configuration's file system: what is in quarantine is nobody's live file.
      if let old = try? Connection.open(reading: path, cacheKiB: Limits.alarmCacheKiB) {
        try salvageRows(old)
      }
      newest = try findNewest()
    } catch {
      // Service goes before the past.
      guard error.isFull else { throw error }
    }
  }

  private func salvageEvents(_ path: String, until deadline: Int64) throws(StoreFailure) {
    guard let pages = PageScan(path) else { return }
    // Twice over the file: the first time to know which are the newest, so that nothing is written in vain.
    var last: Int64 = 0
    Self.forEachRecord(pages, until: deadline) { last = max(last, $0.sequence) }
    guard last > 0 else { return }
    // Slots exist in ascending order, also those of events that can't be had.
    while filled < min(slots, last) { try prepare(Limits.prefillRowsPerStep) }
    var pending: [StoredEvent] = []
    var outcome: Result<Void, StoreFailure> = .success(())
    Self.forEachRecord(pages, until: deadline) { stored in
      guard stored.sequence > last - slots, case .success = outcome else { return }
      pending.append(stored)
      if pending.count == Limits.eventsPendingMax {
        outcome = attempt { () throws(StoreFailure) in try self.put(pending) }
        pending.removeAll(keepingCapacity: true)
      }
    }
    try outcome.get()
    try put(pending)
  }

  private func put(_ events: [StoredEvent]) throws(StoreFailure) {
    guard !events.isEmpty else { return }
    var record = [UInt8](repeating: 0, count: AlarmRecord.bytes)
    try connection.transaction { () throws(StoreFailure) in
      for stored in events {
        record.withUnsafeMutableBytes { AlarmRecord.write(stored, to: $0) }
        writing.bind(1, (stored.sequence - 1) % slots)
        try writing.run(2, bytes: record)
      }
    }
  }

  private static func forEachRecord(
    _ pages: PageScan, until deadline: Int64, _ body: (StoredEvent) -> Void
  ) {
    pages.forEach(until: deadline) { page, _, _ in
      var at = 0
      while at + AlarmRecord.bytes <= page.count {
        let bytes = UnsafeRawBufferPointer(rebasing: page[at..<(at + AlarmRecord.bytes)])
        if bytes[0] == AlarmRecord.firstByte, let stored = AlarmRecord.read(bytes) {
          body(stored)
          at += AlarmRecord.bytes
        } else {
          at += 1
        }
      }
    }
  }

  /// Each table for itself: what is damaged ends one of them.
  private func salvageRows(_ old: borrowing Connection) throws(StoreFailure) {
    var catalogues: [(UInt32, [UInt8])] = []
    Self.rows("SELECT version, checksum, bytes FROM catalogues", old) { row in
      let bytes = [UInt8](row.bytes(2))
      let version = row.integer(0)
      guard Int64(bytes.withUnsafeBytes { Checksum.crc32c($0) }) == row.integer(1), version > 0 else { return }
      catalogues.append((UInt32(clamping: version), bytes))
    }
    var epochs: [(Int64, String, Int64?)] = []
    Self.rows("SELECT epoch, boot, clock FROM epochs", old) { row in
      let epoch = row.integer(0)
      guard epoch > 0, epoch < Int64(Int32.max) else { return }
      epochs.append((epoch, row.text(1), row.isNull(2) ? nil : row.integer(2)))
    }
    var states: [(String, StoredEvent)] = []
    Self.rows("SELECT name, record FROM alarm_state", old) { row in
      if let stored = AlarmRecord.read(row.bytes(1)) { states.append((row.text(0), stored)) }
    }
    var cursors: [String: Cursor] = [:]
    Self.rows("SELECT consumer, record FROM cursors", old) { row in
      if let cursor = CursorRecord.read(row.bytes(1)) { cursors[row.text(0)] = cursor }
    }
    var numbers: [(String, Int64)] = []
    let known = "name IN ('mark', 'telemetry', 'alarms', 'catalogue') OR name GLOB 'gone:*' OR name GLOB 'damage:*'"
    Self.rows("SELECT name, value FROM meta WHERE \(known)", old) { row in
      let number = row.integer(1)
      if number >= 0, number < Int64.max / 2 { numbers.append((row.text(0), number)) }
    }
    try connection.transaction { () throws(StoreFailure) in
      for (version, bytes) in catalogues { try keep(bytes, as: version) }
      for epoch in epochs { try add(epoch) }
      for (name, stored) in states { try setState(name, stored) }
      for (name, number) in numbers { try set(name, number) }
    }
    try keep(cursors, durable: Position(telemetry: try number("telemetry") ?? 0))
  }

  private static func rows(_ sql: String, _ old: borrowing Connection, _ body: (borrowing Row) -> Void) {
    // The failure says where it ends, and that is all there is to know.
    guard let statement = try? Statement(sql, on: old) else { return }
    try? statement.forEach { (row) throws(StoreFailure) in body(row) }
  }

  private func add(_ epoch: (Int64, String, Int64?)) throws(StoreFailure) {
    let insert = try Statement("INSERT OR REPLACE INTO epochs(epoch, boot, clock) VALUES (?, ?, ?)", on: connection)
    insert.bind(1, epoch.0)
    insert.bind(2, epoch.1)
    if let clock = epoch.2 { insert.bind(3, clock) } else { insert.bindNull(3) }
    try insert.run()
  }

  private func setState(_ name: String, _ stored: StoredEvent) throws(StoreFailure) {
    var record = [UInt8](repeating: 0, count: AlarmRecord.bytes)
    record.withUnsafeMutableBytes { AlarmRecord.write(stored, to: $0) }
    let insert = try Statement("INSERT OR REPLACE INTO alarm_state(name, record) VALUES (?, ?)", on: connection)
    insert.bind(1, name)
    try insert.run(2, bytes: record)
  }
}

/// Carries a typed failure out of a closure that can't throw one.
private func attempt(_ body: () throws(StoreFailure) -> Void) -> Result<Void, StoreFailure> {
  do throws(StoreFailure) {
    return .success(try body())
  } catch {
    return .failure(error)
  }
}
