import StreamCore
import Testing

@Suite("Conditioning, held against plain references")
struct ConditioningTests {
  struct Reading: Equatable {
    var raw: Int64
    var quality: Quality
    var at: Int64
  }

  /// What comes out of every reading.
  private func output(
    _ conditioning: ConditioningRule, encoding: Encoding = .signed, scale: Double = 1, _ readings: [Reading]
  ) -> [Reading] {
    var point = PointRule()
    point.encoding = encoding
    point.scale = scale
    point.conditioning = 1
    point.isOccurrence = true
    let rig = PipelineRig(points: [point], conditioning: [conditioning])
    for reading in readings {
      rig.pipeline.accept(
        point: 0, raw: reading.raw, quality: reading.quality, text: .init(start: nil, count: 0),
        at: Instant(nanoseconds: reading.at))
      rig.collect()
    }
    return rig.samples.map { Reading(raw: $0.raw, quality: $0.quality, at: $0.at.nanoseconds) }
  }

  /// Random readings with gaps, repeats and broken ones; `draw` gives the values.
  private func readings(_ seed: UInt64, _ count: Int = 200, draw: (inout SplitMix64) -> Int64) -> [Reading] {
    var random = SplitMix64(state: seed)
    var now: Int64 = 0
    return (0..<count).map { _ in
      now += Int64.random(in: 0...2 * secondNs, using: &random)
      let isBad = Int.random(in: 0..<12, using: &random) == 0
      let raw = draw(&random)
      return Reading(raw: isBad ? 0 : raw, quality: isBad ? .bad : .good, at: now)
    }
  }

  private func check(
    _ rule: ConditioningRule, scale: Double = 1, draw: (inout SplitMix64) -> Int64, reference: ([Reading]) -> [Reading]
  ) {
    for seed in UInt64(1)...60 {
      let input = readings(seed, draw: draw)
      let got = output(rule, scale: scale, input)
      let expected = reference(input)
      #expect(got == expected, "seed \(seed)")
      if got != expected { return }
    }
  }

  @Test("a counter's steps add up over wraps and resets", arguments: [CounterMode.total, .increment])
  func counter(_ mode: CounterMode) {
    var rule = ConditioningRule()
    rule.counter = mode
    rule.counterModulus = 1_000
    check(rule, draw: { Int64.random(in: 0...999, using: &$0) }) { input in
      var before: Int64?
      var total: Int64 = 0
      return input.map { reading in
        guard reading.quality == .good else { return reading }
        var step: Int64 = 0
        if let before {
          step = reading.raw - before
          if step < 0 { step = before >= 750 && reading.raw < 250 ? step + 1_000 : reading.raw }
        } else {
          total = reading.raw
        }
        before = reading.raw
        total += step
        return Reading(raw: mode == .total ? total : step, quality: .good, at: reading.at)
      }
    }
  }

  @Test("a counter of 64 bits wraps at its end, and a step over the whole range does not trap")
  func widestCounter() {
    var rule = ConditioningRule()
    rule.counter = .increment
    let raws: [UInt64] = [.max - 2, 3, 7, 5, .max, 0, 1 << 63, 1]
    let input = raws.enumerated().map {
      Reading(raw: Int64(bitPattern: $0.element), quality: .good, at: Int64($0.offset))
    }
    let got = output(rule, encoding: .unsigned, input).map { UInt64(bitPattern: $0.raw) }
    // Half of the range is no wrap: the device began anew.
    let expected: [UInt64] = [0, 6, 4, 5, .max - 5, 1, 1 << 63, 1]
    #expect(got == expected)
  }

  @Test("a total never falls")
  func totalNeverFalls() {
    var rule = ConditioningRule()
    rule.counter = .total
    rule.counterModulus = 65_536
    for seed in UInt64(1)...40 {
      let totals = output(rule, readings(seed) { Int64.random(in: 0...65_535, using: &$0) })
        .filter { $0.quality == .good }.map(\.raw)
      #expect(zip(totals, totals.dropFirst()).allSatisfy { $0 <= $1 }, "seed \(seed)")
    }
  }

  @Test("spikes are taken out by the median of three or five", arguments: [3, 5])
  func spikes(_ size: Int) {
    var rule = ConditioningRule()
    rule.spike = UInt8(size)
    for scale in [1.0, -2.0] {
      check(rule, scale: scale, draw: { Int64.random(in: -4...4, using: &$0) }) { input in
        var recent: [Int64] = []
        return input.map { reading in
          guard reading.quality == .good else {
            recent = []
            return reading
          }
          recent = (recent + [reading.raw]).suffix(size)
          let raw = recent.count < size ? reading.raw : recent.sorted()[size / 2]
          return Reading(raw: raw, quality: .good, at: reading.at)
        }
      }
    }
  }

