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

/// What a handle's commits and failures leave behind for whoever uses it next; shared with its statements.
final class HandleState {
  /// Frames in the WAL after the last commit.
  var frames: Int32 = 0
  /// All that the WAL holds is in the database: the next commit begins another WAL.
  var isHome = false
  /// Each WAL is given marks, and the last one that was written.
  var isMarked = false
  var mark: LogMark?
  /// The present WAL has one; and one that says that it is whole.
  private(set) var isBegun = false
  fileprivate var isEnded = false
  /// A read, write or sync failed: nothing more is written or synced through this handle.
  private(set) var hasFailed = false
  /// The database and its log, as they were opened.
  fileprivate var database: FileIdentity?
  fileprivate var log: FileIdentity?

  /// The mark of the next commit: the first one of a log says on what it is founded, the last one that it is whole.
  func nextMark(isLast: Bool) -> LogMark? {
    guard isMarked, isLast || !isBegun else { return nil }
    return LogMark(base: isBegun ? mark?.base ?? 0 : mark?.own ?? 0)
  }

  /// Its commit stands.
  func marked(_ mark: LogMark) { (self.mark, isBegun) = (mark, true) }

  fileprivate func cameHome() { (isHome, isBegun, isEnded, frames) = (true, false, false, 0) }

  func failure(_ database: OpaquePointer, _ path: String) -> StoreFailure {
    let failure = StoreFailure(database: database, path: path)
    switch failure {
    case .io, .unusable, .readOnly: hasFailed = true
    default: break
    }
    return failure
  }
}

/// Which file it is, whatever its name.
private struct FileIdentity: Equatable {
  private let device: UInt64
  private let number: UInt64

  /// Nil: there is none.
  init?(_ path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    device = UInt64(status.st_dev)
    number = UInt64(status.st_ino)
  }
}

/// What became of an open file's names.
enum Whereabouts { case inPlace, gone, replaced, withoutLog }

