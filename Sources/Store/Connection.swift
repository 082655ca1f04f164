// One SQLite handle: opened with the pragmas that the flash and the power cuts ask for, closed when it goes out of
// scope. It lives on the thread that opened it.
//
// Invariants:
//  1. Only the opening thread touches the handle; a stranger traps (`Interruption` alone may interrupt it from
//     outside).
//  2. After a failed sync nothing is tried again on the same handle: the caller drops the connection and opens another.
//     (A kernel may drop the dirty pages of a failed fsync; a second fsync then succeeds and lies.)
//  3. One connection does everything in its file: SQLite before 3.51.3 can corrupt a WAL that two connections reset.

import CSQLite
import Glibc
import StreamCore

/// The thread that a handle belongs to.
struct ThreadOwner {
  private let thread = pthread_self()

  func check() {
    precondition(pthread_equal(thread, pthread_self()) != 0, "a handle was touched by a thread that does not own it")
  }
}

package struct Connection: ~Copyable {
  let raw: OpaquePointer
  package let path: String
  let owner = ThreadOwner()

  private init(raw: OpaquePointer, path: String) {
    self.raw = raw
    self.path = path
  }

  deinit {
    owner.check()
    // A limit would make SQLite truncate the kept WAL at close; a full disk could then not be written to at the next
    // start.
    _ = sqlite3_exec(raw, "PRAGMA journal_size_limit = -1", nil, nil, nil)
    let isWhole = Self.checkpoint(raw)
    _ = sqlite3_close_v2(raw)
    if isWhole { invalidateLog() }
  }

  /// The kept WAL holds nothing that the database doesn't: without its header it can never be applied to a file that
  /// someone put here meanwhile (sqlite.org/fileformat2.html, section 4.1).
  private func invalidateLog() {
    let file = Glibc.open(path + "-wal", O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return }
    defer { Glibc.close(file) }
    var status = stat()
    guard fstat(file, &status) == 0, status.st_size >= 32 else { return }
    let zeros = [UInt8](repeating: 0, count: 32)
    _ = pwrite(file, zeros, zeros.count, 0)
  }

  /// Opens or makes the file. `pagesMax` bounds it; `cacheKiB` is what SQLite may keep of it in memory.
  package static func open(path: String, pagesMax: Int64, cacheKiB: Int) throws(StoreFailure) -> Connection {
    var raw: OpaquePointer?
    let flags =
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE
      | SQLITE_OPEN_EXRESCODE
    let code = sqlite3_open_v2(path, &raw, flags, nil)
    guard code == SQLITE_OK, let raw else {
      sqlite3_close_v2(raw)
      throw .unusable(path: path, code: code)
    }
    let connection = Connection(raw: raw, path: path)
    try connection.prepareFile(pagesMax: pagesMax, cacheKiB: cacheKiB)
    return connection
  }

  private func prepareFile(pagesMax: Int64, cacheKiB: Int) throws(StoreFailure) {
    try execute("PRAGMA page_size = \(Limits.pageBytes)")
    // Before WAL: then the index of the WAL is on the heap and there is no -shm file (sqlite.org/wal.html, section 8).
    try execute("PRAGMA locking_mode = EXCLUSIVE")
    try execute("PRAGMA auto_vacuum = NONE")
    try execute("PRAGMA trusted_schema = OFF")
    try execute("PRAGMA mmap_size = 0")
    try execute("PRAGMA temp_store = MEMORY")
    try execute("PRAGMA cell_size_check = ON")
    try execute("PRAGMA cache_size = -\(cacheKiB)")
    let mode = try text(of: "PRAGMA journal_mode = WAL")
    guard mode == "wal" else { throw .unusable(path: path, code: SQLITE_CANTOPEN) }
    try execute("PRAGMA synchronous = FULL")
    try execute("PRAGMA wal_autocheckpoint = \(Limits.walPages)")
    try execute("PRAGMA journal_size_limit = \(Limits.walBytesKept)")
    try execute("PRAGMA max_page_count = \(pagesMax)")
    // A prepared WAL is worth keeping: SQLite would delete it at close.
    var keep: Int32 = 1
    _ = sqlite3_file_control(raw, "main", SQLITE_FCNTL_PERSIST_WAL, &keep)
    guard try integer(of: "PRAGMA page_size") == Int64(Limits.pageBytes) else { throw .corrupt(code: SQLITE_NOTADB) }
  }

  private static func checkpoint(_ raw: OpaquePointer) -> Bool {
    var frames: Int32 = -1
    var copied: Int32 = -2
    let code = sqlite3_wal_checkpoint_v2(raw, nil, SQLITE_CHECKPOINT_FULL, &frames, &copied)
    return code == SQLITE_OK && frames == copied
  }

  /// Copies the WAL into the database and syncs it. False: not all of it.
  func isCheckpointed() throws(StoreFailure) -> Bool {
    owner.check()
    return Self.checkpoint(raw)
  }

  /// Statements without rows and without parameters.
  package func execute(_ sql: String) throws(StoreFailure) {
    owner.check()
    guard sqlite3_exec(raw, sql, nil, nil, nil) == SQLITE_OK else { throw failure() }
  }

  /// Everything in `body` is durable when this returns, or nothing is.
  package func transaction(_ body: () throws(StoreFailure) -> Void) throws(StoreFailure) {
    try execute("BEGIN IMMEDIATE")
    do throws(StoreFailure) {
      try body()
      try execute("COMMIT")
    } catch {
      // SQLite has rolled some failures back by itself; then this one is refused, and nothing is lost.
      _ = sqlite3_exec(raw, "ROLLBACK", nil, nil, nil)
      throw error
    }
  }

  package func integer(of sql: String) throws(StoreFailure) -> Int64? {
    let statement = try Statement(sql, on: self)
    return try statement.first { (row) throws(StoreFailure) in row.integer(0) }
  }

  package func text(of sql: String) throws(StoreFailure) -> String? {
    let statement = try Statement(sql, on: self)
    return try statement.first { (row) throws(StoreFailure) in row.text(0) }
  }

  /// Rows that the last statement changed.
  package var changes: Int { Int(sqlite3_changes(raw)) }

  /// What the last call's result asks of the caller.
  func failure() -> StoreFailure { StoreFailure(database: raw, path: path) }
}
