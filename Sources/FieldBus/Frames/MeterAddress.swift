// The address of a meter: six BCD bytes (DL/T 645) or seven (CJ/T 188), the lowest first on the wire. 0xAA
// stands for any.

/// As it is written on the meter, highest digit first.
package struct MeterAddress: BitwiseCopyable, Sendable, Hashable {
  /// Byte A0 is the lowest.
  private var packed: UInt64
  package let count: Int

  package static let wildcard: UInt8 = 0xAA
  package static let preambleByte: UInt8 = 0xFE
  package static let dlt645Bytes = 6
  package static let cjt188Bytes = 7

  /// Every meter: only where there is but one on the line.
  package static func any(_ count: Int) -> MeterAddress { MeterAddress(wire: Array(repeating: wildcard, count: count)) }

  /// As on the wire, lowest byte first.
  package init(wire: [UInt8]) {
    packed = 0
    count = Swift.min(wire.count, 7)
    for index in 0..<count { packed |= UInt64(wire[index]) << UInt64(8 * index) }
  }

  package init(_ wire: UnsafePointer<UInt8>, count: Int) {
    packed = 0
    self.count = Swift.min(count, 7)
    for index in 0..<self.count { packed |= UInt64(wire[index]) << UInt64(8 * index) }
  }

  /// Digits, or «AA» for bytes that may be anything. Fewer than all: zeros in front. Nil: something else.
  package init?(_ text: String, bytes: Int) {
    var digits = Array(text.utf8)
    guard (1...(2 * bytes)).contains(digits.count) else { return nil }
    digits = Array(repeating: 0x30, count: 2 * bytes - digits.count) + digits
    var wire: [UInt8] = []
    for index in stride(from: 0, to: digits.count, by: 2) {
      let (high, low) = (digits[index], digits[index + 1])
      if high == 0x41, low == 0x41 {
        wire.insert(Self.wildcard, at: 0)
        continue
      }
      guard (0x30...0x39).contains(high), (0x30...0x39).contains(low) else { return nil }
      wire.insert((high - 0x30) << 4 | (low - 0x30), at: 0)
    }
    self.init(wire: wire)
  }

  /// Byte An.
  package subscript(index: Int) -> UInt8 { UInt8(truncatingIfNeeded: packed >> UInt64(8 * index)) }

  package var hasWildcard: Bool { (0..<count).contains { self[$0] == Self.wildcard } }

  package var text: String {
    let hex = Array("0123456789ABCDEF".utf8)
    var digits: [UInt8] = []
    for index in (0..<count).reversed() { digits += [hex[Int(self[index] >> 4)], hex[Int(self[index] & 0xF)]] }
    return String(decoding: digits, as: UTF8.self)
  }

  func put(_ bytes: UnsafeMutablePointer<UInt8>) {
    for index in 0..<count { bytes[index] = self[index] }
  }

  /// True if both could be the same meter's.
  package func matches(_ other: MeterAddress) -> Bool {
    guard count == other.count else { return false }
    for index in 0..<count
    where self[index] != other[index] && self[index] != Self.wildcard && other[index] != Self.wildcard { return false }
    return true
  }

  /// True if a meter's question (without preamble) is addressed to more than one.
  static func isOpen(_ question: UnsafeBufferPointer<UInt8>, _ frame: FrameSpec) -> Bool {
    let isElectric = frame.format == .dlt645
    let count = isElectric ? dlt645Bytes : cjt188Bytes
    guard question.count > count + 2, let start = question.baseAddress else { return false }
    return MeterAddress(start + (isElectric ? 1 : 2), count: count).hasWildcard
  }
}
