// A file that is written whole, and not yet in its place: it comes there by one step of the file system, so that a
// reader sees the old one or the new one, whatever cuts it off.

import Glibc

package struct FileDraft: Sendable {
  private let path: String
  /// Where it is until then; whoever must give it to somebody does so here.
  package let draftPath: String

  /// Beside the place, and on the disk. Refused where something is that is no file.
  package init(_ bytes: [UInt8], for path: String, mode: mode_t) throws(FileProblem) {
    if let obstacle = Self.obstacle(at: path) { throw obstacle }
    self.path = path
    draftPath = "\(path).\(getpid())"
    let descriptor = open(draftPath, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
    if descriptor < 0 { throw Self.unwritten(errno) }
    var code = WholeWrite.bytes(bytes, to: descriptor)
    if code == 0, fsync(descriptor) != 0 { code = errno }
    close(descriptor)
    if code != 0 {
      drop()
      throw Self.unwritten(code)
    }
  }

  /// What is there and is no file: a rename would put one in the place of a device, a pipe or a link.
  package static func obstacle(at path: String) -> FileProblem? {
    var facts = stat()
    guard lstat(path, &facts) == 0 else { return nil }
    switch facts.st_mode & S_IFMT {
    case S_IFREG: return nil
    case S_IFDIR: return FileProblem(message: "is a folder: name a file in it", isAbsent: false)
    case S_IFLNK:
      return FileProblem(message: "is a link, which is left as it is: name the file itself", isAbsent: false)
    default:
      return FileProblem(message: "is a device or a pipe, which is left as it is: name a file", isAbsent: false)
    }
  }

  /// In the place of what is there.
  package func put() throws(FileProblem) {
    if rename(draftPath, path) == 0 { return }
    let code = errno
    drop()
    throw Self.unwritten(code)
  }

  /// Where nothing is yet: errno, EEXIST if something is.
  package func putWhereNothingIs() -> Int32 {
    // link() replaces nothing.
    let code = link(draftPath, path) == 0 ? 0 : errno
    drop()
    return code
  }

  package func drop() { unlink(draftPath) }

  private static func unwritten(_ code: Int32) -> FileProblem {
    FileProblem(message: "can't be written: \(String(cString: strerror(code)))", isAbsent: false)
  }
}
