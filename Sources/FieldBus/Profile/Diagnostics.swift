// Everything wrong with a configuration, collected, so that an installer sees it all at once.

/// One thing wrong: where, in which key, what, and what is allowed.
package struct Diagnostic: Sendable, Hashable {
  package var place: SourcePlace
  /// Dotted, as the reader would name it: "bus.rs485-1.baud". Empty for a whole file.
  package var key: String
  /// What was got, what is allowed, the nearest match.
  package var message: String

  package init(place: SourcePlace, key: String, message: String) {
    self.place = place
    self.key = key
    self.message = message
  }

  /// "kerb.toml:12:3: bus.rs485-1.baud: …"
  package var text: String {
    key.isEmpty ? "\(place.text): \(message)" : "\(place.text): \(key): \(message)"
  }
}

/// Collects; never throws. Passed along by reference while files are read.
package final class Diagnostics {
  package private(set) var all: [Diagnostic] = []
  /// What has no effect and does no harm: the agent runs all the same.
  package private(set) var warnings: [Diagnostic] = []
  private var seen: Set<Diagnostic> = []
  /// By section ("bus", "point"): every key that a reader asked for. Documentation and schemas are checked by it.
  package private(set) var knownKeys: [String: Set<String>] = [:]

  package init() {}

  package var isEmpty: Bool { all.isEmpty }
  /// Grows with every report: compare before and after to know whether a part was sound.
  package var count: Int { all.count }

  package func know(_ keys: Set<String>, in section: String) { knownKeys[section, default: []].formUnion(keys) }

  package func report(_ place: SourcePlace, _ key: String, _ message: String) {
    let diagnostic = Diagnostic(place: place, key: key, message: message)
    if seen.insert(diagnostic).inserted { all.append(diagnostic) }
  }

  package func warn(_ place: SourcePlace, _ key: String, _ message: String) {
    let diagnostic = Diagnostic(place: place, key: key, message: message)
    if seen.insert(diagnostic).inserted { warnings.append(diagnostic) }
  }

  /// By file, then line, then column.
  package var sorted: [Diagnostic] { Self.sorted(all) }
  package var sortedWarnings: [Diagnostic] { Self.sorted(warnings) }

  private static func sorted(_ list: [Diagnostic]) -> [Diagnostic] {
    list.sorted {
      ($0.place.file, $0.place.line, $0.place.column) < ($1.place.file, $1.place.line, $1.place.column)
    }
  }
}

/// The candidate that is nearest to `word`, if one is near enough to be a slip of the finger.
package func nearestMatch(to word: String, among candidates: some Sequence<String>) -> String? {
  // Of a word of one or two letters nothing would be left.
  guard word.count > 2 else { return nil }
  let allowed = Swift.max(1, word.count / 3)
  var best: (distance: Int, word: String)?
  for candidate in candidates.sorted() {
    let distance = editDistance(Array(word.utf8), Array(candidate.utf8))
    if distance <= allowed, distance < best?.distance ?? .max { best = (distance, candidate) }
  }
  return best?.word
}

/// Insertions, deletions, substitutions and swaps of neighbours.
private func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
  var rows = Array(repeating: Array(repeating: 0, count: b.count + 1), count: a.count + 1)
  for i in 0...a.count { rows[i][0] = i }
  for j in 0...b.count { rows[0][j] = j }
  for i in stride(from: 1, through: a.count, by: 1) {
    for j in stride(from: 1, through: b.count, by: 1) {
      var least = Swift.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1)
      least = Swift.min(least, rows[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
      if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
        least = Swift.min(least, rows[i - 2][j - 2] + 1)
      }
      rows[i][j] = least
    }
  }
  return rows[a.count][b.count]
}
