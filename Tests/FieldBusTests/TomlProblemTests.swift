import FieldBus
import Testing

/// Everything wrong with a text, as an installer reads it.
private func problems(of text: String) -> [String] {
  let diagnostics = Diagnostics()
  _ = TomlFile.parse(text, file: "f", into: diagnostics)
  return diagnostics.sorted.map(\.text)
}

@Suite("Text that is no TOML")
struct TomlProblemTests {
  @Test(
    "a section whose name begins with no letter is refused at its place",
    arguments: ["[ä]", "[[总线]]", "[=]", "[.a]", "[`", "[[\u{1}]]", "[,]", "[ [a] ]", "[]"])
  func header(_ text: String) {
    let problems = problems(of: "a = 1\n\(text)\n")
    #expect(problems.count == 1 && problems[0].hasPrefix("f:2:"), "\(problems)")
  }

  @Test(
    "what the parser takes for impossible is refused where it stands",
    arguments: [
      ("ü = 1\n", 1, 1), ("a = [}]", 1, 6), ("a = 1\n# ü\nb = [1,\n 2, }]", 4, 5), ("a = [ # ü\n\"ü\", }", 2, 6),
    ])
  func disbelief(_ text: String, _ line: Int, _ column: Int) {
    let problems = problems(of: text)
    #expect(problems.count == 1 && problems[0].hasPrefix("f:\(line):\(column): not valid TOML: "), "\(problems)")
  }
}
