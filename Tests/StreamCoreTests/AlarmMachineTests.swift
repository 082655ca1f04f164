import StreamCore
import Testing

@Suite struct AlarmMachineTests {
  @Test("an alarm with its times and orders takes forty bytes, its place another thirty-two")
  func size() {
    #expect(MemoryLayout<AlarmMachine>.stride == 40)
    #expect(MemoryLayout<AlarmPlace>.stride <= 32)
  }

  private func rule(_ change: (inout AlarmRule) -> Void = { _ in }) -> AlarmRule {
    var rule = AlarmRule(severity: .warning)
    change(&rule)
    return rule
  }

  /// One alarm that the test tells what holds.
  private func rig(
    _ rule: AlarmRule, left: AlarmEvent? = nil, at startNs: Int64 = 0
  ) -> PipelineRig {
    PipelineRig(points: [PointRule()], alarms: [(rule, [], [])], left: [left], at: startNs)
  }

  private func changes(_ rig: PipelineRig) -> [AlarmChange] {
    rig.collect()
    return rig.events.map(\.change)
  }

  @Test("acknowledged while it stands: acknowledged, then normal without anybody's doing")
  func acknowledged() {
    let rig = rig(rule())
    rig.tell(0, .yes, at: 0)
    #expect(
      rig.order(.acknowledge, serial: 1, by: "Zhang", note: "on my way", at: 10)
        == .judged(.change(.acknowledged)))
    rig.tell(0, .no, at: 20)
    rig.collect()
    #expect(rig.events.map(\.state) == [.unacknowledged, .acknowledged, .normal])
    #expect(rig.said == [": ", "Zhang: on my way", ": "])
    #expect(rig.produced == 3)
  }

  @Test("gone before anybody acknowledged it: that is still asked for")
  func returnedUnacknowledged() {
    let rig = rig(rule())
    rig.tell(0, .yes, at: 0)
    rig.tell(0, .no, at: 10)
    rig.order(.acknowledge, serial: 2, at: 20)
    rig.collect()
    #expect(rig.events.map(\.state) == [.unacknowledged, .returnedUnacknowledged, .normal])
  }

  @Test("whoever acknowledges what has changed since is told so; a repeated acknowledgement changes nothing")
  func outdated() {
    let rig = rig(rule())
    rig.tell(0, .yes, at: 0)
    rig.tell(0, .no, at: 10)
    #expect(rig.order(.acknowledge, serial: 1, at: 20) == .judged(.outdated))
    #expect(rig.order(.acknowledge, serial: 2, at: 20) == .judged(.change(.acknowledged)))
    #expect(rig.order(.acknowledge, serial: 2, at: 30) == .judged(.already))
    #expect(rig.order(.acknowledge, serial: nil, at: 30) == .judged(.already))
    #expect(changes(rig) == [.raised, .returned, .acknowledged])
  }

  @Test("a reminder is no new state: what was seen before it can be acknowledged after it")
  func reminders() {
    let rig = rig(rule { $0.remindNs = 30 * secondNs })
    rig.tell(0, .yes, at: 0)
    #expect(rig.nextDeadlineNs <= 30 * secondNs)
    for second in Int64(1)...70 { rig.tick(second * secondNs) }
    #expect(changes(rig) == [.raised, .reminded, .reminded])
    #expect(rig.events.map(\.serial) == [1, 1, 1])
    #expect(rig.events.map { $0.at.nanoseconds / secondNs } == [0, 30, 60])
    rig.order(.acknowledge, serial: 1, at: 70 * secondNs)
    for second in Int64(71)...200 { rig.tick(second * secondNs) }
    #expect(changes(rig) == [.raised, .reminded, .reminded, .acknowledged])
  }

  @Test("nobody came in time: the severity rises, once; the next time it begins low again")
  func escalated() {
    let rig = rig(
      rule {
        $0.escalateNs = 600 * secondNs
        $0.escalateTo = .critical
      })
    rig.tell(0, .yes, at: 0)
    rig.tick(600 * secondNs - 1)
    #expect(changes(rig) == [.raised])
    rig.tick(600 * secondNs)
    rig.tick(2_000 * secondNs)
    rig.tell(0, .no, at: 3_000 * secondNs)
    rig.tell(0, .yes, at: 4_000 * secondNs)
    #expect(changes(rig) == [.raised, .escalated, .returned, .raised])
    #expect(rig.events.map(\.severity) == [.warning, .critical, .critical, .warning])
  }

  @Test("to its own severity or a lower one it never escalates", arguments: [Severity.warning, .notice])
  func neverEscalated(_ to: Severity) {
    let rig = rig(
      rule {
        $0.escalateNs = 600 * secondNs
        $0.escalateTo = to
      })
    rig.tell(0, .yes, at: 0)
    for minute in Int64(1)...60 { rig.tick(minute * 60 * secondNs) }
    #expect(changes(rig) == [.raised] && rig.events.map(\.severity) == [.warning])
  }

  @Test("a latched alarm waits for its acknowledgement, however long its condition is gone")
  func latched() {
    let rig = rig(
      rule {
        $0.latches = true
        $0.clearForNs = 10
      })
    rig.tell(0, .yes, at: 0)
    rig.tell(0, .no, at: 10)
    rig.tick(1_000)
    #expect(rig.nextDeadlineNs == .max)
    #expect(changes(rig) == [.raised])
    rig.order(.acknowledge, at: 2_000)
    rig.collect()
    #expect(rig.events.map(\.state) == [.unacknowledged, .normal])
    #expect(rig.events.last?.since.nanoseconds == 10)
    // Acknowledged while it stands, it ends as others do.
    rig.tell(0, .yes, at: 3_000)
    rig.order(.acknowledge, at: 3_001)
    rig.tell(0, .no, at: 3_002)
    rig.tick(3_012)
    rig.collect()
    #expect(rig.events.dropFirst(2).map(\.state) == [.unacknowledged, .acknowledged, .normal])
  }

  @Test("shelved: its changes are in the log, nobody is reminded; when the shelf ends it stands as it is then")
  func shelved() {
    let rig = rig(rule { $0.remindNs = 10 })
    rig.tell(0, .yes, at: 0)
    rig.order(.shelve, until: 100, by: "Li", note: "sensor is being changed", at: 5)
    rig.tell(0, .no, at: 20)
    rig.tell(0, .yes, at: 30)
    #expect(rig.order(.acknowledge, at: 35) == .judged(.held))
    rig.tick(36)
    #expect(rig.nextDeadlineNs == 100)
    rig.tick(99)
    #expect(changes(rig) == [.raised, .shelved, .returned, .raised])
    #expect(rig.events.dropFirst().allSatisfy { $0.state == .shelved && $0.until.nanoseconds == 100 })
    #expect(rig.events.map(\.process) == [.unacknowledged, .unacknowledged, .normal, .unacknowledged])
    rig.tick(100)
    #expect(changes(rig).last == .unshelved)
    #expect(rig.events.last?.state == .unacknowledged)
    rig.tick(110)
    #expect(changes(rig).last == .reminded)
  }

  @Test("an end of the shelf can be moved, and be brought about; out of service has none")
  func shelfMoved() {
    let rig = rig(rule())
    rig.order(.shelve, until: 100, at: 0)
    rig.order(.shelve, until: 500, at: 50)
    rig.tick(499)
    #expect(changes(rig) == [.shelved, .shelved])
    rig.order(.unshelve, at: 499)
    #expect(rig.order(.unshelve, at: 499) == .judged(.already))
    rig.order(.takeOutOfService, at: 600)
    #expect(rig.order(.shelve, until: 900, at: 600) == .judged(.held))
    rig.tell(0, .yes, at: 700)
    rig.tick(1_000_000)
    #expect(rig.nextDeadlineNs == .max)
    rig.order(.putInService, at: 2_000_000)
    #expect(changes(rig) == [.shelved, .shelved, .unshelved, .outOfService, .raised, .inService])
    #expect(rig.events.last?.state == .unacknowledged)
  }

  @Test("a dead bus is one alarm, not two hundred: those that it explains are in the log and call nobody")
  func suppressed() {
    let all = (0...200).map { _ in (rule { $0.remindNs = 60 * secondNs }, [Instruction](), [Instruction]()) }
    let rig = PipelineRig(points: [PointRule()], alarms: all, suppressors: [[]] + (1...200).map { _ in [0] })
    rig.tell(0, .yes, at: 0)
    for device in 1...200 {
      rig.tell(device, .yes, at: secondNs)
      if device % 10 == 0 { rig.collect() }
    }
    rig.tick(30 * secondNs)
    rig.collect()
    #expect(rig.events.count == 201)
    #expect(rig.events.filter { !$0.isSuppressed }.map(\.alarm) == [0])
    // It answers again; two devices don't.
    for device in 3...200 {
      rig.tell(device, .no, at: 40 * secondNs)
      if device % 10 == 0 { rig.collect() }
    }
    rig.tell(0, .no, at: 41 * secondNs)
    rig.tick(41 * secondNs)
    rig.collect()
    let after = rig.events.dropFirst(201)
    #expect(after.filter { $0.isSuppressed }.count == 198)
    #expect(after.filter { $0.isSuppressed }.allSatisfy { $0.state == .normal })
    #expect(after.filter { !$0.isSuppressed }.map(\.change) == [.returned, .revealed, .revealed])
    #expect(after.filter { $0.change == .revealed }.map(\.alarm) == [1, 2])
  }

  @Test("it explains from the moment it is suspected: its delay is no gap through which the others come")
  func suppressedWhilePending() {
    let rig = PipelineRig(
      points: [PointRule()], alarms: [(rule { $0.forNs = 5 * secondNs }, [], []), (rule(), [], [])],
      suppressors: [[], [0]])
    rig.tell(0, .yes, at: 0)
    rig.tell(1, .yes, at: secondNs)
    rig.tell(0, .unknown, at: 2 * secondNs)
    rig.tick(2 * secondNs)
    rig.collect()
    #expect(rig.events.map(\.change) == [.raised, .revealed])
    #expect(rig.events.map(\.isSuppressed) == [true, false])
  }

  @Test(
    "a stop changes nothing: from its last event an alarm goes on as it was",
    arguments: [AlarmOrder.acknowledge, .shelve, .takeOutOfService])
  func goesOn(order: AlarmOrder) {
    let rule = rule { $0.remindNs = 60 * secondNs }
    let before = rig(rule)
    before.tell(0, .yes, at: 0)
    before.order(order, until: 500 * secondNs, at: 10)
    before.collect()
    let after = rig(rule, left: before.events.last, at: 100 * secondNs)
    after.tell(0, .yes, at: 100 * secondNs)
    after.tick(400 * secondNs)
    after.collect()
    #expect(after.events.isEmpty)
    #expect(after.order(order == .acknowledge ? .acknowledge : .unshelve, at: 450 * secondNs)
      == .judged(order == .shelve ? .change(.unshelved) : .already))
  }

  @Test("reminders don't come at once after a start, escalation counts from the raising")
  func remindsLater() {
    let rule = rule {
      $0.remindNs = 60 * secondNs
      $0.escalateNs = 90 * secondNs
      $0.escalateTo = .major
    }
    let before = rig(rule)
    before.tell(0, .yes, at: 0)
    before.collect()
    let after = rig(rule, left: before.events.last, at: 80 * secondNs)
    for second in Int64(80)...150 { after.tick(second * secondNs) }
    after.collect()
    #expect(after.events.map(\.change) == [.escalated, .reminded])
    #expect(after.events.map { $0.at.nanoseconds / secondNs } == [90, 140])
  }
}
