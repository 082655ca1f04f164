// Writes Prometheus's text format 0.0.4: a family's HELP and TYPE once, then its samples. A value type.

package struct MetricsWriter {
  package private(set) var bytes: [UInt8] = []

  package enum Kind: String {
    case counter, gauge
  }

  package init(reservingCapacity count: Int = 16_384) { bytes.reserveCapacity(count) }

  /// Names follow Prometheus's conventions: base units, `_total` on counters.
  package mutating func family(_ name: String, _ kind: Kind, _ help: String, _ samples: (inout Family) -> Void) {
    var family = Family(name: name)
    samples(&family)
    if family.bytes.isEmpty { return }
    bytes.append(contentsOf: "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n".utf8)
    bytes.append(contentsOf: family.bytes)
  }

  package mutating func gauge(_ name: String, _ help: String, _ value: Double) {
    family(name, .gauge, help) { $0.sample(value) }
  }
  package mutating func counter(_ name: String, _ help: String, _ value: Int64) {
    family(name, .counter, help) { $0.sample(Double(value)) }
  }

  package struct Family {
    fileprivate let name: String
    fileprivate var bytes: [UInt8] = []

    fileprivate init(name: String) { self.name = name }

    package mutating func sample(_ value: Double, _ labels: (name: String, value: String)...) {
      bytes.append(contentsOf: name.utf8)
      if !labels.isEmpty {
        bytes.append(UInt8(ascii: "{"))
        for (place, label) in labels.enumerated() {
          if place > 0 { bytes.append(UInt8(ascii: ",")) }
          bytes.append(contentsOf: label.name.utf8)
          bytes.append(contentsOf: "=\"".utf8)
          for byte in label.value.utf8 {
            switch byte {
            case UInt8(ascii: "\\"), UInt8(ascii: "\""): bytes.append(contentsOf: [UInt8(ascii: "\\"), byte])
            case 0x0A: bytes.append(contentsOf: "\\n".utf8)
            default: bytes.append(byte)
            }
          }
          bytes.append(UInt8(ascii: "\""))
        }
        bytes.append(UInt8(ascii: "}"))
      }
      bytes.append(UInt8(ascii: " "))
      bytes.append(contentsOf: Self.text(value).utf8)
      bytes.append(0x0A)
    }

    private static func text(_ value: Double) -> String {
      if let whole = Int64(exactly: value) { return "\(whole)" }
      return value.isNaN ? "NaN" : value.isInfinite ? (value > 0 ? "+Inf" : "-Inf") : value.description
    }
  }
}
