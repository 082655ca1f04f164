import StreamCore
import Testing

@Suite struct AlarmTests {
  /// Raised above 15 for 2 s, ended below 10 for 10 s.
  private func rig() -> PipelineRig {
    var rule = AlarmRule(severity: .critical)
    rule.forNs = 2 * secondNs
    rule.clearForNs = 10 * secondNs
    let above: [Instruction] = [.init(.point, point: 0), .init(.constant, value: 15), .init(.greater)]
    let below: [Instruction] = [.init(.point, point: 0), .init(.constant, value: 10), .init(.less)]
    return PipelineRig(points: [PointRule()], alarms: [(rule, above, below)])
  }

  @Test("raised once the condition has held for its time, by the clock even if nothing new is read")
  func raisedAfterFor() {
    let rig = rig()
    rig.feed(20, at: secondNs)
    rig.tick(3 * secondNs - 1)
    rig.collect()
    #expect(rig.events.isEmpty)
    #expect(rig.nextDeadlineNs == 3 * secondNs)
    rig.tick(3 * secondNs)
    rig.collect()
    #expect(rig.events.count == 1)
    #expect(rig.events.first?.alarm == 0)
    #expect(rig.events.first?.state == .unacknowledged)
    #expect(rig.events.first?.since.nanoseconds == secondNs)
    #expect(rig.events.first?.at.nanoseconds == 3 * secondNs)
    #expect(rig.events.first?.cause(0).raw == 20)
  }

  @Test("a condition that lapses before its time raises nothing and starts anew")
  func lapsed() {
    let rig = rig()
    rig.feed(20, at: 0)
    rig.feed(5, at: secondNs)
    rig.feed(20, at: 2 * secondNs)
    rig.tick(3 * secondNs)
    rig.collect()
    #expect(rig.events.isEmpty)
    rig.tick(4 * secondNs)
    rig.collect()
    #expect(rig.events.count == 1)
  }

  @Test("between the two thresholds nothing changes; it ends only after its clearing time")
  func hysteresis() {
    let rig = rig()
    rig.feed(20, at: 0)
    rig.feed(12, at: 2 * secondNs)  // not above 15: the wait starts anew
    rig.feed(20, at: 3 * secondNs)
    rig.feed(20, at: 5 * secondNs)
    rig.feed(12, at: 6 * secondNs)
    rig.feed(9, at: 7 * secondNs)
    rig.feed(12, at: 10 * secondNs)
    rig.feed(9, at: 11 * secondNs)
    rig.tick(21 * secondNs - 1)
    rig.collect()
    #expect(rig.events.map(\.state) == [.unacknowledged])
    rig.tick(21 * secondNs)
    rig.collect()
    #expect(rig.events.map(\.state) == [.unacknowledged, .returnedUnacknowledged])
  }

  @Test("what is unknown neither raises nor ends")
  func unknown() {
    let rig = rig()
    rig.feed(20, at: 0)
    rig.feed(0, quality: .bad, at: secondNs)
    rig.tick(5 * secondNs)
    rig.collect()
    #expect(rig.events.isEmpty)
    rig.feed(20, at: 6 * secondNs)
    rig.feed(20, at: 8 * secondNs)
    rig.feed(0, quality: .bad, at: 9 * secondNs)
    rig.tick(60 * secondNs)
    rig.collect()
    #expect(rig.events.map(\.state) == [.unacknowledged])
  }

  @Test("an event is handed over at once")
  func handedOverAtOnce() {
    let rig = rig()
    rig.feed(20, at: 0)
    rig.feed(20, at: 2 * secondNs)
    #expect(rig.channel.waiting >= 1)
    #expect(rig.takeHandedOver())
  }

  @Test("(2) with no room for its event a change waits, and is reported when there is room")
  func waitsForRoom() {
    let rig = rig()
    // Sixteen events fill a batch only if nothing is handed over: let the store stall first.
    var raised = 0
    var now: Int64 = 0
    for _ in 0..<(Limits.batchesPerBus + Limits.eventsPerBatchMax + 5) {
      rig.feed(20, at: now)
      rig.feed(20, at: now + 2 * secondNs)
      rig.feed(0, at: now + 3 * secondNs)
      rig.feed(0, at: now + 13 * secondNs)
      now += 20 * secondNs
      raised += 2
    }
    rig.collect()
    let reported = rig.events.count
    #expect(reported < raised)
    // Raised and ended alternate: none was skipped silently.
    for (index, event) in rig.events.enumerated() {
      #expect(event.state == (index % 2 == 0 ? .unacknowledged : .returnedUnacknowledged))
    }
    rig.feed(20, at: now)
    rig.feed(20, at: now + 2 * secondNs)
    rig.feed(0, at: now + 3 * secondNs)
    rig.feed(0, at: now + 13 * secondNs)
    rig.collect()
    #expect(rig.events.count > reported)
  }

  @Test(
    "three-valued logic: one side can decide, an unknown side alone can't",
    arguments: [
      (Operator.and, 0.0, Truth.no), (.and, 1.0, .unknown), (.or, 1.0, .yes), (.or, 0.0, .unknown),
    ])
  func kleene(code: Operator, known: Double, expected: Truth) {
    // Point 1 is never read: unknown. `known and/or unknown`, and the other way round.
    for swap in [false, true] {
      let a = Instruction(.constant, value: known)
      let b = Instruction(.point, point: 1)
      var rule = AlarmRule(severity: .notice)
      rule.forNs = 0
      let when = [swap ? b : a, swap ? a : b, Instruction(code)]
      let rig = PipelineRig(points: [PointRule(), PointRule()], alarms: [(rule, when, [])])
      rig.feed(1, at: 0)
      rig.collect()
      #expect(rig.events.count == (expected == .yes ? 1 : 0))
      // «no» and «unknown» differ in what `not` makes of them.
      var inverse = AlarmRule(severity: .notice)
      inverse.forNs = 0
      let other = PipelineRig(points: [PointRule(), PointRule()], alarms: [(inverse, when + [Instruction(.not)], [])])
      other.feed(1, at: 0)
      other.collect()
      #expect(other.events.count == (expected == .no ? 1 : 0))
    }
  }

  @Test("neither a replayed reading nor one that is older than the present one moves an alarm")
  func lateReadings() {
    let rig = rig()
    rig.feed(5, at: 10 * secondNs)
    rig.feedLate(20, at: 11 * secondNs, now: 11 * secondNs)
    rig.feedLate(20, at: 3 * secondNs, now: 12 * secondNs, isReplayed: false)
    rig.tick(60 * secondNs)
    rig.collect()
    #expect(rig.events.isEmpty)
    #expect(rig.pipeline.late == 2)
    // History they are all the same.
    #expect(rig.samples.map(\.raw) == [5, 20, 20])
    rig.feed(20, at: 70 * secondNs)
    rig.feedLate(0, at: 71 * secondNs, now: 71 * secondNs)
    rig.tick(72 * secondNs)
    rig.collect()
    #expect(rig.events.count == 1)
  }
}
