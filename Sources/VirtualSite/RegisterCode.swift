// From a virtual device's value to the raw value that its registers hold. Pure.

import FieldBus
import StreamCore

extension RegisterCode {
  /// The raw integer (or float bits) that `point` holds for `value`; nil where the type has none (texts).
  static func raw(of value: SiteValue, for point: PointSpec) -> Int64? {
    if case .raw(let raw) = value { return raw }
    let number: Double
    switch value {
    case .raw(let raw): return raw
    case .flag(let on): return on ? 1 : 0
    case .number(let given): number = given
    case .text(let text):
      if let named = point.values.first(where: { $0.value == text }) { return named.key }
      // Card numbers are written as text and held as integers.
      if let whole = UInt64(text), point.type != .f32, point.type != .f64 {
        return bounded(point) { $0.contains(whole) ? Int64(bitPattern: whole) : nil }
      }
      guard let parsed = Double(text) else { return nil }
      number = parsed
    }
    let scaled = (number - point.offset) / (point.scale == 0 ? 1 : point.scale)
    switch point.type {
    case .text: return nil
    case .f32: return Int64(Float(scaled).bitPattern)
    case .f64: return Int64(bitPattern: scaled.bitPattern)
    case .bool: return scaled == 0 ? 0 : 1
    default: return clamped(scaled.rounded(), for: point)
    }
  }

  private static func bounded(_ point: PointSpec, _ pick: (ClosedRange<UInt64>) -> Int64?) -> Int64? {
    point.type == .u64 ? pick(0...UInt64.max) : pick(0...UInt64(Int64.max))
  }

  /// The nearest integer that the type or the bit field can hold.
  private static func clamped(_ value: Double, for point: PointSpec) -> Int64 {
    if value.isNaN { return 0 }
    if let bits = point.bits {
      return Int64(Swift.min(Swift.max(value, 0), Double(UInt64(1) << UInt64(bits.count)) - 1))
    }
    switch point.type {
    case .u8: return Int64(Swift.min(Swift.max(value, 0), 255))
    case .i8: return Int64(Swift.min(Swift.max(value, -128), 127))
    case .bcd:
      let range = point.type.rawRange ?? 0...0
      return Int64(Swift.min(Swift.max(value, Double(range.lowerBound)), Double(range.upperBound)))
    case .u16: return Int64(Swift.min(Swift.max(value, 0), 65_535))
    case .i16: return Int64(Swift.min(Swift.max(value, -32_768), 32_767))
    case .u32: return Int64(Swift.min(Swift.max(value, 0), 4_294_967_295))
    case .i32: return Int64(Swift.min(Swift.max(value, -2_147_483_648), 2_147_483_647))
    case .bcd16: return Int64(Swift.min(Swift.max(value, 0), 9_999))
    case .bcd32: return Int64(Swift.min(Swift.max(value, 0), 99_999_999))
    // The greatest Doubles below 2^64 and 2^63.
    case .u64: return Int64(bitPattern: UInt64(Swift.min(Swift.max(value, 0), 0x1.fffffffffffffp63)))
    default: return Int64(Swift.min(Swift.max(value, -0x1p63), 0x1.fffffffffffffp62))
    }
  }
}
