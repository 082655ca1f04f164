// Durations and sizes as a configuration writes them.

/// Nanoseconds of "250ms", "1.5s", "5m", "1h", "2d"; nil if it is none.
package func parseDuration(_ text: String) -> Int64? {
  let units: [(suffix: String, ns: Double)] = [
    ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3_600e9), ("d", 86_400e9),
  ]
  let digits = text.prefix { $0.isNumber || $0 == "." }
  let suffix = text.dropFirst(digits.count)
  guard !digits.isEmpty, let value = Double(digits), let unit = units.first(where: { $0.suffix == suffix }) else {
    return nil
  }
  let ns = (value * unit.ns).rounded()
  return ns <= 9.2e18 ? Int64(ns) : nil
}

/// The shortest exact form: 90 s is "90s", 120 s "2m".
package func durationText(_ ns: Int64) -> String {
  if ns == .max { return "any length" }
  let units: [(Int64, String)] = [
    (3_600_000_000_000, "h"), (60_000_000_000, "m"), (1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"),
  ]
  if ns == 0 { return "0s" }
  for (size, suffix) in units where ns % size == 0 { return "\(ns / size)\(suffix)" }
  return "\(ns)ns"
}

/// Bytes of "512B", "64KiB", "256MiB", "1GiB"; nil if it is none.
package func parseSize(_ text: String) -> Int? {
  let units: [(suffix: String, bytes: Int)] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)]
  let digits = text.prefix { $0.isNumber }
  guard let value = Int(digits), let unit = units.first(where: { $0.suffix == text.dropFirst(digits.count) }) else {
    return nil
  }
  let (bytes, overflow) = value.multipliedReportingOverflow(by: unit.bytes)
  return overflow ? nil : bytes
}

package func sizeText(_ bytes: Int) -> String {
  for (size, suffix) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] where bytes % size == 0 && bytes > 0 {
    return "\(bytes / size)\(suffix)"
  }
  return "\(bytes)B"
}