  @Test("a bouncing value is taken over when it has settled")
  func debounce() {
    var rule = ConditioningRule()
    rule.debounceNs = 2 * secondNs
    check(rule, draw: { Int64.random(in: 0...1, using: &$0) }) { input in
      var held: Int64?
      // Since when all readings have been another value.
      var other: (raw: Int64, since: Int64)?
      return input.map { reading in
        guard reading.quality == .good else {
          other = nil
          return reading
        }
        if held == nil || reading.raw == held {
          held = reading.raw
          other = nil
        } else {
          if other?.raw != reading.raw { other = (reading.raw, reading.at) }
          if let since = other?.since, reading.at - since >= 2 * secondNs {
            held = reading.raw
            other = nil
          }
        }
        return Reading(raw: held ?? 0, quality: .good, at: reading.at)
      }
    }
  }

  @Test("a value that turns back is followed only after it has gone far enough")
  func hysteresis() {
    var rule = ConditioningRule()
    rule.hysteresis = 3
    check(rule, draw: { Int64.random(in: -10...10, using: &$0) }) { input in
      var held: Int64?
      var isRising = true
      return input.map { reading in
        guard reading.quality == .good else { return reading }
        guard let last = held else {
          held = reading.raw
          return reading
        }
        let distance = reading.raw - last
        if distance != 0, (distance > 0) == isRising || abs(distance) > 3 {
          isRising = distance > 0
          held = reading.raw
        }
        return Reading(raw: held ?? 0, quality: .good, at: reading.at)
      }
    }
  }

  @Test("what moves faster than it can is uncertain, and a true step is believed in the end")
  func maxRate() {
    var rule = ConditioningRule()
    rule.maxRate = 2
    check(rule, draw: { Int64.random(in: -6...6, using: &$0) }) { input in
      var believed: Reading?
      return input.map { reading in
        guard reading.quality == .good else { return reading }
        if let last = believed {
          let allowed = 2 * (Double(reading.at - last.at) / 1e9)
          if Double(abs(reading.raw - last.raw)) > allowed {
            return Reading(raw: reading.raw, quality: .uncertain, at: reading.at)
          }
        }
        believed = reading
        return reading
      }
    }
    let step = (0...10).map { Reading(raw: $0 == 0 ? 0 : 15, quality: .good, at: Int64($0) * secondNs) }
    let doubted = [Quality](repeating: .uncertain, count: 7)
    #expect(output(rule, step).map(\.quality) == [.good] + doubted + [.good, .good, .good])
  }

  @Test("a value that does not move for too long is uncertain until it does")
  func stuck() {
    var rule = ConditioningRule()
    rule.stuckNs = 5 * secondNs
    check(rule, draw: { Int.random(in: 0..<8, using: &$0) == 0 ? 1 : 0 }) { input in
      var since: Reading?
      return input.map { reading in
        guard reading.quality == .good else {
          since = nil
          return reading
        }
        if since?.raw != reading.raw { since = reading }
        let isStuck = reading.at - (since?.at ?? 0) >= 5 * secondNs
        return Reading(raw: reading.raw, quality: isStuck ? .uncertain : .good, at: reading.at)
      }
    }
  }

  @Test("all operators of one point keep their words apart")
  func together() {
    var rule = ConditioningRule()
    rule.counter = .total
    rule.counterModulus = 100
    rule.spike = 5
    rule.debounceNs = secondNs
    rule.hysteresis = 2
    rule.maxRate = 50
    rule.stuckNs = 3 * secondNs
    for seed in UInt64(1)...30 {
      let input = readings(seed) { Int64.random(in: 0...99, using: &$0) }
      // One after the other, each alone, gives the same.
      var expected = input
      for part in 0..<4 {
        var one = ConditioningRule()
        switch part {
        case 0: (one.counter, one.counterModulus) = (.total, 100)
        case 1: one.spike = 5
        case 2: one.debounceNs = secondNs
        default: one.hysteresis = 2
        }
        expected = output(one, expected)
      }
      var fast = ConditioningRule()
      fast.maxRate = 50
      var still = ConditioningRule()
      still.stuckNs = 3 * secondNs
      let (doubts, stands) = (output(fast, expected), output(still, expected))
      for index in expected.indices {
        expected[index].quality = max(doubts[index].quality, stands[index].quality)
      }
      #expect(output(rule, input) == expected, "seed \(seed)")
    }
  }

  @Test("a deadband in percent is one of the value last reported")
  func relativeDeadband() {
    var point = PointRule()
    point.deadband = 0.1
    point.isDeadbandRelative = true
    let rig = PipelineRig(points: [point])
    for (index, raw) in [100, 110, 111, 100, 99, 0, 1, 0, -50, -46, -44].enumerated() {
      rig.feed(Int64(raw), at: Int64(index))
    }
    rig.collect()
    #expect(rig.samples.map(\.raw) == [100, 111, 99, 0, 1, 0, -50, -44])
  }

  @Test("infinities and NaN reach no operator")
  func notFinite() {
    var rule = ConditioningRule()
    rule.spike = 3
    rule.maxRate = 1
    let values: [Double] = [1, .nan, 1, .infinity, 1, -.infinity, 1, 1, 1]
    let got = output(
      rule, encoding: .double,
      values.enumerated().map {
        Reading(raw: Int64(bitPattern: $0.element.bitPattern), quality: .good, at: Int64($0.offset))
      })
    for (one, value) in zip(got, values) { #expect(one.quality == (value.isFinite ? .good : .bad)) }
  }
}
