// Frames as a pcapng file (draft-ietf-opsawg-pcapng) that Wireshark and tshark decode as Modbus RTU without any
// setting: link type WIRESHARK_UPPER_PDU, each packet tagged with the dissector «mbrtu». The tags also carry
// ports, 502 on the device's side: with `-o mbrtu.tcp.port:502` tshark knows query from response where the
// bytes alone don't tell (functions 5, 6, 15, 16). Of other lines no dissector knows the frames: their packets
// are the bytes alone, link type USER0. Pure.

package enum Pcapng {
  private static let upperPDU: UInt16 = 252
  private static let user0: UInt16 = 147
  // wiretap/exported_pdu.h
  private static let dissectorTag: UInt16 = 12
  private static let portTypeTag: UInt16 = 24
  private static let sourcePortTag: UInt16 = 25
  private static let destinationPortTag: UInt16 = 26
  private static let portTypeTCP: UInt32 = 2
  private static let masterPort: UInt32 = 40_000
  private static let devicePort: UInt32 = 502

  /// Section and interface: what a file begins with.
  package static func head(bus: String, isModbus: Bool = true) -> [UInt8] {
    var section: [UInt8] = little(0x1A2B_3C4D as UInt32)
    section += little(1 as UInt16) + little(0 as UInt16) + little(UInt64.max)
    section += option(4, Array("kerb".utf8)) + option(0, [])
    var interface: [UInt8] = little(isModbus ? upperPDU : user0) + little(0 as UInt16) + little(0 as UInt32)
    // Its name, and times in nanoseconds.
    interface += option(2, Array(bus.utf8)) + option(9, [9]) + option(0, [])
    return block(0x0A0D_0D0A, section) + block(1, interface)
  }

  /// One packet; empty for what has no bytes. `unixNs`: when it was on the line.
  package static func packet(_ frame: LineFrame, unixNs: Int64, isModbus: Bool = true) -> [UInt8] {
    if frame.bytes.isEmpty { return [] }
    let isRequest = frame.kind == .request
    let data = (isModbus ? tags(isRequest) : []) + frame.bytes
    let cut = UInt32(Swift.max(0, frame.length - frame.bytes.count))
    let stamp = UInt64(Swift.max(0, unixNs))
    var body: [UInt8] = little(0 as UInt32) + little(UInt32(stamp >> 32)) + little(UInt32(stamp & 0xFFFF_FFFF))
    body += little(UInt32(data.count)) + little(UInt32(data.count) + cut) + padded(data)
    // Direction: 1 inbound, 2 outbound. The comment says what the bytes don't.
    body += option(2, little(isRequest ? 2 as UInt32 : 1))
    let comment = comment(frame)
    if !comment.isEmpty { body += option(1, Array(comment.utf8)) }
    return block(6, body + option(0, []))
  }

  private static func tags(_ isRequest: Bool) -> [UInt8] {
    tag(dissectorTag, Array("mbrtu".utf8)) + tag(portTypeTag, big(portTypeTCP))
      + tag(sourcePortTag, big(isRequest ? masterPort : devicePort))
      + tag(destinationPortTag, big(isRequest ? devicePort : masterPort)) + [0, 0, 0, 0]
  }

  private static func comment(_ frame: LineFrame) -> String {
    var words: [String] = []
    if frame.origin == .command { words.append("command") }
    if frame.origin == .fence { words.append("fence") }
    if frame.kind == .stray { words.append("unasked") }
    if let cause = frame.cause { words.append("broken: \(cause)") }
    if frame.isMasked { words.append("personal data replaced by zeros") }
    return words.joined(separator: ", ")
  }

  private static func block(_ type: UInt32, _ body: [UInt8]) -> [UInt8] {
    let length = little(UInt32(body.count + 12))
    return little(type) + length + body + length
  }

  private static func option(_ code: UInt16, _ value: [UInt8]) -> [UInt8] {
    little(code) + little(UInt16(value.count)) + padded(value)
  }

  /// Exported PDU tags are in network order, their values padded to four bytes and counted so.
  private static func tag(_ code: UInt16, _ value: [UInt8]) -> [UInt8] {
    let value = padded(value)
    return big(code) + big(UInt16(value.count)) + value
  }

  private static func padded(_ bytes: [UInt8]) -> [UInt8] {
    bytes + Array(repeating: 0, count: (4 - bytes.count % 4) % 4)
  }

  private static func little<Number: FixedWidthInteger>(_ value: Number) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }
  private static func big<Number: FixedWidthInteger>(_ value: Number) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { Array($0) }
  }
}
