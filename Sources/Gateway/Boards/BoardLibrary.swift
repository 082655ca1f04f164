// The boards in the search paths: NAME/board.toml, the first folder that has it counts.

import FieldBus
import StreamCore

package struct BoardLibrary: Sendable {
  /// Where an installed box has its boards.
  package static let systemFolders = ["/etc/kerb/boards", "/usr/share/kerb/boards"]

  /// In the order in which they are looked through.
  package let searchPaths: [String]

  package init(searchPaths: [String]) {
    var seen: Set<String> = []
    self.searchPaths = searchPaths.filter { seen.insert(TextFile.resolved($0) ?? $0).inserted }
  }

  /// Every name that is found, sorted.
  package func names() -> [String] {
    var names: Set<String> = []
    for folder in searchPaths {
      for name in (try? TextFile.names(in: folder)) ?? [] where nameProblem(name) == nil {
        if TextFile.resolved("\(folder)/\(name)/board.toml") != nil { names.insert(name) }
      }
    }
    return names.sorted()
  }

  /// The board; nil if it is missing, which is not reported, or can't be read, which is.
  package func load(_ name: String, into diagnostics: Diagnostics) -> Board? {
    for folder in searchPaths {
      let file = "\(folder)/\(name)/board.toml"
      let text: String
      do { text = try TextFile.read(file, bytesMax: Limits.boardBytesMax) } catch where error.isAbsent {
        continue
      } catch {
        diagnostics.report(SourcePlace(file: file, line: 0, column: 0), "", error.message)
        return nil
      }
      guard let root = TomlFile.parse(text, file: file, into: diagnostics) else { return nil }
      return BoardParser.parse(root, name: name, diagnostics: diagnostics)
    }
    return nil
  }

  /// All that can be read; what is wrong with the others is reported.
  package func all(into diagnostics: Diagnostics) -> [Board] {
    for folder in searchPaths {
      do { _ = try TextFile.names(in: folder) } catch {
        diagnostics.report(
          SourcePlace(file: folder, line: 0, column: 0), "", "\(error.message): its boards are left out")
      }
    }
    return names().compactMap { load($0, into: diagnostics) }
  }

  /// What to say where a name is not one of a board.
  package func unknown(_ name: String) -> String {
    let names = names()
    var message = "there is no board \"\(name)\""
    if let near = nearestMatch(to: name, among: names) {
      message += "; did you mean \"\(near)\"?"
    } else if names.isEmpty {
      message += "; looked in \(searchPaths.joined(separator: ", "))"
    } else {
      message += "; there are \(names.joined(separator: ", "))"
    }
    return message
  }
}
