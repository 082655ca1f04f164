// The checksums of serial protocols. Pure.

/// The raw value is the word in a profile.
package enum FrameChecksum: UInt8, BitwiseCopyable, Sendable, CaseIterable {
  case sum8, xor8
  /// The two's complement of the sum.
  case lrc
  /// Reflected 0x8005 from 0xFFFF; its low byte goes first.
  case crc16Modbus
  /// 0x1021 from 0xFFFF; its high byte goes first.
  case crc16CCITT

  package static let words: [(word: String, value: FrameChecksum)] = [
    ("sum8", .sum8), ("xor8", .xor8), ("lrc", .lrc), ("crc16-modbus", .crc16Modbus), ("crc16-ccitt", .crc16CCITT),
  ]

  package var byteCount: Int { self == .crc16Modbus || self == .crc16CCITT ? 2 : 1 }

  package func value(_ bytes: UnsafePointer<UInt8>, _ range: Range<Int>) -> UInt16 {
    var sum: UInt16 = self == .crc16Modbus || self == .crc16CCITT ? 0xFFFF : 0
    for index in range {
      let byte = UInt16(bytes[index])
      switch self {
      case .sum8, .lrc: sum = (sum &+ byte) & 0xFF
      case .xor8: sum ^= byte
      case .crc16Modbus:
        sum ^= byte
        for _ in 0..<8 { sum = sum & 1 == 0 ? sum >> 1 : sum >> 1 ^ 0xA001 }
      case .crc16CCITT:
        sum ^= byte << 8
        for _ in 0..<8 { sum = sum & 0x8000 == 0 ? sum << 1 : sum << 1 ^ 0x1021 }
      }
    }
    return self == .lrc ? (0 &- sum) & 0xFF : sum
  }

  private var isHighFirst: Bool { self == .crc16CCITT }

  /// Writes the checksum of `range` at `place`; `swapped`: its bytes the other way round than usual.
  package func put(_ bytes: UnsafeMutablePointer<UInt8>, _ range: Range<Int>, at place: Int, swapped: Bool) {
    let value = value(UnsafePointer(bytes), range)
    guard byteCount == 2 else {
      bytes[place] = UInt8(truncatingIfNeeded: value)
      return
    }
    let highFirst = isHighFirst != swapped
    bytes[place] = UInt8(truncatingIfNeeded: highFirst ? value >> 8 : value)
    bytes[place + 1] = UInt8(truncatingIfNeeded: highFirst ? value : value >> 8)
  }

  package func holds(_ bytes: UnsafePointer<UInt8>, _ range: Range<Int>, at place: Int, swapped: Bool) -> Bool {
    let value = value(bytes, range)
    guard byteCount == 2 else { return bytes[place] == UInt8(truncatingIfNeeded: value) }
    let (first, second) = (UInt16(bytes[place]), UInt16(bytes[place + 1]))
    return value == (isHighFirst != swapped ? first << 8 | second : second << 8 | first)
  }
}
