// A meter's question taken apart: for those who must know what is asked before it is sent.

import StreamCore

package struct MeterQuestion: Sendable {
  package let address: MeterAddress
  /// Of CJ/T 188 as a profile writes it: the byte that travels first is the lower one. 0: asks for an address.
  package let identifier: UInt32

  /// Nil: not a whole question that only reads. Preambles may stand in front.
  package init?(_ bytes: [UInt8], _ busProtocol: BusProtocol) {
    guard let rule = FrameSpec.meter(busProtocol)?.rule else { return nil }
    let bare = Array(bytes.drop { $0 == MeterAddress.preambleByte })
    guard bytes.count - bare.count <= Limits.meterPreambleMax, !bare.isEmpty else { return nil }
    let isWhole = bare.withUnsafeBufferPointer { all in
      all.baseAddress.map { rule.judge($0, count: all.count) == .whole(all.count) } ?? false
    }
    guard isWhole else { return nil }
    if busProtocol == .dlt645 {
      address = MeterAddress(wire: Array(bare[1...MeterAddress.dlt645Bytes]))
      switch bare[8] {
      case DLT645.readAddress where bare.count == DLT645.headBytes + DLT645.tailBytes: identifier = 0
      case DLT645.readData where bare.count == DLT645.requestBytes:
        identifier = (0..<4).reduce(UInt32(0)) {
          $0 | UInt32(bare[DLT645.headBytes + $1] &- DLT645.disguise) << UInt32(8 * $1)
        }
      default: return nil
      }
    } else {
      guard bare.count == CJT188.requestBytes else { return nil }
      address = MeterAddress(wire: Array(bare[2...(1 + MeterAddress.cjt188Bytes)]))
      switch bare[9] {
      case CJT188.readAddress: identifier = 0
      case CJT188.readData: identifier = UInt32(bare[CJT188.headBytes]) | UInt32(bare[CJT188.headBytes + 1]) << 8
      default: return nil
      }
    }
  }
}
