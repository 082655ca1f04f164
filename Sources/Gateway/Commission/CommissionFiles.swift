// What commissioning writes: conf.d/commission.toml, and kerb.toml where there is none. Whole or not at all, at any
// moment of a power cut.
//
// Invariants:
//  1. The configuration was read with the new file in the old one's place, and found right, before anything is written.
//  2. commission.toml is one file and comes by one rename; kerb.toml, without which nothing runs, comes last.
//  3. What stood in commission.toml before stays beside it, as commission.toml.old, unless it was the same.

import FieldBus
import Glibc
import StreamCore

package struct CommissionFiles {
  package let configuration: String
  package let folder: String
  package var path: String { "\(folder)/conf.d/\(Self.name)" }
  package var oldPath: String { "\(path).old" }
  package static let name = "commission.toml"
  /// Whose the files are besides root; nil: nobody's.
  private let group: gid_t?

  /// `configuration`: kerb.toml.
  package init(configuration: String) {
    self.configuration = configuration
    folder = ConfigurationReader.folder(of: configuration)
    var facts = stat()
    if stat(configuration, &facts) == 0 {
      group = facts.st_gid
    } else {
      group = geteuid() == 0 ? getgrnam("kerb")?.pointee.gr_gid : nil
    }
  }

  /// Nil: there is none yet.
  package var present: String? { try? TextFile.read(path, bytesMax: Limits.configurationBytesMax) }

  package static func text(_ table: TomlTable, source: String) -> String {
    "# Written by `kerb commission` from \(source). What you change here stays until the box is commissioned again.\n"
      + TomlText.of(table)
  }

  /// True: something was written.
  package func write(_ text: String) throws(FileProblem) -> Bool {
    var isNew = false
    for folder in [folder, "\(folder)/conf.d"] where mkdir(folder, 0o755) != 0 && errno != EEXIST {
      throw FileProblem(message: "\(folder): \(String(cString: strerror(errno)))", isAbsent: false)
    }
    if let old = present, old != text { try put(old, at: oldPath) }
    if present != text {
      try put(text, at: path)
      isNew = true
    }
    if access(configuration, F_OK) != 0 {
      try put("# The configuration of this box is in conf.d beside this file.\n", at: configuration)
      isNew = true
    }
    return isNew
  }

  private func put(_ text: String, at path: String) throws(FileProblem) {
    do { try TextFile.write(Array(text.utf8), to: path, mode: 0o640) } catch {
      throw FileProblem(message: "\(path): \(error.message)", isAbsent: false)
    }
    if let group { _ = chown(path, uid_t.max, group) }
    let folder = ConfigurationReader.folder(of: path)
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if descriptor >= 0 {
      fsync(descriptor)
      close(descriptor)
    }
  }
}
