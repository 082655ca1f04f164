// A WAL that was put beside a database of another store. SQLite takes any WAL that is right in itself, and would write
// its pages over ours. Whose it is shows before anything is written: the database names its store with and without it.
//
// Invariant: a store's id is in the database itself before anything is served under it (`BufferFiles.renew`), so an id
// that only the WAL has is not ours.

import Glibc
import StreamCore

extension StateFolder {
  /// Moves the WAL of `name` away if it brings another store's id. What can't be read is left to those who open it.
  func removeForeignLog(_ name: String, vfs: String?) throws(StoreFailure) {
    let path = file(name)
    guard access(path, F_OK) == 0, access(path + "-wal", F_OK) == 0, isWritable,
      let own = Self.storeID(try? Connection.open(withoutLog: path, vfs: vfs, cacheKiB: Limits.alarmCacheKiB)),
      let both = Self.storeID(try? Connection.open(reading: path, vfs: vfs, cacheKiB: Limits.alarmCacheKiB)),
      own != both
    else { return }
    try quarantine([name + "-wal"])
  }

  private static func storeID(_ connection: consuming Connection?) -> String? {
    guard let connection else { return nil }
    return (try? connection.text(of: "SELECT value FROM meta WHERE name = 'store'")) ?? nil
  }
}
