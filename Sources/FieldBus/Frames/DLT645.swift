// DL/T 645-2007, 5: 0x68 · address, 6 bytes · 0x68 · control · length · data, each byte + 0x33 · sum · 0x16.
// Pure: encodes into the caller's buffer, judges where the bytes are. The 8-bit sum is weak: what it lets
// through is caught by the address, the data identifier, the decimal digits and a point's range, and after an
// error a value is read twice.

import StreamCore

package enum DLT645 {
  package static let start: UInt8 = 0x68
  package static let end: UInt8 = 0x16
  /// Added to every byte of data, so that a meter on the same wire never sees idle bytes (5.2.5).
  package static let disguise: UInt8 = 0x33
  package static let readData: UInt8 = 0x11
  package static let readAddress: UInt8 = 0x13
  package static let fromMeter: UInt8 = 0x80
  package static let refusal: UInt8 = 0x40
  /// In front of the data, and behind it.
  package static let headBytes = 10
  package static let tailBytes = 2
  package static let identifierBytes = 4
  package static let requestBytes = headBytes + identifierBytes + tailBytes

  /// Writes a question for a data item; the answer is its length. `bytes` has room for `requestBytes`.
  package static func putRead(_ bytes: UnsafeMutablePointer<UInt8>, address: MeterAddress, identifier: UInt32) -> Int {
    putHead(bytes, address: address, control: readData, length: identifierBytes)
    putIdentifier(bytes + headBytes, identifier)
    return seal(bytes)
  }

  /// Asks who is there (7.4): only a meter that is alone on the line is understood.
  package static func putReadAddress(_ bytes: UnsafeMutablePointer<UInt8>, address: MeterAddress) -> Int {
    putHead(bytes, address: address, control: readAddress, length: 0)
    return seal(bytes)
  }

  package static func putHead(
    _ bytes: UnsafeMutablePointer<UInt8>, address: MeterAddress, control: UInt8, length: Int
  ) {
    bytes[0] = start
    address.put(bytes + 1)
    bytes[7] = start
    bytes[8] = control
    bytes[9] = UInt8(truncatingIfNeeded: length)
  }

  package static func putIdentifier(_ bytes: UnsafeMutablePointer<UInt8>, _ identifier: UInt32) {
    for index in 0..<identifierBytes {
      bytes[index] = UInt8(truncatingIfNeeded: identifier >> UInt32(8 * index)) &+ disguise
    }
  }

  /// Writes sum and end behind the data; the answer is the frame's length.
  package static func seal(_ bytes: UnsafeMutablePointer<UInt8>) -> Int {
    let place = headBytes + Int(bytes[9])
    FrameChecksum.sum8.put(bytes, 0..<place, at: place, swapped: false)
    bytes[place + 1] = end
    return place + tailBytes
  }

  package static func judge(_ bytes: UnsafePointer<UInt8>, count: Int) -> FrameVerdict {
    guard bytes[0] == start else { return .none(.marker) }
    guard count > 7 else { return .more }
    guard bytes[7] == start else { return .none(.marker) }
    guard count >= headBytes else { return .more }
    let length = Int(bytes[9])
    guard length <= Limits.dlt645DataBytesMax else { return .none(.length) }
    let whole = headBytes + length + tailBytes
    guard count >= whole else { return .more }
    guard bytes[whole - 1] == end else { return .none(.marker) }
    let place = headBytes + length
    guard FrameChecksum.sum8.holds(bytes, 0..<place, at: place, swapped: false) else { return .none(.checksum) }
    return .whole(whole)
  }

  /// A whole frame against the question it may answer; the data is still disguised.
  package static func reply(
    _ frame: UnsafePointer<UInt8>, count: Int, asked: UnsafeBufferPointer<UInt8>
  ) -> FrameReply {
    guard asked.count >= headBytes, count >= headBytes + tailBytes else { return .foreign(.otherItem) }
    let control = frame[8]
    guard control & fromMeter != 0 else { return .foreign(.ownEcho) }
    guard let question = asked.baseAddress, address(frame).matches(address(question)) else {
      return .foreign(.otherDevice)
    }
    // A reply with more to come (bit 5, 5.2.3) is taken for what it holds: a value that lies behind it is bad.
    guard control & 0x1F == asked[8] & 0x1F else { return .foreign(.otherItem) }
    let length = Int(frame[9])
    if control & refusal != 0 { return .refused(length > 0 ? frame[headBytes] &- disguise : 0) }
    if asked[8] == readAddress {
      return length == MeterAddress.dlt645Bytes ? .data(first: headBytes, count: length) : .foreign(.otherItem)
    }
    guard length >= identifierBytes else { return .foreign(.otherItem) }
    for index in 0..<identifierBytes where frame[headBytes + index] != asked[headBytes + index] {
      return .foreign(.otherItem)
    }
    return .data(first: headBytes + identifierBytes, count: length - identifierBytes)
  }

  package static func address(_ frame: UnsafePointer<UInt8>) -> MeterAddress {
    MeterAddress(frame + 1, count: MeterAddress.dlt645Bytes)
  }

  /// Takes the disguise off a reply's data.
  package static func clear(_ frame: UnsafeMutablePointer<UInt8>, first: Int, count: Int) {
    for index in first..<(first + count) { frame[index] = frame[index] &- disguise }
  }
}
