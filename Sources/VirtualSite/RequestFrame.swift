// What a request asks for, read from its bytes (Modbus Application Protocol V1.1b3, section 6). Pure.

import FieldBus

struct RequestFrame {
  var unit: Int
  var function: UInt8
  /// Registers or bits that it touches; nil: none, or a function that we don't know.
  var touched: (table: RegisterTable, range: ClosedRange<Int>)?
  var writes = false
  /// False: to be refused as an illegal function.
  var known = true

  /// Nil: too short for what its function asks for, or the checksum is wrong.
  init?(_ frame: [UInt8], framing: Framing) {
    let tail = framing == .rtu ? 2 : 0
    let body = frame.dropLast(tail)
    let start = framing.functionIndex
    guard body.count > start else { return nil }
    if framing == .rtu {
      let sum = crc16(body)
      guard frame[body.count] == UInt8(sum & 0xFF), frame[body.count + 1] == UInt8(sum >> 8) else { return nil }
    }
    unit = Int(frame[framing.unitIndex])
    function = frame[start]
    func word(_ offset: Int) -> Int { Int(body[start + offset]) << 8 | Int(body[start + offset + 1]) }
    let length = body.count - start
    let table: RegisterTable
    var count = 1
    switch function {
    case 1, 2, 3, 4:
      guard length == 5 else { return nil }
      table = function == 1 ? .coil : function == 2 ? .discrete : function == 3 ? .holding : .input
      count = word(3)
    case 5, 6:
      guard length == 5 else { return nil }
      table = function == 5 ? .coil : .holding
      writes = true
    case 15, 16:
      guard length >= 6, length == 6 + Int(body[start + 5]) else { return nil }
      table = function == 15 ? .coil : .holding
      count = word(3)
      writes = true
    case 22:
      guard length == 7 else { return nil }
      table = .holding
      writes = true
    case 17:
      guard length == 1 else { return nil }
      return
    default:
      known = false
      return
    }
    let address = word(1)
    touched = (table, address...(address + Swift.max(1, count) - 1))
  }

  /// How long the frame that begins so will be; nil: can't be said yet, or ever.
  static func expectedLength(_ bytes: [UInt8], framing: Framing) -> Int? {
    if framing == .tcp { return bytes.count < 6 ? nil : 6 + (Int(bytes[4]) << 8 | Int(bytes[5])) }
    guard bytes.count >= 2 else { return nil }
    switch bytes[1] {
    case 1...6: return 8
    case 15, 16: return bytes.count > 6 ? 9 + Int(bytes[6]) : nil
    case 17: return 4
    case 22: return 10
    default: return nil
    }
  }
}
