// Reading of small text files and of folders: configuration and profiles, at start and on reload only.

import Glibc

/// Why a file or folder can't be read, in words that follow its name.
package struct FileProblem: Error, Sendable, Hashable {
  package var message: String
  /// There is no such file.
  package var isAbsent: Bool

  package init(message: String, isAbsent: Bool) {
    self.message = message
    self.isAbsent = isAbsent
  }
}

package enum TextFile {
  /// The whole file as UTF-8. Only a regular file of at most `bytesMax` bytes is read.
  package static func read(_ path: String, bytesMax: Int) throws(FileProblem) -> String {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    if descriptor < 0 { throw problem(errno) }
    defer { close(descriptor) }
    var status = stat()
    if fstat(descriptor, &status) != 0 { throw problem(errno) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw FileProblem(message: "is not a file", isAbsent: false)
    }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 16_384)
    while true {
      let count = Glibc.read(descriptor, &part, part.count)
      if count < 0 && errno == EINTR { continue }
      if count < 0 { throw problem(errno) }
      if count == 0 { break }
      bytes += part[..<count]
      if bytes.count > bytesMax {
        throw FileProblem(message: "is larger than \(sizeText(bytesMax))", isAbsent: false)
      }
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw FileProblem(message: "is not UTF-8 text", isAbsent: false)
    }
    return text
  }

  /// Replaces the file: written beside it, then renamed, so that a reader sees the old one or the new one whole.
  package static func write(_ bytes: [UInt8], to path: String, mode: mode_t = 0o644) throws(FileProblem) {
    try FileDraft(bytes, for: path, mode: mode).put()
  }

  /// Names in a folder, sorted; an absent folder is empty.
  package static func names(in folder: String) throws(FileProblem) -> [String] {
    guard let directory = opendir(folder) else {
      let failure = problem(errno)
      if failure.isAbsent { return [] }
      throw failure
    }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
      }
      if !name.hasPrefix(".") { names.append(name) }
    }
    return names.sorted()
  }

  /// The path without symbolic links; nil if it does not exist.
  package static func resolved(_ path: String) -> String? {
    guard let real = realpath(path, nil) else { return nil }
    defer { free(real) }
    return String(cString: real)
  }

  private static func problem(_ code: Int32) -> FileProblem {
    FileProblem(
      message: "can't be read: \(String(cString: strerror(code)))", isAbsent: code == ENOENT || code == ENOTDIR)
  }
}
