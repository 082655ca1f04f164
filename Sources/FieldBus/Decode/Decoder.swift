// From registers to a raw value: width, word order, bits, BCD, sentinels; and from a card number to its
// pseudonym, so that the clear value goes no further than this file. Allocates nothing; whatever the registers
// hold, the answer is a value or «no value».

import CSodium
import Glibc
import StreamCore

/// How one point is cut out of a request's registers. 40 bytes, in the bus's arena.
package struct Binding: BitwiseCopyable, Sendable {
  enum Kind: UInt8, BitwiseCopyable {
    case unsigned16, signed16, unsigned32, signed32, wide64, float32, float64, bcd16, bcd32, text, bit
    case unsigned8, signed8, bcdBytes, signedBCDBytes
  }

  /// Index among the bus's points.
  package var point: UInt16
  /// First register or bit in the request.
  package var offset: UInt16
  var kind: Kind
  var order: WordOrder
  /// Of a part of a register: how far down, and how many bits; 0 bits: the whole.
  var bitShift: UInt8 = 0
  var bitCount: UInt8 = 0
  var textBytes: UInt8 = 0
  /// Of a part of a binary frame.
  var byteCount: UInt8 = 0
  /// The code that must follow the value (CJ/T 188); -1: any.
  var unitCode: Int16 = -1
  var personal: Bool
  var invalidCount: UInt16 = 0
  /// In the bus's table of sentinels.
  var firstInvalid: UInt32 = 0

  package init(_ spec: PointSpec, point: Int, offset: Int) {
    self.point = UInt16(truncatingIfNeeded: point)
    self.offset = UInt16(truncatingIfNeeded: offset)
    order = spec.order
    personal = spec.personal
    byteCount = UInt8(truncatingIfNeeded: spec.type.bytes)
    if case .identifier(_, _, let unit?) = spec.source { unitCode = Int16(unit) }
    switch spec.type {
    case .u8: kind = .unsigned8
    case .i8: kind = .signed8
    case .bcd(_, let signed): kind = signed ? .signedBCDBytes : .bcdBytes
    case .bool: kind = .bit
    case .u16: kind = .unsigned16
    case .i16: kind = .signed16
    case .u32: kind = .unsigned32
    case .i32: kind = .signed32
    case .u64, .i64: kind = .wide64
    case .f32: kind = .float32
    case .f64: kind = .float64
    case .bcd16: kind = .bcd16
    case .bcd32: kind = .bcd32
    case .text(let characters):
      kind = .text
      textBytes = UInt8(Swift.min(characters, Limits.textBytesMax))
    }
    if let bits = spec.bits {
      bitShift = UInt8(bits.lowerBound)
      bitCount = UInt8(bits.count)
    }
  }

  package mutating func setSentinels(first: Int, count: Int) {
    firstInvalid = UInt32(first)
    invalidCount = UInt16(count)
  }

  /// Whether an integer is in the type's range.
  func holds(_ value: Int64) -> Bool {
    switch kind {
    case .unsigned8: return value >= 0 && value <= 0xFF
    case .signed8: return Int8(exactly: value) != nil
    case .unsigned16: return value >= 0 && value <= 0xFFFF
    case .signed16: return Int16(exactly: value) != nil
    case .unsigned32: return value >= 0 && value <= 0xFFFF_FFFF
    case .signed32: return Int32(exactly: value) != nil
    case .bcd16: return value >= 0 && value <= 9_999
    case .bcd32: return value >= 0 && value <= 99_999_999
    case .bit: return value == 0 || value == 1
    default: return true
    }
  }

  static let none = Binding(
    PointSpec(name: "", place: SourcePlace(file: "", line: 0, column: 0), source: .field(0)), point: 0, offset: 0)
}

/// What was read: a raw value, and in `text` the bytes of a text or a pseudonym.
package struct Decoded {
  package var raw: Int64 = 0
  package var quality = Quality.good
  package var textLength = 0
  package init() {}
  init(bad: Void) { quality = .bad }
}

