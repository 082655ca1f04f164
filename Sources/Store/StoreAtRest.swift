// The store of an agent that does not run, for the tools: read, looked through, copied, put back. On the caller's
// thread, with the folder's lock held, so that no agent starts meanwhile.

import CSQLite
import Glibc
import StreamCore

package final class StoreAtRest {
  private let buffer: Buffer

  /// `configuration`: nothing of it but the folder and the quotas matters.
  package init(_ configuration: StoreConfiguration) throws(StoreFailure) { buffer = try Buffer(atRest: configuration) }

  package func read(_ request: ReadRequest) throws(StoreFailure) -> ReadAnswer {
    try buffer.read(request, for: nil).get()
  }
  package func report() -> StoreReport { buffer.report() }
  package func catalogue(version: UInt32) -> [UInt8]? { buffer.catalogue(version) }
  package func clocks(of epochs: [UInt32]) -> [EpochClock] { buffer.clocks(of: epochs) }
  package func verify(from: Int64?) throws(StoreFailure) -> VerifyAnswer { try buffer.verify(from: from).get() }

  /// Into a folder that exists and is empty. The answer: bytes.
  package func backUp(to folder: String) throws(StoreFailure) -> Int64 {
    var outcome: Result<Int64, StoreFailure> = .failure(.closed)
    let task = BackupTask(folder: folder) { outcome = $0 }
    while !task.step(buffer) {}
    return try outcome.get()
  }

  /// Puts a backup in the place of what is there, which goes to `quarantine`. The store gets a new id: ids that were
  /// given out since the backup must not come again with other content.
  package static func restore(
    from backup: String, _ configuration: StoreConfiguration
  ) throws(StoreFailure) -> StoreReport {
    try place(backup, configuration)
    let restored = try Buffer(atRest: configuration)
    try restored.renew()
    return restored.report()
  }

  /// With the folder's lock, which `Buffer` takes for itself afterwards.
  private static func place(_ backup: String, _ configuration: StoreConfiguration) throws(StoreFailure) {
    let folder = try StateFolder(path: configuration.statePath)
    var source = configuration
    source.statePath = backup
    // It must be a store, and open as one, before anything is moved.
    _ = try Buffer(atRest: source)
    let names = [StateFolder.alarms, StateFolder.telemetry]
    for file in ["lock"] + names.map({ $0 + "-wal" }) { unlink(backup + "/" + file) }
    for name in names { try copy(backup + "/" + name, to: folder.file(name + ".restored")) }
    try folder.quarantine(names)
    for name in names where rename(folder.file(name + ".restored"), folder.file(name)) != 0 {
      throw .unusable(path: folder.file(name), code: -errno)
    }
    StateFolder.sync(folder.path)
  }

  private static func copy(_ from: String, to path: String) throws(StoreFailure) {
    let source = open(from, O_RDONLY | O_CLOEXEC)
    guard source >= 0 else { throw .unusable(path: from, code: -errno) }
    defer { close(source) }
    let target = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard target >= 0 else { throw .unusable(path: path, code: -errno) }
    defer { close(target) }
    var part = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = Glibc.read(source, &part, part.count)
      guard count >= 0 else { throw .unusable(path: from, code: -errno) }
      if count == 0 { break }
      guard Glibc.write(target, part, count) == count else {
        let code = errno
        unlink(path)
        throw code == ENOSPC || code == EDQUOT ? .full : .unusable(path: path, code: -code)
      }
    }
    guard fsync(target) == 0 else { throw .unusable(path: path, code: -errno) }
  }
}
