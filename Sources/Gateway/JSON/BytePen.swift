// Writes numbers into memory whose room somebody has made sure of: the way of a record that is written a million times
// a second. The bytes are those that `JSONWriter` and `CBORWriter` write for the same value, or the same number in
// fewer steps.
//
// Invariant: one number takes at most `numberBytesMax`.

struct BytePen {
  static let numberBytesMax = 32

  private(set) var at: UnsafeMutablePointer<UInt8>

  init(_ at: UnsafeMutablePointer<UInt8>) { self.at = at }

  @inline(__always)
  mutating func put(_ byte: UInt8) {
    at.pointee = byte
    at += 1
  }

  @inline(__always)
  mutating func put(_ bytes: UnsafePointer<UInt8>, _ count: Int) {
    at.update(from: bytes, count: count)
    at += count
  }

  // MARK: JSON

  @inline(__always)
  private mutating func digits(_ value: UInt64) {
    var end = 1
    var power: UInt64 = 10
    while end < 20, value >= power {
      end += 1
      let (next, isOver) = power.multipliedReportingOverflow(by: 10)
      if isOver { break }
      power = next
    }
    if end == 19, value >= 10_000_000_000_000_000_000 { end = 20 }
    var rest = value
    var place = end
    while place > 0 {
      place -= 1
      at[place] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    }
    at += end
  }

  mutating func integer(_ value: Int64) {
    if value < 0 { put(UInt8(ascii: "-")) }
    digits(value.magnitude)
  }

  /// value / 10^places, without zeros at the end.
  mutating func decimal(_ value: Int64, places: Int) {
    var magnitude = value.magnitude
    var places = places
    while places > 0, magnitude % 10 == 0 {
      magnitude /= 10
      places -= 1
    }
    if value < 0 { put(UInt8(ascii: "-")) }
    if places == 0 { return digits(magnitude) }
    var power: UInt64 = 1
    for _ in 0..<places { power &*= 10 }
    digits(magnitude / power)
    put(UInt8(ascii: "."))
    var rest = magnitude % power
    for place in (0..<places).reversed() {
      at[place] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    }
    at += places
  }

  /// As the library says it, and without the ".0" that says nothing.
  mutating func number(_ text: String) {
    var text = text
    text.withUTF8 { bytes in
      guard let start = bytes.baseAddress else { return }
      let isWhole = bytes.count > 2 && bytes[bytes.count - 1] == 0x30 && bytes[bytes.count - 2] == UInt8(ascii: ".")
      put(start, isWhole ? bytes.count - 2 : bytes.count)
    }
  }

  // MARK: CBOR

  mutating func head(_ major: UInt8, _ value: UInt64) {
    let type = major << 5
    switch value {
    case 0..<24: put(type | UInt8(truncatingIfNeeded: value))
    case 24...0xFF:
      put(type | 24)
      put(UInt8(truncatingIfNeeded: value))
    case 0x100...0xFFFF:
      put(type | 25)
      big(value, bytes: 2)
    case 0x1_0000...0xFFFF_FFFF:
      put(type | 26)
      big(value, bytes: 4)
    default:
      put(type | 27)
      big(value, bytes: 8)
    }
  }

  mutating func cbor(_ value: Int64) {
    if value < 0 { head(1, UInt64(truncatingIfNeeded: ~value)) } else { head(0, UInt64(truncatingIfNeeded: value)) }
  }

  /// The shortest that keeps it. It is finite.
  mutating func cbor(_ value: Double) {
    if let whole = Int64(exactly: value) { return cbor(whole) }
    let short = Float(value)
    if Double(short) == value {
      put(0xFA)
      big(UInt64(short.bitPattern), bytes: 4)
    } else {
      put(0xFB)
      big(value.bitPattern, bytes: 8)
    }
  }

  private mutating func big(_ value: UInt64, bytes: Int) {
    var shift = UInt64(8 * bytes)
    while shift > 0 {
      shift -= 8
      put(UInt8(truncatingIfNeeded: value >> shift))
    }
  }
}
