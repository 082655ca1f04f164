// The store of an agent that does not run, for the tools: read, looked through, copied. On the caller's thread, with
// the folder's lock held, so that no agent starts meanwhile.

import StreamCore

package final class StoreAtRest {
  private let buffer: Buffer

  /// `configuration`: nothing of it but the folder, the quotas and the consumers' lanes matters.
  package init(_ configuration: StoreConfiguration) throws(StoreFailure) {
    do throws(StoreFailure) { buffer = try Buffer(atRest: configuration) } catch {
      guard case .corrupt(let code) = error else { throw error }
      throw .damaged(path: configuration.statePath, code: code)
    }
  }

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

  /// Puts a backup in the place of what is there, which goes to `quarantine`.
  package static func restore(
    from backup: String, _ configuration: StoreConfiguration
  ) throws(StoreFailure) -> StoreReport { try Restoring.restore(from: backup, configuration) }
}
