// The way back of decoding: from a raw value to what stands in the registers. Pure.

import StreamCore

package enum RegisterCode {
  /// Registers of `raw` as the type lays them out, in the order of the wire.
  package static func registers(_ raw: Int64, type: ValueType, order: WordOrder) -> [UInt16] {
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
  package static func integer(_ registers: [UInt16], order: WordOrder) -> UInt64 {
    ordered(registers, order).reduce(0) { $0 << 16 | UInt64($1) }
  }

  /// UTF-8, two bytes a register, high byte first, filled up with zeros.
  package static func registers(text: String, characters: Int, order: WordOrder) -> [UInt16] {
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
