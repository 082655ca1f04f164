// Owns alarm.db: the log of alarm events (a ring), the state of every alarm, the consumers' cursors, the epochs with
// their clocks, the versions of the catalogue, and who this store is. On the store thread.
//
// Invariants:
//  1. Event n stands in slot (n - 1) mod `slots`. Its log entry and its alarm's state are one commit.
//  2. An epoch is durable before anything of it is stored, and is greater than every epoch seen in either file.
//  3. Rows are updated in place and of fixed size: once prepared, a commit needs no new page and works on a full disk.

import CSQLite
import StreamCore

final class AlarmLog {
  let connection: Connection
  let writing: Statement
  private let reading: Statement
  private let filling: Statement
  private let changing: Statement
  private let asking: Statement
  private let keeping: Statement
  private let alarmNames: [String]
  let seriesNow: @Sendable ([UInt8], [UInt16]) -> [UInt16?]
  let slots: Int64
  var filled: Int64
  /// The newest durable sequence.
  var newest: Int64 = 0
  private var isHome = false
  private var keptAccount: RingAccount?
  private var record = [UInt8](repeating: 0, count: AlarmRecord.bytes)

  /// Rows of 320 bytes, 12 to a page, whose rest is for the tree.
  static func slots(bytes: Int) -> Int64 { Int64(bytes / Limits.pageBytes) * 12 }

  static func pagesMax(_ configuration: StoreConfiguration) -> Int64 {
    let names = configuration.alarmNames.count * 3 * (AlarmRecord.bytes + 2 * Limits.nameBytesMax)
    let rest = names + Limits.epochsMax * 128 + 2 * Limits.catalogueBytesMax
    return Int64((configuration.alarmBytes + rest) / Limits.pageBytes) + 64
  }

  /// A file that is read only is read as it is.
  init(
    path: String, configuration: StoreConfiguration, interruption: Interruption? = nil, isReadOnly: Bool = false
  ) throws(StoreFailure) {
    if isReadOnly {
      connection = try Connection.open(
        reading: path, vfs: configuration.vfs, cacheKiB: Limits.alarmCacheKiB)
    } else {
      connection = try Connection.open(
        path: path, vfs: configuration.vfs, pagesMax: Self.pagesMax(configuration), cacheKiB: Limits.alarmCacheKiB)
    }
    try Schema.alarms.apply(to: connection)
    if let interruption { try connection.quickCheck(interruption, budgetNs: Limits.quickCheckNs) }
    alarmNames = configuration.alarmNames
    seriesNow = configuration.seriesNow
    let wanted = Self.slots(bytes: configuration.alarmBytes)
    let stored = try connection.integer(of: "SELECT value FROM meta WHERE name = 'slots'")
    if !isReadOnly, stored == nil {
      try connection.transaction("INSERT INTO meta VALUES ('slots', \(wanted))")
    }
    guard let slots = stored ?? (isReadOnly ? nil : wanted), slots > 0,
      slots <= Self.slots(bytes: Limits.alarmBytesMax)
    else { throw .corrupt(code: SQLITE_CORRUPT) }
    self.slots = slots
    writing = try Statement(
      "INSERT INTO alarm_log(slot, record) VALUES (?, ?) ON CONFLICT(slot) DO UPDATE SET record = excluded.record",
      on: connection)
    reading = try Statement("SELECT record FROM alarm_log WHERE slot = ?", on: connection)
    filling = try Statement("INSERT INTO alarm_log(slot, record) VALUES (?, ?)", on: connection)
    changing = try Statement(
      "INSERT INTO alarm_state(name, record) VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET record = excluded.record",
      on: connection)
    asking = try Statement("SELECT record FROM alarm_state WHERE name = ?", on: connection)
    keeping = try Statement(
      """
      INSERT INTO cursors(consumer, record) VALUES (?, ?)
      ON CONFLICT(consumer) DO UPDATE SET record = excluded.record
      """,
      on: connection)
    filled = try connection.integer(of: "SELECT max(slot) + 1 FROM alarm_log") ?? 0
    isHome = filled >= slots
    newest = try findNewest()
  }

  /// The log and the states are one commit: the greater of both covers a damaged end of either.
  func findNewest() throws(StoreFailure) -> Int64 {
    let found = try RotatedSearch.newest(slots: slots) { (slot) throws(StoreFailure) in try look(slot) }
    var newest = (found.number ?? -1) + 1 + found.doubtful
    for alarm in try states() { newest = max(newest, alarm.sequence) }
    return max(newest, try number("alarms") ?? 0)
  }

  /// Sequences up to here were given before, in a log that is no more.
  func raise(to sequence: Int64) { newest = max(newest, sequence) }

  private func look(_ slot: Int64) throws(StoreFailure) -> SlotContent {
    guard slot < filled else { return .empty }
    return try withSlot(slot) { (bytes) -> SlotContent in
      if let event = AlarmRecord.read(bytes) { return .number(event.sequence - 1) }
      return bytes.contains { $0 != 0 } ? .damaged : .empty
    } ?? .damaged
  }

  private func withSlot<Answer>(
    _ slot: Int64, _ body: (UnsafeRawBufferPointer) -> Answer
  ) throws(StoreFailure) -> Answer? {
    reading.bind(1, slot)
    do throws(StoreFailure) {
      return try reading.first { (row) throws(StoreFailure) in body(row.bytes(0)) }
    } catch {
      if error.isCorrupt { return nil }
      throw error
    }
  }

  // MARK: Meta

