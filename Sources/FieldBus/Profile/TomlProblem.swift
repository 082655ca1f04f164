// What is wrong with a text that is no TOML, in words for who wrote it: the parser's error says what the parser met,
// and the text around it what was meant.

struct TomlProblem {
  private(set) var place: SourcePlace
  private(set) var message: String
  /// Characters of the line, and the index of the one that the parser stopped at.
  private let line: [Character]
  private let stop: Int

  /// `error`: "Error while parsing WHAT: …"
  init(_ error: String, at place: SourcePlace, in bytes: UnsafeBufferPointer<UInt8>) {
    self.place = place
    let lines = bytes.split(separator: UInt8(ascii: "\n"), maxSplits: place.line, omittingEmptySubsequences: false)
    let text = lines.count >= place.line && place.line > 0 ? lines[place.line - 1] : bytes[0..<0]
    // A column is a character of Unicode, and not one of those that look like one.
    let scalars = String(decoding: text, as: UTF8.self).unicodeScalars
    line = scalars.filter { $0 != "\r" && $0 != "\u{FEFF}" }.map(Character.init)
    stop = min(max(0, place.column - 1), line.count)
    message = error
    let parts = Self.parts(error)
    if let text = unclosed(parts, bytes) ?? wrong(parts) { message = text }
  }

  private typealias Parts = (what: String, told: String)

  private static func parts(_ error: String) -> Parts {
    let head = "Error while parsing "
    guard error.hasPrefix(head) else { return ("", error) }
    let words = error.dropFirst(head.count)
    guard let colon = words.firstIndex(of: ":") else { return ("", error) }
    return (String(words[..<colon]), String(words[words.index(after: colon)...].drop { $0 == " " }))
  }

  // MARK: Texts

  private static let typographic: Set<Character> = ["“", "”", "„", "«", "»", "‘", "’", "‚", "＂", "`", "´", "「", "」"]

  /// A text without its closing quotation mark ends at the end of its line, or of the file.
  private mutating func unclosed(_ parts: Parts, _ bytes: UnsafeBufferPointer<UInt8>) -> String? {
    guard ["string", "literal string"].contains(parts.what) else { return nil }
    if parts.told.hasPrefix("unknown escape") {
      return "a backslash in \"…\" begins a special character, and \(quoted(stop)) is none: write \\\\ for a "
        + "backslash, or put the text between '…'"
    }
    guard parts.told.hasPrefix("encountered end") || parts.told.contains("control characters"),
      let start = TomlNesting.unclosedString(in: bytes)
    else { return nil }
    let isOnLine = stop >= line.count
    let beginning = SourcePlace(file: place.file, offset: start.offset, in: bytes)
    guard isOnLine || parts.told.hasPrefix("encountered end") else { return nil }
    place = beginning
    if beginning.line == place.line, let last = line.last(where: { $0 != " " }), Self.typographic.contains(last) {
      return "the text that begins here with \(start.quotes) ends with \(last): quotation marks are straight, "
        + "write \" on both sides"
    }
    return "the text that begins here has no end: close it with \(start.quotes)"
      + (start.quotes.count == 1 ? " on the same line" : "")
  }

  // MARK: The rest

  private func wrong(_ parts: Parts) -> String? {
    let told = parts.told
    switch parts.what {
    case "value", "boolean", "floating-point", "decimal integer", "hexadecimal integer", "octal integer",
      "binary integer":
      return value(told)
    case "key-value pair": return pair(told)
    case "table header": return header(told)
    case "key":
      return "a name of other than letters a-z, digits, _ and - stands in quotation marks"
    case "root table" where told.hasPrefix("expected keys"):
      return "a line begins with a key, a [section] or # for a comment, and not with \(quoted(stop)); a name of other "
        + "than letters a-z, digits, _ and - stands in quotation marks"
    case "array" where told.hasPrefix("expected comma"), "array" where told.hasPrefix("encountered end"):
      return "the list goes on here without a comma, or its closing ] is missing"
    case "inline table" where told.contains("dangling comma"): return "take the last comma away"
    case "inline table" where stop >= line.count:
      return "a table in { } ends on the line where it begins: close it with }, or write a section of its own"
    default: break
    }
    return told == "unexpected character"
      ? "\(quoted(stop)) does not belong here: a value is missing before it, or a bracket is of another kind" : nil
  }

  /// The word that was meant as a value.
  private func value(_ told: String) -> String? {
    if told.contains("not representable") || told.contains("could not be interpreted") {
      return "the number is too large: a text of digits stands in quotation marks"
    }
    var start = stop
    while start > 0, !" \t=[,{".contains(line[start - 1]) { start -= 1 }
    let word = Self.clean(line[start...].prefix { !" \t,]}#".contains($0) })
    guard let first = word.first else { return nil }
    let inside = word.filter { !Self.typographic.contains($0) && $0 != "\"" }
    if Self.typographic.contains(first) {
      return "\(word) has no straight quotation marks: write \"\(inside)\""
    }
    if ["true", "yes", "on"].contains(word.lowercased()) { return "\(word) is no value: write true" }
    if ["false", "no", "off"].contains(word.lowercased()) { return "\(word) is no value: write false" }
    if told.contains("leading zeroes") {
      return "a number has no zeros in front: leave them out, or write a text in quotation marks, \"\(inside)\""
    }
    return "\(word) is neither a number nor true or false: a text stands in quotation marks, \"\(inside)\""
  }

  private func pair(_ told: String) -> String? {
    if told.hasPrefix("cannot redefine"), let name = Self.name(told) {
      return "\(name) is set twice: keep one of the two"
    }
    if told.hasPrefix("expected '='") {
      return "behind a key comes =, and not \(quoted(stop)): write key = value"
    }
    let hasSign = line[..<stop].contains("=")
    if told.hasPrefix("encountered end") || told.hasPrefix("expected value") {
      return hasSign ? "there is no value behind the =: write one" : "there is no = behind the key: write key = value"
    }
    guard told.hasPrefix("expected a comment") else { return nil }
    return "the value has ended, and \(quoted(stop)) follows: a text stands in quotation marks as a whole, a number "
      + "has a point and no comma"
  }

  private func header(_ told: String) -> String? {
    guard told.hasPrefix("cannot redefine"), let name = Self.name(told) else {
      if told.hasPrefix("tables with blank") { return "a section has a name: write [name]" }
      return told.hasPrefix("cannot insert")
        ? nil : "a section is [name], or [[name]] with two brackets on either side, and nothing else on its line"
    }
    if told.contains("array-of-tables") {
      return "[[\(name)]] comes after a [\(name)]: write [[\(name)]] there, too"
    }
    if told.contains("existing array") {
      return "[\(name)] comes after a [[\(name)]]: write [[\(name)]] here, too"
    }
    if told.contains("existing table") {
      return "[\(name)] stands here for the second time: put the two together, or, of what there may be several, write "
        + "[[\(name)]] each time"
    }
    return "\(name) has a value already, and can't be a section as well: keep one of the two"
  }

  // MARK: Words

  /// "cannot redefine existing table 'bus'"
  private static func name(_ told: String) -> String? {
    let pieces = told.split(separator: "'", omittingEmptySubsequences: false)
    return pieces.count > 2 ? clean(pieces[1]) : nil
  }

  private func quoted(_ index: Int) -> String {
    index < line.count ? "\"\(Self.clean(line[index...index]))\"" : "the end of the line"
  }

  /// Fit for a terminal.
  private static func clean(_ text: some Sequence<Character>) -> String {
    String(text.prefix(40).map { $0.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F } ? $0 : "?" })
  }
}
