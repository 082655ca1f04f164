// The rules of boards that a machine has, wherever udev looks for them. Read when asked; changes nothing.

import FieldBus
import StreamCore

package struct InstalledRules: Sendable {
  package struct File: Sendable {
    package var path: String
    package var board: String
    package var text: String
  }

  /// Those that `kerb board udev` made of a board, in the order in which udev looks.
  package private(set) var files: [File] = []
  package private(set) var hasGeneral = false

  private static let folders = [
    "/etc/udev/rules.d", "/run/udev/rules.d", "/usr/local/lib/udev/rules.d", "/usr/lib/udev/rules.d",
  ]

  /// `root`: as of `Machine`.
  package init(root: String = "") {
    var seen: Set<String> = []
    for folder in Self.folders {
      for name in (try? TextFile.names(in: root + folder)) ?? [] where name.hasSuffix(".rules") {
        // A file of the same name in a folder before hides it.
        guard seen.insert(name).inserted,
          let text = try? TextFile.read("\(root)\(folder)/\(name)", bytesMax: Limits.boardBytesMax)
        else { continue }
        if name == UdevRules.generalName { hasGeneral = true }
        if let board = UdevRules.board(of: text) {
          files.append(File(path: "\(folder)/\(name)", board: board, text: text))
        }
      }
    }
  }

  /// The first file of another board than the first's: the two claim names of each other.
  package var rival: File? { files.first { $0.board != files[0].board } }
}
