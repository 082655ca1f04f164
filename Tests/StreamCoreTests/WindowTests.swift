import StreamCore
import Testing

@Suite("A window, held against a plain reference")
struct WindowTests {
  private static let all: [Statistic] = [
    .min, .max, .mean, .last, .count, .sum, .stddev, .first, .rate, .rises, .falls, .timeTrue, .p50, .p90, .p95, .p99,
    .coverage,
  ]

  struct Shape: Sendable, CustomTestStringConvertible {
    var every: Int64
    var slide: Int64
    var lateness: Int64 = 0
    var valid: Int64 = 0
    var testDescription: String { "\(every)s, slide \(slide)s, lateness \(lateness)s" }
  }

  private struct Pair {
    let rig: PipelineRig
    var reference: WindowReference
    let rule: PointRule

    init(_ shape: Shape, encoding: Encoding, scale: Double = 1) {
      var window = WindowRule(
        everyNs: shape.every * secondNs, slideNs: shape.slide * secondNs, latenessNs: shape.lateness * secondNs)
      for statistic in WindowTests.all { window.add(statistic) }
      var point = PointRule()
      point.encoding = encoding
      point.scale = scale
      point.validNs = shape.valid * secondNs
      point.windowCount = 1
      rule = point
      rig = PipelineRig(points: [point], windows: [window])
      reference = WindowReference(
        everyNs: window.everyNs, slideNs: window.slideNs, latenessNs: window.latenessNs, validNs: point.validNs,
        statistics: WindowTests.all)
    }

    /// As a bus's loop does: every deadline on the way is met.
    mutating func move(to now: Int64) {
      while rig.nextDeadlineNs <= now {
        let due = rig.nextDeadlineNs
        rig.tick(due)
        reference.tick(due)
        rig.collect()
      }
    }

    mutating func live(_ raw: Int64, _ quality: Quality, at now: Int64) {
      let value = rule.value(raw)
      reference.live(value, quality == .good && !value.isFinite ? .bad : quality, at: now)
      rig.pipeline.accept(
        point: 0, raw: raw, quality: quality, text: .init(start: nil, count: 0), at: Instant(nanoseconds: now))
      rig.collect()
    }

    mutating func late(_ raw: Int64, at then: Int64) {
      reference.late(rule.value(raw), at: then)
      rig.pipeline.accept(
        point: 0, raw: raw, quality: .good, text: .init(start: nil, count: 0), at: Instant(nanoseconds: then),
        isReplayed: true)
      rig.collect()
    }

    mutating func clock(_ offset: Int64, at now: Int64) {
      rig.pipeline.setClock(offsetNs: offset, at: Instant(nanoseconds: now))
      reference.clock(offset, at: now)
    }

    func compare(_ seed: UInt64) {
      let samples = rig.samples.filter { $0.series > 0 }
      let expected = reference.reports
      #expect(samples.count == expected.count, "seed \(seed)")
      for (sample, report) in zip(samples, expected) {
        let statistic = WindowTests.all[Int(sample.series) - 1]
        guard statistic == report.statistic, sample.at.nanoseconds == report.endNs else {
          Issue.record("seed \(seed): \(statistic) at \(sample.at.nanoseconds), expected \(report)")
          return
        }
        let got =
          statistic.isComputed
          ? Double(bitPattern: UInt64(bitPattern: sample.raw))
          : [.count, .rises, .falls].contains(statistic) ? Double(sample.raw) : rule.value(sample.raw)
        let near =
          statistic.percentile != nil
          ? (got - report.value).magnitude <= report.value.magnitude * 0.010_000_001
          : (got - report.value).magnitude <= 1e-9 * max(1, report.value.magnitude, 1e6)
        #expect(near && sample.quality == report.quality, "seed \(seed): \(got) \(sample.quality), expected \(report)")
        if !near || sample.quality != report.quality { return }
      }
      #expect(rig.pipeline.missedWindow == Int64(reference.missed), "seed \(seed)")
      #expect(rig.lost == 0)
    }
  }

