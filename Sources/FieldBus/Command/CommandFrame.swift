// A Modbus frame of a command and the reply to it, as bytes: unit, function, data, without the CRC. Pure; whatever a
// line says, the answer is a length, a verdict or a failure (Modbus Application Protocol V1.1b3, section 6).

import StreamCore

/// CRC-16 of Modbus over Serial Line V1.02, 2.5.1.2; the low byte goes first.
package func modbusChecksum(_ bytes: some Sequence<UInt8>) -> UInt16 {
  var sum: UInt16 = 0xFFFF
  for byte in bytes {
    sum ^= UInt16(byte)
    for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0xA001 : sum >> 1 }
  }
  return sum
}

package enum CommandFrame {
  /// Unit and a PDU of 253 bytes, section 4.1.
  package static let bytesMax = 254
  package static let reportUnit: UInt8 = 0x11
  package static let identify: UInt8 = 0x2B
  /// The functions that only read.
  package static let reading: Set<UInt8> = [1, 2, 3, 4, reportUnit, identify]
  package static let writing: Set<UInt8> = [5, 6, 15, 16]

  /// Throws unless `reply` is what `request` asks for, in unit, function, length and echo.
  package static func check(
    _ reply: UnsafeBufferPointer<UInt8>, answers request: UnsafeBufferPointer<UInt8>
  ) throws(ReadFailure) {
    guard reply.count >= 2, request.count >= 2 else { throw .corruptReply(.wrongShape) }
    guard reply[0] == request[0] else { throw .corruptReply(.wrongUnit) }
    let function = request[1]
    if reply[1] == function | 0x80 {
      guard reply.count == 3, reply[2] != 0 else { throw .corruptReply(.wrongShape) }
      throw .refused(reply[2])
    }
    guard reply[1] == function, isShaped(reply, for: request) else { throw .corruptReply(.wrongShape) }
  }

  private static func isShaped(_ reply: UnsafeBufferPointer<UInt8>, for request: UnsafeBufferPointer<UInt8>) -> Bool {
    switch request[1] {
    case 1, 2, 3, 4:
      guard request.count == 6, reply.count >= 3 else { return false }
      let count = Int(request[4]) << 8 | Int(request[5])
      let data = request[1] <= 2 ? (count + 7) / 8 : 2 * count
      return Int(reply[2]) == data && reply.count == 3 + data
    case 5, 6, 15, 16:
      // Address and value, or address and count, come back as they were sent.
      guard request.count >= 6, reply.count == 6 else { return false }
      for index in 2..<6 where reply[index] != request[index] { return false }
      return true
    case reportUnit: return reply.count >= 3 && reply.count == 3 + Int(reply[2])
    case identify: return length(ofIdentification: reply) == reply.count
    default: return true
    }
  }

  /// Bytes that a reply to function 0x2B/0x0E has, as far as can be seen yet: read so many, then ask again. libmodbus
  /// has no length for this function and would cut the reply off.
  package static func length(ofIdentification reply: UnsafeBufferPointer<UInt8>) -> Int {
    guard reply.count >= 2 else { return 3 }
    if reply[1] != identify { return 3 }
    guard reply.count >= 8 else { return 8 }
    var place = 8
    for _ in 0..<Int(reply[7]) {
      guard reply.count >= place + 2 else { return place + 2 }
      place += 2 + Int(reply[place + 1])
    }
    return place
  }

  // MARK: Made by the one who asks

  package static func read(unit: Int, _ table: RegisterTable, address: Int, count: Int) -> [UInt8] {
    [UInt8(truncatingIfNeeded: unit), table.readFunction] + word(address) + word(count)
  }

  package static func writeCoil(unit: Int, address: Int, _ on: Bool) -> [UInt8] {
    [UInt8(truncatingIfNeeded: unit), 5] + word(address) + [on ? 0xFF : 0, 0]
  }

  package static func writeRegisters(unit: Int, address: Int, _ values: [UInt16]) -> [UInt8] {
    let unit = UInt8(truncatingIfNeeded: unit)
    if values.count == 1 { return [unit, 6] + word(address) + word(Int(values[0])) }
    let data = values.flatMap { word(Int($0)) }
    return [unit, 16] + word(address) + word(values.count) + [UInt8(truncatingIfNeeded: data.count)] + data
  }

  /// Asks for the basic identification, from object `first` on.
  package static func identification(unit: Int, from first: UInt8 = 0) -> [UInt8] {
    [UInt8(truncatingIfNeeded: unit), identify, 0x0E, 1, first]
  }

  package static func report(unit: Int) -> [UInt8] { [UInt8(truncatingIfNeeded: unit), reportUnit] }

  private static func word(_ value: Int) -> [UInt8] {
    [UInt8(truncatingIfNeeded: value >> 8), UInt8(truncatingIfNeeded: value)]
  }

  // MARK: Taken apart by the one who asked

  /// Registers, or bits one a word, of a checked reply to a read of `count`.
  package static func words(_ reply: [UInt8], count: Int) -> [UInt16] {
    guard reply.count >= 3 else { return [] }
    let isBits = reply[1] <= 2
    var words: [UInt16] = []
    for index in 0..<count {
      let place = isBits ? 3 + index / 8 : 3 + 2 * index
      guard place + (isBits ? 0 : 1) < reply.count else {
        words.append(0)
        continue
      }
      if isBits {
        words.append(UInt16(reply[place] >> UInt8(index % 8) & 1))
      } else {
        words.append(UInt16(reply[place]) << 8 | UInt16(reply[place + 1]))
      }
    }
    return words
  }

  /// Object numbers and texts of a checked reply, and from where to go on; nil: that was all.
  package static func objects(_ reply: [UInt8]) -> (objects: [(number: UInt8, text: String)], next: UInt8?) {
    guard reply.count >= 8 else { return ([], nil) }
    var found: [(UInt8, String)] = []
    var place = 8
    for _ in 0..<Int(reply[7]) {
      guard place + 2 <= reply.count, place + 2 + Int(reply[place + 1]) <= reply.count else { break }
      let end = place + 2 + Int(reply[place + 1])
      found.append((reply[place], printable(reply[(place + 2)..<end])))
      place = end
    }
    return (found, reply[5] == 0xFF && reply[6] > 0 ? reply[6] : nil)
  }

  /// What a device says in reply to function 0x11: id bytes, as far as they are text.
  package static func reportText(_ reply: [UInt8]) -> String {
    reply.count > 3 ? printable(reply[3...]) : ""
  }

  private static func printable(_ bytes: ArraySlice<UInt8>) -> String {
    String(decoding: bytes.filter { $0 >= 0x20 && $0 < 0x7F }, as: UTF8.self)
  }
}
