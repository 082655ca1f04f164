// The profiles in the search paths, each file read once however many devices use it.

import StreamCore

package final class ProfileLibrary {
  /// In the order in which they are looked through: the first file found counts.
  package let searchPaths: [String]
  /// Files read so far, in order.
  package private(set) var files: [String] = []
  private var entries: [String: Entry] = [:]

  private enum Entry {
    case profile(Profile)
    /// In none of the folders.
    case missing
    /// Found, but not as a profile: this was reported, and is no reason to report it as missing.
    case unreadable
  }

  package init(searchPaths: [String]) {
    var seen: Set<String> = []
    self.searchPaths = searchPaths.filter { seen.insert(TextFile.resolved($0) ?? $0).inserted }
  }

  /// The profile "KIND/NAME", or nil: reported, if it is missing at the place of the key that asks for it, else at the
  /// place in its file. A profile with errors comes back with what is sound of it.
  package func load(_ id: String, place: SourcePlace, key: String, into diagnostics: Diagnostics) -> Profile? {
    let parts = id.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 2, parts.allSatisfy({ nameProblem($0) == nil }) else {
      diagnostics.report(place, key, "\"\(id)\" is not a profile: write KIND/NAME, for example \"hydrant/generic\"")
      return nil
    }
    let entry = entries[id] ?? read(id, place, key, diagnostics)
    entries[id] = entry
    switch entry {
    case .profile(let profile): return profile
    case .unreadable: return nil
    case .missing:
      reportMissing(id, place, key, diagnostics)
      return nil
    }
  }

  private func read(_ id: String, _ place: SourcePlace, _ key: String, _ diagnostics: Diagnostics) -> Entry {
    for folder in searchPaths {
      let file = "\(folder)/\(id).toml"
      let text: String
      do {
        text = try TextFile.read(file, bytesMax: Limits.profileBytesMax)
      } catch where error.isAbsent {
        continue
      } catch {
        diagnostics.report(place, key, "the profile \(file) \(error.message)")
        return .unreadable
      }
      files.append(file)
      guard let root = TomlFile.parse(text, file: file, into: diagnostics) else { return .unreadable }
      return .profile(ProfileParser.parse(root, id: id, diagnostics: diagnostics))
    }
    return .missing
  }

  private func reportMissing(_ id: String, _ place: SourcePlace, _ key: String, _ diagnostics: Diagnostics) {
    var message = "there is no profile \"\(id)\""
    if let near = nearestMatch(to: id, among: ids()) { message += "; did you mean \"\(near)\"?" }
    message += searchPaths.isEmpty ? "; no folder was searched" : "; looked in \(searchPaths.joined(separator: ", "))"
    diagnostics.report(place, key, message)
  }

  /// Every "KIND/NAME" that is found, sorted.
  package func ids() -> [String] {
    var result: Set<String> = []
    for folder in searchPaths {
      for kind in (try? TextFile.names(in: folder)) ?? [] {
        for name in (try? TextFile.names(in: "\(folder)/\(kind)")) ?? [] where name.hasSuffix(".toml") {
          result.insert("\(kind)/\(name.dropLast(5))")
        }
      }
    }
    return result.sorted()
  }
}
