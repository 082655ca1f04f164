// The way back of decoding a frame: from values to bytes. Pure.

import FieldBus
import StreamCore

enum FrameCode {
  /// A value's bytes in the order of the wire; nil: the point can't hold it.
  static func bytes(_ value: SiteValue, _ point: PointSpec) -> [UInt8]? {
    if case .text(let characters) = point.type {
      let text = Array(value.text.utf8.prefix(characters))
      return text + Array(repeating: 0, count: characters - text.count)
    }
    guard let raw = RegisterCode.raw(of: value, for: point) else { return nil }
    return ordered(big(raw, point.type), point.order)
  }

  /// Lays a value into `data`; a part of an integer leaves the other bits as they are.
  static func put(_ value: SiteValue, _ point: PointSpec, at offset: Int, into data: inout [UInt8]) {
    guard var bytes = bytes(value, point), offset + bytes.count <= data.count else { return }
    if let bits = point.bits {
      let range = offset..<(offset + bytes.count)
      let whole = integer(ordered(Array(data[range]), point.order))
      let mask = ((UInt64(1) << UInt64(bits.count)) - 1) << UInt64(bits.lowerBound)
      let part = integer(ordered(bytes, point.order)) << UInt64(bits.lowerBound)
      bytes = ordered(big(Int64(bitPattern: whole & ~mask | part & mask), point.type), point.order)
    }
    for (index, byte) in bytes.enumerated() { data[offset + index] = byte }
  }

  /// Most significant first.
  private static func big(_ raw: Int64, _ type: ValueType) -> [UInt8] {
    let count = type.bytes
    switch type {
    case .bcd16, .bcd32: return digits(raw, count)
    case .bcd(_, let signed):
      var bytes = digits(raw.magnitude > UInt64(Int64.max) ? 0 : abs(raw), count)
      if signed, raw < 0 { bytes[0] |= 0x80 }
      return bytes
    default: return (0..<count).map { UInt8(truncatingIfNeeded: raw >> Int64(8 * (count - 1 - $0))) }
    }
  }

  private static func digits(_ raw: Int64, _ count: Int) -> [UInt8] {
    var rest = Swift.max(0, raw)
    var bytes = Array(repeating: UInt8(0), count: count)
    for index in bytes.indices.reversed() {
      bytes[index] = UInt8(rest % 10) | UInt8(rest / 10 % 10) << 4
      rest /= 100
    }
    return bytes
  }

  private static func integer(_ bytes: [UInt8]) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }

  /// Its own inverse.
  private static func ordered(_ bytes: [UInt8], _ order: WordOrder) -> [UInt8] {
    let count = bytes.count
    switch order {
    case .abcd: return bytes
    case .dcba: return bytes.reversed()
    case .badc: return (0..<count).map { bytes[Swift.min($0 ^ 1, count - 1)] }
    case .cdab: return (0..<count).map { bytes[Swift.min((count - 1 - $0) ^ 1, count - 1)] }
    }
  }
}
