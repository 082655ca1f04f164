import FieldBus
import Gateway
import Store
import StreamCore
import Synchronization
import Testing

/// A device with one holding register at each address, as the buses would see it.
final class ScriptedRegisters: Sendable {
  struct Memory {
    var words: [Int: UInt16] = [:]
    var writes = 0
    /// What the next requests fail with; nil: they succeed.
    var failures: [LineFailure?] = []
    /// It says yes and stays as it is.
    var isDeaf = false
    /// Writes wait until this is false.
    var isHeld = false
  }
  let memory = Mutex(Memory())

  func answer(_ request: LineRequest) -> Result<LineReply, LineFailure> {
    let frame = request.frame
    if CommandFrame.writing.contains(frame[1]) { _ = eventually { self.memory.withLock { !$0.isHeld } } }
    return memory.withLock { memory in
      if !memory.failures.isEmpty, let failure = memory.failures.removeFirst() { return .failure(failure) }
      let address = Int(frame[2]) << 8 | Int(frame[3])
      guard CommandFrame.writing.contains(frame[1]) else {
        let count = Int(frame[4]) << 8 | Int(frame[5])
        let data = (0..<count).flatMap { index -> [UInt8] in
          let word = memory.words[address + index] ?? 0
          return [UInt8(word >> 8), UInt8(word & 0xFF)]
        }
        return .success(LineReply(frame: [frame[0], frame[1], UInt8(data.count)] + data, tookNs: 1_000))
      }
      memory.writes += 1
      if !memory.isDeaf {
        // Function 6 has the word behind the address, function 16 behind the counts.
        let place = frame[1] == 6 ? 4 : 7
        memory.words[address] = UInt16(frame[place]) << 8 | UInt16(frame[place + 1])
      }
      return .success(LineReply(frame: Array(frame.prefix(6)), tookNs: 1_000))
    }
  }
}

@Suite("A platform's command")
struct PlatformCommandTests {
  private let registers = ScriptedRegisters()
  private static let open = #"{"device":"hydrant-1","point":"open","value":true}"#
  private static let shut = #"{"device":"hydrant-1","point":"open","value":"off"}"#

  private func fixture(_ more: [ConsumerSpec] = []) throws -> PullFixture {
    let fixture = try PullFixture(
      [
        PullFixture.consumer("water") {
          $0.kinds = ["hydrant"]
          $0.commands = true
        },
        PullFixture.consumer("lamps") {
          $0.devices = ["cover-1"]
          $0.commands = true
        },
        PullFixture.consumer("everything") { $0.commands = true },
        PullFixture.consumer("flows") { $0.points = ["flow"] },
      ] + more)
    let registers = registers
    fixture.field.change { $0.answer = { registers.answer($0) } }
    return fixture
  }

  private func post(
    _ fixture: PullFixture, _ body: String = open, as consumer: String = "water", key: String? = nil
  ) throws -> WireClient.Response {
    try fixture.client().post(
      "/v1/commands", token: "token-\(consumer)", body: body,
      headers: key.map { "Idempotency-Key: \($0)\r\n" } ?? "")
  }

  private var writes: Int { registers.memory.withLock { $0.writes } }

  @Test("is written, read back, answered with before and after, and told to whoever may see the point")
  func written() throws {
    let fixture = try fixture()
    let answer = try post(fixture)
    #expect(answer.status == 200, "\(answer.detail)")
    #expect(answer.json["before"]?["vb"] == .bool(false))
    #expect(answer.json["after"]?["vb"] == .bool(true))
    #expect(answer.json["asked"] == .bool(true))
    #expect(answer.json["good"] == .bool(true))
    #expect(answer.json["logged"] == .bool(true))
    #expect(registers.memory.withLock { $0.words[0] } == 1)
    let record = try #require(try fixture.get("/v1/batches?lane=alarms").records.last)
    #expect(record["n"] == .string("box-7/hydrant-1/command"))
    #expect(record["event"] == .string("commanded"))
    #expect(record["state"] == .string("normal"))
    #expect(record["by"] == .string("water"))
    #expect(record["note"] == .string("open: false to 1"))
    #expect(record["values"]?["open"] == .bool(true))
    #expect(record["message"]?["en"] == .string("Command to hydrant-1"))
    // Its point is outside of these scopes, and so is what was done to it.
    for other in ["lamps", "flows"] {
      #expect(try fixture.get("/v1/batches?lane=alarms", as: other).records.isEmpty, "\(other)")
    }
    #expect(fixture.server.commandsLogged == 1)
    let metrics = String(decoding: try fixture.get("/metrics", as: "water").body, as: UTF8.self)
    #expect(metrics.contains("kerb_consumer_commands_total{consumer=\"water\",result=\"written\"} 1"))
  }