package struct Decoder: ~Copyable {
  private let invalid: UnsafeMutablePointer<Int64>
  /// The key of the pseudonyms; 32 bytes.
  private let key: UnsafeMutablePointer<UInt8>
  /// Where texts are put together; the result of the last `decode`.
  package let text: UnsafeMutablePointer<UInt8>

  package static let keyBytes = 32
  private static let textCapacity = Swift.max(Limits.textBytesMax, 64)

  package static func bytes(sentinels: Int) -> Int {
    Arena.bytes(of: Int64.self, count: sentinels) + Arena.bytes(of: UInt8.self, count: keyBytes)
      + Arena.bytes(of: UInt8.self, count: textCapacity)
  }

  package init(sentinels: [Int64], pseudonymKey: [UInt8], arena: inout Arena) {
    precondition(pseudonymKey.count == Self.keyBytes)
    invalid = arena.take(Int64.self, count: sentinels.count, first: 0)
    for (index, value) in sentinels.enumerated() { invalid[index] = value }
    key = arena.take(UInt8.self, count: Self.keyBytes, first: 0)
    for (index, byte) in pseudonymKey.enumerated() { key[index] = byte }
    text = arena.take(UInt8.self, count: Self.textCapacity, first: 0)
  }

  /// `words`: the request's registers, or one bit each. Personal registers are wiped once they are read.
  package func decode(_ binding: Binding, _ words: UnsafeMutablePointer<UInt16>) -> Decoded {
    let first = words + Int(binding.offset)
    var decoded = Decoded()
    if binding.kind == .text {
      readText(binding, first, &decoded)
    } else {
      decoded.raw = integer(binding, first, &decoded.quality)
      if binding.bitCount > 0, binding.bitCount < 64 {
        decoded.raw = decoded.raw >> Int64(binding.bitShift) & (1 << Int64(binding.bitCount) - 1)
      }
      markInvalid(binding, &decoded)
    }
    if binding.personal {
      pseudonymise(binding, &decoded)
      wipe(binding, first)
    }
    return decoded
  }

  func markInvalid(_ binding: Binding, _ decoded: inout Decoded) {
    for index in 0..<Int(binding.invalidCount) where invalid[Int(binding.firstInvalid) + index] == decoded.raw {
      decoded.quality = .bad
    }
  }

  // MARK: Numbers

  private func integer(_ binding: Binding, _ words: UnsafeMutablePointer<UInt16>, _ quality: inout Quality) -> Int64 {
    switch binding.kind {
    case .bit: return words[0] == 0 ? 0 : 1
    case .unsigned16: return Int64(bits(words, 1, binding.order))
    case .signed16: return Int64(Int16(truncatingIfNeeded: bits(words, 1, binding.order)))
    case .unsigned32, .float32: return Int64(bits(words, 2, binding.order))
    case .signed32: return Int64(Int32(truncatingIfNeeded: bits(words, 2, binding.order)))
    case .wide64, .float64: return Int64(bitPattern: bits(words, 4, binding.order))
    case .bcd16: return bcd(bits(words, 1, binding.order), digits: 4, &quality)
    case .bcd32: return bcd(bits(words, 2, binding.order), digits: 8, &quality)
    case .text, .unsigned8, .signed8, .bcdBytes, .signedBCDBytes: return 0
    }
  }

  /// The value's bytes, most significant first, put together according to the word order.
  private func bits(_ words: UnsafeMutablePointer<UInt16>, _ count: Int, _ order: WordOrder) -> UInt64 {
    let lowWordFirst = order == .cdab || order == .dcba
    let swapBytes = order == .badc || order == .dcba
    var value: UInt64 = 0
    for index in 0..<count {
      let word = words[lowWordFirst ? count - 1 - index : index]
      value = value << 16 | UInt64(swapBytes ? word.byteSwapped : word)
    }
    return value
  }

  /// Digits above nine are no BCD: no value.
  func bcd(_ bits: UInt64, digits: Int, _ quality: inout Quality) -> Int64 {
    var value: Int64 = 0
    for index in (0..<digits).reversed() {
      let digit = Int64(bits >> (4 * UInt64(index)) & 0xF)
      if digit > 9 {
        quality = .bad
        return 0
      }
      value = value * 10 + digit
    }
    return value
  }

  // MARK: Texts

  /// Two characters a register; ends at a NUL, loses trailing blanks. What isn't printable ASCII or UTF-8 is no value.
  private func readText(_ binding: Binding, _ words: UnsafeMutablePointer<UInt16>, _ decoded: inout Decoded) {
    let swap = binding.order == .badc || binding.order == .dcba
    var length = 0
    while length < Int(binding.textBytes) {
      let word = swap ? words[length / 2].byteSwapped : words[length / 2]
      let byte = UInt8(truncatingIfNeeded: length % 2 == 0 ? word >> 8 : word)
      if byte == 0 { break }
      text[length] = byte
      length += 1
    }
    setText(length, &decoded)
  }

  /// A field of a line of text: a text, or a number in decimal digits.
  package func decode(_ binding: Binding, field: UnsafeBufferPointer<UInt8>) -> Decoded {
    var decoded = Decoded()
    switch binding.kind {
    case .text:
      let length = Swift.min(field.count, Int(binding.textBytes))
      for index in 0..<length { text[index] = field[index] }
      setText(length, &decoded)
      // Half a card number is another card's.
      if field.count > Int(binding.textBytes) { decoded.quality = .bad }
    case .float32, .float64:
      let value = Self.number(field)
      if value.isFinite {
        decoded.raw =
          binding.kind == .float32
          ? Int64(Float(value).bitPattern) : Int64(bitPattern: value.bitPattern)
      } else {
        decoded.quality = .bad
      }
    default:
      decoded = integerField(binding, field)
    }
    if decoded.quality == .bad { decoded.textLength = 0 }
    if binding.kind != .text { markInvalid(binding, &decoded) }
    if binding.personal { pseudonymise(binding, &decoded) }
    return decoded
  }

  private func integerField(_ binding: Binding, _ field: UnsafeBufferPointer<UInt8>) -> Decoded {
    var decoded = Decoded()
    var isNegative = false
    var value: Int64 = 0
    var digits = 0
    for (index, byte) in field.enumerated() {
      if index == 0, byte == 0x2D || byte == 0x2B {
        isNegative = byte == 0x2D
        continue
      }
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      guard byte >= 0x30, byte <= 0x39, !overflow, product <= .max - 9 else {
        decoded.quality = .bad
        return decoded
      }
      value = product + Int64(byte - 0x30)
      digits += 1
    }
    decoded.raw = isNegative ? -value : value
    if digits == 0 || !binding.holds(decoded.raw) { decoded = Decoded(bad: ()) }
    return decoded
  }

  /// NaN if the field is no number.
  private static func number(_ field: UnsafeBufferPointer<UInt8>) -> Double {
    guard field.count > 0, field.count < 48 else { return .nan }
    return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 48) { copy in
      for (index, byte) in field.enumerated() { copy[index] = CChar(bitPattern: byte) }
      copy[field.count] = 0
      var end: UnsafeMutablePointer<CChar>?
      guard let start = copy.baseAddress else { return .nan }
      let value = strtod(start, &end)
      return end == start + field.count ? value : .nan
    }
  }

  func setText(_ bytes: Int, _ decoded: inout Decoded) {
    var length = bytes
    while length > 0, text[length - 1] == 0x20 { length -= 1 }
    decoded.textLength = length
    if !isPrintable(UnsafeBufferPointer(start: text, count: length)) {
      decoded.quality = .bad
      decoded.textLength = 0
    }
  }

  private func isPrintable(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    var index = 0
    while index < bytes.count {
      let byte = bytes[index]
      let following =
        byte < 0x80 ? 0 : byte >= 0xC2 && byte < 0xE0 ? 1 : byte & 0xF0 == 0xE0 ? 2 : byte & 0xF8 == 0xF0 ? 3 : -1
      guard following >= 0, byte >= 0x20, byte != 0x7F, index + following < bytes.count else { return false }
      for next in 0..<following where bytes[index + 1 + next] & 0xC0 != 0x80 { return false }
      index += following + 1
    }
    return true
  }

  // MARK: Personal data

  /// Replaces the value by its HMAC. A number counts as its decimal digits, so that a card has the same
  /// pseudonym whether one reader sends it as text and another as an integer. No value, no pseudonym.
  func pseudonymise(_ binding: Binding, _ decoded: inout Decoded) {
    if binding.kind != .text, decoded.quality == .good {
      decoded.textLength = putDecimal(decoded.raw, unsigned: binding.kind == .wide64)
    }
    decoded.raw = 0
    guard decoded.quality == .good, decoded.textLength > 0 else {
      decoded.quality = .bad
      decoded.textLength = 0
      sodium_memzero(text, Self.textCapacity)
      return
    }
    var state = crypto_auth_hmacsha256_state()
    crypto_auth_hmacsha256_init(&state, key, Self.keyBytes)
    crypto_auth_hmacsha256_update(&state, text, UInt64(decoded.textLength))
    sodium_memzero(text, Self.textCapacity)
    crypto_auth_hmacsha256_final(&state, text)
    decoded.textLength = Limits.pseudonymBytes
  }

  private func putDecimal(_ raw: Int64, unsigned: Bool) -> Int {
    var rest = unsigned ? UInt64(bitPattern: raw) : raw.magnitude
    var length = 0
    repeat {
      text[length] = 0x30 + UInt8(rest % 10)
      rest /= 10
      length += 1
    } while rest > 0
    if !unsigned, raw < 0 {
      text[length] = 0x2D
      length += 1
    }
    for index in 0..<(length / 2) {
      let other = length - 1 - index
      let byte = text[index]
      text[index] = text[other]
      text[other] = byte
    }
    return length
  }

  private func wipe(_ binding: Binding, _ words: UnsafeMutablePointer<UInt16>) {
    let count: Int
    switch binding.kind {
    case .text: count = (Int(binding.textBytes) + 1) / 2
    case .wide64, .float64: count = 4
    case .unsigned32, .signed32, .float32, .bcd32: count = 2
    default: count = 1
    }
    sodium_memzero(words, count * 2)
  }
}
