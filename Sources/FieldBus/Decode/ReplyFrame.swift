// A Modbus RTU reply as it came off the line, checked against the request it should answer. Pure: bytes in,
// verdict out; every byte is hostile. libmodbus has checked the CRC and the unit; function, length and content
// are checked here.

import StreamCore

/// The read requests of the Modbus Application Protocol V1.1b3, sections 6.1 to 6.4.
extension RegisterTable {
  package var readFunction: UInt8 {
    switch self {
    case .coil: 1
    case .discrete: 2
    case .holding: 3
    case .input: 4
    }
  }

  /// Bytes of data in a reply that carries `count` registers or bits.
  package func dataBytes(count: Int) -> Int { isBits ? (count + 7) / 8 : 2 * count }
}

package enum ReplyFrame {
  /// Unit, function, byte count, data, CRC.
  package static let bytesMax = 256
  package static let requestBytes = 6

  /// Puts the six bytes of a read request (without CRC) into `bytes`.
  package static func request(
    unit: Int, table: RegisterTable, address: Int, count: Int, into bytes: UnsafeMutablePointer<UInt8>
  ) {
    bytes[0] = UInt8(truncatingIfNeeded: unit)
    bytes[1] = table.readFunction
    bytes[2] = UInt8(truncatingIfNeeded: address >> 8)
    bytes[3] = UInt8(truncatingIfNeeded: address)
    bytes[4] = UInt8(truncatingIfNeeded: count >> 8)
    bytes[5] = UInt8(truncatingIfNeeded: count)
  }

  /// Takes the data of a reply into `words`, one register or one bit each. `frame` includes the CRC.
  package static func read(
    _ frame: UnsafeBufferPointer<UInt8>, unit: Int, table: RegisterTable, count: Int,
    into words: UnsafeMutablePointer<UInt16>
  ) throws(ReadFailure) {
    guard frame.count >= 5 else { throw .corruptReply(.wrongShape) }
    guard Int(frame[0]) == unit else { throw .corruptReply(.wrongUnit) }
    let function = table.readFunction
    if frame[1] == function | 0x80 {
      // An exception has exactly unit, function, code, CRC; code 0 is none.
      guard frame.count == 5, frame[2] != 0 else { throw .corruptReply(.wrongShape) }
      throw .refused(frame[2])
    }
    let dataBytes = table.dataBytes(count: count)
    guard frame[1] == function, Int(frame[2]) == dataBytes, frame.count == 5 + dataBytes else {
      throw .corruptReply(.wrongShape)
    }
    if table.isBits {
      for index in 0..<count { words[index] = UInt16(frame[3 + index / 8] >> UInt8(index % 8) & 1) }
    } else {
      for index in 0..<count { words[index] = UInt16(frame[3 + 2 * index]) << 8 | UInt16(frame[4 + 2 * index]) }
    }
  }
}
