import FieldBus
import Gateway
import Store
import StreamCore
import Synchronization
import Testing

/// Owns alarms in memory, and logs what is done to them in a scripted store.
final class ScriptedOwners: AlarmOwners {
  struct Alarms {
    var machines: [Int: AlarmMachine] = [:]
    var failure: LineFailure?
    /// The store has no room to log it just now.
    var isLogBehind = false
  }

  let alarms = Mutex(Alarms())
  let store: ScriptedStore
  let rule = AlarmRule(severity: .critical)

  init(_ store: ScriptedStore) { self.store = store }

  /// As a bus would: raises or ends.
  func tell(_ alarm: Int, _ truth: Truth, at seconds: Double) {
    let now = Instant(nanoseconds: Int64(seconds * 1e9))
    let event = alarms.withLock { alarms -> AlarmEvent? in
      var machine = alarms.machines[alarm] ?? AlarmMachine()
      defer { alarms.machines[alarm] = machine }
      let clear: Truth = truth == .yes ? .no : .yes
      guard
        let change = machine.observe(when: truth, clear: clear, isSuppressed: false, rule: rule, at: now)
      else { return nil }
      return machine.take(change, alarm: UInt16(alarm), rule: rule, at: now)
    }
    if let event { log(event, [], []) }
  }

  private func log(_ event: AlarmEvent, _ by: [UInt8], _ note: [UInt8]) {
    if alarms.withLock({ $0.isLogBehind }) { return }
    store.change { contents in
      let sequence = contents.durable.alarms + 1
      var stored = StoredEvent(sequence: sequence, epoch: 3, catalogueVersion: 1, event: event)
      stored.by = by
      stored.note = note
      contents.events.append(stored)
      let name = event.alarm == 0 ? "cover-1/cover-open" : "hydrant-1/leak"
      contents.alarms.removeAll { $0.name == name }
      contents.alarms.append(StoredAlarm(name: name, stored))
    }
  }

  func order(
    _ request: AlarmRequest, alarm: Int, until deadline: Instant
  ) throws(LineFailure) -> Pipeline.OrderOutcome {
    if let failure = alarms.withLock({ $0.failure }) { throw failure }
    let (verdict, event) = alarms.withLock { alarms -> (AlarmVerdict, AlarmEvent?) in
      var machine = alarms.machines[alarm] ?? AlarmMachine()
      defer { alarms.machines[alarm] = machine }
      let verdict = machine.judge(request.order, serial: request.serial)
      guard case .change(let change) = verdict else { return (verdict, nil) }
      let now = Instant(nanoseconds: 1_000_000_000_000)
      return (
        verdict, machine.take(change, alarm: UInt16(alarm), rule: rule, until: request.until, at: now)
      )
    }
    if let event { log(event, request.by, request.note) }
    return .judged(verdict)
  }
}

@Suite("Whoever acknowledges over HTTP")
struct AlarmOrderTests {
  private func fixture() throws -> PullFixture {
    try PullFixture([
      PullFixture.consumer("water") { $0.kinds = ["hydrant"] },
      PullFixture.consumer("numbers") { $0.lanes = [.telemetry] },
    ])
  }

  private func post(
    _ fixture: PullFixture, _ id: String, _ body: String = "", as consumer: String = "all"
  ) throws -> WireClient.Response {
    try fixture.client().post("/v1/alarms/\(id)/ack", token: "token-\(consumer)", body: body)
  }

  @Test("closes the loop: raised, acknowledged with name and note, and everybody gets it")
  func acknowledged() throws {
    let fixture = try fixture()
    fixture.owners.tell(0, .yes, at: 10)
    let listed = try fixture.get("/v1/alarms").json["alarms"]?.array?.first
    let id = try #require(listed?["id"]?.string)
    let answer = try post(fixture, id, #"{"by":"Zhang","note":"在路上"}"#)
    #expect(answer.status == 200)
    #expect(answer.json["state"] == .string("acknowledged"))
    #expect(answer.json["event"] == .string("acknowledged"))
    #expect(answer.json["by"] == .string("Zhang"))
    #expect(answer.json["note"] == .string("在路上"))
    let records = try fixture.get("/v1/batches?lane=alarms").records
    #expect(records.map { $0["state"]?.string ?? "" } == ["unacknowledged", "acknowledged"])
    #expect(records.last?["by"] == .string("Zhang"))
    // Said twice: nothing new.
    #expect(try post(fixture, id).status == 200)
    #expect(fixture.store.change { $0.events.count } == 2)
  }

  @Test("of a state that is over is told so, with the present one")
  func conflict() throws {
    let fixture = try fixture()
    fixture.owners.tell(0, .yes, at: 10)
    fixture.owners.tell(0, .no, at: 20)
    let answer = try post(fixture, "1")
    #expect(answer.status == 409)
    #expect(answer.headers["content-type"] == "application/problem+json")
    #expect(answer.json["id"] == .string("2"))
    #expect(answer.json["state"] == .string("returned-unacknowledged"))
    #expect(try post(fixture, "2").json["state"] == .string("normal"))
  }

  @Test("outside the scope, or nothing there, or not understood is refused, and changes nothing")
  func refused() throws {
    let fixture = try fixture()
    fixture.owners.tell(0, .yes, at: 10)
    #expect(try post(fixture, "1", as: "water").status == 403)
    #expect(try post(fixture, "99", as: "water").status == 403)
    #expect(try post(fixture, "1", as: "numbers").status == 403)
    #expect(try post(fixture, "1", as: "nobody").status == 401)
    #expect(try post(fixture, "99").status == 404)
    #expect(try post(fixture, "0").status == 400)
    #expect(try post(fixture, "x").status == 400)
    #expect(try post(fixture, "1", "nonsense").status == 400)
    #expect(try post(fixture, "1", #"{"who":"me"}"#).status == 400)
    #expect(try post(fixture, "1", #"{"note":7}"#).status == 400)
    #expect(try post(fixture, "1", #"{"note":""# + String(repeating: "x", count: 137) + #""}"#).status == 400)
    let got = try fixture.get("/v1/alarms/1/ack")
    #expect(got.status == 405)
    #expect(got.headers["allow"] == "POST")
    #expect(fixture.store.change { $0.events.count } == 1)
  }

  @Test("while its bus or the storage can't take it hears that, and nothing is claimed")
  func trouble() throws {
    let fixture = try fixture()
    fixture.owners.tell(0, .yes, at: 10)
    fixture.owners.alarms.withLock { $0.failure = .tooLate }
    #expect(try post(fixture, "1").status == 503)
    fixture.owners.alarms.withLock {
      $0.failure = nil
      $0.isLogBehind = true
    }
    #expect(try post(fixture, "1").status == 202)
  }
}
