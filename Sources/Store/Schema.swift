// The tables of one file, and the way from every older version to the present one.
//
// Invariants:
//  1. `user_version` is the number of steps that the file has been through; each step is one transaction with its
//     number.
//  2. A file of another program (`application_id`) is never written to.

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
      """
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
    ],
    tables: ["meta", "epochs", "catalogues", "alarm_state", "alarm_log", "cursors"])

  /// Makes, brings up to date or verifies the tables.
  func apply(to connection: borrowing Connection) throws(StoreFailure) {
    let version = try connection.integer(of: "PRAGMA user_version") ?? 0
    let application = try connection.integer(of: "PRAGMA application_id") ?? 0
    let objects = try connection.integer(of: "SELECT count(*) FROM sqlite_schema") ?? 0
    let isNew = version == 0 && application == 0 && objects == 0
    guard isNew || application == Int64(applicationID), version >= 0 else { throw .corrupt(code: SQLITE_NOTADB) }
    // Programs count their steps one by one; what is far beyond is a flipped bit.
    guard version <= 1_000 else { throw .corrupt(code: SQLITE_NOTADB) }
    guard version <= Int64(steps.count) else {
      throw .newer(path: connection.path, version: Int32(truncatingIfNeeded: version))
    }
    for step in Int(version)..<steps.count {
      let sql = steps[step]
      try connection.transaction { () throws(StoreFailure) in
        try connection.execute(sql)
        try connection.execute("PRAGMA application_id = \(applicationID)")
        try connection.execute("PRAGMA user_version = \(step + 1)")
      }
    }
    let found = try Statement("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", on: connection)
    for table in tables {
      found.bind(1, table)
      guard try found.first({ (row) throws(StoreFailure) in row.integer(0) }) != nil else {
        throw .corrupt(code: SQLITE_CORRUPT)
      }
    }
  }
}
