// A TOML file as a tree in which every key and value knows its line and column, and a reader of its tables that asks
// for keys by name and type, reports what is wrong, and knows which keys nobody asked for.

import CToml

package indirect enum TomlValue: Sendable {
  case table(TomlTable)
  case array([TomlItem])
  case string(String)
  case integer(Int64)
  case float(Double)
  case bool(Bool)
  case date(String)

  package var typeName: String {
    switch self {
    case .table: return "a table"
    case .array: return "an array"
    case .string: return "a string"
    case .integer: return "an integer"
    case .float: return "a number"
    case .bool: return "true or false"
    case .date: return "a date"
    }
  }
}

/// A value and where it stands.
package struct TomlItem: Sendable {
  package var value: TomlValue
  package var place: SourcePlace
}

package struct TomlMember: Sendable {
  package var key: String
  package var keyPlace: SourcePlace
  package var item: TomlItem
}

package struct TomlTable: Sendable {
  /// In the order of the file.
  package var members: [TomlMember] = []
  package var place: SourcePlace

  package init(place: SourcePlace) { self.place = place }

  package subscript(key: String) -> TomlMember? { members.first { $0.key == key } }
}

package enum TomlFile {
  /// The root table, or nil after a syntax error (reported).
  package static func parse(_ text: String, file: String, into diagnostics: Diagnostics) -> TomlTable? {
    var text = text
    let document = text.withUTF8 { bytes in
      bytes.withMemoryRebound(to: CChar.self) { kerb_toml_parse($0.baseAddress, $0.count) }
    }
    defer { kerb_toml_free(document) }
    var line: UInt32 = 0
    var column: UInt32 = 0
    if let error = kerb_toml_error(document, &line, &column) {
      let place = SourcePlace(file: file, line: Int(line), column: Int(column))
      diagnostics.report(place, "", "not valid TOML: \(String(cString: error))")
      return nil
    }
    let nodes = UnsafeBufferPointer(start: kerb_toml_nodes(document), count: kerb_toml_count(document))
    guard !nodes.isEmpty else { return TomlTable(place: SourcePlace(file: file, line: 1, column: 1)) }
    var children: [[Int]] = Array(repeating: [], count: nodes.count)
    for (index, node) in nodes.enumerated() where node.parent >= 0 { children[Int(node.parent)].append(index) }
    guard case .table(let root) = build(0, nodes, children, file).value else { return nil }
    return root
  }

  private static func build(
    _ index: Int, _ nodes: UnsafeBufferPointer<kerb_toml_node>, _ children: [[Int]], _ file: String
  ) -> TomlItem {
    let node = nodes[index]
    let place = SourcePlace(file: file, line: Int(node.line), column: Int(node.column))
    switch node.kind {
    case KERB_TOML_TABLE:
      var table = TomlTable(place: place)
      for child in children[index] {
        let member = nodes[child]
        table.members.append(
          TomlMember(
            key: string(member.key),
            keyPlace: SourcePlace(file: file, line: Int(member.key_line), column: Int(member.key_column)),
            item: build(child, nodes, children, file)))
      }
      table.members.sort { ($0.keyPlace.line, $0.keyPlace.column) < ($1.keyPlace.line, $1.keyPlace.column) }
      return TomlItem(value: .table(table), place: place)
    case KERB_TOML_ARRAY:
      return TomlItem(value: .array(children[index].map { build($0, nodes, children, file) }), place: place)
    case KERB_TOML_STRING: return TomlItem(value: .string(string(node.string)), place: place)
    case KERB_TOML_INTEGER: return TomlItem(value: .integer(node.integer), place: place)
    case KERB_TOML_FLOAT: return TomlItem(value: .float(node.number), place: place)
    case KERB_TOML_BOOL: return TomlItem(value: .bool(node.boolean), place: place)
    default: return TomlItem(value: .date(string(node.string)), place: place)
    }
  }

  private static func string(_ text: kerb_toml_text) -> String {
    guard let start = text.text else { return "" }
    return start.withMemoryRebound(to: UInt8.self, capacity: text.length) {
      String(decoding: UnsafeBufferPointer(start: $0, count: text.length), as: UTF8.self)
    }
  }
}

