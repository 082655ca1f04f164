import FieldBus
import TestSupport
import Testing

private func problems(of profile: String, id: String) -> [String] {
  let diagnostics = Diagnostics()
  if let root = TomlFile.parse(profile, file: "p", into: diagnostics) {
    _ = ProfileParser.parse(root, id: id, diagnostics: diagnostics)
  }
  func text(_ one: Diagnostic) -> String { withoutLibraryWords(String(one.text.dropFirst(2))) }
  return diagnostics.sorted.map(text) + diagnostics.sortedWarnings.map { "warning: \(text($0))" }
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
