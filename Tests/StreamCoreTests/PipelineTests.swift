import StreamCore
import Testing

@Suite struct PipelineTests {
  private func point(_ change: (inout PointRule) -> Void = { _ in }) -> PointRule {
    var rule = PointRule()
    change(&rule)
    return rule
  }

  @Test("an unchanged value is reported once, a changed one each time")
  func reportsByException() {
    let rig = PipelineRig(points: [point()])
    for (index, raw) in [5, 5, 5, 6, 6, 5].enumerated() { rig.feed(Int64(raw), at: Int64(index) * secondNs) }
    rig.collect()
    #expect(rig.samples.map(\.raw) == [5, 6, 5])
    #expect(rig.samples.map(\.at.nanoseconds) == [0, 3 * secondNs, 5 * secondNs])
  }

  @Test("a value that creeps is reported when it has moved further than the deadband from the last report")
  func deadband() {
    let rig = PipelineRig(points: [
      point {
        $0.scale = 0.1
        $0.deadband = 0.5
      }
    ])
    for (index, raw) in [100, 103, 105, 106, 101, 100].enumerated() { rig.feed(Int64(raw), at: Int64(index)) }
    rig.collect()
    // 10.0, then 10.6 (0.6 away), then 10.0 (0.6 away); 10.5 is not further than 0.5, 10.1 neither.
    #expect(rig.samples.map(\.raw) == [100, 106, 100])
  }

  @Test("the heartbeat repeats a quiet value, at its interval and not more often")
  func heartbeat() {
    let rig = PipelineRig(points: [point { $0.heartbeatNs = 10 * secondNs }])
    for second in 0...30 { rig.feed(1, at: Int64(second) * secondNs) }
    rig.collect()
    #expect(rig.samples.map(\.at.nanoseconds) == [0, 10, 20, 30].map { $0 * secondNs })
  }

  @Test("a value outside its range is uncertain, a sentinel bad and without a value")
  func qualities() {
    let rig = PipelineRig(points: [
      point {
        $0.low = -10
        $0.high = 10
      }
    ])
    rig.feed(5, at: 0)
    rig.feed(11, at: 1)
    rig.feed(77, quality: .bad, at: 2)
    rig.feed(78, quality: .bad, at: 3)
    rig.feed(-10, at: 4)
    rig.collect()
    #expect(rig.samples.map(\.quality) == [.good, .uncertain, .bad, .good])
    #expect(rig.samples.map(\.raw) == [5, 11, 0, -10])
  }

  @Test("a float that is not a number is bad")
  func notANumber() {
    let rig = PipelineRig(points: [point { $0.encoding = .float }])
    rig.feed(Int64(Float.nan.bitPattern), at: 0)
    rig.feed(Int64(Float(1.5).bitPattern), at: 1)
    rig.feed(Int64(Float.infinity.bitPattern), at: 2)
    rig.collect()
    #expect(rig.samples.map(\.quality) == [.bad, .good, .bad])
  }

  @Test("texts travel beside their sample, and are reported when they change")
  func texts() {
    let rig = PipelineRig(points: [point { $0.encoding = .text }])
    for (index, text) in ["a", "a", "bc", "", "bc"].enumerated() { rig.feed(text: text, at: Int64(index)) }
    rig.collect()
    #expect(rig.texts.map { String(decoding: $0, as: UTF8.self) } == ["a", "bc", "", "bc"])
  }

  @Test("a window reports its statistics at its end, in raw units where the device sent them")
  func windows() {
    var rule = WindowRule(everyNs: 10 * secondNs)
    for statistic in [Statistic.min, .max, .mean, .last, .count, .sum] { rule.add(statistic) }
    let rig = PipelineRig(
      points: [
        point {
          $0.scale = 0.5
          $0.windowCount = 1
          $0.heartbeatNs = 0
          $0.deadband = 1e9
        }
      ], windows: [rule])
    for (second, raw) in [(12, 4), (13, -2), (15, 10), (19, 8)] { rig.feed(Int64(raw), at: Int64(second) * secondNs) }
    rig.tick(20 * secondNs - 1)
    rig.collect()
    #expect(rig.samples.count == 1)  // the first report of the point itself
    rig.tick(20 * secondNs)
    rig.collect()
    let window = rig.samples.dropFirst()
    #expect(window.map(\.series) == [1, 2, 3, 4, 5, 6])
    #expect(window.allSatisfy { $0.at.nanoseconds == 20 * secondNs })
    let raws = window.map(\.raw)
    #expect(Array(raws.prefix(2)) == [-2, 10])
    #expect(Double(bitPattern: UInt64(bitPattern: raws[2])) == 2.5)
    #expect(raws[3] == 8)
    #expect(raws[4] == 4)
    #expect(Double(bitPattern: UInt64(bitPattern: raws[5])) == 10)
  }