package struct Connection: ~Copyable {
  let raw: OpaquePointer
  package let path: String
  package let isReadOnly: Bool
  let state = HandleState()
  let owner = ThreadOwner()

  private init(raw: OpaquePointer, path: String, isReadOnly: Bool) {
    self.raw = raw
    self.path = path
    self.isReadOnly = isReadOnly
  }

  deinit {
    owner.check()
    guard !isReadOnly, !state.hasFailed else {
      _ = sqlite3_close_v2(raw)
      return
    }
    // A limit would make SQLite truncate the kept WAL at close; a full disk could then not be written to at the next
    // start.
    _ = sqlite3_exec(raw, "PRAGMA journal_size_limit = -1", nil, nil, nil)
    try? endLog()
    let isWhole = !state.hasFailed && checkpoint(SQLITE_CHECKPOINT_FULL) == SQLITE_OK
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
  /// `vfs`: SQLite's file system of that name; nil: its own.
  package static func open(
    path: String, vfs: String? = nil, pagesMax: Int64, cacheKiB: Int
  ) throws(StoreFailure) -> Connection {
    let connection = try open(path, at: path, flags: SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs: vfs)
    try connection.mustBeWritable()
    try connection.prepareFile(pagesMax: pagesMax, cacheKiB: cacheKiB)
    return connection
  }

  /// Opens a file that can't be written, with what is in its WAL, if that is its own, and touches neither. `unix-none`
  /// takes no locks: such a file could not be given any, and the folder has one owner anyway.
  package static func open(
    reading path: String, vfs: String? = nil, cacheKiB: Int
  ) throws(StoreFailure) -> Connection {
    if ForeignLog(path, vfs: vfs) != nil { return try open(withoutLog: path, vfs: vfs, cacheKiB: cacheKiB) }
    return try open(believing: path, vfs: vfs, cacheKiB: cacheKiB)
  }

  /// The same, whosever its WAL is.
  static func open(believing path: String, vfs: String?, cacheKiB: Int) throws(StoreFailure) -> Connection {
    try open(reading: path, at: path, flags: SQLITE_OPEN_READONLY, vfs: vfs, cacheKiB: cacheKiB)
  }

  /// The database as it is without its WAL.
  static func open(withoutLog path: String, vfs: String?, cacheKiB: Int) throws(StoreFailure) -> Connection {
    var address = "file:"
    for byte in path.utf8 {
      switch byte {
      case 0x23, 0x25, 0x3F, 0x80...: address += "%" + String(byte, radix: 16)
      default: address.unicodeScalars.append(Unicode.Scalar(byte))
      }
    }
    return try open(
      reading: path, at: address + "?immutable=1", flags: SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, vfs: vfs,
      cacheKiB: cacheKiB)
  }

  private static func open(
    reading path: String, at address: String, flags: Int32, vfs: String?, cacheKiB: Int
  ) throws(StoreFailure) -> Connection {
    let connection = try open(path, at: address, flags: flags, vfs: vfs ?? "unix-none")
    try connection.prepareHandle(cacheKiB: cacheKiB)
    try connection.execute("PRAGMA query_only = ON")
    return connection
  }

  private static func open(
    _ path: String, at address: String, flags: Int32, vfs: String?
  ) throws(StoreFailure) -> Connection {
    var raw: OpaquePointer?
    let all = flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE
    let code = sqlite3_open_v2(address, &raw, all, vfs)
    guard code == SQLITE_OK, let raw else {
      sqlite3_close_v2(raw)
      throw StoreFailure(closed: path, code)
    }
    return Connection(raw: raw, path: path, isReadOnly: flags & SQLITE_OPEN_READONLY != 0)
  }

  /// What may not be written SQLite opens for reading, without a word; its first lock fails then, which looks like a
  /// sick disk.
  private func mustBeWritable() throws(StoreFailure) {
    guard sqlite3_db_readonly(raw, "main") == 1 else { return }
    let code = access(path, W_OK) == 0 ? EACCES : errno
    throw code == EROFS ? .readOnly(path: path) : .unusable(path: path, code: -code)
  }

  private func prepareHandle(cacheKiB: Int) throws(StoreFailure) {
    // Closing only closes: what is worth doing before, `deinit` does, and not on a handle that has failed or only
    // reads. SQLite would delete the WAL even then.
    _ = kerb_sqlite_keep_log(raw)
    // Before WAL: then the index of the WAL is on the heap and there is no -shm file (sqlite.org/wal.html, section 8).
    try execute("PRAGMA locking_mode = EXCLUSIVE")
    try execute("PRAGMA trusted_schema = OFF")
    try execute("PRAGMA mmap_size = 0")
    try execute("PRAGMA temp_store = MEMORY")
    try execute("PRAGMA cell_size_check = ON")
    try execute("PRAGMA cache_size = -\(cacheKiB)")
  }

  private func prepareFile(pagesMax: Int64, cacheKiB: Int) throws(StoreFailure) {
    try execute("PRAGMA page_size = \(Limits.pageBytes)")
    try prepareHandle(cacheKiB: cacheKiB)
    try execute("PRAGMA auto_vacuum = NONE")
    let mode = try text(of: "PRAGMA journal_mode = WAL")
    guard mode == "wal" else { throw .unusable(path: path, code: SQLITE_CANTOPEN) }
    try execute("PRAGMA synchronous = FULL")
    try execute("PRAGMA journal_size_limit = \(Limits.walBytesKept)")
    try execute("PRAGMA max_page_count = \(pagesMax)")
    // A prepared WAL is worth keeping: SQLite would delete it at close.
    var keep: Int32 = 1
    _ = sqlite3_file_control(raw, "main", SQLITE_FCNTL_PERSIST_WAL, &keep)
    watchLog()
    guard try integer(of: "PRAGMA page_size") == Int64(Limits.pageBytes) else { throw .corrupt(code: SQLITE_NOTADB) }
    try settle()
    state.database = FileIdentity(path)
    state.log = FileIdentity(path + "-wal")
  }

  /// Whether the files that are open are still those that the next start will find.
  var whereabouts: Whereabouts {
    guard let database = state.database else { return .inPlace }
    guard let found = FileIdentity(path) else { return errno == ENOENT ? .gone : .inPlace }
    if found != database { return .replaced }
    if let log = state.log {
      guard let found = FileIdentity(path + "-wal") else { return errno == ENOENT ? .withoutLog : .inPlace }
      if found != log { return .withoutLog }
    }
    return .inPlace
  }

  /// SQLite's own automatic checkpoint keeps its failures to itself and would sync again on the same handle at the next
  /// commit; so this one only counts, and `transaction` does the rest.
  private func watchLog() {
    _ = sqlite3_wal_hook(
      raw,
      { context, _, _, frames in
        guard let context else { return SQLITE_OK }
        let state = Unmanaged<HandleState>.fromOpaque(context).takeUnretainedValue()
        (state.frames, state.isHome) = (frames, false)
        return SQLITE_OK
      }, Unmanaged.passUnretained(state).toOpaque())
  }

  /// Brings what the WAL holds into the database, so that nothing is served that only the kernel's memory has: a
  /// process that was killed between write and sync leaves such frames, and so does a failed sync, whose pages a second
  /// one would pass over. Writing them to another place and syncing that is not a second sync of the same.
  private func settle() throws(StoreFailure) {
    let code = checkpoint(SQLITE_CHECKPOINT_FULL)
    guard code == SQLITE_OK || code & 0xFF == SQLITE_FULL else { throw failure() }
  }

  private func checkpoint(_ mode: Int32) -> Int32 {
    var frames: Int32 = -1
    var copied: Int32 = -2
    let code = sqlite3_wal_checkpoint_v2(raw, nil, mode, &frames, &copied)
    guard code == SQLITE_OK, frames == copied else { return code == SQLITE_OK ? SQLITE_BUSY : code }
    state.cameHome()
    return SQLITE_OK
  }

  /// The last commit of a log that is about to be brought home. A full disk must not be what keeps it from there.
  private func endLog() throws(StoreFailure) {
    guard !state.isHome, !state.isEnded else { return }
    do throws(StoreFailure) { try remark() } catch {
      guard error.isFull else { throw error }
    }
    state.isEnded = true
  }

  /// Another mark: no copy of the log from before goes with the database any more.
  func remark() throws(StoreFailure) {
    guard !isReadOnly, let mark = state.nextMark(isLast: true) else { return }
    try commit { () throws(StoreFailure) in try write(mark) }
    state.marked(mark)
  }

  /// Copies the WAL into the database and syncs it: a lost WAL takes nothing along then.
  func bringHome() throws(StoreFailure) {
    owner.check()
    try endLog()
    guard checkpoint(SQLITE_CHECKPOINT_FULL) == SQLITE_OK else { throw failure() }
  }

  /// Statements without rows and without parameters.
  package func execute(_ sql: String) throws(StoreFailure) {
    owner.check()
    guard sqlite3_exec(raw, sql, nil, nil, nil) == SQLITE_OK else { throw failure() }
  }

  /// Everything in `body` is durable when this returns, or nothing is.
  package func transaction(_ body: () throws(StoreFailure) -> Void) throws(StoreFailure) {
    let mark = state.nextMark(isLast: false)
    try commit { () throws(StoreFailure) in
      try body()
      if let mark { try write(mark) }
    }
    if let mark { state.marked(mark) }
    guard state.frames >= Int32(Limits.walPages) else { return }
    state.frames = 0
    try endLog()
    let code = checkpoint(SQLITE_CHECKPOINT_PASSIVE)
    // On a full disk the commits stay in the WAL; it is tried again after as many more. Any other failure is the
    // caller's, although the commit stands: it will find that on reopening.
    guard code == SQLITE_OK || code & 0xFF == SQLITE_FULL else { throw failure() }
  }

  /// A statement without rows and without parameters, as a transaction of its own.
  func transaction(_ sql: String) throws(StoreFailure) {
    try transaction { () throws(StoreFailure) in try execute(sql) }
  }

  private func commit(_ body: () throws(StoreFailure) -> Void) throws(StoreFailure) {
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
  func failure() -> StoreFailure { state.failure(raw, path) }
}
