import FieldBus
import TestSupport
import Testing

/// One case of a `.problems` transcript: what was written, and what is said about it.
struct ProblemCase: Sendable, CustomTestStringConvertible {
  var flag = ""
  var lines: [String] = []
  var problems: [String] = []
  var testDescription: String { lines.joined(separator: " · ") }

  static func all(in transcript: String) throws -> [ProblemCase] {
    let text = try TextFile.read("\(packageRoot)/Tests/Transcripts/\(transcript)", bytesMax: 1 << 20)
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

private func problems(of text: String, id: String) -> [String] {
  let diagnostics = Diagnostics()
  if let root = TomlFile.parse(text, file: "p", into: diagnostics) {
    _ = ProfileParser.parse(root, id: id, diagnostics: diagnostics)
  }
  return diagnostics.sorted.map { String($0.text.dropFirst(2)) }
}

@Suite("A profile is told")
struct ProfileProblemTests {
  @Test("what is wrong with a point", arguments: try ProblemCase.all(in: "point.problems"))
  func points(_ one: ProblemCase) {
    let kind = one.flag == "elevator" ? "elevator" : "hydrant"
    let head = ["kind = \"\(kind)\"", one.flag == "serial" ? "frame = { format = \"text\" }" : "", "[[point]]"]
    let text = (head + one.lines + ["name = \"x\""]).joined(separator: "\n")
    #expect(problems(of: text, id: "\(kind)/x") == one.problems)
    #expect(!one.problems.isEmpty)
  }

  @Test("what is wrong with the whole", arguments: try ProblemCase.all(in: "profile.problems"))
  func profiles(_ one: ProblemCase) {
    #expect(problems(of: one.lines.joined(separator: "\n"), id: "hydrant/x") == one.problems)
    #expect(!one.problems.isEmpty)
  }
}