  @Test("(4) a late reading enters the window that is open for its time, and none that is closed")
  func lateReadings() {
    var rule = WindowRule(everyNs: 10 * secondNs)
    for statistic in [Statistic.max, .count] { rule.add(statistic) }
    let rig = PipelineRig(points: [point { $0.windowCount = 1 }], windows: [rule])
    rig.feed(3, at: 5 * secondNs)
    rig.feed(4, at: 18 * secondNs)
    rig.feedLate(9, at: 12 * secondNs, now: 18 * secondNs, isReplayed: false)
    rig.feedLate(77, at: 6 * secondNs, now: 18 * secondNs)
    rig.tick(20 * secondNs)
    rig.collect()
    #expect(rig.samples.filter { $0.series == 1 }.map(\.raw) == [3, 9])
    #expect(rig.samples.filter { $0.series == 2 }.map(\.raw) == [1, 2])
    #expect(rig.pipeline.state(of: 0).raw == 4)
  }

  @Test("bad values enter no window; an empty window reports its count alone")
  func emptyWindow() {
    var rule = WindowRule(everyNs: secondNs)
    rule.add(.mean)
    rule.add(.count)
    let rig = PipelineRig(points: [point { $0.windowCount = 1 }], windows: [rule])
    rig.feed(3, at: 0)
    rig.feed(9, quality: .bad, at: secondNs / 2)
    rig.tick(secondNs)
    rig.tick(2 * secondNs)
    rig.collect()
    let counts = rig.samples.filter { $0.series == 2 }.map(\.raw)
    #expect(counts == [1, 0])
    #expect(rig.samples.filter { $0.series == 1 }.count == 1)
  }

  @Test("(1) produced = delivered + lost, and what was lost is announced before what comes after it")
  func accountsForLoss() {
    let rig = PipelineRig(points: [point()])
    let total = Limits.samplesPerBatchMax * (Limits.batchesPerBus + 3)
    for index in 0..<total { rig.feed(Int64(index), at: Int64(index)) }
    #expect(rig.lost > 0)
    rig.collect()
    rig.feed(-1, at: Int64(total))
    rig.collect()
    #expect(rig.announcedLost == Int(rig.lost))
    #expect(rig.produced == Int64(rig.samples.count) + rig.lost)
    #expect(rig.samples.last?.raw == -1)
  }

  @Test("the clock alone hands over a batch that has waited long enough")
  func oldBatch() {
    let rig = PipelineRig(points: [point()])
    rig.feed(1, at: 0)
    #expect(rig.nextDeadlineNs == Limits.batchAgeNsMax)
    rig.tick(Limits.batchAgeNsMax - 1)
    #expect(rig.channel.waiting == 0)
    rig.tick(Limits.batchAgeNsMax)
    #expect(rig.channel.waiting == 1)
    #expect(rig.takeHandedOver())
    #expect(!rig.takeHandedOver())
  }

  @Test("with the store behind, the clock does not make the bus spin")
  func stalledStore() {
    let rig = PipelineRig(points: [point()])
    for index in 0..<(Limits.samplesPerBatchMax * Limits.batchesPerBus) { rig.feed(Int64(index), at: Int64(index)) }
    let now = 10 * secondNs
    rig.tick(now)
    #expect(rig.nextDeadlineNs >= now + Limits.handOverRetryNs)
  }

  /// Raised above 0, ended at 0, both at once.
  private func chattering() -> PipelineRig {
    let above: [Instruction] = [.init(.point, point: 0), .init(.constant, value: 0), .init(.greater)]
    return PipelineRig(points: [point()], alarms: [(AlarmRule(severity: .major), above, [])])
  }

  @Test("a contact that chatters while the store is behind costs no sample and no change")
  func chattersBehindStore() {
    let rig = chattering()
    let changes = Limits.eventsPerBatchMax * (Limits.batchesPerBus - Limits.batchesHastyMax)
    for index in 0..<changes { rig.feed(Int64(1 - index % 2), at: Int64(index)) }
    #expect(rig.lost == 0)
    rig.collect()
    rig.collect()
    #expect(rig.samples.count == changes)
    #expect(rig.events.map(\.state.isActive) == (0..<changes).map { $0 % 2 == 0 })
  }

  @Test(
    "an alarm that waited for the store goes as soon as the store has caught up, and the bus does not spin until then"
  )
  func alarmAfterStall() {
    let rig = chattering()
    for index in 0...Limits.batchesHastyMax { rig.feed(Int64(1 - index % 2), at: Int64(index)) }
    #expect(rig.channel.waiting == Limits.batchesHastyMax)
    let now = Int64(Limits.batchesHastyMax) + Limits.handOverRetryNs
    #expect(rig.nextDeadlineNs == now)
    rig.tick(now)
    #expect(rig.channel.waiting == Limits.batchesHastyMax)
    #expect(rig.nextDeadlineNs == now + Limits.handOverRetryNs)
    while rig.channel.next() != nil { rig.channel.release() }
    rig.tick(now + Limits.handOverRetryNs)
    #expect(rig.channel.waiting == 1)
  }

  @Test("a device that fell silent is bad once, without a value")
  func silence() {
    let rig = PipelineRig(points: [point(), point()])
    rig.feed(1, at: 0)
    rig.pipeline.silence(points: 0..<2, at: Instant(nanoseconds: 5))
    rig.pipeline.silence(points: 0..<2, at: Instant(nanoseconds: 6))
    rig.collect()
    #expect(rig.samples.map(\.quality) == [.good, .bad, .bad])
    #expect(rig.samples.map(\.series) == [0, 0, 1])
  }
}
