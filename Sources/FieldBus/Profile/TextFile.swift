// Reading of small text files and of folders: configuration and profiles, at start and on reload only.

import Glibc

/// Why a file or folder can't be read, in words that follow its name.
package struct FileProblem: Error, Sendable, Hashable {
  package var message: String
  /// There is no such file.
  package var isAbsent: Bool
  /// It could be read, and what is in it is not what it should be.
  package var isContent: Bool

  package init(message: String, isAbsent: Bool, isContent: Bool = false) {
    self.message = message
    self.isAbsent = isAbsent
    self.isContent = isContent
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
        throw FileProblem(message: "is larger than \(sizeText(bytesMax))", isAbsent: false, isContent: true)
      }
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw FileProblem(message: foreignText(bytes), isAbsent: false, isContent: true)
    }
    return text
  }

  /// What it is instead, and where that shows.
  private static func foreignText(_ bytes: [UInt8]) -> String {
    if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
      return "is UTF-16 and not UTF-8 text: save it as UTF-8 in the editor"
    }
    var parser = Unicode.UTF8.ForwardParser()
    var rest = bytes.makeIterator()
    var offset = 0
    while case .valid(let character) = parser.parseScalar(from: &rest) { offset += character.count }
    let place = bytes.withUnsafeBufferPointer { SourcePlace(file: "", offset: offset, in: $0) }
    let byte = offset < bytes.count ? " (byte 0x\(String(bytes[offset], radix: 16, uppercase: true)))" : ""
    return "is not UTF-8 text at line \(place.line), column \(place.column)\(byte): save it as UTF-8 in the editor, or "
      + "write that letter anew"
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

  package static func isLink(_ path: String) -> Bool {
    var facts = stat()
    return lstat(path, &facts) == 0 && facts.st_mode & S_IFMT == S_IFLNK
  }

  private static func problem(_ code: Int32) -> FileProblem {
    FileProblem(
      message: "can't be read: \(String(cString: strerror(code)))", isAbsent: code == ENOENT || code == ENOTDIR)
  }
}
