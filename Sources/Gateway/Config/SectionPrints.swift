// A print of each section of the configuration as it is written, places and comments apart: so that a reload knows what
// was changed, whatever it means. Values only.

import FieldBus
import StreamCore

package struct SectionPrints: Sendable, Equatable {
  /// SHA-256 by the section's name; "profiles": of all the profile files that devices use.
  package private(set) var prints: [String: [UInt8]] = [:]

  package init() {}

  init(_ root: TomlTable, profiles: [String]) {
    for member in root.members {
      var text = ""
      Self.write(member.item.value, into: &text)
      prints[member.key] = Sodium.sha256(Array(text.utf8))
    }
    var text = ""
    for file in profiles.sorted() {
      text += "\(file)\n\((try? TextFile.read(file, bytesMax: Limits.profileBytesMax)) ?? "")\n"
    }
    prints["profiles"] = Sodium.sha256(Array(text.utf8))
  }

  /// Sections that differ, came or went.
  package func changes(from old: SectionPrints) -> [String] {
    Set(prints.keys).union(old.prints.keys).filter { prints[$0] != old.prints[$0] }.sorted()
  }

  /// Every value with its type and its length in front: no two values have the same text. Keys in order, for the file's
  /// order of keys means nothing.
  private static func write(_ value: TomlValue, into text: inout String) {
    switch value {
    case .table(let table):
      text += "{"
      for member in table.members.sorted(by: { $0.key < $1.key }) {
        write(.string(member.key), into: &text)
        write(member.item.value, into: &text)
      }
      text += "}"
    case .array(let items):
      text += "["
      for item in items { write(item.value, into: &text) }
      text += "]"
    case .string(let string): text += "s\(string.utf8.count):\(string)"
    case .date(let date): text += "d\(date.utf8.count):\(date)"
    case .integer(let number): text += "i\(number);"
    case .float(let number): text += "f\(number);"
    case .bool(let flag): text += flag ? "t" : "n"
    }
  }
}
