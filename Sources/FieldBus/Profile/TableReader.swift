// A reader of one TOML table: asks for keys by name and type, reports what is wrong, and knows which keys nobody asked
// for.

/// Ask for every key, then call `finish()`.
package final class TableReader {
  package let table: TomlTable
  /// Dotted path for messages: "bus.rs485-1".
  package var path: String
  package let diagnostics: Diagnostics
  /// The kind of table, whatever its name: "bus", "point".
  package let section: String
  private var asked: Set<String> = []
  private var rejected: Set<String> = []

  package init(_ table: TomlTable, section: String, path: String = "", diagnostics: Diagnostics) {
    self.table = table
    self.section = section
    self.path = path
    self.diagnostics = diagnostics
  }

  package func keyPath(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

  package func has(_ key: String) -> Bool { table[key] != nil && !rejected.contains(key) }

  /// Where the key stands, or the table if it is absent.
  package func place(_ key: String) -> SourcePlace { table[key]?.keyPlace ?? table.place }
  package func valuePlace(_ key: String) -> SourcePlace { table[key]?.item.place ?? table.place }

  package func report(_ key: String, _ message: String) {
    diagnostics.report(table[key] == nil ? table.place : valuePlace(key), keyPath(key), message)
  }

  package func warn(_ key: String, _ message: String) { diagnostics.warn(valuePlace(key), keyPath(key), message) }

  /// The raw item; marks the key as known.
  package func item(_ key: String) -> TomlItem? {
    asked.insert(key)
    return rejected.contains(key) ? nil : table[key]?.item
  }

  private func mismatch(_ key: String, _ item: TomlItem, _ expected: String) {
    diagnostics.report(item.place, keyPath(key), "expected \(expected), got \(item.value.typeName)")
  }

  package func string(_ key: String) -> String? {
    guard let item = item(key) else { return nil }
    if case .string(let text) = item.value { return text }
    mismatch(key, item, "a string")
    return nil
  }

  package func requiredString(_ key: String) -> String? {
    require(key)
    return string(key)
  }

  package func require(_ key: String) {
    if table[key] == nil { diagnostics.report(table.place, keyPath(key), "is missing") }
  }

  package func bool(_ key: String) -> Bool? {
    guard let item = item(key) else { return nil }
    if case .bool(let value) = item.value { return value }
    mismatch(key, item, "true or false")
    return nil
  }

  package func integer(_ key: String, in allowed: ClosedRange<Int>) -> Int? {
    guard let item = item(key) else { return nil }
    guard case .integer(let value) = item.value else {
      mismatch(key, item, "an integer from \(allowed.lowerBound) to \(allowed.upperBound)")
      return nil
    }
    guard let small = Int(exactly: value), allowed.contains(small) else {
      report(key, "\(value) is out of range: allowed are \(allowed.lowerBound) to \(allowed.upperBound)")
      return nil
    }
    return small
  }

  package func number(_ key: String) -> Double? {
    guard let item = item(key) else { return nil }
    if let value = Self.number(item.value) { return value }
    mismatch(key, item, "a number")
    return nil
  }

  package static func number(_ value: TomlValue) -> Double? {
    switch value {
    case .integer(let value): return Double(value)
    case .float(let value) where value.isFinite: return value
    default: return nil
    }
  }

  /// One of the words, given as the raw values of an enumeration.
  package func choice<Choice: RawRepresentable & CaseIterable>(
    _ key: String, _: Choice.Type = Choice.self
  ) -> Choice? where Choice.RawValue == String {
    choice(key, among: Choice.allCases.map { ($0.rawValue, $0) })
  }

  package func choice<Choice>(_ key: String, among choices: [(word: String, value: Choice)]) -> Choice? {
    guard let text = string(key) else { return nil }
    if let found = choices.first(where: { $0.word == text }) { return found.value }
    report(key, Self.unknownWord(text, among: choices.map(\.word)))
    return nil
  }

  package static func unknownWord(_ text: String, among words: [String]) -> String {
    var message = "\"\(text)\" is not one of \(words.map { "\"\($0)\"" }.joined(separator: ", "))"
    if let near = nearestMatch(to: text, among: words) { message += "; did you mean \"\(near)\"?" }
    return message
  }

  /// "250ms" "1s" "5m" "1h", in nanoseconds.
  package func duration(_ key: String, in allowed: ClosedRange<Int64> = 0...Int64.max) -> Int64? {
    guard let text = string(key) else { return nil }
    guard let value = parseDuration(text) else {
      report(key, "\"\(text)\" is not a duration: write for example \"250ms\", \"1s\", \"5m\", \"1h\"")
      return nil
    }
    guard allowed.contains(value) else {
      let (least, most) = (durationText(allowed.lowerBound), durationText(allowed.upperBound))
      report(key, "\"\(text)\" is out of range: allowed are \(least) to \(most)")
      return nil
    }
    return value
  }

  /// "64KiB" "256MiB", in bytes.
  package func size(_ key: String, in allowed: ClosedRange<Int>) -> Int? {
    guard let text = string(key) else { return nil }
    guard let value = parseSize(text) else {
      report(key, "\"\(text)\" is not a size: write for example \"64KiB\", \"256MiB\", \"1GiB\"")
      return nil
    }
    guard allowed.contains(value) else {
      let (least, most) = (sizeText(allowed.lowerBound), sizeText(allowed.upperBound))
      report(key, "\"\(text)\" is out of range: allowed are \(least) to \(most)")
      return nil
    }
    return value
  }

  package func strings(_ key: String) -> [String]? { placedStrings(key)?.map(\.text) }

  package func placedStrings(_ key: String) -> [(text: String, place: SourcePlace)]? {
    guard let item = item(key) else { return nil }
    guard case .array(let elements) = item.value else {
      mismatch(key, item, "an array of strings")
      return nil
    }
    var result: [(String, SourcePlace)] = []
    for element in elements {
      guard case .string(let text) = element.value else {
        diagnostics.report(element.place, keyPath(key), "expected a string, got \(element.value.typeName)")
        continue
      }
      result.append((text, element.place))
    }
    return result
  }

  package func array(_ key: String, of expected: String) -> [TomlItem]? {
    guard let item = item(key) else { return nil }
    if case .array(let elements) = item.value { return elements }
    mismatch(key, item, expected)
    return nil
  }

  /// The members of a table whose keys are free: labels, translations, names of values.
  package func members(_ key: String, of expected: String) -> [TomlMember]? {
    guard let item = item(key) else { return nil }
    if case .table(let table) = item.value { return table.members }
    mismatch(key, item, expected)
    return nil
  }

  /// A table whose values are all strings, each with its place.
  package func placedTexts(_ key: String) -> [(key: String, text: String, place: SourcePlace)]? {
    guard let members = members(key, of: "a table of strings") else { return nil }
    var result: [(String, String, SourcePlace)] = []
    for member in members {
      guard case .string(let text) = member.item.value else {
        diagnostics.report(
          member.item.place, "\(keyPath(key)).\(member.key)", "expected a string, got \(member.item.value.typeName)")
        continue
      }
      result.append((member.key, text, member.item.place))
    }
    return result
  }

  package func table(_ key: String) -> TableReader? {
    guard let item = item(key) else { return nil }
    guard case .table(let inner) = item.value else {
      mismatch(key, item, "a table")
      return nil
    }
    return TableReader(inner, section: key, path: keyPath(key), diagnostics: diagnostics)
  }

  /// An array of tables: `[[key]]`, or inline. Each reader's path is "key[N]" until the caller names it better.
  package func tables(_ key: String) -> [TableReader] {
    guard let item = item(key) else { return [] }
    guard case .array(let elements) = item.value else {
      mismatch(key, item, "tables: write [[\(key)]]")
      return []
    }
    var readers: [TableReader] = []
    for (index, element) in elements.enumerated() {
      guard case .table(let inner) = element.value else {
        diagnostics.report(element.place, keyPath(key), "expected a table, got \(element.value.typeName)")
        continue
      }
      readers.append(
        TableReader(inner, section: key, path: "\(keyPath(key))[\(index + 1)]", diagnostics: diagnostics))
    }
    return readers
  }

  /// A key of the format whose feature this version does not have: an error, never ignored.
  package func notSupported(_ keys: String...) { reject(keys, because: "not supported yet") }

  /// Keys that have no meaning here: reported if present, and not looked at any further.
  package func reject(_ keys: [String], because reason: String) {
    for key in keys {
      asked.insert(key)
      guard !rejected.contains(key) else { continue }
      if let member = table[key] { diagnostics.report(member.keyPlace, keyPath(key), reason) }
      rejected.insert(key)
    }
  }

  /// Reports every key that nobody asked for.
  package func finish() {
    diagnostics.know(asked, in: section)
    for member in table.members where !asked.contains(member.key) {
      var message = "unknown key"
      if let near = nearestMatch(to: member.key, among: asked) {
        message += "; did you mean \"\(near)\"?"
      } else if !asked.isEmpty {
        message += "; known here: \(asked.sorted().joined(separator: ", "))"
      }
      diagnostics.report(member.keyPlace, keyPath(member.key), message)
    }
  }
}

