// Transcripts of what is said about broken configurations and profiles.

import Testing

/// One case of a `.problems` transcript: what was written, and what is said about it.
package struct ProblemCase: Sendable, CustomTestStringConvertible {
  package var flag = ""
  package var lines: [String] = []
  package var problems: [String] = []
  package var testDescription: String { lines.joined(separator: " · ") }

  package static func all(in transcript: String) throws -> [ProblemCase] {
    let text = try TestSupport.text(ofFile: "\(packageRoot)/Tests/Transcripts/\(transcript)")
    var cases: [ProblemCase] = []
    for block in text.split(separator: "\n\n").dropFirst() {
      var one = ProblemCase()
      for line in block.split(separator: "\n") {
        if line.hasPrefix("# ") {
          one.flag = String(line.dropFirst(2))
        } else if line.hasPrefix("! ") {
          one.problems.append(String(line.dropFirst(2)))
        } else {
          one.lines.append(String(line))
        }
      }
      cases.append(one)
    }
    return cases
  }
}

/// Without the TOML library's own words, which differ between its versions.
package func withoutLibraryWords(_ problem: String) -> String {
  let words = ": not valid TOML"
  var start = problem.startIndex
  while start < problem.endIndex {
    if problem[start...].hasPrefix(words) { return problem[..<start] + words }
    start = problem.index(after: start)
  }
  return problem
}
