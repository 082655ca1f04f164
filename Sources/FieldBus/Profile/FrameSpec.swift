// What a profile's [frame] says: how the bytes of a serial device are cut up, and how it is asked.

import StreamCore

/// How a line of text is cut up.
package struct TextFrame: Sendable, Hashable {
  /// What ends a line, 1 to 4 bytes.
  package var end: [UInt8]
  /// What stands between two fields; nil: the whole line is field 1.
  package var split: UInt8?
  /// What stands between a value's name and the value.
  package var assign: UInt8 = 0x3D
  package init(end: [UInt8], split: UInt8?) {
    self.end = end
    self.split = split
  }
}

package struct FrameSpec: Sendable, Hashable {
  package enum Format: Sendable, Hashable {
    case text(TextFrame)
    case binary(BinaryFrame)
    case dlt645
    /// 0x10 cold water, 0x20 heat, 0x30 gas, …
    case cjt188(meterType: UInt8)
  }

  package var format: Format
  /// What is sent for a reply; nil: the device speaks when it likes, or each point has its own question.
  package var ask: AskTemplate?
  /// Bytes 0xFE in front of a question to a meter.
  package var preamble = 4

  package init(_ format: Format) { self.format = format }

  package static func text(end: [UInt8], split: UInt8?) -> FrameSpec {
    FrameSpec(.text(TextFrame(end: end, split: split)))
  }
  package static let dlt645 = FrameSpec(.dlt645)
  package static let cjt188 = FrameSpec(.cjt188(meterType: 0x10))

  /// Of a bus of meters; nil: another one.
  package static func meter(_ busProtocol: BusProtocol) -> FrameSpec? {
    switch busProtocol {
    case .dlt645: return .dlt645
    case .cjt188: return .cjt188
    case .modbusRTU, .modbusTCP, .modbusRTUTCP, .serial: return nil
    }
  }

  package var textFrame: TextFrame? { if case .text(let frame) = format { frame } else { nil } }
  package var binaryFrame: BinaryFrame? { if case .binary(let frame) = format { frame } else { nil } }

  package var isMeter: Bool {
    switch format {
    case .text, .binary: return false
    case .dlt645, .cjt188: return true
    }
  }

  /// The only protocol on whose buses such a device has a place.
  package var busProtocol: BusProtocol {
    switch format {
    case .text, .binary: return .serial
    case .dlt645: return .dlt645
    case .cjt188: return .cjt188
    }
  }

  /// Nil: lines of text, which are cut up by their end.
  package var rule: FrameRule? {
    switch format {
    case .text: return nil
    case .binary(let frame): return .binary(frame)
    case .dlt645: return .dlt645
    case .cjt188: return .cjt188
    }
  }
}

/// A question, with places for what differs from device to device.
package struct AskTemplate: Sendable, Hashable {
  package enum Piece: Sendable, Hashable {
    case bytes([UInt8])
    case address(AddressForm)
    /// The frame's own checksum, over what stands before.
    case checksum
  }

  package enum AddressForm: Sendable, Hashable {
    /// One byte.
    case byte
    /// Digits of a text: at least so many, hexadecimal or decimal.
    case digits(least: Int, radix: Int)
  }

  package var pieces: [Piece]

  package init(_ pieces: [Piece]) { self.pieces = pieces }

  package var hasAddress: Bool { pieces.contains { if case .address = $0 { true } else { false } } }

  /// What goes to the device with this address.
  package func bytes(address: Int, frame: BinaryFrame?) -> [UInt8] {
    var result: [UInt8] = []
    for piece in pieces {
      switch piece {
      case .bytes(let fixed): result += fixed
      case .address(.byte): result.append(UInt8(truncatingIfNeeded: address))
      case .address(.digits(let least, let radix)):
        let digits = Array(String(address, radix: radix, uppercase: true).utf8)
        result += Array(repeating: 0x30, count: Swift.max(0, least - digits.count)) + digits
      case .checksum:
        guard let frame, let checksum = frame.checksum else { continue }
        let place = result.count
        result += Array(repeating: 0, count: checksum.byteCount)
        result.withUnsafeMutableBufferPointer { all in
          guard let base = all.baseAddress, frame.checksumFrom <= place else { return }
          checksum.put(base, frame.checksumFrom..<place, at: place, swapped: frame.checksumIsSwapped)
        }
      }
    }
    return result
  }
}
