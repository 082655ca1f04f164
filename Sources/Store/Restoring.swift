// Puts a backup in the place of the store. On the thread of the tool that does it; what a cut left half done is
// finished by whoever opens the folder next.
//
//   backup --copy--> restoring: opened, given an id --rename--> restored | old files -> quarantine, these in place
//                    until here nothing has happened                     | from here on it is done
//
// Invariants:
//  1. The backup is only read: it may be on a medium that can't be written, and be needed again.
//  2. What takes the store's place has a new id before it does: ids that were given out since the backup must not come
//     again with other content.
//  3. After a cut there is the old store or the restored one, and never a part of each.
//  4. Both files of a backup are of one store: of two boxes' files none is taken, or the new id would hide whose they
//     were. Nobody writes them meanwhile.

import CSQLite
import Glibc
import StreamCore

enum Restoring {
  private static let names = [StateFolder.alarms, StateFolder.telemetry]

  private static func draft(in folder: borrowing StateFolder) -> String { folder.file("restoring") }
  private static func finished(in folder: borrowing StateFolder) -> String { folder.file("restored") }

  /// The answer: what is in the store now.
  static func restore(
    from backup: String, _ configuration: StoreConfiguration
  ) throws(StoreFailure) -> StoreReport {
    let source = try BackupSource(backup, for: configuration.statePath)
    let folder = try StateFolder(path: configuration.statePath)
    try conclude(folder)
    let draft = draft(in: folder)
    let report: StoreReport
    do throws(StoreFailure) {
      try copy(source.path, to: draft, folder)
      report = try renew(draft, of: backup, configuration)
      // The lock and the logs of the look at it: the databases have everything.
      for name in ["lock"] + names.map({ $0 + "-wal" }) { unlink("\(draft)/\(name)") }
      StateFolder.sync(draft)
      guard rename(draft, finished(in: folder)) == 0 else { throw StateFolder.failure(draft, errno) }
    } catch {
      discard(draft)
      throw error
    }
    StateFolder.sync(folder.path)
    try conclude(folder)
    return report
  }

  /// Finishes a restore that was cut off, and removes one that had not come so far.
  static func conclude(_ folder: borrowing StateFolder) throws(StoreFailure) {
    discard(draft(in: folder))
    let finished = finished(in: folder)
    guard access(finished, F_OK) == 0 else { return }
    let waiting = names.filter { access("\(finished)/\($0)", F_OK) == 0 }
    // Nothing of the old store comes back by itself.
    folder.salvageIsDone(in: try folder.quarantine(waiting))
    for name in waiting where rename("\(finished)/\(name)", folder.file(name)) != 0 {
      throw StateFolder.failure(folder.file(name), errno)
    }
    StateFolder.sync(finished)
    StateFolder.sync(folder.path)
    rmdir(finished)
  }

  private static func discard(_ draft: String) {
    guard access(draft, F_OK) == 0 else { return }
    StateFolder.removeFiles(in: draft)
    unlink("\(draft)/lock")
    rmdir(draft)
  }

  /// Opens the copy, so that it is known to be a store, and gives it its new id.
  private static func renew(
    _ draft: String, of backup: String, _ configuration: StoreConfiguration
  ) throws(StoreFailure) -> StoreReport {
    var source = configuration
    source.statePath = draft
    do throws(StoreFailure) {
      for name in names {
        guard let strange = ForeignLog("\(draft)/\(name)", vfs: configuration.vfs) else { continue }
        guard let (database, log) = strange.stores else { throw .strangeBackup(path: "\(backup)/\(name)") }
        throw .mixedBackup(path: backup, "\(name)-wal of store \(log)", "\(name) of store \(database)")
      }
      let restored = try Buffer(atRest: source)
      if let strange = try restored.strangers() { throw .mixedBackup(path: backup, strange.log, strange.ring) }
      try restored.renew()
      return restored.report()
    } catch {
      guard case .corrupt(let code) = error else { throw error }
      throw .noBackup(path: backup, code: code)
    }
  }

  private static func copy(
    _ backup: String, to draft: String, _ folder: borrowing StateFolder
  ) throws(StoreFailure) {
    for name in names where access("\(backup)/\(name)", R_OK) != 0 {
      throw .noBackup(path: "\(backup)/\(name)", code: -errno)
    }
    guard mkdir(draft, 0o700) == 0 else { throw StateFolder.failure(draft, errno) }
    folder.give(draft)
    for name in names {
      // A copy of a whole state folder has commits in its logs, too.
      for file in [name, name + "-wal"] where access("\(backup)/\(file)", F_OK) == 0 {
        try copy("\(backup)/\(file)", to: "\(draft)/\(file)")
        folder.give("\(draft)/\(file)")
      }
    }
  }

  private static func copy(_ from: String, to path: String) throws(StoreFailure) {
    let source = open(from, O_RDONLY | O_CLOEXEC)
    guard source >= 0 else { throw .noBackup(path: from, code: -errno) }
    defer { close(source) }
    let target = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard target >= 0 else { throw StateFolder.failure(path, errno) }
    defer { close(target) }
    var part = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = Glibc.read(source, &part, part.count)
      guard count >= 0 else { throw .noBackup(path: from, code: -errno) }
      if count == 0 { break }
      var written = 0
      // The last write before a disk is full takes a part, and only the next one says why.
      while written < count {
        let more = part.withUnsafeBytes { Glibc.write(target, $0.baseAddress.map { $0 + written }, count - written) }
        guard more > 0 else { throw StateFolder.failure(path, errno) }
        written += more
      }
    }
    guard fsync(target) == 0 else { throw StateFolder.failure(path, errno) }
  }
}