  @Test(
    "has every statistic right, whatever order, duplicates, gaps, lateness and steps of the clock",
    arguments: [
      Shape(every: 10, slide: 10), Shape(every: 10, slide: 10, lateness: 3), Shape(every: 10, slide: 10, lateness: 10),
      Shape(every: 12, slide: 3), Shape(every: 12, slide: 3, lateness: 7), Shape(every: 60, slide: 1, lateness: 2),
      Shape(every: 10, slide: 10, valid: 2), Shape(every: 12, slide: 4, lateness: 4, valid: 3),
    ])
  func everything(_ shape: Shape) {
    for seed in UInt64(1)...25 {
      var random = SplitMix64(state: seed &* 0x1_0001 &+ UInt64(shape.every * 100 + shape.slide))
      var pair = Pair(shape, encoding: .signed, scale: Bool.random(using: &random) ? 0.5 : -0.25)
      var now = Int64.random(in: 0...100 * secondNs, using: &random)
      for _ in 0..<150 {
        switch Int.random(in: 0..<20, using: &random) {
        case 0: now += Int64.random(in: 0...40 * secondNs, using: &random)
        case 1: break
        case 2: now = (now / secondNs + 1) * secondNs
        default: now += Int64.random(in: 0...3 * secondNs, using: &random)
        }
        pair.move(to: now)
        switch Int.random(in: 0..<24, using: &random) {
        case 0: pair.live(0, .bad, at: now)
        case 1: pair.live(Int64.random(in: -5...5, using: &random), .uncertain, at: now)
        case 2...5:
          let raw = Int64.random(in: -50...50, using: &random)
          pair.late(raw, at: now - Int64.random(in: 0...15 * secondNs, using: &random))
        case 6: pair.clock(Int64.random(in: -100 * secondNs...100 * secondNs, using: &random), at: now)
        case 7...10: pair.live(Int64.random(in: 0...1, using: &random), .good, at: now)
        default: pair.live(Int64.random(in: -1_000...1_000, using: &random), .good, at: now)
        }
      }
      pair.move(to: now + 200 * secondNs)
      pair.compare(seed)
    }
  }

  @Test("takes neither NaN nor infinity in, and survives the largest numbers")
  func extremes() {
    let pool: [Double] = [
      .nan, .infinity, -.infinity, 0, -0.0, .leastNonzeroMagnitude, 1, -1, 1e-300, 5e8, -5e8,
    ]
    for seed in UInt64(1)...40 {
      var random = SplitMix64(state: seed)
      var pair = Pair(Shape(every: 10, slide: 10), encoding: .double)
      var now: Int64 = 0
      for _ in 0..<100 {
        now += Int64.random(in: 1...secondNs, using: &random)
        pair.move(to: now)
        let value = pool[Int.random(in: 0..<pool.count, using: &random)]
        pair.live(Int64(bitPattern: value.bitPattern), .good, at: now)
      }
      pair.move(to: now + 20 * secondNs)
      let samples = pair.rig.samples.filter { $0.series > 0 }
      let extremes = samples.filter { $0.series <= 2 }.map { Double(bitPattern: UInt64(bitPattern: $0.raw)) }
      #expect(extremes.allSatisfy(\.isFinite) && !extremes.isEmpty, "seed \(seed)")
      let exact = pair.reference.reports.filter { $0.statistic == .min || $0.statistic == .max }.map(\.value)
      #expect(extremes == exact, "seed \(seed)")
    }
    var window = WindowRule(everyNs: secondNs)
    for statistic in [Statistic.sum, .mean, .stddev, .p50, .max] { window.add(statistic) }
    var point = PointRule()
    point.encoding = .double
    point.windowCount = 1
    let rig = PipelineRig(points: [point], windows: [window])
    for index in 0..<10 { rig.feed(Int64(bitPattern: 1.7e308.bitPattern), at: Int64(index)) }
    rig.tick(secondNs)
    rig.collect()
    // What can't be said is no value; what can be is one.
    let window0 = rig.samples.filter { $0.series > 0 }
    #expect(window0.map(\.quality) == [.bad, .bad, .good, .good, .good])
    #expect(window0[0].raw == 0)
  }

