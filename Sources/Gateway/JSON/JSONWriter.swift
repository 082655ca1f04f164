// Writes JSON (RFC 8259) into a growing array of bytes: members and elements in the order of the calls, commas
// placed here. A value type; whoever holds it writes.
//
// Invariants:
//  1. Every string comes out as valid UTF-8 with quotes, backslashes and control characters escaped.
//  2. A finite number comes out as the shortest text that reads back as the same number; NaN and the infinities,
//     which JSON cannot say, as null.

package struct JSONWriter: Sendable {
  package private(set) var bytes: [UInt8] = []
  /// The next member or element needs a comma in front.
  private var follows = false

  package init() {}
  package init(reservingCapacity count: Int) { bytes.reserveCapacity(count) }

  package var count: Int { bytes.count }

  /// What was written, without a copy of it; the writer is empty then.
  package mutating func takeBytes() -> [UInt8] {
    follows = false
    return exchange(&bytes, with: [])
  }

  /// A place to return to with `rewind`: what a writer does when the last record turns out to be one too many.
  package struct Mark: Sendable {
    fileprivate var count: Int
    fileprivate var follows: Bool
  }
  package var mark: Mark { Mark(count: bytes.count, follows: follows) }
  package mutating func rewind(to mark: Mark) {
    bytes.removeLast(bytes.count - mark.count)
    follows = mark.follows
  }

  // MARK: Structure

  private mutating func separate() {
    if follows { bytes.append(UInt8(ascii: ",")) }
    follows = true
  }

  package mutating func beginObject() { open(UInt8(ascii: "{")) }
  package mutating func endObject() { close(UInt8(ascii: "}")) }
  package mutating func beginArray() { open(UInt8(ascii: "[")) }
  package mutating func endArray() { close(UInt8(ascii: "]")) }

  private mutating func open(_ bracket: UInt8) {
    separate()
    bytes.append(bracket)
    follows = false
  }
  private mutating func close(_ bracket: UInt8) {
    bytes.append(bracket)
    follows = true
  }

  package mutating func key(_ name: String) {
    separate()
    quote(name)
    bytes.append(UInt8(ascii: ":"))
    follows = false
  }

  package mutating func object(_ members: (inout JSONWriter) -> Void) {
    beginObject()
    members(&self)
    endObject()
  }
  package mutating func array(_ elements: (inout JSONWriter) -> Void) {
    beginArray()
    elements(&self)
    endArray()
  }

  // MARK: Values

  package mutating func string(_ text: String) {
    separate()
    quote(text)
  }

  /// One string of several parts: a name is written without building it first.
  package mutating func string(joining parts: String...) {
    separate()
    bytes.append(UInt8(ascii: "\""))
    for part in parts { escape(part) }
    bytes.append(UInt8(ascii: "\""))
  }

  package mutating func integer(_ value: some FixedWidthInteger) {
    separate()
    bytes.append(contentsOf: value.description.utf8)
  }

  package mutating func number(_ value: Double) {
    separate()
    append(finite: value.isFinite, value.description)
  }

  /// As short as the Float is, not as the Double that has the same value.
  package mutating func number(_ value: Float) {
    separate()
    append(finite: value.isFinite, value.description)
  }

  package mutating func bool(_ value: Bool) {
    separate()
    bytes.append(contentsOf: (value ? "true" : "false").utf8)
  }

  package mutating func null() {
    separate()
    bytes.append(contentsOf: "null".utf8)
  }

  /// Seconds of a time or a span, with millisecond precision.
  package mutating func seconds(milliseconds value: Int64) {
    separate()
    if value < 0 { bytes.append(UInt8(ascii: "-")) }
    let magnitude = value.magnitude
    bytes.append(contentsOf: (magnitude / 1_000).description.utf8)
    var rest = magnitude % 1_000
    if rest == 0 { return }
    bytes.append(UInt8(ascii: "."))
    var unit: UInt64 = 100
    while rest > 0 {
      bytes.append(UInt8(ascii: "0") + UInt8(rest / unit))
      rest %= unit
      unit /= 10
    }
  }

  /// JSON that stands already: one whole value, or several with their commas.
  package mutating func raw(_ json: some Collection<UInt8>) {
    if json.isEmpty { return }
    separate()
    bytes.append(contentsOf: json)
  }

  package mutating func records(_ bytes: UnsafeBufferPointer<UInt8>) { raw(bytes) }

  /// Bytes that bring their own order.
  package mutating func append(unseparated other: some Collection<UInt8>) { bytes.append(contentsOf: other) }

  // MARK: Members

  package mutating func member(_ name: String, _ value: String) {
    key(name)
    string(value)
  }
  package mutating func member(_ name: String, _ value: some FixedWidthInteger) {
    key(name)
    integer(value)
  }
  package mutating func member(_ name: String, _ value: Double) {
    key(name)
    number(value)
  }
  package mutating func member(_ name: String, _ value: Bool) {
    key(name)
    bool(value)
  }

  // MARK: Inside

  private mutating func append(finite: Bool, _ text: String) {
    guard finite else {
      bytes.append(contentsOf: "null".utf8)
      return
    }
    bytes.append(contentsOf: text.utf8)
    // "3.0" says no more than "3".
    if bytes.count >= 2, bytes[bytes.count - 1] == UInt8(ascii: "0"), bytes[bytes.count - 2] == UInt8(ascii: ".") {
      bytes.removeLast(2)
    }
  }

  private mutating func quote(_ text: String) {
    bytes.append(UInt8(ascii: "\""))
    escape(text)
    bytes.append(UInt8(ascii: "\""))
  }

  private mutating func escape(_ text: String) {
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        bytes.append(UInt8(ascii: "\\"))
        bytes.append(byte)
      case 0x0A: bytes.append(contentsOf: "\\n".utf8)
      case 0x0D: bytes.append(contentsOf: "\\r".utf8)
      case 0x09: bytes.append(contentsOf: "\\t".utf8)
      case 0..<0x20, 0x7F:
        bytes.append(contentsOf: "\\u00".utf8)
        bytes.append(Hexadecimal.digit(byte >> 4))
        bytes.append(Hexadecimal.digit(byte & 0xF))
      default: bytes.append(byte)
      }
    }
  }
}

/// Lower-case hexadecimal digits.
package enum Hexadecimal {
  package static func digit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
  }

  package static func text(_ bytes: some Sequence<UInt8>) -> String {
    var digits: [UInt8] = []
    for byte in bytes {
      digits.append(digit(byte >> 4))
      digits.append(digit(byte & 0xF))
    }
    return String(decoding: digits, as: UTF8.self)
  }

  /// Nil unless `text` is pairs of digits, small or capital.
  package static func bytes(_ text: some StringProtocol) -> [UInt8]? {
    var result: [UInt8] = []
    var high: UInt8?
    for character in text.utf8 {
      guard let value = value(character) else { return nil }
      if let first = high {
        result.append(first << 4 | value)
        high = nil
      } else {
        high = value
      }
    }
    return high == nil ? result : nil
  }

  package static func value(_ digit: UInt8) -> UInt8? {
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): return digit - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): return digit - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): return digit - UInt8(ascii: "A") + 10
    default: return nil
    }
  }
}
