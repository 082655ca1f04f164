// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), the checksum of every block and record. In 4 KiB it finds
// every error of up to three flipped bits (Hamming distance 4: Koopman, DSN 2002); of all others one in 2^32 slips
// through.

package enum Checksum {
  /// Eight tables of 256, so that eight bytes are taken a step: a full ring is checked at the speed of the flash.
  private static let tables: [UInt32] = {
    var tables = [UInt32](repeating: 0, count: 8 * 256)
    for byte in 0..<256 {
      var rest = UInt32(truncatingIfNeeded: byte)
      for _ in 0..<8 { rest = rest & 1 == 1 ? (rest >> 1) ^ 0x82F6_3B78 : rest >> 1 }
      tables[byte] = rest
    }
    for index in 256..<(8 * 256) {
      let before = tables[index - 256]
      tables[index] = (before >> 8) ^ tables[Int(truncatingIfNeeded: before & 0xFF)]
    }
    return tables
  }()

  package static func crc32c(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
    tables.withUnsafeBufferPointer { table in
      var crc = ~UInt32(0)
      var index = 0
      while index + 8 <= bytes.count {
        let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)) ^ UInt64(crc)
        crc =
          table[1792 + Int(truncatingIfNeeded: word & 0xFF)]
          ^ table[1536 + Int(truncatingIfNeeded: (word >> 8) & 0xFF)]
          ^ table[1280 + Int(truncatingIfNeeded: (word >> 16) & 0xFF)]
          ^ table[1024 + Int(truncatingIfNeeded: (word >> 24) & 0xFF)]
          ^ table[768 + Int(truncatingIfNeeded: (word >> 32) & 0xFF)]
          ^ table[512 + Int(truncatingIfNeeded: (word >> 40) & 0xFF)]
          ^ table[256 + Int(truncatingIfNeeded: (word >> 48) & 0xFF)]
          ^ table[Int(truncatingIfNeeded: word >> 56)]
        index += 8
      }
      while index < bytes.count {
        crc = table[Int(truncatingIfNeeded: (crc ^ UInt32(bytes[index])) & 0xFF)] ^ (crc >> 8)
        index += 1
      }
      return ~crc
    }
  }
}
