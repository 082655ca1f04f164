// Writes SenML records as CBOR (RFC 8949) with the labels of RFC 8428, section 6: the records of a pack one behind the
// other; who sends them puts the array around. A value type.
//
// Invariants:
//  1. Maps are of indefinite length (0xBF … 0xFF): nothing has to be counted or moved.
//  2. A number takes the fewest bytes that keep it: an integer, then 32 bits, then 64.
//  3. SenML's own keys become its integers in a record itself, and stay texts in what is nested in it.

package struct CBORWriter: RecordOutput {
  package private(set) var bytes: [UInt8] = []
  private var depth = 0

  package init() {}
  package init(reservingCapacity count: Int) { bytes.reserveCapacity(count) }

  package var count: Int { bytes.count }
  package var mark: Int { bytes.count }
  package mutating func rewind(to mark: Int) { bytes.removeLast(bytes.count - mark) }

  /// RFC 8428, table 4; the base fields are never written.
  private static func label(_ name: String) -> UInt8? {
    switch name {
    case "n": return 0
    case "u": return 1
    case "v": return 2
    case "vs": return 3
    case "vb": return 4
    case "t": return 6
    default: return nil
    }
  }

  package mutating func object(_ members: (inout CBORWriter) -> Void) {
    bytes.append(0xBF)
    depth += 1
    members(&self)
    depth -= 1
    bytes.append(0xFF)
  }

  package mutating func key(_ name: String) {
    if depth == 1, let label = Self.label(name) { bytes.append(label) } else { string(name) }
  }

  package mutating func string(_ text: String) {
    head(3, UInt64(text.utf8.count))
    bytes.append(contentsOf: text.utf8)
  }

  package mutating func string(joining parts: String...) {
    head(3, UInt64(parts.reduce(0) { $0 + $1.utf8.count }))
    for part in parts { bytes.append(contentsOf: part.utf8) }
  }

  package mutating func integer(_ value: some FixedWidthInteger) {
    // −1 − n is what major type 1 says: the complement.
    if value < 0 { head(1, UInt64(truncatingIfNeeded: ~value)) } else { head(0, UInt64(truncatingIfNeeded: value)) }
  }

  package mutating func number(_ value: Double) {
    if let whole = Int64(exactly: value) { return integer(whole) }
    let short = Float(value)
    if Double(short) == value { return number(short) }
    guard value.isFinite else { return bytes.append(0xF6) }
    bytes.append(0xFB)
    append(value.bitPattern)
  }

  package mutating func number(_ value: Float) {
    if let whole = Int64(exactly: value) { return integer(whole) }
    guard value.isFinite else { return bytes.append(0xF6) }
    bytes.append(0xFA)
    append(value.bitPattern)
  }

  package mutating func records(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes.append(contentsOf: bytes) }

  package mutating func bool(_ value: Bool) { bytes.append(value ? 0xF5 : 0xF4) }

  package mutating func seconds(milliseconds value: Int64) {
    if value % 1_000 == 0 { integer(value / 1_000) } else { number(Double(value) / 1_000) }
  }

  private mutating func head(_ major: UInt8, _ value: UInt64) {
    let type = major << 5
    switch value {
    case 0..<24: bytes.append(type | UInt8(value))
    case 24...0xFF:
      bytes.append(type | 24)
      bytes.append(UInt8(value))
    case 0x100...0xFFFF:
      bytes.append(type | 25)
      append(UInt16(value))
    case 0x1_0000...0xFFFF_FFFF:
      bytes.append(type | 26)
      append(UInt32(value))
    default:
      bytes.append(type | 27)
      append(value)
    }
  }

  private mutating func append(_ value: some FixedWidthInteger) {
    withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
  }
}
