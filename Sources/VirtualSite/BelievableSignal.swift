// What a point does when the site file doesn't say: quiet, everyday values, by the trade's usual names and units.

import FieldBus

extension Signal {
  package static func believable(for point: PointSpec, kind: String) -> Signal {
    if case .text(let characters) = point.type { return text(point, characters) }
    if point.personal { return Signal(.constant(.raw(0))) }
    if kind == "elevator", let part = travelPart(point.name) {
      return Signal(.travel(part, floors: 18, floorNs: 1_200_000_000))
    }
    if point.isBool { return Signal(.constant(.flag(point.name == "lamp"))) }
    if !point.values.isEmpty { return Signal(.constant(.raw(point.values.keys.min() ?? 0))) }
    if let named = named(point.name, unit: point.unit) { return within(point, named) }
    if point.unit == "count" { return Signal(.counter(start: 1_000, perSecond: 0.05)) }
    if let range = point.range {
      let middle = (range.lowerBound + range.upperBound) / 2
      let sway = (range.upperBound - range.lowerBound) / 20
      return Signal(.walk(low: middle - sway, high: middle + sway, periodNs: 60_000_000_000))
    }
    return Signal(.walk(low: 10 * point.scale, high: 20 * point.scale, periodNs: 60_000_000_000))
  }

  private static func travelPart(_ name: String) -> TravelPart? {
    switch name {
    case "door_open", "door": return .door
    default: return TravelPart(rawValue: name)
    }
  }

  private static func text(_ point: PointSpec, _ characters: Int) -> Signal {
    func cut(_ text: String) -> SiteValue { .text(String(text.prefix(characters))) }
    switch point.name {
    case "record": return Signal(.constant(cut("CARD")))
    // Residents who come and go; none of them exists.
    case "card":
      let cards = ["0004711042", "0004711043", "0008150815", "0005550123", "0009990001", "0001234567", "0007654321"]
      return Signal(.sequence(cards.map(cut), everyNs: 3_000_000_000))
    case "direction": return Signal(.sequence([cut("IN"), cut("OUT")], everyNs: 5_000_000_000))
    default: return Signal(.constant(cut("SN240017-03")))
    }
  }

  private static func named(_ name: String, unit: String?) -> Signal? {
    switch name {
    case "tilt": return Signal(.walk(low: 0.4, high: 2.2, periodNs: 40_000_000_000), noise: 0.15)
    case "water_level": return Signal(.walk(low: 0.15, high: 0.6, periodNs: 90_000_000_000), noise: 0.004)
    case "gas": return Signal(.walk(low: 0, high: 3, periodNs: 60_000_000_000))
    case "battery": return Signal(.constant(.number(3.61)), noise: 0.01)
    case "voltage": return Signal(.walk(low: 226, high: 234, periodNs: 20_000_000_000), noise: 0.4)
    case "current": return Signal(.walk(low: 0.26, high: 0.28, periodNs: 20_000_000_000))
    case "power": return Signal(.walk(low: 58, high: 64, periodNs: 20_000_000_000), noise: 0.3)
    case "energy": return Signal(.counter(start: 1_204, perSecond: 0.02))
    case "hours": return Signal(.counter(start: 6_130, perSecond: 1.0 / 3_600))
    case "pressure": return Signal(.walk(low: 3_050, high: 3_450, periodNs: 30_000_000_000), noise: 20)
    case "flow": return Signal(.constant(.number(0)))
    case "volume": return Signal(.constant(.number(8_113.4)))
    case "obscuration": return Signal(.walk(low: 0.01, high: 0.08, periodNs: 60_000_000_000))
    case "contamination": return Signal(.constant(.number(12)))
    case "passes_in", "passes_out": return Signal(.counter(start: 48_200, perSecond: 0.1))
    default: break
    }
    switch unit {
    case "Cel": return Signal(.walk(low: 17, high: 21, periodNs: 120_000_000_000), noise: 0.05)
    case "V": return Signal(.constant(.number(3.6)), noise: 0.01)
    case "%RH": return Signal(.walk(low: 40, high: 60, periodNs: 120_000_000_000))
    default: return nil
    }
  }

  /// A name that means something else on this device must not make it read nonsense.
  private static func within(_ point: PointSpec, _ signal: Signal) -> Signal {
    guard let range = point.range else { return signal }
    let seen = stride(from: Int64(0), to: 120_000_000_000, by: 5_000_000_000).map {
      signal.value(atNs: $0, deviceSeed: 1, pointSeed: 1)
    }
    for case .number(let value) in seen where !range.contains(value) {
      return Signal(.constant(.number((range.lowerBound + range.upperBound) / 2)))
    }
    return signal
  }
}
