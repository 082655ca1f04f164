// A WAL that was put beside a database that it is not of: another box's, or one from before. SQLite takes any WAL that
// is right in itself, and would write its pages over ours. That it is not shows before anything is written: by its
// marks (`LogMark`), or, of files that have none yet, by the store's id, which is in the database with and without it.
//
// A whole alarm.db of another box is told by the names of both boxes, and leaves the ring where it is.
//
// Invariants:
//  1. No frame of such a WAL is read as the database's, nor written into it: not at a start, not by a tool, not in
//     quarantine.
//  2. A store's id is in the database itself before anything is served under it (`BufferFiles.renew`), so an id that
//     only the WAL has is not ours.

import CSQLite
import Glibc
import StreamCore

extension Buffer {
  /// Whose the two files are, if they are not one store's; nil: they belong together.
  func strangers() throws(StoreFailure) -> (log: String, ring: String)? {
    guard let log, let ring else { return nil }
    let found = try ring.storeID()
    if try BufferFiles.belongs(found, to: log) { return nil }
    // A ring of nobody beside a log that has one: an empty file.
    guard let ringID = found else { throw .corrupt(code: SQLITE_NOTADB) }
    func names(_ file: String, _ store: String, _ gateway: String?) -> String {
      "\(file) of store \(store)" + (gateway.map { " (box \($0))" } ?? "")
    }
    let ringGateway = try ring.connection.text(of: "SELECT value FROM meta WHERE name = 'gateway'")
    return (
      names(StateFolder.alarms, try log.storeID() ?? "", try log.text("gateway")),
      names(StateFolder.telemetry, ringID, ringGateway)
    )
  }
}

extension StateFolder {
  /// Moves the WAL of `name` away if it is not its own. What can't be read is left to those who open it.
  func removeForeignLog(_ name: String, vfs: String?) throws(StoreFailure) {
    guard isWritable, ForeignLog(file(name), vfs: vfs) != nil else { return }
    try quarantine([name + "-wal"])
  }

  /// Moves alarm.db away if it is another box's and the ring beside it is ours: nothing of it may be told as this box's
  /// alarms, nor salvaged. The ring names its box by the gateway's name, and so does the log.
  func removeForeignAlarms(_ gateway: String, vfs: String?) throws(StoreFailure) {
    guard !gateway.isEmpty, isWritable, let ring = owner(of: Self.telemetry, vfs),
      let log = owner(of: Self.alarms, vfs), ring.store != log.store, ring.gateway == gateway, log.gateway != gateway
    else { return }
    salvageIsDone(in: try quarantine([Self.alarms]))
  }

  private func owner(of name: String, _ vfs: String?) -> (store: String, gateway: String)? {
    guard access(file(name), F_OK) == 0,
      let file = try? Connection.open(reading: file(name), vfs: vfs, cacheKiB: Limits.alarmCacheKiB),
      let store = (try? file.text(of: "SELECT value FROM meta WHERE name = 'store'")) ?? nil,
      let gateway = (try? file.text(of: "SELECT value FROM meta WHERE name = 'gateway'")) ?? nil
    else { return nil }
    return (store, gateway)
  }
}

/// The WAL beside a database, if it is not the database's.
struct ForeignLog {
  /// The ids of both stores, where they are two.
  private(set) var stores: (database: String, log: String)?

  /// Nil: it is its own, or there is none, or nothing in it that SQLite would take.
  init?(_ path: String, vfs: String?) {
    guard access(path, F_OK) == 0, let log = LogScan(path + "-wal"), log.commits > 0,
      let database = try? Connection.open(withoutLog: path, vfs: vfs, cacheKiB: Limits.alarmCacheKiB)
    else { return nil }
    let mark = (try? database.mark()) ?? nil
    if let mark, log.marks.contains(where: { $0.follows(mark) }) { return nil }
    if let own = Self.storeID(database),
      let both = try? Connection.open(believing: path, vfs: vfs, cacheKiB: Limits.alarmCacheKiB),
      let its = Self.storeID(both), its != own
    {
      stores = (own, its)
    }
    if mark == nil, stores == nil { return nil }
  }

  private static func storeID(_ connection: borrowing Connection) -> String? {
    (try? connection.text(of: "SELECT value FROM meta WHERE name = 'store'")) ?? nil
  }
}
