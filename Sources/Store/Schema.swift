// The tables of one file, and the way from every older version to the present one.
//
// Invariants:
//  1. `user_version` is the number of steps that the file has been through; each step is one transaction with its
//     number.
//  2. A file of another program (`application_id`) is never written to.
//  3. A file is refused as newer only if the version that has a checksum says so.

import CSQLite

struct Schema {
  /// "Kerb", and a letter for each file.
  let applicationID: Int32
  /// Step `n` leads from version n to n + 1.
  let steps: [String]
  /// What must be there afterwards.
  let tables: [String]

  static let telemetry = Schema(
    applicationID: 0x4B72_6254,
    steps: [
      """
      CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
      CREATE TABLE ring(slot INTEGER PRIMARY KEY, block BLOB NOT NULL);
      """,
      "CREATE TABLE reserve(slot INTEGER PRIMARY KEY, block BLOB NOT NULL)",
    ],
    tables: ["meta", "ring"])

  static let alarms = Schema(
    applicationID: 0x4B72_6241,
    steps: [
      """
      CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
      CREATE TABLE epochs(epoch INTEGER PRIMARY KEY, boot TEXT NOT NULL, clock INTEGER);
      CREATE TABLE catalogues(version INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, bytes BLOB NOT NULL);
      CREATE TABLE alarm_state(name TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
      CREATE TABLE alarm_log(slot INTEGER PRIMARY KEY, record BLOB NOT NULL);
      CREATE TABLE cursors(consumer TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
      """,
      // Records grew from 96 to 320 bytes; the log's do when it is next brought to its number of slots (Resizing).
      "UPDATE alarm_state SET record = CAST(record || zeroblob(320 - length(record)) AS BLOB)",
      // The monotonic time at an epoch's start, and how long the agent had been seen running before it.
      "ALTER TABLE epochs ADD COLUMN start INTEGER; ALTER TABLE epochs ADD COLUMN ran INTEGER",
    ],
    tables: ["meta", "epochs", "catalogues", "alarm_state", "alarm_log", "cursors"])

  /// Makes, brings up to date or verifies the tables. A file that is only read stays as it is.
  func apply(to connection: borrowing Connection) throws(StoreFailure) {
    let stored = try connection.integer(of: "PRAGMA user_version") ?? 0
    let application = try connection.integer(of: "PRAGMA application_id") ?? 0
    let objects = try connection.integer(of: "SELECT count(*) FROM sqlite_schema") ?? 0
    let isNew = stored == 0 && application == 0 && objects == 0
    guard isNew || application == Int64(applicationID) else { throw .corrupt(code: SQLITE_NOTADB) }
    if !isNew { try checkTables(connection) }
    let version = isNew ? 0 : try self.version(stored, connection)
    guard version <= Int64(steps.count) else {
      throw .newer(path: connection.path, version: Int32(truncatingIfNeeded: version))
    }
    if !connection.isReadOnly {
      if hasMeta { try connection.keepMarks() }
      try bring(connection, from: Int(version), stored: stored)
    }
    try checkTables(connection)
  }

  private func checkTables(_ connection: borrowing Connection) throws(StoreFailure) {
    let found = try Statement("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", on: connection)
    for table in tables {
      found.bind(1, table)
      guard try found.first({ (row) throws(StoreFailure) in row.integer(0) }) != nil else {
        throw .corrupt(code: SQLITE_CORRUPT)
      }
    }
  }

  private var hasMeta: Bool { tables.contains("meta") }

  /// The version stands twice, the second time with a checksum: a flipped bit in either is no other version.
  private func version(_ stored: Int64, _ connection: borrowing Connection) throws(StoreFailure) -> Int64 {
    guard hasMeta, let text = try connection.text(of: "SELECT value FROM meta WHERE name = 'format'") else {
      // Written before there was a second one, so by no newer program.
      guard (1...Int64(steps.count)).contains(stored) || !hasMeta else { throw .corrupt(code: SQLITE_NOTADB) }
      return stored
    }
    let words = text.split(separator: " ")
    guard words.count == 2, let version = Int64(words[0]), text == Self.format(version) else {
      guard (1...Int64(steps.count)).contains(stored) else { throw .corrupt(code: SQLITE_NOTADB) }
      return stored
    }
    return version
  }

  static func format(_ version: Int64) -> String {
    var number = "\(version)"
    let checksum = number.withUTF8 { Checksum.crc32c(UnsafeRawBufferPointer($0)) }
    return "\(version) \(checksum)"
  }

  private func bring(
    _ connection: borrowing Connection, from version: Int, stored: Int64
  ) throws(StoreFailure) {
    for step in version..<steps.count {
      let sql = steps[step]
      try connection.transaction { () throws(StoreFailure) in
        try connection.execute(sql)
        try connection.execute("PRAGMA application_id = \(applicationID)")
        try note(step + 1, in: connection)
      }
    }
    let known = Int64(steps.count)
    guard hasMeta, version == steps.count else { return }
    let format = try connection.text(of: "SELECT value FROM meta WHERE name = 'format'")
    guard stored != known || format != Self.format(known) else { return }
    try connection.transaction { () throws(StoreFailure) in try note(steps.count, in: connection) }
  }

  private func note(_ version: Int, in connection: borrowing Connection) throws(StoreFailure) {
    try connection.execute("PRAGMA user_version = \(version)")
    guard hasMeta else { return }
    try connection.execute("INSERT OR REPLACE INTO meta VALUES ('format', '\(Self.format(Int64(version)))')")
  }
}
