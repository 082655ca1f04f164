// A point's keys for what is done to its readings before anything else sees them.

import StreamCore

enum ConditioningParser {
  private static let keys = ["counter", "spike", "debounce", "hysteresis", "max_rate", "stuck_after"]

  /// Nil: readings are taken as they are. `isOccurrence`: the device sends it when it likes.
  static func conditioning(
    of reader: TableReader, type: ValueType?, bits: ClosedRange<Int>?, personal: Bool, isOccurrence: Bool
  ) -> ConditioningRule? {
    rejectMeaningless(reader, type, bits, personal: personal, isOccurrence: isOccurrence)
    var rule = ConditioningRule()
    if let mode = reader.choice("counter", among: [("total", CounterMode.total), ("increment", .increment)]) {
      rule.counter = mode
      rule.counterModulus = modulus(type, bits)
    }
    if let size = reader.integer("spike", in: 3...5) {
      if size == 4 {
        reader.report("spike", "4 has no median of its own: write 3 or 5, so many readings")
      } else {
        rule.spike = UInt8(size)
      }
    }
    rule.debounceNs = reader.duration("debounce", in: 0...Limits.intervalNsMax) ?? 0
    rule.hysteresis = distance("hysteresis", of: "how far a value must turn back", reader)
    rule.maxRate = distance("max_rate", of: "the most that it moves in a second", reader)
    rule.stuckNs = reader.duration("stuck_after", in: 0...Limits.intervalNsMax) ?? 0
    return rule == ConditioningRule() ? nil : rule
  }

  private static func distance(_ key: String, of what: String, _ reader: TableReader) -> Double {
    guard let value = reader.number(key) else { return 0 }
    if value <= 0 { reader.report(key, "\(value) is not above 0: it is \(what)") }
    return max(value, 0)
  }

  private static func rejectMeaningless(
    _ reader: TableReader, _ type: ValueType?, _ bits: ClosedRange<Int>?, personal: Bool, isOccurrence: Bool
  ) {
    if personal {
      reader.reject(keys, because: "has no meaning for a personal point: only its pseudonym is kept")
    }
    switch type {
    case .text: reader.reject(keys, because: "has no meaning for a text")
    case .bool: reader.reject(["counter", "hysteresis", "max_rate"], because: "has no meaning for a bool")
    case .f32, .f64:
      reader.reject(["counter"], because: "counts in integers: a floating-point number has no last value before 0")
    case .i8, .i16, .i32, .i64, .bcd(_, true):
      if bits == nil, let word = type?.word {
        reader.reject(
          ["counter"], because: "counts upwards from 0: \(unsigned(word)) can do that, \(word) can be below it")
      }
    default: break
    }
    if isOccurrence {
      reader.reject(["debounce"], because: "needs a second reading: this comes only when the device sends it")
    }
  }

  private static func unsigned(_ word: String) -> String {
    word.hasPrefix("i") ? "u" + word.dropFirst() : String(word.dropFirst())
  }

  /// After how many steps the device's counter is at 0 again; 0: 2^64.
  private static func modulus(_ type: ValueType?, _ bits: ClosedRange<Int>?) -> UInt64 {
    if let bits { return 1 << UInt64(bits.count) }
    guard let type, type != .u64, let top = type.rawRange?.upperBound else { return 0 }
    return UInt64(bitPattern: top) &+ 1
  }

  /// A distance, or a part of the value last reported: 0.5, or "2 %".
  static func deadband(of reader: TableReader) -> (distance: Double, isRelative: Bool)? {
    guard case .string(let text)? = reader.item("deadband")?.value else {
      guard let distance = reader.number("deadband") else { return nil }
      if distance < 0 { reader.report("deadband", "\(distance) is below 0: it is a distance, 0 reports every change") }
      return (distance, false)
    }
    var digits = Substring(text)
    guard digits.popLast() == "%" else { return notUnderstood(text, reader) }
    while digits.last == " " { digits.removeLast() }
    guard let percent = Double(digits), percent.isFinite else { return notUnderstood(text, reader) }
    if percent <= 0 || percent > 100 {
      reader.report("deadband", "\"\(text)\" is out of range: above 0 %, at most 100 %")
    }
    return (percent / 100, true)
  }

  private static func notUnderstood(_ text: String, _ reader: TableReader) -> (Double, Bool)? {
    reader.report(
      "deadband",
      "\"\(text)\" is not understood: write a distance, 0.5, or a part of the value last reported, \"2 %\"")
    return nil
  }
}
