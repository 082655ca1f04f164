// One [[device.signal]] table: how a point's value moves.

import FieldBus
import StreamCore

struct SignalReader {
  private let reader: TableReader
  private let point: PointSpec

  private enum Word: String, CaseIterable {
    case constant, sine, walk, square, counter, travel, sequence
  }

  init(_ reader: TableReader, point: PointSpec) {
    self.reader = reader
    self.point = point
  }

  /// Asks for the keys of its shape only: the others are unknown.
  func signal() -> Signal? {
    reader.require("shape")
    guard let word: Word = reader.choice("shape") else {
      reader.ignore("value", "low", "high", "period", "duty", "start", "rate", "part", "floors", "floor_time", "values")
      reader.ignore("every", "noise")
      return nil
    }
    let noise = reader.number("noise") ?? 0
    return shape(word).map { Signal($0, noise: noise) }
  }

  private func shape(_ word: Word) -> Shape? {
    switch word {
    case .constant:
      reader.require("value")
      return value("value").map { .constant($0) }
    case .sine, .walk:
      for key in ["low", "high"] { reader.require(key) }
      let period = period(60_000_000_000)
      guard let low = reader.number("low"), let high = reader.number("high") else { return nil }
      return word == .sine
        ? .sine(low: low, high: high, periodNs: period) : .walk(low: low, high: high, periodNs: period)
    case .square:
      for key in ["low", "high"] { reader.require(key) }
      let period = period(10_000_000_000)
      let duty = reader.number("duty") ?? 0.5
      if !(0...1).contains(duty) { reader.report("duty", "\(duty) is out of range: allowed are 0 to 1") }
      guard let low = value("low"), let high = value("high") else { return nil }
      return .square(low: low, high: high, periodNs: period, duty: duty)
    case .counter:
      return .counter(start: reader.number("start") ?? 0, perSecond: reader.number("rate") ?? 1)
    case .travel:
      let part: TravelPart = reader.choice("part") ?? .floor
      let floors = reader.integer("floors", in: 2...200) ?? 18
      let floorNs = reader.duration("floor_time", in: 100_000_000...60_000_000_000) ?? 1_200_000_000
      return .travel(part, floors: floors, floorNs: floorNs)
    case .sequence:
      reader.require("values")
      let every = reader.duration("every", in: Limits.siteIntervalNsMin...Limits.intervalNsMax) ?? 1_000_000_000
      let items = reader.array("values", of: "an array of values") ?? []
      let values = items.compactMap { SiteValue.checked($0, for: point, reader, "values") }
      if reader.has("values"), items.isEmpty { reader.report("values", "is empty") }
      return values.isEmpty ? nil : .sequence(values, everyNs: every)
    }
  }

  private func period(_ usual: Int64) -> Int64 {
    reader.duration("period", in: Limits.siteIntervalNsMin...Limits.intervalNsMax) ?? usual
  }

  private func value(_ key: String) -> SiteValue? {
    reader.item(key).flatMap { SiteValue.checked($0, for: point, reader, key) }
  }
}

extension SiteValue {
  /// A value that the point can hold; else it is reported.
  static func checked(_ item: TomlItem, for point: PointSpec, _ reader: TableReader, _ key: String) -> SiteValue? {
    let value: SiteValue
    switch item.value {
    case .integer(let number): value = .number(Double(number))
    case .float(let number) where number.isFinite: value = .number(number)
    case .string(let text): value = .text(text)
    case .bool(let on): value = .flag(on)
    default:
      reader.diagnostics.report(
        item.place, reader.keyPath(key), "expected a number, a text, or true or false, got \(item.value.typeName)")
      return nil
    }
    if point.type.isText {
      if case .text = value { return value }
      reader.diagnostics.report(
        item.place, reader.keyPath(key), "\"\(point.name)\" is a text, got \(item.value.typeName)")
      return nil
    }
    if RegisterCode.raw(of: value, for: point) != nil { return value }
    var message = "\"\(value.text)\" is no value of \"\(point.name)\""
    let names = point.values.sorted { $0.key < $1.key }.map(\.value)
    if !names.isEmpty { message += ": allowed are numbers and \(names.map { "\"\($0)\"" }.joined(separator: ", "))" }
    reader.diagnostics.report(item.place, reader.keyPath(key), message)
    return nil
  }
}
