import FieldBus
import TestSupport
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

  @Test(
    "what is wrong is said in the words of who wrote it",
    arguments: [
      ("a = 1\nb = \"abc\nc = 1", "2:5: the text that begins here has no end: close it with \" on the same line"),
      ("b = 'abc", "1:5: the text that begins here has no end: close it with ' on the same line"),
      ("b = 1\nc = \"\"\"abc\nd = \"x\"", "2:5: the text that begins here has no end: close it with \"\"\""),
      ("b = \"abc” ", "1:5: the text that begins here with \" ends with ”: quotation marks are straight, write \""),
      ("id = box-t", "1:6: box-t is neither a number nor true or false: a text stands in quotation marks, \"box"),
      ("id = “box 1”", "1:6: “box has no straight quotation marks: write \"box"),
      ("t = 250ms # x", "1:8: 250ms is neither a number nor true or false: a text stands in quotation marks"),
      ("a = [10.0.0.1, 2]", "1:10: 10.0.0.1 is neither a number"), ("a = true1", "1:9: true1 is neither"),
      ("a = True", "1:5: True is no value: write true"), ("a = off", "1:5: off is no value: write false"),
      ("a = 01", "1:7: a number has no zeros in front: leave them out, or write a text in quotation marks, \"01\""),
      ("[[bus]]\n[bus]", "2:1: [bus] comes after a [[bus]]: write [[bus]] here, too"),
      ("[bus]\n[[bus]]", "2:1: [[bus]] comes after a [bus]: write [[bus]] there, too"),
      ("[bus]\n[bus]", "2:1: [bus] stands here for the second time: put the two together, or, of what there may be "),
      ("a = 1\n[a]", "2:1: a has a value already, and can't be a section as well"),
      ("a = 1\na = 2", "2:5: a is set twice: keep one of the two"),
      ("a: 1", "1:2: behind a key comes =, and not \":\": write key = value"), ("a =", "1:4: there is no value behind"),
      ("a", "1:2: there is no = behind the key: write key"), ("a = 3,5", "1:6: the value has ended, and \",\" "),
      ("[bus", "1:5: a section is [name], or [[name]]"), ("[]", "1:2: a section has a name"),
      ("[ä]", "1:2: a name of other than letters a-z"), ("“a” = 1", "1:1: a line begins with a key, a [section]"),
      ("a = [1\nb = 2", "2:1: the list goes on here without a comma, or its closing ] is missing"),
      ("a = {b = 1,\nc = 2}", "1:12: a table in { } ends on the line where it begins"),
      ("a = {b = 1,}", "1:12: take the last comma away"), ("a = [}]", "1:6: \"}\" does not belong here"),
      ("a = \"C:\\dev\"", "1:9: a backslash in \"…\" begins a special character, and \"d\" is none: write \\\\"),
      ("\u{FEFF}a = \u{7}x", "1:"), ("a = 99999999999999999999", "1:25: the number is too large"),
    ])
  func words(_ text: String, _ problem: String) throws {
    let problems = problems(of: text)
    let head = problem.prefix { $0 != " " }
    let told = try #require(problems.first)
    #expect(problems.count == 1)
    let whole = "f:\(head) not valid TOML: \(problem.dropFirst(head.count + 1))"
    #expect(told.hasPrefix(whole) || problem == "1:", "\(told)")
    #expect(!told.contains("Error while parsing") && told.unicodeScalars.allSatisfy { $0.value >= 0x20 }, "\(told)")
  }

  @Test("a place in a text counts the backslashes before it", arguments: ["'%'", "\"%\""])
  func inside(_ quotes: String) throws {
    let formula = "a == \"ü\\\" or b"
    let isBasic = quotes.first == "\""
    let written = isBasic ? "a == \\\"ü\\\\\\\" or b" : formula
    let text = "\nkey = \(quotes.first ?? "?")\(written)\(quotes.first ?? "?")"
    let item = try #require(TomlFile.parse(text, file: "f", into: Diagnostics())?["key"]?.item)
    guard case .string(formula) = item.value else { return #expect(Bool(false), "\(item.value)") }
    #expect(item.place.inside(formula, at: 0).text == "f:2:8")
    #expect(item.place.inside(formula, at: 13).text == "f:2:\(7 + written.count)")
  }

  @Test(
    "a file in another encoding is refused with its line and what to do",
    arguments: [
      ([0x61, 0x0A, 0xC3, 0xBC, 0x3D, 0xFC, 0x0A], "is not UTF-8 text at line 2, column 3 (byte 0xFC): save it"),
      ([0xFF, 0xFE, 0x61, 0x00], "is UTF-16 and not UTF-8 text: save it as UTF-8 in the editor"),
      ([0x61, 0xE4], "is not UTF-8 text at line 1, column 2 (byte 0xE4)"),
    ] as [([UInt8], String)])
  func encoding(_ bytes: [UInt8], _ problem: String) throws {
    let folder = try TemporaryFolder()
    try folder.write("f.toml", bytes: bytes)
    do throws(FileProblem) {
      _ = try TextFile.read("\(folder.path)/f.toml", bytesMax: 100)
      #expect(Bool(false))
    } catch {
      #expect(error.message.hasPrefix(problem) && error.isContent, "\(error.message)")
    }
  }

  @Test("a number that is none is called what it is")
  func notANumber() {
    for (word, told) in [("nan", "nan"), ("-inf", "an infinite number"), ("true", "true or false")] {
      let diagnostics = Diagnostics()
      guard let root = TomlFile.parse("scale = \(word)", file: "f", into: diagnostics) else { continue }
      #expect(TableReader(root, section: "x", diagnostics: diagnostics).number("scale") == nil)
      #expect(diagnostics.all.map(\.message) == ["expected a number, got \(told)"])
    }
  }
}
