import StreamCore
import Testing

@Suite("Quantiles")
struct SketchTests {
  private static let percents: [(Statistic, Int)] = [(.p50, 50), (.p90, 90), (.p95, 95), (.p99, 99)]

  /// Feeds one window and answers its quantiles.
  private static func quantiles(_ values: [Double], panes: Int64 = 1) -> [Double] {
    var window = WindowRule(everyNs: 60 * secondNs, slideNs: 60 * secondNs / panes)
    for (statistic, _) in percents { window.add(statistic) }
    var point = PointRule()
    point.encoding = .double
    point.windowCount = 1
    point.deadband = .greatestFiniteMagnitude
    let rig = PipelineRig(points: [point], windows: [window])
    let step = 60 * secondNs / Int64(values.count + 1)
    for (index, value) in values.enumerated() {
      rig.pipeline.accept(
        point: 0, raw: Int64(bitPattern: value.bitPattern), quality: .good, text: .init(start: nil, count: 0),
        at: Instant(nanoseconds: Int64(index) * step))
    }
    rig.tick(60 * secondNs)
    rig.collect()
    return rig.samples.filter { $0.series > 0 && $0.at.nanoseconds == 60 * secondNs }.map {
      Double(bitPattern: UInt64(bitPattern: $0.raw))
    }
  }

  private static func exact(_ values: [Double]) -> [Double] {
    let sorted = values.sorted()
    return percents.map { sorted[(values.count - 1) * $0.1 / 100] }
  }

  enum Distribution: String, CaseIterable, Sendable {
    case uniform, normal, lognormal, pareto, bimodal, constant, mostlyZero, negative, twoSided, exponents, subnormal
    case steps

    func value(_ random: inout SplitMix64) -> Double {
      let u = Double.random(in: 0..<1, using: &random)
      // Twelve of them: near enough to a normal one.
      let z = (0..<12).reduce(-6.0) { sum, _ in sum + Double.random(in: 0..<1, using: &random) }
      switch self {
      case .uniform: return 20 + 10 * u
      case .normal: return 100 + 15 * z
      case .lognormal: return pow2(3 * z)
      // Heavy tail: the mean does not exist.
      case .pareto: return 1 / (1 - u)
      case .bimodal: return u < 0.5 ? 0.001 * (1 + 0.1 * z) : 5_000 + z
      case .constant: return 21.5
      case .mostlyZero: return u < 0.93 ? 0 : 1e6 * u
      case .negative: return -pow2(2 * z)
      case .twoSided: return (u < 0.5 ? -1 : 1) * (0.1 + 400 * Double.random(in: 0..<1, using: &random))
      case .exponents: return pow2(30 * u)
      case .subnormal: return u * 1_000_000 * .leastNonzeroMagnitude
      case .steps: return Double(Int(u * 7)) * 0.1
      }
    }

    private func pow2(_ x: Double) -> Double {
      var result = 1 + 0.6931471805599453 * (x - x.rounded(.down))
      result *= Double(sign: .plus, exponent: Int(x.rounded(.down)), significand: 1)
      return result
    }
  }

  @Test("are at most 1 % away from the exact ones, however hard the distribution", arguments: Distribution.allCases)
  func bound(_ distribution: Distribution) {
    for seed in UInt64(1)...12 {
      var random = SplitMix64(state: seed &* 77)
      let values = (0..<Int.random(in: 1...4_000, using: &random)).map { _ in distribution.value(&random) }
      for panes in [Int64(1), 4] {
        let got = Self.quantiles(values, panes: panes)
        let exact = Self.exact(values)
        #expect(got.count == 4)
        for (one, other) in zip(got, exact) {
          #expect(
            (one - other).magnitude <= other.magnitude * 0.010_000_001,
            "\(distribution) seed \(seed): \(one), exactly \(other), of \(values.count)")
        }
      }
    }
  }

  @Test("are the same in whatever order the readings came")
  func order() {
    var random = SplitMix64(state: 5)
    let values = (0..<3_000).map { _ in Distribution.pareto.value(&random) }
    let straight = Self.quantiles(values)
    #expect(Self.quantiles(values.sorted()) == straight)
    #expect(Self.quantiles(values.sorted().reversed()) == straight)
    #expect(Self.quantiles(values.shuffled(using: &random)) == straight)
  }

  @Test("give up what is smallest when the range is too wide, and nothing else")
  func collapse() {
    // Twenty decades: the upper ten and a bit keep their classes.
    let values = (0..<2_000).map { Double(sign: .plus, exponent: -33 + $0 / 30, significand: 1.3) }
    for order in [values, values.reversed()] {
      let got = Self.quantiles(order)
      let exact = Self.exact(values)
      let floor = (values.max() ?? 0) / 2e10
      for (one, other) in zip(got, exact) {
        #expect((one - other).magnitude <= max(other.magnitude * 0.010_000_001, floor), "\(one), exactly \(other)")
      }
      #expect(got[0] > 0)
    }
    // Both signs at once share the classes: five decades each are left, and the smallest are zero.
    let both = values.flatMap { [$0, -$0] }
    let got = Self.quantiles(both)
    let exact = Self.exact(both)
    let floor = (both.max() ?? 0) / 1e5
    for (one, other) in zip(got, exact) {
      #expect((one - other).magnitude <= max(other.magnitude * 0.010_000_001, floor), "\(one), exactly \(other)")
    }
    #expect(got[0] == 0)
    // The largest numbers there are, and the smallest.
    let ends = Self.quantiles([.greatestFiniteMagnitude, -.greatestFiniteMagnitude, .leastNonzeroMagnitude])
    #expect(ends[0] == 0)
    #expect((ends[3] / 1e308).isFinite)
  }

  @Test("count more readings of one value than a class can by itself")
  func carries() {
    var values = [Double](repeating: 10, count: 150_000)
    values += [Double](repeating: 1, count: 70_000)
    // Larger ones make the classes move.
    values += (0..<3_000).map { 20 + Double($0) }
    values += [1e-3, -1e3]
    let got = Self.quantiles(values)
    for (one, other) in zip(got, Self.exact(values)) {
      #expect((one - other).magnitude <= other.magnitude * 0.010_000_001, "\(one), exactly \(other)")
    }
  }
}
