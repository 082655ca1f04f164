// Reads JSON (RFC 8259) strictly: no comments, no trailing commas, no lone surrogates, no invalid UTF-8, no name
// twice in an object, nothing behind the value. Depth is bounded, so no input can use up the stack.

import StreamCore

package struct JSONFailure: Error, Sendable, Equatable {
  package enum Reason: Sendable, Equatable {
    case unexpected(UInt8), endOfText, tooDeep, badEscape, badUTF8, controlCharacter, badNumber, duplicateName(String)
    /// Well-formed, but not what was asked for: says which key.
    case missing(String)
  }
  package var reason: Reason
  /// Bytes from the beginning of the text.
  package var offset: Int

  package init(_ reason: Reason, offset: Int) {
    self.reason = reason
    self.offset = offset
  }

  package var text: String {
    switch reason {
    case .unexpected(let byte):
      let shown = (0x21..<0x7F).contains(byte) ? "\"\(Character(Unicode.Scalar(byte)))\"" : "byte \(byte)"
      return "unexpected \(shown) at offset \(offset)"
    case .endOfText: return "the text ends too soon, at offset \(offset)"
    case .tooDeep: return "nested deeper than \(Limits.jsonDepthMax), at offset \(offset)"
    case .badEscape: return "not a valid escape at offset \(offset)"
    case .badUTF8: return "not valid UTF-8 at offset \(offset)"
    case .controlCharacter: return "a bare control character in a string at offset \(offset)"
    case .badNumber: return "not a valid number at offset \(offset)"
    case .duplicateName(let name): return "\"\(name)\" occurs twice in one object, at offset \(offset)"
    case .missing(let key): return "\"\(key)\" is missing or not of the right type"
    }
  }
}

