// A meter's frame in words: whose it is, what it asks or says.

import FieldBus
import Gateway

enum MeterLine {
  /// Nil: no whole frame of a meter.
  static func text(_ bytes: [UInt8], _ busProtocol: BusProtocol) -> String? {
    let bare = Array(bytes.drop { $0 == MeterAddress.preambleByte })
    guard let rule = FrameSpec.meter(busProtocol)?.rule, !bare.isEmpty else { return nil }
    let isWhole = bare.withUnsafeBufferPointer { all in
      all.baseAddress.map { rule.judge($0, count: all.count) == .whole(all.count) } ?? false
    }
    guard isWhole else { return nil }
    return busProtocol == .dlt645 ? electric(bare) : water(bare)
  }

  private static func electric(_ bare: [UInt8]) -> String {
    let who = MeterAddress(wire: Array(bare[1...MeterAddress.dlt645Bytes])).text
    let data = bare[DLT645.headBytes..<(bare.count - DLT645.tailBytes)].map { $0 &- DLT645.disguise }
    let isReply = bare[8] & DLT645.fromMeter != 0
    if isReply, bare[8] & DLT645.refusal != 0 {
      return "\(who)  refused: \(LineFailure.refusalText(data.first ?? 0, .dlt645))"
    }
    switch bare[8] & ~DLT645.fromMeter {
    case DLT645.readAddress: return "\(who)  \(isReply ? "is my address" : "what is your address?")"
    case DLT645.readData where data.count >= 4:
      let item = Hexadecimal.text(data[..<4].reversed()).uppercased()
      return isReply ? "\(who)  di \(item) = \(Hexadecimal.text(data[4...]))" : "\(who)  read di \(item)"
    default: return "\(who)  control \(Hexadecimal.text([bare[8]]))  \(Hexadecimal.text(data))"
    }
  }

  private static func water(_ bare: [UInt8]) -> String {
    let who = MeterAddress(wire: Array(bare[2...(1 + MeterAddress.cjt188Bytes)])).text
    let data = Array(bare[CJT188.headBytes..<(bare.count - CJT188.tailBytes)])
    let isReply = bare[9] & CJT188.fromMeter != 0
    if isReply, bare[9] & CJT188.refusal != 0 { return "\(who)  refused: \(Hexadecimal.text(data))" }
    guard data.count >= CJT188.itemBytes else { return "\(who)  control \(Hexadecimal.text([bare[9]]))" }
    let item = Hexadecimal.text(data[..<2].reversed()).uppercased()
    switch bare[9] & ~CJT188.fromMeter {
    case CJT188.readAddress: return "\(who)  \(isReply ? "is my address" : "what is your address?")"
    case CJT188.readData where isReply: return "\(who)  di \(item) = \(Hexadecimal.text(data[3...]))"
    case CJT188.readData: return "\(who)  read di \(item)"
    default: return "\(who)  control \(Hexadecimal.text([bare[9]]))  \(Hexadecimal.text(data))"
    }
  }
}
