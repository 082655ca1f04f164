import FieldBus
import Gateway
import Store
import StreamCore
import Testing

@Suite("The box")
struct HouseAlarmTests {
  private static let second: Int64 = 1_000_000_000
  private static let day: Int64 = 86_400
  private static let warnDays = Limits.certificateWarnSeconds / 86_400
  /// 2026-11-21.
  private static let wall: Int64 = 1_795_219_200

  private func sight(
    _ seconds: Int64, wall: Int64 = wall, believed: Bool = true, expires: Int64? = nil, hasKey: Bool = true
  ) -> HouseWatch.Sight {
    HouseWatch.Sight(
      now: Instant(nanoseconds: seconds * Self.second), wallNs: (wall + seconds) * Self.second,
      isClockBelieved: believed, certificateExpires: expires, hasKey: hasKey)
  }

  private func report(_ change: (inout StoreReport) -> Void = { _ in }) -> StoreReport {
    var report = StoreReport()
    report.storeID = PullFixture.storeID
    change(&report)
    return report
  }

  @Test("is well: every alarm that can be known says no; what the store does not say is not known")
  func well() {
    var watch = HouseWatch(isKeyNew: false, startedAt: .zero)
    let facts = watch.look(sight(1, expires: Self.wall + 600 * Self.day), report())
    for alarm in BuiltInAlarm.allCases where alarm.source == .gateway { #expect(facts[alarm] == .no, "\(alarm)") }
    let silent = watch.look(sight(2), nil)
    for alarm in [BuiltInAlarm.bufferFull, .storageFailing, .alarmFlood, .certificateExpiring] {
      #expect(silent[alarm] == .unknown, "\(alarm)")
    }
  }

  @Test("notices a full disk, a storage that failed meanwhile even if it is well again, and a flood")
  func storage() {
    var watch = HouseWatch(isKeyNew: false, startedAt: .zero)
    #expect(watch.look(sight(1), report { $0.state = .full })[.bufferFull] == .yes)
    let failed = watch.look(sight(2), report { $0.failures = 1 })
    #expect(failed[.storageFailing] == .yes)
    #expect(failed[.bufferFull] == .no)
    #expect(watch.look(sight(3), report { $0.failures = 1 })[.storageFailing] == .no)
    #expect(watch.look(sight(4), report { $0.isFlood = true })[.alarmFlood] == .yes)
  }

  @Test("gives the time server ten minutes; then a clock that nobody disciplines is wrong")
  func undisciplined() {
    var watch = HouseWatch(isKeyNew: false, startedAt: .zero)
    #expect(watch.look(sight(599, wall: 0, believed: false), nil)[.clockWrong] == .unknown)
    #expect(watch.look(sight(600, wall: 0, believed: false), nil)[.clockWrong] == .yes)
    // That it comes right is no jump.
    #expect(watch.look(sight(601), nil)[.clockWrong] == .no)
    #expect(watch.look(sight(602), nil)[.clockWrong] == .no)
  }

  @Test(
    "doubts a clock that jumped, for ten minutes; and one that was trusted in 1970", arguments: [-3_600, 315_360_000])
  func jumped(by jump: Int64) {
    var watch = HouseWatch(isKeyNew: false, startedAt: .zero)
    _ = watch.look(sight(1), nil)
    #expect(watch.look(sight(2, wall: Self.wall + jump), nil)[.clockWrong] == .yes)
    #expect(watch.look(sight(602, wall: Self.wall + jump), nil)[.clockWrong] == .yes)
    #expect(watch.look(sight(603, wall: Self.wall + jump), nil)[.clockWrong] == .no)
    var trusting = HouseWatch(isKeyNew: false, startedAt: .zero)
    #expect(trusting.look(sight(1, wall: 0), nil)[.clockWrong] == .yes)
  }

  @Test("warns of a certificate that has little time left, once the date is known")
  func certificate() {
    var watch = HouseWatch(isKeyNew: false, startedAt: .zero)
    #expect(watch.look(sight(1, expires: Self.wall + (Self.warnDays + 1) * Self.day), nil)[.certificateExpiring] == .no)
    let soon = Self.wall + (Self.warnDays - 1) * Self.day
    #expect(watch.look(sight(1, expires: soon), nil)[.certificateExpiring] == .yes)
    #expect(watch.look(sight(1, expires: Self.wall - 1), nil)[.certificateExpiring] == .yes)
    let undated = sight(1, believed: false, expires: Self.wall + (Self.warnDays - 1) * Self.day)
    #expect(watch.look(undated, nil)[.certificateExpiring] == .unknown)
  }

  @Test("misses its key: it is gone, or is another one than the stored data were made with")
  func key() {
    var watch = HouseWatch(isKeyNew: false, startedAt: .zero)
    #expect(watch.look(sight(1, hasKey: false), nil)[.personalKeyMissing] == .yes)
    var fresh = HouseWatch(isKeyNew: true, startedAt: .zero)
    #expect(fresh.look(sight(1), nil)[.personalKeyMissing] == .yes)
  }

  // MARK: Its alarms

  private func specs() -> [AlarmSpec] {
    [BuiltInAlarm.bufferFull, .personalKeyMissing].map { $0.spec(at: Site.place) }
  }

  private func facts(_ truth: Truth) -> HouseFacts {
    var facts = HouseFacts()
    facts[.bufferFull] = truth
    return facts
  }

  private func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: seconds * Self.second) }

  @Test("raises, takes an acknowledgement, and hands each event to the store once, in order")
  func handsOver() {
    let house = HouseAlarms(specs(), first: 40, left: [], at: .zero)
    let store = ScriptedStore()
    house.look(facts(.yes), at: at(1))
    let request = AlarmRequest(.acknowledge, by: "Li", note: "card ordered")
    #expect(house.owns(41) && !house.owns(39) && !house.owns(42))
    #expect(house.order(request, alarm: 40, at: at(2)) == .judged(.change(.acknowledged)))
    #expect(house.order(request, alarm: 41, at: at(2)) == .judged(.already))
    house.handOver(to: store)
    #expect(eventually { store.change { $0.events.count } == 2 })
    house.look(facts(.unknown), at: at(3))
    house.look(facts(.no), at: at(4))
    house.look(facts(.no), at: at(64))
    #expect(eventually {
      house.handOver(to: store)
      return store.change { $0.events.count } == 3
    })
    let events = store.change { $0.events }
    #expect(events.map(\.event.state) == [.unacknowledged, .acknowledged, .normal])
    #expect(events.map { String(decoding: $0.by, as: UTF8.self) } == ["", "Li", ""])
    #expect(events.allSatisfy { $0.event.alarm == 40 })
    #expect(house.produced == 3)
  }

  @Test("was acknowledged before the stop: nothing is raised anew")
  func goesOn() {
    let before = HouseAlarms(specs(), first: 0, left: [], at: .zero)
    let store = ScriptedStore()
    before.look(facts(.yes), at: at(1))
    _ = before.order(AlarmRequest(.acknowledge), alarm: 0, at: at(2))
    before.handOver(to: store)
    #expect(eventually { store.change { $0.events.count } == 2 })
    let left = store.change { $0.events.last?.event }
    let after = HouseAlarms(specs(), first: 0, left: [left, nil], at: at(100))
    after.look(facts(.yes), at: at(100))
    after.look(facts(.yes), at: at(5_000))
    #expect(after.produced == 0)
  }

  // MARK: Over restarts

  private func opening(_ event: AlarmEvent, boot: UInt32, offsetNs: Int64?) -> (StoreOpening, Catalogue) {
    let alarm = StoredAlarm(name: "hydrant-1/leak", sequence: 9, epoch: 4, catalogueVersion: 1, event: event)
    let opening = StoreOpening(
      storeID: PullFixture.storeID, epoch: 7, catalogueVersion: 1, alarms: [alarm], bootEpoch: boot,
      clocks: [EpochClock(epoch: 4, offsetNs: offsetNs)])
    return (opening, Catalogue(Site.configuration()))
  }

  private func shelved() -> AlarmEvent {
    var event = AlarmEvent(alarm: 0, state: .shelved, severity: .major, at: at(1_000), since: at(990))
    event.process = .normal
    event.change = .shelved
    event.until = at(1_000 + 7_200)
    return event
  }

  @Test("finds its alarms by name, on the same clock after a restart of the agent")
  func sameBoot() {
    let (opening, catalogue) = opening(shelved(), boot: 4, offsetNs: nil)
    let left = AlarmsLeft(opening, catalogue: catalogue, offsetNs: nil, at: at(1_500))
    #expect(left.events[0] == nil)
    #expect(left.events[1]?.until == at(8_200))
    #expect(left.guessed.isEmpty)
  }

  @Test("keeps a shelf's wall time over a power cut")
  func nextBoot() {
    // The old boot began at Unix 1000000, this one 20 minutes after the shelving.
    let (opening, catalogue) = opening(shelved(), boot: 7, offsetNs: 1_000_000 * Self.second)
    let offset = (1_000_000 + 1_000 + 1_200 - 10) * Self.second
    let left = AlarmsLeft(opening, catalogue: catalogue, offsetNs: offset, at: at(10))
    #expect(left.events[1]?.until == at(10 + 7_200 - 1_200))
    #expect(left.guessed.isEmpty)
  }

  @Test("keeps the span while the time is not known, and corrects the end once it is")
  func clockLater() {
    let (opening, catalogue) = opening(shelved(), boot: 7, offsetNs: 1_000_000 * Self.second)
    var left = AlarmsLeft(opening, catalogue: catalogue, offsetNs: nil, at: at(10))
    #expect(left.events[1]?.until == at(10 + 7_200))
    #expect(left.guessed.count == 1)
    let offset = (1_000_000 + 1_000 + 1_200 - 10) * Self.second
    let settled = left.settle(offsetNs: offset)
    #expect(settled.map(\.alarm) == [1])
    #expect(settled.map(\.until) == [at(10 + 7_200 - 1_200)])
    #expect(left.guessed.isEmpty)
  }

  @Test("tells the journal once what was met and dealt with; what keeps the store from its work is told as a trouble")
  func news() {
    var news = StoreNews()
    #expect(news.hear(report()) == nil)
    let moved = (1...3).map { number in report { ($0.failures, $0.lastFailure) = (Int64(number), "moved") } }
    #expect(moved.map { news.hear($0) } == ["moved", nil, nil])
    #expect(news.hear(moved[2]) == nil)
    // The same again is news after it was over.
    #expect(news.hear(report { ($0.failures, $0.lastFailure) = (4, "moved") }) == "moved")
    #expect(news.hear(report { ($0.failures, $0.lastFailure, $0.state) = (9, "sick", .failing) }) == nil)
    #expect(news.hear(report { ($0.failures, $0.lastFailure) = (9, "sick") }) == nil)
  }
}
