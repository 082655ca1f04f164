import FieldBus
import StreamCore
import Testing

/// Everything wrong with a text, as an installer reads it.
private func problems(of text: String) -> [String] {
  let diagnostics = Diagnostics()
  _ = TomlFile.parse(text, file: "f", into: diagnostics)
  return diagnostics.sorted.map(\.text)
}

private func nested(_ unit: String, _ count: Int) -> String { String(repeating: unit, count: count) }

@Suite("A TOML text that nests")
struct TomlNestingTests {
  private static let levels = Limits.tomlLevelsMax

  /// Each with the place of what is one too many.
  private static func shapes(_ count: Int) -> [(text: String, place: String)] {
    let few = levels
    return [
      ("[" + nested("a.", count) + "a]", "1:\(2 * few + 1)"),
      ("[[" + nested("a.", count) + "a]]", "1:\(2 * few)"),
      (nested("a.", count) + "a = 1", "1:\(2 * few + 2)"),
      ("\u{FEFF}[" + nested("a.", count) + "a]", "1:\(2 * few + 2)"),
      ("x = 1.5\na = " + nested("[", count) + nested("]", count), "2:\(few + 5)"),
      ("a = " + nested("[", count), "1:\(few + 5)"),
      ("ä = \"ü\\\"\" # [\na = " + nested("{a=", count) + "1" + nested("}", count), "2:\(3 * few + 5)"),
      ("a = {" + nested("a.", count) + "a = 1}", "1:\(2 * few + 5)"),
      ("a = [[[{" + nested("a.", count) + "a = 1}]]]", "1:\(2 * few + 2)"),
      ("[a.a.a]\nb.b.b = " + nested("[{a.a=", count), "2:\(2 * (few - 4) + 6)"),
      ("'a' = '''\n''''', \"\" = \"\"\"\"\n\\\"\"\"\"\n" + nested("a.", count) + "a = 1", "4:\(2 * few + 2)"),
      ("a = {b = 1, " + nested("\"a\" .'b'.", count) + "a = 1}", ""),
    ]
  }

  @Test("a million levels deep is refused where it becomes too deep", arguments: [100, 20_000, 1_000_000])
  func refused(_ count: Int) {
    for (text, place) in Self.shapes(count) {
      let problems = problems(of: text)
      #expect(problems.count == 1 && problems[0].contains("more than \(Self.levels) deep"), "\(text.prefix(40))")
      #expect(problems.first?.hasPrefix("f:\(place)") == true, "\(text.prefix(40)): \(problems)")
    }
  }

  @Test("as deep as is allowed is read")
  func allowed() {
    let count = Self.levels
    let texts = [
      "[" + nested("a.", count - 1) + "a]\nb = 1\n[" + nested("b.", count - 1) + "b]",
      nested("a.", count) + "a = 1\n" + nested("b.", count) + "b = 1",
      "a = " + nested("[", count) + nested("]", count), "a = " + nested("{a=", count) + "1" + nested("}", count),
      "a = [" + nested("[],", 1_000) + "[]]", "a = [" + nested("{a.b.c=1.5},", 1_000) + "]",
      "a = [" + nested("1.5, ", 1_000) + "]", "a = \"" + nested("[{a.", 1_000) + "\" # " + nested("[{a.", 1_000),
      "a = '\\' # " + nested("[{a.", 1_000), "a = '''\n'\\''''' # " + nested("[{a.", 1_000),
      "a = \"\"\"\n\"\\\"\"\" [[[[[[[[[[[[[[[[[[[[\"\"\"\"\"\nb=1",
      "\"" + nested("a.", 1_000) + "\" = 1979-05-27T07:32:00.5Z",
      "a = {}\n" + (0..<100).map { "[x.y\($0)]\nb.c = {d=[1.5]}\n" }.joined(),
    ]
    for text in texts { #expect(problems(of: text) == [], "\(text.prefix(60))") }
  }
}
