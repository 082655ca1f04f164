// The pages of a database and of its WAL as they lie in the files, one after the other, for when SQLite can't be asked.
// A page of the WAL may never have been committed: who reads it must know what is right by itself.

import CLinux
import Glibc
import StreamCore

final class PageScan {
  private let database: Int32
  /// -1: there is none.
  private let log: Int32

  /// sqlite.org/fileformat2.html, 4.1: the WAL's header, and that of each frame.
  private static let logHeaderBytes: Int64 = 32
  private static let frameHeaderBytes: Int64 = 24

  /// Nil: the database can't be opened. A WAL that is not its own is left out.
  init?(_ path: String) {
    database = open(path, O_RDONLY | O_CLOEXEC)
    log = ForeignLog(path, vfs: nil) == nil ? open(path + "-wal", O_RDONLY | O_CLOEXEC) : -1
    guard database >= 0 || log >= 0 else { return nil }
  }

  deinit {
    if database >= 0 { close(database) }
    if log >= 0 { close(log) }
  }

  /// Every whole page, and where it begins. What can't be read is passed over.
  func forEach(until deadline: Int64, _ body: (UnsafeRawBufferPointer, Bool, Int64) -> Void) {
    let page = Int64(Limits.pageBytes)
    var bytes = [UInt8](repeating: 0, count: Limits.pageBytes)
    for (file, isInLog) in [(database, false), (log, true)] where file >= 0 {
      var offset = isInLog ? Self.logHeaderBytes + Self.frameHeaderBytes : 0
      let step = isInLog ? page + Self.frameHeaderBytes : page
      var status = stat()
      guard fstat(file, &status) == 0 else { continue }
      while offset + page <= Int64(status.st_size), kerb_monotonic_ns() < deadline {
        if pread(file, &bytes, bytes.count, off_t(offset)) == bytes.count {
          bytes.withUnsafeBytes { body($0, isInLog, offset) }
        }
        offset += step
      }
    }
  }

  func bytes(_ count: Int, at offset: Int64, isInLog: Bool) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    return pread(isInLog ? log : database, &bytes, count, off_t(offset)) == count ? bytes : nil
  }
}
