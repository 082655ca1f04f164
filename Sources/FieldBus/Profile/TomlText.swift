// A tree of TOML as text: what TomlFile reads back as the same tree, places apart. Scalars of a table stand before its
// tables, as the format wants it.

package enum TomlText {
  package static func of(_ root: TomlTable) -> String {
    var text = ""
    write(root, path: "", into: &text)
    return text
  }

  private static func write(_ table: TomlTable, path: String, into text: inout String) {
    for member in table.members where !isSection(member.item.value) {
      text += "\(key(member.key)) = \(inline(member.item.value))\n"
    }
    for member in table.members {
      let inner = path.isEmpty ? key(member.key) : "\(path).\(key(member.key))"
      switch member.item.value {
      case .table(let child):
        text += "\n[\(inner)]\n"
        write(child, path: inner, into: &text)
      case .array(let items) where isSection(member.item.value):
        for case .table(let child) in items.map(\.value) {
          text += "\n[[\(inner)]]\n"
          write(child, path: inner, into: &text)
        }
      default: break
      }
    }
  }

  /// Written under a heading of its own: a table, or an array of nothing but tables.
  private static func isSection(_ value: TomlValue) -> Bool {
    switch value {
    case .table: return true
    case .array(let items):
      return !items.isEmpty && items.allSatisfy { if case .table = $0.value { true } else { false } }
    default: return false
    }
  }

  private static func inline(_ value: TomlValue) -> String {
    switch value {
    case .string(let string): return quoted(string)
    case .integer(let number): return "\(number)"
    case .float(let number):
      if number.isNaN { return "nan" }
      return number.isInfinite ? (number < 0 ? "-inf" : "inf") : "\(number)"
    case .bool(let flag): return flag ? "true" : "false"
    case .date(let date): return date
    case .array(let items): return "[\(items.map { inline($0.value) }.joined(separator: ", "))]"
    case .table(let table):
      let members = table.members.map { "\(key($0.key)) = \(inline($0.item.value))" }
      return members.isEmpty ? "{}" : "{ \(members.joined(separator: ", ")) }"
    }
  }

  private static func key(_ key: String) -> String {
    let isBare =
      !key.isEmpty
      && key.utf8.allSatisfy {
        (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
          || $0 == 0x5F || $0 == 0x2D
      }
    return isBare ? key : quoted(key)
  }

  package static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\t": result += "\\t"
      case _ where scalar.value < 0x20 || scalar.value == 0x7F:
        let digits = String(scalar.value, radix: 16, uppercase: true)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}

extension TomlTable {
  /// Sets a key, wherever it stood; the place is the table's.
  package mutating func set(_ key: String, _ value: TomlValue, at there: SourcePlace? = nil) {
    let item = TomlItem(value: value, place: there ?? place)
    if let index = members.firstIndex(where: { $0.key == key }) {
      members[index].item = item
    } else {
      members.append(TomlMember(key: key, keyPlace: place, item: item))
    }
  }

  package mutating func set(_ key: String, _ text: String) { set(key, .string(text)) }

  package mutating func set(_ key: String, texts: [String]) {
    set(key, .array(texts.map { TomlItem(value: .string($0), place: place) }))
  }

  package mutating func set(_ key: String, tables: [TomlTable]) {
    set(key, .array(tables.map { TomlItem(value: .table($0), place: $0.place) }))
  }

  package mutating func remove(_ key: String) { members.removeAll { $0.key == key } }

  /// An empty one where there is none, or something else.
  package func table(_ key: String) -> TomlTable {
    if case .table(let found)? = self[key]?.item.value { return found }
    return TomlTable(place: self[key]?.item.place ?? place)
  }

  package func tables(_ key: String) -> [TomlTable] {
    guard case .array(let items)? = self[key]?.item.value else { return [] }
    return items.compactMap { if case .table(let table) = $0.value { table } else { nil } }
  }

  /// One more `[[key]]`.
  package mutating func append(_ table: TomlTable, to key: String) {
    set(key, tables: tables(key) + [table])
  }
}
