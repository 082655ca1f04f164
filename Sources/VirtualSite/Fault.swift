// What can go wrong with a device's replies (docs/simulate.md lists them for users). Pure: a reply in, what the line
// carries instead out.

import FieldBus
import StreamCore

package struct Fault: Sendable, Hashable {
  package enum Kind: Sendable, Hashable {
    /// Doesn't answer.
    case silent
    /// Answers this much later, while the line goes on: past the master's timeout it is a late reply.
    case late(ns: Int64)
    /// The reply of unit + 1 comes first, then its own.
    case wrongUnit
    case exception(UInt8)
    /// This many bytes are missing at the end.
    case truncated(bytes: Int)
    /// A bit of the payload is flipped, the checksum is the old one.
    case corrupted
    /// Right checksum, wrong function.
    case wrongFunction
    /// Right checksum, a byte count that is one too large.
    case wrongCount
    /// One byte at a time with this much between.
    case dripping(ns: Int64)
    /// The request comes back in front of the reply.
    case echo
    /// 0x00 and 0xFE come in front of the reply.
    case noise
    /// Answers every second request only.
    case alternate
  }

  package var kind: Kind
  /// Nil: always; else this many times.
  package var times: Int?

  package init(_ kind: Kind, times: Int? = nil) {
    self.kind = kind
    self.times = times
  }

  /// The word in the site file.
  package var name: String {
    switch kind {
    case .silent: return "unplugged"
    case .late(let ns): return ns < Fault.lateNs ? "slow" : "late"
    case .wrongUnit: return "wrong-unit"
    case .exception: return "exception"
    case .truncated: return "truncated"
    case .corrupted: return "corrupted"
    case .wrongFunction: return "wrong-function"
    case .wrongCount: return "wrong-count"
    case .dripping: return "dripping"
    case .echo: return "echo"
    case .noise: return "noise"
    case .alternate: return "alternate"
    }
  }

  package static let names = [
    "unplugged", "slow", "late", "wrong-unit", "exception", "truncated", "corrupted", "wrong-function", "wrong-count",
    "dripping", "echo", "noise", "alternate",
  ]

  /// Within the usual timeout of 500 ms, and past it.
  package static let slowNs: Int64 = 100_000_000
  package static let lateNs: Int64 = 400_000_000
  package static let lateNsDefault: Int64 = 800_000_000
  package static let drippingNsDefault: Int64 = 50_000_000
}

/// Bytes that leave together, and how much later than they would without a fault.
package struct Emission: Sendable, Equatable {
  package var bytes: [UInt8]
  package var delayNs: Int64
  /// This much more than the line's own pace between two bytes.
  package var gapNs: Int64

  package init(bytes: [UInt8], delayNs: Int64 = 0, gapNs: Int64 = 0) {
    self.bytes = bytes
    self.delayNs = delayNs
    self.gapNs = gapNs
  }
}

/// How a frame is laid out around what it says.
enum Framing: Sendable, Equatable {
  case rtu, tcp, dlt645, cjt188, text
  case binary(BinaryFrame)

  /// Where the unit, or the first byte of the address, stands.
  var unitIndex: Int {
    switch self {
    case .rtu, .text: return 0
    case .tcp: return 6
    case .dlt645: return 1
    case .cjt188: return 2
    case .binary(let frame): return frame.echo == 0 ? frame.start.count : frame.echo.trailingZeroBitCount
    }
  }

  var functionIndex: Int {
    switch self {
    case .rtu, .tcp, .text, .binary: return unitIndex + 1
    case .dlt645: return 8
    case .cjt188: return 9
    }
  }

  /// Makes checksum or length right again after the frame was changed.
  func sealed(_ frame: [UInt8]) -> [UInt8] {
    switch self {
    case .rtu:
      let body = frame.dropLast(2)
      let sum = crc16(body)
      return Array(body) + [UInt8(truncatingIfNeeded: sum), UInt8(truncatingIfNeeded: sum >> 8)]
    case .tcp:
      var whole = frame
      let length = frame.count - 6
      whole[4] = UInt8(truncatingIfNeeded: length >> 8)
      whole[5] = UInt8(truncatingIfNeeded: length)
      return whole
    case .dlt645, .cjt188:
      let body = Array(frame.dropLast(2))
      return body + [body.reduce(0, &+)] + frame.suffix(1)
    case .text: return frame
    case .binary(let rule):
      guard let checksum = rule.checksum else { return frame }
      var whole = frame
      let place = frame.count - rule.end.count - checksum.byteCount
      guard place >= rule.checksumFrom else { return frame }
      whole.withUnsafeMutableBufferPointer { all in
        guard let base = all.baseAddress else { return }
        checksum.put(base, rule.checksumFrom..<place, at: place, swapped: rule.checksumIsSwapped)
      }
      return whole
    }
  }
}

extension Fault.Kind {
  /// What the line carries instead of `reply`. `round` counts the requests to this device since the fault began,
  /// from 0.
  func emissions(of reply: [UInt8], to request: [UInt8], framing: Framing, round: Int) -> [Emission] {
    let own = Emission(bytes: reply)
    guard reply.count > framing.functionIndex + 2 else { return [own] }
    var changed = reply
    switch self {
    case .silent: return []
    case .exception: return [own]
    case .late(let ns): return [Emission(bytes: reply, delayNs: ns)]
    case .wrongUnit:
      changed[framing.unitIndex] = changed[framing.unitIndex] % 247 + 1
      return [Emission(bytes: framing.sealed(changed)), own]
    case .truncated(let bytes): return [Emission(bytes: Array(reply.dropLast(Swift.max(1, bytes))))]
    case .corrupted:
      // A line of text has no checksum: its noise must show.
      changed[framing.functionIndex + 2] ^= framing == .text ? 0x80 : 0x10
      return [Emission(bytes: changed)]
    case .wrongFunction:
      changed[framing.functionIndex] ^= 0x01
      return [Emission(bytes: framing.sealed(changed))]
    case .wrongCount:
      changed[framing.functionIndex + 1] &+= 1
      return [Emission(bytes: framing.sealed(changed))]
    case .dripping(let ns): return [Emission(bytes: reply, gapNs: ns)]
    case .echo: return [Emission(bytes: request + reply)]
    case .noise: return [Emission(bytes: [0x00, 0xFE] + reply)]
    case .alternate: return round % 2 == 0 ? [] : [own]
    }
  }
}

/// CRC-16/Modbus (Modbus over Serial Line V1.02, 6.2.2).
func crc16(_ bytes: some Sequence<UInt8>) -> UInt16 {
  var crc: UInt16 = 0xFFFF
  for byte in bytes {
    crc ^= UInt16(byte)
    for _ in 0..<8 { crc = crc & 1 == 0 ? crc >> 1 : crc >> 1 ^ 0xA001 }
  }
  return crc
}
