// The words by which a profile names tables, types, orders, statistics and severities, and what the types allow.

import StreamCore

extension RegisterTable {
  package static let words: [(word: String, value: RegisterTable)] = [
    ("holding", .holding), ("input", .input), ("coil", .coil), ("discrete", .discrete),
  ]
}

extension WordOrder {
  package static let words: [(word: String, value: WordOrder)] = [
    ("ABCD", .abcd), ("CDAB", .cdab), ("BADC", .badc), ("DCBA", .dcba),
  ]
}

extension WriteAccess {
  package static let words: [(word: String, value: WriteAccess)] = [
    ("no", .no), ("maintenance", .maintenance), ("upstream", .upstream),
  ]
}

extension Statistic {
  package static let words: [(word: String, value: Statistic)] = [
    ("min", .min), ("max", .max), ("mean", .mean), ("last", .last), ("count", .count), ("sum", .sum),
    ("stddev", .stddev), ("first", .first), ("rate", .rate), ("rises", .rises), ("falls", .falls),
    ("time_true", .timeTrue), ("p50", .p50), ("p90", .p90), ("p95", .p95), ("p99", .p99), ("coverage", .coverage),
  ]

  package var word: String { Self.words.first { $0.value == self }?.word ?? "" }

  /// What its values are measured in, of a point in that unit.
  package func unit(of point: String?) -> String? {
    switch self {
    case .count, .rises, .falls: return "count"
    case .timeTrue: return "s"
    case .coverage: return "/"
    case .rate: return point.map { "\($0)/s" }
    default: return point
    }
  }
}

extension Severity {
  package static let words: [(word: String, value: Severity)] = [
    ("notice", .notice), ("warning", .warning), ("major", .major), ("critical", .critical),
  ]
}

extension ValueType {
  /// All but `text:N`, `bcd:N` and `sbcd:N`.
  package static let words: [(word: String, value: ValueType)] = [
    ("bool", .bool), ("u16", .u16), ("i16", .i16), ("u32", .u32), ("i32", .i32), ("u64", .u64), ("i64", .i64),
    ("f32", .f32), ("f64", .f64), ("bcd16", .bcd16), ("bcd32", .bcd32), ("u8", .u8), ("i8", .i8),
  ]

  /// Nil if there is no such type, or a text's length is not allowed.
  package static func named(_ text: String) -> ValueType? {
    if let found = words.first(where: { $0.word == text }) { return found.value }
    for (word, signed) in [("bcd:", false), ("sbcd:", true)] where text.hasPrefix(word) {
      guard let bytes = Int(text.dropFirst(word.count)), bcdBytes.contains(bytes) else { return nil }
      return .bcd(bytes: bytes, signed: signed)
    }
    guard text.hasPrefix("text:"), let bytes = Int(text.dropFirst(5)), (1...Limits.textBytesMax).contains(bytes) else {
      return nil
    }
    return .text(characters: bytes)
  }

  /// Fourteen digits fit an integer of 64 bits, and every meter's field.
  package static let bcdBytes = 1...7

  package var word: String {
    if case .text(let bytes) = self { return "text:\(bytes)" }
    if case .bcd(let bytes, let signed) = self { return "\(signed ? "sbcd" : "bcd"):\(bytes)" }
    return Self.words.first { $0.value == self }?.word ?? ""
  }

  package var isText: Bool { if case .text = self { true } else { false } }

  package var isInteger: Bool {
    switch self {
    case .u8, .i8, .u16, .i16, .u32, .i32, .u64, .i64, .bcd16, .bcd32, .bcd: return true
    case .bool, .f32, .f64, .text: return false
    }
  }

  /// Can be read from a field of a text line.
  var fitsField: Bool {
    switch self {
    case .bool, .bcd16, .bcd32, .bcd: return false
    default: return true
    }
  }

  var isBCD: Bool {
    switch self {
    case .bcd16, .bcd32, .bcd: return true
    default: return false
    }
  }

  /// Has no place in registers of 16 bits.
  package var isOfFrames: Bool {
    switch self {
    case .u8, .i8, .bcd: return true
    default: return false
    }
  }

  /// The raw values that can occur, as `invalid` and `values` name them; the bit patterns of `u64`, `f32` and `f64`.
  package var rawRange: ClosedRange<Int64>? {
    switch self {
    case .bool: return 0...1
    case .u8: return 0...0xFF
    case .i8: return -0x80...0x7F
    case .bcd(let bytes, let signed):
      let tens = (1..<(2 * bytes)).reduce(Int64(1)) { product, _ in product * 10 }
      // A sign takes the top bit of the first digit, which is then 0 to 7.
      return signed ? -(8 * tens - 1)...(8 * tens - 1) : 0...(10 * tens - 1)
    case .u16: return 0...0xFFFF
    case .i16: return -0x8000...0x7FFF
    case .u32, .f32: return 0...0xFFFF_FFFF
    case .i32: return -0x8000_0000...0x7FFF_FFFF
    case .u64, .i64, .f64: return Int64.min...Int64.max
    case .bcd16: return 0...9_999
    case .bcd32: return 0...99_999_999
    case .text: return nil
    }
  }
}
