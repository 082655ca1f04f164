// Files that somebody deletes under the running agent. The kernel keeps them as long as they are open, and the next
// start would find nothing: so they are copied back to their places while that lasts. On the store thread.
//
//   each turn: in place?  ->  copied, step by step, beside its place  ->  let go, put there, opened again
//
// Invariants:
//  1. The handle is let go when all that it has stands on the disk under another name, not before.
//  2. The store goes on meanwhile: what is committed while it is copied is in the copy.

import CLinux
import CSQLite
import Glibc
import StreamCore

/// One file on its way back.
struct ReturningFile {
  let name: String
  let copy: FileCopy

  static let suffix = ".back"
}

extension Buffer {
  /// One step. True: there is more to do at once.
  func keepInPlace() -> Bool {
    let now = kerb_monotonic_ns()
    guard backup == nil, now >= returnNs else { return false }
    do throws(StoreFailure) {
      if returning == nil { try lookForFiles() }
      guard let file = returning else { return false }
      guard try file.copy.step(Limits.backupPagesPerStep) != nil else { return true }
      returning = nil
      try putInPlace(file.name)
      return true
    } catch {
      returning = nil
      returnNs = now + Limits.storeRetryNs
      note(error)
      return false
    }
  }

  private func lookForFiles() throws(StoreFailure) {
    if let ring, !ring.connection.isReadOnly {
      switch ring.connection.whereabouts {
      case .inPlace: break
      case .gone: return try begin(StateFolder.telemetry, ring.connection.raw)
      case .replaced: return ringFailed(.missing(path: ring.connection.path, isThere: true))
      case .withoutLog:
        note(.missing(path: ring.connection.path + "-wal", isThere: false))
        // Closing brings the log home.
        self.ring = nil
      }
    }
    if let log, !log.connection.isReadOnly {
      switch log.connection.whereabouts {
      case .inPlace: break
      case .gone: return try begin(StateFolder.alarms, log.connection.raw)
      case .replaced: return logFailed(.missing(path: log.connection.path, isThere: true))
      case .withoutLog:
        note(.missing(path: log.connection.path + "-wal", isThere: false))
        self.log = nil
      }
    }
    // Nobody holds the old handles any more.
    if log == nil, logState == .good { _ = try openedLog() }
    if ring == nil, ringState == .good { _ = try openedRing() }
  }

  private func begin(_ name: String, _ source: OpaquePointer) throws(StoreFailure) {
    note(.missing(path: folder.file(name), isThere: false))
    unlink(folder.file(name + ReturningFile.suffix))
    returning = ReturningFile(
      name: name, copy: try FileCopy(of: source, to: folder.file(name + ReturningFile.suffix)))
  }

  private func putInPlace(_ name: String) throws(StoreFailure) {
    if name == StateFolder.alarms { log = nil } else { ring = nil }
    let path = folder.file(name)
    // Its own log is in the copy; another one may never meet it.
    unlink(path + "-wal")
    guard rename(path + ReturningFile.suffix, path) == 0 else { throw StateFolder.failure(path, errno) }
    StateFolder.sync(folder.path)
    if name == StateFolder.alarms { _ = try openedLog() } else { _ = try openedRing() }
  }
}
