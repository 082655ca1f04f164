// A WAL that was put beside a database of another store. SQLite takes any WAL that is right in itself, and would write
// its pages over ours. Whose it is shows before anything is written: the database names its store with and without it.
//
// A whole alarm.db of another box is told by the names of both boxes, and leaves the ring where it is.
//
// Invariant: a store's id is in the database itself before anything is served under it (`BufferFiles.renew`), so an id
// that only the WAL has is not ours.

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
  /// Moves the WAL of `name` away if it brings another store's id. What can't be read is left to those who open it.
  func removeForeignLog(_ name: String, vfs: String?) throws(StoreFailure) {
    guard isWritable, Self.foreignLog(path, name, vfs: vfs) != nil else { return }
    try quarantine([name + "-wal"])
  }

  /// The ids of two stores, if the WAL of `name` brings another than the database has.
  static func foreignLog(_ folder: String, _ name: String, vfs: String?) -> (database: String, log: String)? {
    let path = folder + "/" + name
    guard access(path, F_OK) == 0, access(path + "-wal", F_OK) == 0,
      let own = storeID(try? Connection.open(withoutLog: path, vfs: vfs, cacheKiB: Limits.alarmCacheKiB)),
      let both = storeID(try? Connection.open(reading: path, vfs: vfs, cacheKiB: Limits.alarmCacheKiB)),
      own != both
    else { return nil }
    return (own, both)
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

  private static func storeID(_ connection: consuming Connection?) -> String? {
    guard let connection else { return nil }
    return (try? connection.text(of: "SELECT value FROM meta WHERE name = 'store'")) ?? nil
  }
}
