// A TOML file as a tree in which every key and value knows its file, line and column.

import CToml
import StreamCore

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
    case .float(let value): return value.isFinite ? "a number" : value.isNaN ? "nan" : "an infinite number"
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

  /// Takes over a further file: tables merge, arrays of tables append, anything else may be said only once.
  package mutating func merge(_ other: TomlTable, path: String = "", diagnostics: Diagnostics) {
    for member in other.members {
      guard let index = members.firstIndex(where: { $0.key == member.key }) else {
        members.append(member)
        continue
      }
      let key = path.isEmpty ? member.key : "\(path).\(member.key)"
      switch (members[index].item.value, member.item.value) {
      case (.table(var mine), .table(let theirs)):
        mine.merge(theirs, path: key, diagnostics: diagnostics)
        members[index].item.value = .table(mine)
      case (.array(let mine), .array(let theirs)) where Self.areTables(mine) && Self.areTables(theirs):
        members[index].item.value = .array(mine + theirs)
      default:
        let first = members[index].keyPlace
        diagnostics.report(
          member.keyPlace, key, "is set twice: also at \(first.text); keep one of the two")
      }
    }
  }

  private static func areTables(_ items: [TomlItem]) -> Bool {
    items.allSatisfy { if case .table = $0.value { true } else { false } }
  }
}

package enum TomlFile {
  /// The root table, or nil after a syntax error (reported).
  package static func parse(_ text: String, file: String, into diagnostics: Diagnostics) -> TomlTable? {
    var text = text
    let excess = text.withUTF8 { bytes in
      TomlNesting.excess(in: bytes, levelsMax: Limits.tomlLevelsMax).map {
        SourcePlace(file: file, offset: $0, in: bytes)
      }
    }
    if let excess {
      diagnostics.report(
        excess, "",
        "tables and arrays lie more than \(Limits.tomlLevelsMax) deep in each other here, and no setting does: look "
          + "for brackets that are not closed, and for dots in a name that needs quotation marks")
      return nil
    }
    let document = text.withUTF8 { bytes in
      bytes.withMemoryRebound(to: CChar.self) { kerb_toml_parse($0.baseAddress, $0.count) }
    }
    defer { kerb_toml_free(document) }
    var line: UInt32 = 0
    var column: UInt32 = 0
    if let error = kerb_toml_error(document, &line, &column) {
      let place = SourcePlace(file: file, line: Int(line), column: Int(column))
      let problem = text.withUTF8 { TomlProblem(String(cString: error), at: place, in: $0) }
      diagnostics.report(problem.place, "", "not valid TOML: \(problem.message)")
      return nil
    }
    let nodes = UnsafeBufferPointer(start: kerb_toml_nodes(document), count: kerb_toml_count(document))
    guard !nodes.isEmpty else { return TomlTable(place: SourcePlace(file: file, line: 1, column: 1)) }
    var children: [[Int]] = Array(repeating: [], count: nodes.count)
    for (index, node) in nodes.enumerated() where node.parent >= 0 { children[Int(node.parent)].append(index) }
    let source = TextLines(text)
    guard case .table(let root) = build(0, nodes, children, source, file).value else { return nil }
    return root
  }

  private static func build(
    _ index: Int, _ nodes: UnsafeBufferPointer<kerb_toml_node>, _ children: [[Int]], _ source: TextLines,
    _ file: String
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
            item: build(child, nodes, children, source, file)))
      }
      table.members.sort { ($0.keyPlace.line, $0.keyPlace.column) < ($1.keyPlace.line, $1.keyPlace.column) }
      return TomlItem(value: .table(table), place: place)
    case KERB_TOML_ARRAY:
      return TomlItem(value: .array(children[index].map { build($0, nodes, children, source, file) }), place: place)
    case KERB_TOML_STRING:
      let text = string(node.string)
      var place = place
      place.hasEscapes = text.contains { $0 == "\"" || $0 == "\\" } && source.byte(at: place) == UInt8(ascii: "\"")
      return TomlItem(value: .string(text), place: place)
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
