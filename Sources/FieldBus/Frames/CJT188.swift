// CJ/T 188-2004 and -2018, 6: 0x68 · meter type · address, 7 bytes · control · length · data · sum · 0x16,
// where the data begins with a data identifier, two bytes, and a serial number that the reply repeats. Pure,
// like DLT645.
//
// What differs between makers is not judged: the identifier 901F travels as «1F 90» or «90 1F» (a profile says
// which), a heat meter that is asked as type 0x20 may answer as 0x25, and some answer every question with the
// same serial number.

import StreamCore

package enum CJT188 {
  package static let start: UInt8 = 0x68
  package static let end: UInt8 = 0x16
  package static let readData: UInt8 = 0x01
  package static let readAddress: UInt8 = 0x03
  package static let fromMeter: UInt8 = 0x80
  package static let refusal: UInt8 = 0x40
  package static let headBytes = 11
  package static let tailBytes = 2
  /// Identifier and serial number.
  package static let itemBytes = 3
  package static let requestBytes = headBytes + itemBytes + tailBytes
  /// Where the serial number stands in a question and in its reply.
  package static let serialAt = headBytes + 2
  /// 10 to 19 water, 20 to 29 heat, 30 to 39 gas, 40 to 49 others (2004: electricity).
  package static let meterTypes: ClosedRange<Int> = 0x10...0x49
  package static let anyType: UInt8 = 0xAA

  /// Writes a question for a data item; the answer is its length. `bytes` has room for `requestBytes`.
  package static func putRead(
    _ bytes: UnsafeMutablePointer<UInt8>, type: UInt8, address: MeterAddress, identifier: UInt16, serial: UInt8,
    control: UInt8 = readData
  ) -> Int {
    bytes[0] = start
    bytes[1] = type
    address.put(bytes + 2)
    bytes[9] = control
    bytes[10] = UInt8(itemBytes)
    bytes[11] = UInt8(truncatingIfNeeded: identifier)
    bytes[12] = UInt8(truncatingIfNeeded: identifier >> 8)
    bytes[13] = serial
    return seal(bytes)
  }

  /// The same question under another serial number.
  package static func renumber(_ bytes: UnsafeMutablePointer<UInt8>, serial: UInt8) {
    bytes[serialAt] = serial
    _ = seal(bytes)
  }

  package static func seal(_ bytes: UnsafeMutablePointer<UInt8>) -> Int {
    let place = headBytes + Int(bytes[10])
    FrameChecksum.sum8.put(bytes, 0..<place, at: place, swapped: false)
    bytes[place + 1] = end
    return place + tailBytes
  }

  private static func isType(_ type: UInt8) -> Bool { meterTypes.contains(Int(type)) || type == anyType }

  package static func judge(_ bytes: UnsafePointer<UInt8>, count: Int) -> FrameVerdict {
    guard bytes[0] == start else { return .none(.marker) }
    guard count > 1 else { return .more }
    guard isType(bytes[1]) else { return .none(.marker) }
    guard count >= headBytes else { return .more }
    let length = Int(bytes[10])
    guard length >= 1, length <= Limits.cjt188DataBytesMax else { return .none(.length) }
    let whole = headBytes + length + tailBytes
    guard count >= whole else { return .more }
    guard bytes[whole - 1] == end else { return .none(.marker) }
    let place = headBytes + length
    guard FrameChecksum.sum8.holds(bytes, 0..<place, at: place, swapped: false) else { return .none(.checksum) }
    return .whole(whole)
  }

  /// `numbered`: this meter repeats serial numbers, so one that it doesn't repeat is an older question's reply.
  package static func reply(
    _ frame: UnsafePointer<UInt8>, count: Int, asked: UnsafeBufferPointer<UInt8>, numbered: Bool
  ) -> FrameReply {
    guard asked.count >= requestBytes, count >= headBytes + tailBytes else { return .foreign(.otherItem) }
    let control = frame[9]
    guard control & fromMeter != 0 else { return .foreign(.ownEcho) }
    guard let question = asked.baseAddress, address(frame).matches(address(question)),
      isSameKind(frame[1], asked[1])
    else { return .foreign(.otherDevice) }
    guard control & 0x3F == asked[9] else { return .foreign(.otherItem) }
    let length = Int(frame[10])
    if control & refusal != 0 { return .refused(length >= 2 ? frame[headBytes + 1] : 0) }
    guard length >= itemBytes, frame[headBytes] == asked[headBytes], frame[headBytes + 1] == asked[headBytes + 1]
    else { return .foreign(.otherItem) }
    if numbered, frame[serialAt] != asked[serialAt] { return .foreign(.otherItem) }
    return .data(first: headBytes + itemBytes, count: length - itemBytes)
  }

  private static func isSameKind(_ one: UInt8, _ other: UInt8) -> Bool {
    one >> 4 == other >> 4 || one == anyType || other == anyType
  }

  package static func address(_ frame: UnsafePointer<UInt8>) -> MeterAddress {
    MeterAddress(frame + 2, count: MeterAddress.cjt188Bytes)
  }
}