  func number(_ name: String) throws(StoreFailure) -> Int64? {
    let statement = try Statement("SELECT value FROM meta WHERE name = ?", on: connection)
    statement.bind(1, name)
    return try statement.first { (row) throws(StoreFailure) in row.integer(0) }
  }

  func set(_ name: String, _ value: Int64) throws(StoreFailure) {
    let statement = try Statement("INSERT OR REPLACE INTO meta VALUES (?, ?)", on: connection)
    statement.bind(1, name)
    statement.bind(2, value)
    try statement.run()
  }

  func storeID() throws(StoreFailure) -> String? {
    try text("store")
  }

  func text(_ name: String) throws(StoreFailure) -> String? {
    let statement = try Statement("SELECT value FROM meta WHERE name = ?", on: connection)
    statement.bind(1, name)
    return try statement.first { (row) throws(StoreFailure) in row.text(0) }
  }

  func set(_ name: String, _ value: String) throws(StoreFailure) {
    let statement = try Statement("INSERT OR REPLACE INTO meta VALUES (?, ?)", on: connection)
    statement.bind(1, name)
    statement.bind(2, value)
    try statement.run()
  }

  // MARK: Events

  /// Commits events, in order, all or none. They take the sequences behind `newest`.
  func append(_ events: [NewEvent], epoch: UInt32, catalogueVersion: UInt32) throws(StoreFailure) {
    try connection.transaction { () throws(StoreFailure) in
      for (index, new) in events.enumerated() {
        var stored = StoredEvent(
          sequence: newest + 1 + Int64(index), epoch: epoch, catalogueVersion: catalogueVersion, event: new.event)
        stored.by = new.by
        stored.note = new.note
        try write(stored)
      }
    }
    newest += Int64(events.count)
    filled = max(filled, min(newest, slots))
  }

  private func write(_ stored: StoredEvent) throws(StoreFailure) {
    // An alarm that the configuration does not name has a log, not a state.
    let number = Int(stored.event.alarm)
    let name = number < alarmNames.count ? alarmNames[number] : nil
    var stored = stored
    if let name {
      stored.event = try withCausesOfItsRaise(stored.event, name, version: stored.catalogueVersion)
    }
    record.withUnsafeMutableBytes { AlarmRecord.write(stored, to: $0) }
    writing.bind(1, (stored.sequence - 1) % slots)
    try writing.run(2, bytes: record)
    guard let name else { return }
    changing.bind(1, name)
    try changing.run(2, bytes: record)
  }

  /// Nil: it never changed, or the row is damaged.
  func state(of name: String) throws(StoreFailure) -> StoredEvent? {
    asking.bind(1, name)
    let found = try asking.first { (row) throws(StoreFailure) -> StoredEvent? in AlarmRecord.read(row.bytes(0)) }
    return found ?? nil
  }

  var oldestSequence: Int64 { max(0, newest - slots) + 1 }

  /// Nil: damaged.
  func event(_ sequence: Int64) throws(StoreFailure) -> StoredEvent? {
    let found = try withSlot((sequence - 1) % slots) { (bytes) -> StoredEvent? in AlarmRecord.read(bytes) }
    guard let event = found ?? nil, event.sequence == sequence else { return nil }
    return event
  }

  /// Every alarm that has ever changed.
  func states() throws(StoreFailure) -> [StoredAlarm] {
    var alarms: [StoredAlarm] = []
    let statement = try Statement("SELECT name, record FROM alarm_state ORDER BY name", on: connection)
    try statement.forEach { (row) throws(StoreFailure) in
      guard let stored = AlarmRecord.read(row.bytes(1)) else { return }
      alarms.append(StoredAlarm(name: row.text(0), stored))
    }
    return alarms
  }

  // MARK: Preparation

  var isPrepared: Bool { filled >= slots && isHome }

  func prepare(_ count: Int) throws(StoreFailure) {
    let end = min(slots, filled + Int64(count))
    try connection.transaction { () throws(StoreFailure) in
      for slot in filled..<end {
        filling.bind(1, slot)
        filling.bind(2, zeros: AlarmRecord.bytes)
        try filling.run()
      }
    }
    filled = end
    guard filled >= slots else { return }
    // Only now the file has its full size: what was in the WAL could still fail for want of room.
    try connection.bringHome()
    isHome = true
  }

  // MARK: Cursors

  /// Nil in the dictionary's value: the row is damaged.
  func cursors() throws(StoreFailure) -> [String: Cursor?] {
    var found: [String: Cursor?] = [:]
    let statement = try Statement("SELECT consumer, record FROM cursors", on: connection)
    try statement.forEach { (row) throws(StoreFailure) in
      found.updateValue(CursorRecord.read(row.bytes(1)), forKey: row.text(0))
    }
    return found
  }

  /// Writes the cursors, and how far the telemetry had come: so that a ring that lost its end is noticed. `account`:
  /// what had gone of it by then.
  func keep(
    _ cursors: [String: Cursor], durable: Position, account: RingAccount? = nil
  ) throws(StoreFailure) {
    try connection.transaction { () throws(StoreFailure) in
      for (consumer, cursor) in cursors where cursor.isChanged {
        var record = [UInt8](repeating: 0, count: CursorRecord.bytes)
        record.withUnsafeMutableBytes { CursorRecord.write(cursor, to: $0) }
        keeping.bind(1, consumer)
        try keeping.run(2, bytes: record)
      }
      try set("telemetry", durable.telemetry)
      if account != keptAccount { try account?.keep(in: self) }
    }
    if let account { keptAccount = account }
  }

  var bytes: Int64 {
    get throws(StoreFailure) {
      (try connection.integer(of: "PRAGMA page_count") ?? 0) * Int64(Limits.pageBytes)
    }
  }
}