/// Reads one table. Ask for every key, then call `finish()`, which reports the keys that nobody asked for.
package final class TableReader {
  package let table: TomlTable
  /// Dotted path for messages: "bus.rs485-1".
  package var path: String
  package let diagnostics: Diagnostics
  private var asked: Set<String> = []

  package init(_ table: TomlTable, path: String, diagnostics: Diagnostics) {
    self.table = table
    self.path = path
    self.diagnostics = diagnostics
  }

  package func keyPath(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

  package func has(_ key: String) -> Bool { table[key] != nil }

  /// Where the key stands, or the table if it is absent.
  package func place(_ key: String) -> SourcePlace { table[key]?.keyPlace ?? table.place }
  package func valuePlace(_ key: String) -> SourcePlace { table[key]?.item.place ?? table.place }

  package func report(_ key: String, _ message: String) {
    diagnostics.report(table[key] == nil ? table.place : valuePlace(key), keyPath(key), message)
  }

  /// The raw item; marks the key as known.
  package func item(_ key: String) -> TomlItem? {
    asked.insert(key)
    return table[key]?.item
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
    if !has(key) {
      asked.insert(key)
      diagnostics.report(table.place, keyPath(key), "is missing")
      return nil
    }
    return string(key)
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
    guard let text = string(key) else { return nil }
    if let value = Choice(rawValue: text) { return value }
    let words = Choice.allCases.map(\.rawValue)
    report(key, Self.unknownWord(text, among: words))
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
      report(
        key,
        "\"\(text)\" is out of range: allowed are \(durationText(allowed.lowerBound)) to \(durationText(allowed.upperBound))")
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
      report(key, "\"\(text)\" is out of range: allowed are \(sizeText(allowed.lowerBound)) to \(sizeText(allowed.upperBound))")
      return nil
    }
    return value
  }

  package func strings(_ key: String) -> [String]? {
    guard let item = item(key) else { return nil }
    guard case .array(let elements) = item.value else {
      mismatch(key, item, "an array of strings")
      return nil
    }
    var result: [String] = []
    for element in elements {
      guard case .string(let text) = element.value else {
        diagnostics.report(element.place, keyPath(key), "expected a string, got \(element.value.typeName)")
        continue
      }
      result.append(text)
    }
    return result
  }

  /// A table whose values are all strings: labels, translations.
  package func stringTable(_ key: String) -> [String: String]? {
    guard let item = item(key) else { return nil }
    guard case .table(let table) = item.value else {
      mismatch(key, item, "a table of strings")
      return nil
    }
    var result: [String: String] = [:]
    for member in table.members {
      guard case .string(let text) = member.item.value else {
        diagnostics.report(
          member.item.place, "\(keyPath(key)).\(member.key)", "expected a string, got \(member.item.value.typeName)")
        continue
      }
      result[member.key] = text
    }
    return result
  }

  package func table(_ key: String) -> TableReader? {
    guard let item = item(key) else { return nil }
    guard case .table(let inner) = item.value else {
      mismatch(key, item, "a table")
      return nil
    }
    return TableReader(inner, path: keyPath(key), diagnostics: diagnostics)
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
      readers.append(TableReader(inner, path: "\(keyPath(key))[\(index + 1)]", diagnostics: diagnostics))
    }
    return readers
  }

  /// A key of the format whose feature this version does not have: an error, never ignored.
  package func notSupported(_ keys: String..., because reason: String = "not supported yet") {
    for key in keys where item(key) != nil {
      diagnostics.report(place(key), keyPath(key), reason)
    }
  }

  /// Reports every key that nobody asked for.
  package func finish() {
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

/// Nanoseconds of "250ms", "1.5s", "5m", "1h", "2d"; nil if it is none.
package func parseDuration(_ text: String) -> Int64? {
  let units: [(suffix: String, ns: Double)] = [
    ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3_600e9), ("d", 86_400e9),
  ]
  let digits = text.prefix { $0.isNumber || $0 == "." }
  let suffix = text.dropFirst(digits.count)
  guard !digits.isEmpty, let value = Double(digits), let unit = units.first(where: { $0.suffix == suffix }) else {
    return nil
  }
  let ns = (value * unit.ns).rounded()
  return ns <= 9.2e18 ? Int64(ns) : nil
}

/// The shortest exact form: 90 s is "90s", 120 s "2m".
package func durationText(_ ns: Int64) -> String {
  if ns == .max { return "any length" }
  let units: [(Int64, String)] = [
    (3_600_000_000_000, "h"), (60_000_000_000, "m"), (1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"),
  ]
  if ns == 0 { return "0s" }
  for (size, suffix) in units where ns % size == 0 { return "\(ns / size)\(suffix)" }
  return "\(ns)ns"
}

/// Bytes of "512B", "64KiB", "256MiB", "1GiB"; nil if it is none.
package func parseSize(_ text: String) -> Int? {
  let units: [(suffix: String, bytes: Int)] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)]
  let digits = text.prefix { $0.isNumber }
  guard let value = Int(digits), let unit = units.first(where: { $0.suffix == text.dropFirst(digits.count) }) else {
    return nil
  }
  let (bytes, overflow) = value.multipliedReportingOverflow(by: unit.bytes)
  return overflow ? nil : bytes
}

package func sizeText(_ bytes: Int) -> String {
  for (size, suffix) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] where bytes % size == 0 && bytes > 0 {
    return "\(bytes / size)\(suffix)"
  }
  return "\(bytes)B"
}
