// The folder that a restore reads: a backup, or a state folder whose agent has ended. On the thread of the tool.
//
// Invariant: if it is a state folder its lock is held while this lives: a copy of files that somebody writes is none.

import CLinux
import Glibc

struct BackupSource: ~Copyable {
  let path: String
  /// Below 0: there is no lock, or it is the very folder that is restored to, which has its own holder.
  private let lock: Int32

  /// `target`: the state folder that the backup is to go to.
  init(_ path: String, for target: String) throws(StoreFailure) {
    // First, and alone: Swift 6.2 ends where a part of what has a deinit is set before something throws.
    lock = try Self.isSame(path, target) ? -1 : Self.locked(path)
    self.path = path
  }

  /// Below 0: there is none.
  private static func locked(_ path: String) throws(StoreFailure) -> Int32 {
    let lock = open(path + "/lock", O_RDONLY | O_CLOEXEC)
    guard lock >= 0, kerb_fd_flock(lock) == -EWOULDBLOCK else { return lock }
    let holder = StateFolder.holder(lock)
    close(lock)
    throw .liveBackup(path: path, holder: holder)
  }

  deinit { if lock >= 0 { close(lock) } }

  private static func isSame(_ path: String, _ other: String) -> Bool {
    var (first, second) = (stat(), stat())
    guard stat(path, &first) == 0, stat(other, &second) == 0 else { return false }
    return first.st_dev == second.st_dev && first.st_ino == second.st_ino
  }
}
