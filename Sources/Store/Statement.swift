// Owns one sqlite3_stmt.
//
// Invariants:
//  1. Between uses it is reset and its bindings are cleared, whatever happened.
//  2. No row escapes: what a row points to is valid inside the closure only.
//  3. Bound bytes are not copied; they stay valid until the statement has run.

import CSQLite

package struct Statement: ~Copyable {
  private let raw: OpaquePointer
  private let database: OpaquePointer
  private let path: String
  private let state: HandleState
  private let owner: ThreadOwner

  package init(_ sql: String, on connection: borrowing Connection) throws(StoreFailure) {
    connection.owner.check()
    var prepared: OpaquePointer?
    let code = sqlite3_prepare_v3(connection.raw, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &prepared, nil)
    guard code == SQLITE_OK, let prepared else { throw connection.failure() }
    raw = prepared
    database = connection.raw
    path = connection.path
    state = connection.state
    owner = connection.owner
  }

  deinit { sqlite3_finalize(raw) }

  package func bind(_ index: Int32, _ value: Int64) { sqlite3_bind_int64(raw, index, value) }

  package func bind(_ index: Int32, _ text: String) {
    sqlite3_bind_text(raw, index, text, -1, kerb_sqlite_transient())
  }

  package func bind(_ index: Int32, bytes: UnsafeRawBufferPointer) {
    // Nothing at all would be bound as NULL.
    guard bytes.count > 0 else { return bind(index, zeros: 0) }
    sqlite3_bind_blob64(raw, index, bytes.baseAddress, UInt64(bytes.count), kerb_sqlite_static())
  }

  package func bind(_ index: Int32, zeros: Int) { sqlite3_bind_zeroblob(raw, index, Int32(truncatingIfNeeded: zeros)) }

  package func bindNull(_ index: Int32) { sqlite3_bind_null(raw, index) }

  /// Runs to the end; rows, if any, are passed over.
  package func run() throws(StoreFailure) {
    try forEach { (_) throws(StoreFailure) in }
  }

  /// Binds `array` for the length of this run.
  package func run(_ index: Int32, bytes array: [UInt8]) throws(StoreFailure) {
    let outcome = array.withUnsafeBytes { (bytes) -> Result<Void, StoreFailure> in
      bind(index, bytes: bytes)
      do throws(StoreFailure) {
        return .success(try run())
      } catch {
        return .failure(error)
      }
    }
    try outcome.get()
  }

  package func first<Answer>(
    _ read: (borrowing Row) throws(StoreFailure) -> Answer
  ) throws(StoreFailure) -> Answer? {
    owner.check()
    defer { reset() }
    switch sqlite3_step(raw) {
    case SQLITE_ROW: return try read(Row(raw: raw))
    case SQLITE_DONE: return nil
    default: throw state.failure(database, path)
    }
  }

  package func forEach(_ read: (borrowing Row) throws(StoreFailure) -> Void) throws(StoreFailure) {
    owner.check()
    defer { reset() }
    while true {
      switch sqlite3_step(raw) {
      case SQLITE_ROW: try read(Row(raw: raw))
      case SQLITE_DONE: return
      default: throw state.failure(database, path)
      }
    }
  }

  private func reset() {
    // Both answers repeat what the step has said already.
    _ = sqlite3_reset(raw)
    _ = sqlite3_clear_bindings(raw)
  }
}

/// The row that a statement stands on.
package struct Row: ~Copyable {
  private let raw: OpaquePointer

  fileprivate init(raw: OpaquePointer) { self.raw = raw }

  package func isNull(_ column: Int32) -> Bool { sqlite3_column_type(raw, column) == SQLITE_NULL }
  package func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(raw, column) }

  /// Nil: NULL.
  package func number(_ column: Int32) -> Int64? { isNull(column) ? nil : integer(column) }

  package func text(_ column: Int32) -> String {
    guard let bytes = sqlite3_column_text(raw, column) else { return "" }
    let count = Int(sqlite3_column_bytes(raw, column))
    return String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self)
  }

  package func bytes(_ column: Int32) -> UnsafeRawBufferPointer {
    let start = sqlite3_column_blob(raw, column)
    return UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : Int(sqlite3_column_bytes(raw, column)))
  }
}
