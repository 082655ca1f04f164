// Units in expressions: what may be added and compared. Names are those of SenML (RFC 8428, RFC 8798), taken as
// they stand; what a configuration calls otherwise is a unit of its own.

/// What is known of the unit of an expression.
enum UnitKnowledge: Equatable {
  /// A number that was written down: it goes with everything.
  case any
  /// A point without a unit, a product or a quotient: nothing to be checked.
  case unknown
  case unit(String)

  var name: String? { if case .unit(let name) = self { name } else { nil } }

  /// Of a sum; nil: they can't be added.
  func joined(with other: UnitKnowledge) -> UnitKnowledge? {
    switch (self, other) {
    case (.unit(let a), .unit(let b)): return a == b ? self : nil
    case (.unit, _): return self
    case (_, .unit): return other
    case (.any, .any): return .any
    default: return .unknown
    }
  }
}

enum UnitConversion {
  /// RFC 8798, section 3: by what a value in the secondary unit is multiplied to be one in the primary unit.
  private static let factors: [String: (primary: String, factor: Double)] = [
    "ms": ("s", 1e-3), "min": ("s", 60), "h": ("s", 3_600), "MHz": ("Hz", 1e6), "kW": ("W", 1e3), "kVA": ("VA", 1e3),
    "kvar": ("var", 1e3), "Ah": ("C", 3_600), "Wh": ("J", 3_600), "kWh": ("J", 3.6e6), "varh": ("vars", 3_600),
    "kvarh": ("vars", 3.6e6), "VAh": ("VAs", 3_600), "kVAh": ("VAs", 3.6e6), "Wh/km": ("J/m", 3.6), "KiB": ("B", 1_024),
    "GB": ("B", 1e9), "Mbit/s": ("bit/s", 1e6), "B/s": ("bit/s", 8), "MB/s": ("bit/s", 8e6), "mV": ("V", 1e-3),
    "mA": ("A", 1e-3), "ug/m3": ("kg/m3", 1e-9), "mm/h": ("m/s", 1 / 3.6e6), "m/h": ("m/s", 1 / 3_600.0),
    "ppm": ("/", 1e-6), "/100": ("/", 1e-2), "/1000": ("/", 1e-3), "hPa": ("Pa", 100), "mm": ("m", 1e-3),
    "cm": ("m", 1e-2), "km": ("m", 1e3), "km/h": ("m/s", 1 / 3.6), "g": ("kg", 1e-3), "l": ("m3", 1e-3),
    "l/s": ("m3/s", 1e-3), "%": ("/", 1e-2),
  ]

  /// How a value in `from` is written in `to`: "* 1000" or "/ 1000"; nil: nobody here knows.
  static func text(from: String, to: String) -> String? {
    let a = factors[from] ?? (from, 1)
    let b = factors[to] ?? (to, 1)
    guard from != to, a.primary == b.primary else { return nil }
    let factor = a.factor / b.factor
    return factor >= 1 ? "* \(number(factor))" : "/ \(number(1 / factor))"
  }

  private static func number(_ value: Double) -> String {
    let whole = value.rounded()
    return (value - whole).magnitude < 1e-6 * whole ? "\(Int64(whole))" : "\(value)"
  }
}
