// Names of buses, devices, points, alarms and consumers: what they may look like, and that none is given twice.

import StreamCore

/// What is wrong with a name; nil if nothing is. Names stand in URLs, file names and tables of a terminal.
package func nameProblem(_ name: String) -> String? {
  let bytes = Array(name.utf8)
  guard let first = bytes.first else { return "is empty" }
  guard bytes.count <= Limits.nameBytesMax else {
    return "is \(bytes.count) bytes long: allowed are \(Limits.nameBytesMax)"
  }
  guard isAlphanumeric(first), bytes.allSatisfy({ isAlphanumeric($0) || "._-".utf8.contains($0) }) else {
    return "\"\(name)\" is not a name: allowed are A-Z a-z 0-9 . _ - with a letter or digit first"
  }
  return nil
}

private func isAlphanumeric(_ byte: UInt8) -> Bool {
  (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
}

/// The names given so far in one space of names, and where.
package struct UniqueNames {
  private var places: [String: SourcePlace] = [:]

  package init() {}

  /// Reports a name that was given before; false then.
  @discardableResult
  package mutating func claim(_ name: String, in reader: TableReader, key: String = "name") -> Bool {
    if let first = places[name] {
      reader.report(key, "\"\(name)\" is already the \(key) at \(first.text)")
      return false
    }
    places[name] = reader.valuePlace(key)
    return true
  }
}

extension TableReader {
  /// The required key `name`, checked; the reader's path then ends in it: "bus.rs485-1".
  package func name() -> String? {
    guard let name = requiredString("name") else { return nil }
    if let problem = nameProblem(name) {
      report("name", problem)
      return nil
    }
    if let bracket = path.lastIndex(of: "[") { path = "\(path[..<bracket]).\(name)" }
    return name
  }
}
