// The way back of decoding: from a value to what stands in the registers. Pure.

import FieldBus
import StreamCore

enum RegisterCode {
  /// The raw integer (or float bits) that `point` holds for `value`; nil where the type has none (texts).
  static func raw(of value: SiteValue, for point: PointSpec) -> Int64? {
    if case .raw(let raw) = value { return raw }
    let number: Double
    switch value {
    case .raw(let raw): return raw
    case .flag(let on): return on ? 1 : 0
    case .number(let given): number = given
    case .text(let text):
      if let named = point.values.first(where: { $0.value == text }) { return named.key }
      // Card numbers are written as text and held as integers.
      if let whole = UInt64(text), point.type != .f32, point.type != .f64 {
        return bounded(point) { $0.contains(whole) ? Int64(bitPattern: whole) : nil }
      }
      guard let parsed = Double(text) else { return nil }
      number = parsed
    }
    let scaled = (number - point.offset) / (point.scale == 0 ? 1 : point.scale)
    switch point.type {
    case .text: return nil
    case .f32: return Int64(Float(scaled).bitPattern)
    case .f64: return Int64(bitPattern: scaled.bitPattern)
    case .bool: return scaled == 0 ? 0 : 1
    default: return clamped(scaled.rounded(), for: point)
    }
  }

  private static func bounded(_ point: PointSpec, _ pick: (ClosedRange<UInt64>) -> Int64?) -> Int64? {
    point.type == .u64 ? pick(0...UInt64.max) : pick(0...UInt64(Int64.max))
  }

  /// The nearest integer that the type or the bit field can hold.
  private static func clamped(_ value: Double, for point: PointSpec) -> Int64 {
    if value.isNaN { return 0 }
    if let bits = point.bits {
      return Int64(Swift.min(Swift.max(value, 0), Double(UInt64(1) << UInt64(bits.count)) - 1))
    }
    switch point.type {
    case .u8: return Int64(Swift.min(Swift.max(value, 0), 255))
    case .i8: return Int64(Swift.min(Swift.max(value, -128), 127))
    case .bcd:
      let range = point.type.rawRange ?? 0...0
      return Int64(Swift.min(Swift.max(value, Double(range.lowerBound)), Double(range.upperBound)))
    case .u16: return Int64(Swift.min(Swift.max(value, 0), 65_535))
    case .i16: return Int64(Swift.min(Swift.max(value, -32_768), 32_767))
    case .u32: return Int64(Swift.min(Swift.max(value, 0), 4_294_967_295))
    case .i32: return Int64(Swift.min(Swift.max(value, -2_147_483_648), 2_147_483_647))
    case .bcd16: return Int64(Swift.min(Swift.max(value, 0), 9_999))
    case .bcd32: return Int64(Swift.min(Swift.max(value, 0), 99_999_999))
    // The greatest Doubles below 2^64 and 2^63.
    case .u64: return Int64(bitPattern: UInt64(Swift.min(Swift.max(value, 0), 0x1.fffffffffffffp63)))
    default: return Int64(Swift.min(Swift.max(value, -0x1p63), 0x1.fffffffffffffp62))
    }
  }

  /// Registers of `raw` as the type lays them out, in the order of the wire.
  static func registers(_ raw: Int64, type: ValueType, order: WordOrder) -> [UInt16] {
    let bits: UInt64
    switch type {
    case .bcd16: bits = packed(raw, digits: 4)
    case .bcd32: bits = packed(raw, digits: 8)
    default: bits = UInt64(bitPattern: raw)
    }
    let count = type.registers
    let words = (0..<count).map { UInt16(truncatingIfNeeded: bits >> UInt64(16 * (count - 1 - $0))) }
    return ordered(words, order)
  }

  /// The raw integer that stands in `registers`: what a bit field is put into.
  static func integer(_ registers: [UInt16], order: WordOrder) -> UInt64 {
    ordered(registers, order).reduce(0) { $0 << 16 | UInt64($1) }
  }

  /// UTF-8, two bytes a register, high byte first, filled up with zeros.
  static func registers(text: String, characters: Int, order: WordOrder) -> [UInt16] {
    var bytes = Array(text.utf8.prefix(characters))
    let count = (characters + 1) / 2
    bytes += Array(repeating: 0, count: 2 * count - bytes.count)
    return ordered((0..<count).map { UInt16(bytes[2 * $0]) << 8 | UInt16(bytes[2 * $0 + 1]) }, order)
  }

  /// Its own inverse.
  private static func ordered(_ words: [UInt16], _ order: WordOrder) -> [UInt16] {
    switch order {
    case .abcd: return words
    case .cdab: return words.reversed()
    case .badc: return words.map(\.byteSwapped)
    case .dcba: return words.reversed().map(\.byteSwapped)
    }
  }

  private static func packed(_ value: Int64, digits: Int) -> UInt64 {
    var rest = UInt64(Swift.max(0, value))
    var result: UInt64 = 0
    for digit in 0..<digits {
      result |= (rest % 10) << UInt64(4 * digit)
      rest /= 10
    }
    return result
  }
}