  @Test("of a consumer without the right is refused, whatever it asks for, and nothing is read of its body")
  func right() throws {
    let fixture = try fixture()
    let wordings = try [Self.open, "nonsense", #"{"device":"x"}"#].map { try post(fixture, $0, as: "all") }
    #expect(wordings.allSatisfy { $0.status == 403 })
    #expect(Set(wordings.map(\.detail)).count == 1)
    #expect(try fixture.client().post("/v1/commands", token: nil, body: Self.open).status == 401)
    #expect(fixture.counts.refused(.forbidden) == 3)
    #expect(fixture.field.reports.withLock { $0.asked.isEmpty })
  }

  @Test("outside the scope looks the same as what does not exist")
  func scope() throws {
    let fixture = try fixture()
    func refusal(_ device: String, _ point: String, as consumer: String) throws -> (Int, String) {
      let answer = try post(
        fixture, #"{"device":"\#(device)","point":"\#(point)","value":1}"#, as: consumer)
      return (answer.status, answer.detail.replacing("\(device)/\(point)", with: "*"))
    }
    let (hidden, hiddenText) = try refusal("hydrant-1", "open", as: "lamps")
    let (missing, missingText) = try refusal("hydrant-9", "open", as: "lamps")
    #expect(hidden == 403 && missing == 403 && hiddenText == missingText)
    // A personal point is not there for who has not asked for pseudonyms.
    let (personal, personalText) = try refusal("gate-1", "card", as: "everything")
    let (none, noneText) = try refusal("gate-1", "cart", as: "everything")
    #expect(personal == 404 && none == 404 && personalText == noneText)
    #expect(fixture.field.reports.withLock { $0.asked.isEmpty })
  }

  @Test("goes to no point that is only read, and never to an elevator, whatever the profile says")
  func notWritable() throws {
    let fixture = try fixture()
    for (device, point) in [("cover-1", "tilt"), ("lift-1", "state")] {
      let answer = try post(fixture, #"{"device":"\#(device)","point":"\#(point)","value":1}"#, as: "everything")
      #expect(answer.status == 403, "\(device)")
      #expect(answer.detail.contains("takes no commands"))
    }
    #expect(fixture.field.reports.withLock { $0.asked.isEmpty })
    #expect(!fixture.catalogue.alarms.contains { fixture.catalogue.alarmName($0) == "lift-1/command" })
  }

  @Test("that is not understood is refused with what is allowed")
  func malformed() throws {
    let fixture = try fixture()
    let bodies = [
      "", "[]", "{", #"{"device":"hydrant-1","point":"open"}"#, #"{"device":"hydrant-1","point":"open","value":null}"#,
      #"{"device":"hydrant-1","point":"open","value":{}}"#, #"{"device":7,"point":"open","value":1}"#,
      #"{"device":"hydrant-1","point":"open","value":1,"force":true}"#,
      #"{"device":"hydrant-1","point":"open","value":"sideways"}"#,
      #"{"device":"hydrant-1","point":"open","value":""# + String(repeating: "9", count: 70) + "\"}",
    ]
    for body in bodies {
      let answer = try post(fixture, body)
      #expect(answer.status == 400, "\(body): \(answer.status)")
      #expect(answer.headers["content-type"] == "application/problem+json")
    }
    for key in ["", "a b", String(repeating: "k", count: 65), "\"\""] {
      #expect(try post(fixture, key: key).status == 400, "key \(key)")
    }
    let got = try fixture.get("/v1/commands", as: "water")
    #expect(got.status == 405 && got.headers["allow"] == "POST")
    #expect(writes == 0)
  }

  @Test("with a key is carried out once, however often it is sent; another one with the key is refused")
  func idempotent() throws {
    let fixture = try fixture()
    let first = try post(fixture, key: "abc-1")
    let again = try post(fixture, key: "\"abc-1\"")
    #expect(first.status == 200 && again.status == 200 && first.body == again.body)
    #expect(again.headers["idempotency-replayed"] == "true" && first.headers["idempotency-replayed"] == nil)
    #expect(writes == 1)
    #expect(try post(fixture, Self.shut, key: "abc-1").status == 422)
    // A key is one consumer's own.
    #expect(try post(fixture, Self.shut, as: "everything", key: "abc-1").status == 200)
    #expect(writes == 2)
    #expect(fixture.store.change { $0.events.count } == 2)
  }

  @Test("under way refuses the same key, and leaves places on the bus to others")
  func underWay() throws {
    let fixture = try fixture()
    registers.memory.withLock { $0.isHeld = true }
    defer { registers.memory.withLock { $0.isHeld = false } }
    let waiting = try (0..<2).map { number in
      let client = try fixture.client()
      client.sendRequest(
        "/v1/commands", token: "token-water", method: "POST",
        headers: "Content-Length: \(Self.open.utf8.count)\r\nIdempotency-Key: k\(number)\r\n")
      client.send(Self.open)
      return client
    }
    #expect(eventually { fixture.field.reports.withLock { $0.asked.count } == 4 })
    #expect(try post(fixture, key: "k1").status == 409)
    let full = try post(fixture, key: "k2")
    #expect(full.status == 503 && full.headers["retry-after"] != nil)
    registers.memory.withLock { $0.isHeld = false }
    for client in waiting { #expect(try client.response(isHead: false).status == 200) }
    // What was not carried out has not used up its key.
    #expect(try post(fixture, key: "k2").status == 200)
  }

  @Test("that fails before the write says that nothing was written, and may be sent again under its key")
  func failsBefore() throws {
    let fixture = try fixture()
    let cases: [(LineFailure, Int)] = [
      (.noReply, 504), (.corrupt(.checksum), 504), (.refused(2), 502), (.lineLost, 503), (.busy, 503), (.tooLate, 503),
    ]
    for (failure, status) in cases {
      registers.memory.withLock { $0.failures = [failure] }
      let answer = try post(fixture, key: "again")
      #expect(answer.status == status, "\(failure)")
      #expect(answer.detail.contains("nothing was written"))
      #expect(answer.json["written"] == nil)
    }
    registers.memory.withLock { $0.failures = [nil, .refused(3)] }
    #expect(try post(fixture, key: "again").status == 502)
    #expect(writes == 0 && fixture.store.change { $0.events.isEmpty })
    #expect(try post(fixture, key: "again").status == 200)
  }

  @Test("that may have been written says so, is in the log, and is not repeated under its key")
  func unknown() throws {
    let fixture = try fixture()
    registers.memory.withLock { $0.failures = [nil, .noReply] }
    let lost = try post(fixture, key: "once")
    #expect(lost.status == 504 && lost.json["written"] == .string("unknown"))
    #expect(try post(fixture, key: "once").status == 504)
    registers.memory.withLock { $0.failures = [nil, nil, .noReply] }
    let blind = try post(fixture)
    #expect(blind.status == 504 && blind.json["written"] == .string("yes"))
    let notes = fixture.store.change { $0.events.map { String(decoding: $0.note, as: UTF8.self) } }
    #expect(
      notes == ["open: false to 1, not confirmed: no_reply", "open: false to 1, written, not read back: no_reply"])
    #expect(fixture.store.change { $0.events.allSatisfy { $0.event.cause(0).quality == .uncertain } })
  }

  @Test("that the device took and did not follow is answered as not good, and told so")
  func differs() throws {
    let fixture = try fixture()
    registers.memory.withLock { $0.isDeaf = true }
    let answer = try post(fixture)
    #expect(answer.status == 200)
    #expect(answer.json["good"] == .bool(false))
    #expect(answer.json["after"]?["vb"] == .bool(false))
    #expect(fixture.store.change { $0.events.last?.note } == Array("open: false to 1, now false".utf8))
  }

  @Test("is not carried out while the storage could not log it; one that could not be logged says so")
  func storage() throws {
    let fixture = try fixture()
    fixture.store.change { $0.report.state = .failing }
    #expect(try post(fixture).status == 503)
    #expect(fixture.field.reports.withLock { $0.asked.isEmpty })
    fixture.store.change {
      $0.report.state = .good
      $0.isLogFull = true
    }
    let answer = try post(fixture)
    #expect(answer.status == 200 && answer.json["logged"] == .bool(false))
    #expect(fixture.server.commandsLogged == 0)
  }

  @Test("comes no more often than the limit; the others are told when to come again")
  func tooOften() throws {
    let fixture = try fixture()
    for _ in 0..<Limits.commandsBurstMax { #expect(try post(fixture).status == 200) }
    let over = try post(fixture)
    #expect(over.status == 429 && over.headers["retry-after"] != nil)
    #expect(try post(fixture, as: "everything").status == 200)
    fixture.clock.at.add(1_000_000_000, ordering: .relaxed)
    #expect(try post(fixture).status == 200)
    #expect(fixture.counts.refused(.commandsTooOften) == 1)
  }

  @Test("The book of keys is bounded, forgets after an hour, and never what is under way")
  func book() {
    var book = CommandBook()
    let start = Instant(nanoseconds: 1)
    book.begin("held", [0], of: "a", at: start)
    for number in 0..<(3 * Limits.commandKeysMax) {
      book.begin("k\(number)", [1], of: "a", at: start)
      book.end("k\(number)", of: "a", with: .json([]))
    }
    #expect(book.keys(of: "a") == Limits.commandKeysMax)
    if case .underWay = book.known("held", [0], of: "a", at: start) {} else { Issue.record("the held key is gone") }
    let last = "k\(3 * Limits.commandKeysMax - 1)"
    if case .answered = book.known(last, [1], of: "a", at: start) {} else { Issue.record("the last key is gone") }
    if case .new = book.known("k0", [1], of: "a", at: start) {} else { Issue.record("the first key is still there") }
    let later = start + Limits.commandKeyNs + 1
    if case .new = book.known(last, [2], of: "a", at: later) {} else { Issue.record("kept for ever") }
    book.keep(["b"])
    #expect(book.keys(of: "a") == 0)
  }
}