  @Test("is never empty, double or endless, however often and far the clock is stepped")
  func clockSteps() {
    for seed in UInt64(1)...60 {
      var random = SplitMix64(state: seed)
      var pair = Pair(Shape(every: 10, slide: 10), encoding: .signed)
      var now: Int64 = 0
      for _ in 0..<300 {
        now += Int64.random(in: 0...secondNs, using: &random)
        pair.move(to: now)
        if Int.random(in: 0..<3, using: &random) == 0 {
          pair.clock(Int64.random(in: -(1 << 60)...(1 << 60), using: &random), at: now)
        }
        pair.live(Int64.random(in: 0...9, using: &random), .good, at: now)
      }
      pair.move(to: now + 40 * secondNs)
      let ends = pair.rig.samples.filter { $0.series == 5 }.map(\.at.nanoseconds)
      #expect(ends.count > 10)
      // The first one may begin before the first reading.
      for (one, next) in zip(ends, ends.dropFirst()) {
        #expect((5 * secondNs...15 * secondNs).contains(next - one), "seed \(seed): \(next - one)")
      }
      // Without steps they stand at full tens of the last clock again.
      #expect((ends[ends.count - 1] + pair.rig.pipeline.clockOffsetNs) % (10 * secondNs) == 0, "seed \(seed)")
      pair.compare(seed)
    }
  }

  @Test("ends at full minutes of the wall clock once that is known")
  func alignment() {
    var pair = Pair(Shape(every: 60, slide: 60), encoding: .signed)
    for second in Int64(0)..<400 {
      pair.move(to: second * secondNs)
      // 1,700,000,000 s after 1970 is 20 s past a full minute.
      if second == 100 { pair.clock(1_700_000_000 * secondNs - 100 * secondNs, at: second * secondNs) }
      pair.live(second, .good, at: second * secondNs)
    }
    let ends = pair.rig.samples.filter { $0.series == 5 }.map { $0.at.nanoseconds / secondNs }
    #expect(ends == [60, 140, 200, 260, 320, 380])
    let counts = pair.rig.samples.filter { $0.series == 5 }.map(\.raw)
    #expect(counts == [60, 80, 60, 60, 60, 60])
  }

  @Test("is reported by the clock alone, and says how little of it was seen")
  func coverage() {
    var pair = Pair(Shape(every: 10, slide: 10, valid: 3), encoding: .signed)
    for second in Int64(10)...14 { pair.live(7, .good, at: second * secondNs) }
    pair.live(0, .bad, at: 16 * secondNs)
    pair.move(to: 40 * secondNs)
    let samples = pair.rig.samples.filter { $0.series > 0 }
    let coverage = samples.filter { $0.series == 17 }.map { Double(bitPattern: UInt64(bitPattern: $0.raw)) }
    // From 10 s to 16 s; then the device was silent, and for a whole window nothing was known.
    #expect(coverage == [0.6, 0, 0])
    #expect(samples.filter { $0.series == 1 }.map(\.quality) == [.good])
    #expect(samples.filter { $0.series == 5 }.map(\.raw) == [5, 0, 0])
    pair.live(7, .good, at: 48 * secondNs)
    pair.move(to: 50 * secondNs)
    #expect(pair.rig.samples.last { $0.series == 1 }?.quality == .uncertain)
  }

  @Test("costs its words of memory and not one more, and a thousand of a kind share a rule")
  func memory() {
    var window = WindowRule(everyNs: 60 * secondNs)
    for statistic in [Statistic.min, .max, .mean, .last, .count] { window.add(statistic) }
    let plain = window.words
    #expect(plain == 8)
    window.add(.p95)
    #expect((window.words - plain) * 8 == window.sketchWords * 8)
    #expect(window.sketchWords * 8 <= 2_500)
    #expect(MemoryLayout<PointState>.stride == 48)
    #expect(MemoryLayout<WindowState>.stride == 12)
  }
}