package struct JSONParser {
  private let bytes: [UInt8]
  private var at = 0

  private init(_ bytes: [UInt8]) { self.bytes = bytes }

  package static func parse(_ bytes: [UInt8]) throws(JSONFailure) -> JSONValue {
    var parser = JSONParser(bytes)
    parser.skipSpace()
    let value = try parser.value(depth: 0)
    parser.skipSpace()
    if parser.at < bytes.count { throw JSONFailure(.unexpected(bytes[parser.at]), offset: parser.at) }
    return value
  }

  package static func parse(_ text: String) throws(JSONFailure) -> JSONValue { try parse(Array(text.utf8)) }

  private func peek() throws(JSONFailure) -> UInt8 {
    guard at < bytes.count else { throw JSONFailure(.endOfText, offset: at) }
    return bytes[at]
  }

  private mutating func skipSpace() {
    while at < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[at]) { at += 1 }
  }

  private mutating func expect(_ literal: StaticString) throws(JSONFailure) {
    for index in 0..<literal.utf8CodeUnitCount {
      let byte = try peek()
      guard byte == literal.utf8Start[index] else { throw JSONFailure(.unexpected(byte), offset: at) }
      at += 1
    }
  }

  private mutating func value(depth: Int) throws(JSONFailure) -> JSONValue {
    guard depth < Limits.jsonDepthMax else { throw JSONFailure(.tooDeep, offset: at) }
    switch try peek() {
    case UInt8(ascii: "{"): return try object(depth: depth)
    case UInt8(ascii: "["): return try array(depth: depth)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"):
      try expect("true")
      return .bool(true)
    case UInt8(ascii: "f"):
      try expect("false")
      return .bool(false)
    case UInt8(ascii: "n"):
      try expect("null")
      return .null
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    case let other: throw JSONFailure(.unexpected(other), offset: at)
    }
  }

  /// After an element: true if another follows.
  private mutating func another(before end: UInt8) throws(JSONFailure) -> Bool {
    skipSpace()
    let byte = try peek()
    guard byte == UInt8(ascii: ",") || byte == end else { throw JSONFailure(.unexpected(byte), offset: at) }
    at += 1
    if byte == end { return false }
    skipSpace()
    return true
  }

  private mutating func array(depth: Int) throws(JSONFailure) -> JSONValue {
    at += 1
    skipSpace()
    var elements: [JSONValue] = []
    if try peek() == UInt8(ascii: "]") {
      at += 1
      return .array(elements)
    }
    repeat { elements.append(try value(depth: depth + 1)) } while try another(before: UInt8(ascii: "]"))
    return .array(elements)
  }

  private mutating func object(depth: Int) throws(JSONFailure) -> JSONValue {
    at += 1
    skipSpace()
    var members: [JSONMember] = []
    var names: Set<String> = []
    if try peek() == UInt8(ascii: "}") {
      at += 1
      return .object(members)
    }
    repeat {
      let start = at
      let byte = try peek()
      guard byte == UInt8(ascii: "\"") else { throw JSONFailure(.unexpected(byte), offset: at) }
      let name = try string()
      guard names.insert(name).inserted else { throw JSONFailure(.duplicateName(name), offset: start) }
      skipSpace()
      try expect(":")
      skipSpace()
      members.append(JSONMember(name: name, value: try value(depth: depth + 1)))
    } while try another(before: UInt8(ascii: "}"))
    return .object(members)
  }

  // MARK: Strings

  private mutating func string() throws(JSONFailure) -> String {
    at += 1
    let start = at
    var content: [UInt8] = []
    while true {
      let byte = try peek()
      switch byte {
      case UInt8(ascii: "\""):
        at += 1
        guard let text = String(validating: content, as: UTF8.self) else {
          throw JSONFailure(.badUTF8, offset: start)
        }
        return text
      case UInt8(ascii: "\\"): try escape(into: &content)
      case 0..<0x20: throw JSONFailure(.controlCharacter, offset: at)
      default:
        content.append(byte)
        at += 1
      }
    }
  }

  private mutating func escape(into content: inout [UInt8]) throws(JSONFailure) {
    let start = at
    at += 1
    let kind = try peek()
    at += 1
    switch kind {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): content.append(kind)
    case UInt8(ascii: "b"): content.append(0x08)
    case UInt8(ascii: "f"): content.append(0x0C)
    case UInt8(ascii: "n"): content.append(0x0A)
    case UInt8(ascii: "r"): content.append(0x0D)
    case UInt8(ascii: "t"): content.append(0x09)
    case UInt8(ascii: "u"):
      var code = UInt32(try fourDigits(from: start))
      if (0xD800..<0xDC00).contains(code) {
        guard try peek() == UInt8(ascii: "\\") else { throw JSONFailure(.badEscape, offset: start) }
        at += 1
        guard try peek() == UInt8(ascii: "u") else { throw JSONFailure(.badEscape, offset: start) }
        at += 1
        let low = UInt32(try fourDigits(from: start))
        guard (0xDC00..<0xE000).contains(low) else { throw JSONFailure(.badEscape, offset: start) }
        code = 0x1_0000 + (code - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw JSONFailure(.badEscape, offset: start) }
      content.append(contentsOf: Character(scalar).utf8)
    default: throw JSONFailure(.badEscape, offset: start)
    }
  }

  private mutating func fourDigits(from start: Int) throws(JSONFailure) -> UInt16 {
    var code: UInt16 = 0
    for _ in 0..<4 {
      guard let digit = Hexadecimal.value(try peek()) else { throw JSONFailure(.badEscape, offset: start) }
      code = code << 4 | UInt16(digit)
      at += 1
    }
    return code
  }

  // MARK: Numbers

  private mutating func digits() -> Int {
    let start = at
    while at < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[at]) { at += 1 }
    return at - start
  }

  private mutating func number() throws(JSONFailure) -> JSONValue {
    let start = at
    if bytes[at] == UInt8(ascii: "-") { at += 1 }
    let first = try peek()
    let whole = digits()
    guard whole > 0, whole == 1 || first != UInt8(ascii: "0") else { throw JSONFailure(.badNumber, offset: start) }
    var isInteger = true
    if at < bytes.count, bytes[at] == UInt8(ascii: ".") {
      isInteger = false
      at += 1
      guard digits() > 0 else { throw JSONFailure(.badNumber, offset: start) }
    }
    if at < bytes.count, bytes[at] | 0x20 == UInt8(ascii: "e") {
      isInteger = false
      at += 1
      if at < bytes.count, bytes[at] == UInt8(ascii: "+") || bytes[at] == UInt8(ascii: "-") { at += 1 }
      guard digits() > 0 else { throw JSONFailure(.badNumber, offset: start) }
    }
    let text = String(decoding: bytes[start..<at], as: UTF8.self)
    // "-0" is a negative zero, which no integer is.
    if isInteger, text != "-0" {
      if let value = Int64(text) { return .integer(value) }
      if let value = UInt64(text) { return .unsigned(value) }
    }
    guard let value = Double(text), value.isFinite else { throw JSONFailure(.badNumber, offset: start) }
    return .number(value)
  }
}
