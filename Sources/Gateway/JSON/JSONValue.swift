// A parsed JSON text, as values.

package enum JSONValue: Sendable, Equatable {
  case null
  case bool(Bool)
  /// Written without fraction and exponent, and fits.
  case integer(Int64)
  /// Such an integer beyond Int64.
  case unsigned(UInt64)
  case number(Double)
  case string(String)
  case array([JSONValue])
  /// In the order of the text; no name occurs twice.
  case object([JSONMember])
}

package struct JSONMember: Sendable, Equatable {
  package var name: String
  package var value: JSONValue
  package init(name: String, value: JSONValue) {
    self.name = name
    self.value = value
  }
}

extension JSONValue {
  /// The member of that name; nil if there is none, or this is no object.
  package subscript(name: String) -> JSONValue? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.name == name }?.value
  }

  package var string: String? {
    if case .string(let text) = self { return text }
    return nil
  }
  package var bool: Bool? {
    if case .bool(let value) = self { return value }
    return nil
  }
  package var integer: Int64? {
    if case .integer(let value) = self { return value }
    return nil
  }
  /// Any number, as the nearest Double.
  package var double: Double? {
    switch self {
    case .integer(let value): return Double(value)
    case .unsigned(let value): return Double(value)
    case .number(let value): return value
    default: return nil
    }
  }
  package var array: [JSONValue]? {
    if case .array(let elements) = self { return elements }
    return nil
  }
  package var members: [JSONMember]? {
    if case .object(let members) = self { return members }
    return nil
  }
}

extension JSONWriter {
  package mutating func value(_ value: JSONValue) {
    switch value {
    case .null: null()
    case .bool(let truth): bool(truth)
    case .integer(let integer): self.integer(integer)
    case .unsigned(let unsigned): integer(unsigned)
    case .number(let double): number(double)
    case .string(let text): string(text)
    case .array(let elements): array { for element in elements { $0.value(element) } }
    case .object(let members):
      object {
        for member in members {
          $0.key(member.name)
          $0.value(member.value)
        }
      }
    }
  }
}
