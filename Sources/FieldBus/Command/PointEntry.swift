// What a person has typed for a point, as registers: exactly that value, or a refusal that says what is allowed. Pure.

import StreamCore

package enum PointEntry {
  /// `present`: what stands there now; a bit field keeps its neighbours.
  package static func words(
    _ text: String, for point: PointSpec, present: [UInt16]
  ) throws(PointProblem) -> [UInt16] {
    if case .register(let table, _) = point.source, table.isBits { return [UInt16(try flag(text, point))] }
    if case .text(let characters) = point.type {
      guard text.utf8.count <= characters, text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
        throw .badValue("a text of at most \(characters) bytes")
      }
      return RegisterCode.registers(text: text, characters: characters, order: point.order)
    }
    let raw = try raw(text, point)
    guard let bits = point.bits else { return RegisterCode.registers(raw, type: point.type, order: point.order) }
    let mask = (UInt64(1) << UInt64(bits.count) - 1) << UInt64(bits.lowerBound)
    let whole = RegisterCode.integer(present, order: point.order)
    let merged = whole & ~mask | UInt64(bitPattern: raw) << UInt64(bits.lowerBound) & mask
    return RegisterCode.registers(Int64(bitPattern: merged), type: wide(point.type), order: point.order)
  }

  /// The bits of a signed or a BCD type are put down as they are.
  private static func wide(_ type: ValueType) -> ValueType {
    type.registers == 1 ? .u16 : type.registers == 2 ? .u32 : .u64
  }

  private static func flag(_ text: String, _ point: PointSpec) throws(PointProblem) -> Int64 {
    if let named = named(text, point) { return named }
    switch text.lowercased() {
    case "1", "true", "on", "yes": return 1
    case "0", "false", "off", "no": return 0
    default: throw .badValue("1 or 0, on or off\(names(point))")
    }
  }

  private static func named(_ text: String, _ point: PointSpec) -> Int64? {
    point.values.first { $0.value == text }?.key
  }

  private static func names(_ point: PointSpec) -> String {
    let names = point.values.sorted { $0.key < $1.key }.map(\.value)
    return names.isEmpty ? "" : ", or one of \(names.joined(separator: ", "))"
  }

  private static func raw(_ text: String, _ point: PointSpec) throws(PointProblem) -> Int64 {
    if point.type == .bool { return try flag(text, point) }
    if let named = named(text, point) { return named }
    guard let value = Double(text), value.isFinite else { throw .badValue("a number\(names(point))") }
    if let range = point.range, !range.contains(value) {
      throw .badValue("\(range.lowerBound) to \(range.upperBound)\(point.unit.map { " \($0)" } ?? "")")
    }
    let scaled = (value - point.offset) / (point.scale == 0 ? 1 : point.scale)
    switch point.type {
    case .f32:
      guard Float(scaled).isFinite else { throw .badValue("what a 32-bit float can hold") }
      return Int64(Float(scaled).bitPattern)
    case .f64: return Int64(bitPattern: scaled.bitPattern)
    default: return try integer(scaled, point)
    }
  }

  private static func integer(_ scaled: Double, _ point: PointSpec) throws(PointProblem) -> Int64 {
    let bounds: ClosedRange<Double>
    if let bits = point.bits {
      bounds = 0...(Double(UInt64(1) << UInt64(bits.count)) - 1)
    } else {
      switch point.type {
      case .u16: bounds = 0...65_535
      case .i16: bounds = -32_768...32_767
      case .u32: bounds = 0...4_294_967_295
      case .i32: bounds = -2_147_483_648...2_147_483_647
      case .bcd16: bounds = 0...9_999
      case .bcd32: bounds = 0...99_999_999
      // Beyond 2^53 a typed number would not be the one that is written.
      case .u64: bounds = 0...0x1p53
      default: bounds = -0x1p53...0x1p53
      }
    }
    let whole = scaled.rounded()
    guard bounds.contains(whole) else {
      let ends = [bounds.lowerBound, bounds.upperBound].map { $0 * point.scale + point.offset }.sorted()
      throw .badValue("\(ends[0]) to \(ends[1])")
    }
    // Half a step is no value that the device can hold.
    guard abs(scaled - whole) < 1e-6 * Swift.max(1, abs(whole)) else { throw .badValue("steps of \(abs(point.scale))") }
    return Int64(whole)
  }
}
