import CZlib
import Gateway
import Glibc
import NIOCore
import Store
import StreamCore
import Synchronization
import TestSupport
import Testing

@Suite struct PushHTTPTests {
  /// Every sequence of telemetry, by the ids of the batches that came.
  private func sequences(_ requests: [WireServer.Request]) -> Set<Int64> {
    var found: Set<Int64> = []
    for batch in requests.flatMap({ $0.json["batches"]?.array ?? [] }) {
      let bounds = (batch["id"]?.string ?? "").split(separator: ".").last?.split(separator: "-")
        .compactMap { Int64($0) }
      if let bounds, bounds.count == 2 { found.formUnion(bounds[0]...bounds[1]) }
    }
    return found
  }

  @Test(
    "A platform gets what it would pull, alarms first, one lane in a body, and the cursor follows its 2xx"
  )
  func delivers() throws {
    let server = try WireServer { talk, _ in talk.takeAll() }
    defer { server.stop() }
    let fixture = PushFixture()
    fixture.fill(100)
    fixture.store.add(PullFixture.event(0, .unacknowledged, .critical, at: 5))
    fixture.office.admit([PushFixture.spec(port: server.port)])
    fixture.tell()
    #expect(eventually { fixture.cursor() == Position(alarms: 1, telemetry: 100) })
    let requests = server.requests
    #expect(requests.map(\.line) == ["POST /in?box=7 HTTP/1.1", "POST /in?box=7 HTTP/1.1"])
    #expect(requests[0].id == "\(PullFixture.storeID).3.alarms.1", "one batch alone: its own id")
    #expect(requests[1].id.hasPrefix("\(PullFixture.storeID).3.telemetry.1-100."), "from the first to the last")
    #expect(requests[0].headers["content-type"] == "application/json")
    #expect(requests[0].headers["host"] == "127.0.0.1:\(server.port)")
    #expect(requests[0].headers["authorization"] == nil)
    #expect(requests[1].json["gateway"]?.string == "box-7")
    #expect(requests[1].json["store"]?.string == PullFixture.storeID)
    #expect(
      requests[1].json["batches"]?.array?.map { $0["id"]?.string ?? "" } == [
        "\(PullFixture.storeID).3.telemetry.1-64", "\(PullFixture.storeID).3.telemetry.65-100",
      ])
    #expect(fixture.report()?.state == .idle)
    #expect(fixture.report()?.counts.deliveries == 2)
    // More comes: on the same connection.
    fixture.fill(10, from: 500)
    fixture.tell()
    #expect(eventually { fixture.cursor().telemetry == 110 })
  }

  @Test("Personal data and what is outside the scope stay; the cursor passes them")
  func scope() throws {
    let server = try WireServer { talk, _ in talk.takeAll() }
    defer { server.stop() }
    let fixture = PushFixture()
    fixture.store.add([
      PullFixture.sample(0, 1, at: 1), PullFixture.sample(2, 2, at: 2),
      PullFixture.sample(7, 3, at: 3),
    ])
    fixture.office.admit([
      PushFixture.spec("water", port: server.port) { $0.consumer.kinds = ["hydrant"] },
      PushFixture.spec("gates", port: server.port) { $0.consumer.kinds = ["access-gate"] },
    ])
    fixture.tell()
    #expect(
      eventually {
        fixture.cursor("water").telemetry == 3 && fixture.cursor("gates").telemetry == 3
      })
    let names = server.requests.flatMap { $0.json["batches"]?.array ?? [] }
      .flatMap { $0["records"]?.array ?? [] }.map { $0["n"]?.string ?? "" }
    #expect(names == ["box-7/hydrant-1/flow"])
  }

  @Test("gzip is what it was before, and a SenML body brings its gaps in headers")
  func forms() throws {
    let server = try WireServer { talk, _ in talk.takeAll() }
    defer { server.stop() }
    let fixture = PushFixture()
    fixture.store.change {
      $0.telemetryGaps = [Gap(from: 1, to: 9, epoch: 3, start: nil, end: nil, reason: .evicted)]
    }
    fixture.fill(200)
    fixture.office.admit([
      PushFixture.spec("plain", port: server.port) { $0.consumer.lanes = [.telemetry] },
      PushFixture.spec("small", port: server.port) { $0.gzip = true },
      PushFixture.spec("pack", port: server.port) { $0.format = .senmlJSON },
      PushFixture.spec("cbor", port: server.port) { $0.format = .senmlCBOR },
    ])
    fixture.tell()
    #expect(
      eventually {
        ["plain", "small", "pack", "cbor"].allSatisfy { fixture.cursor($0).telemetry == 209 }
      })
    func first(_ type: String, _ coding: String?) throws -> WireServer.Request {
      try #require(
        server.requests.first {
          $0.headers["content-type"] == type && $0.headers["content-encoding"] == coding
        })
    }
    let plain = try first("application/json", nil)
    #expect(plain.json["gaps"]?.array?.first?["count"]?.integer == 9)
    let small = try first("application/json", "gzip")
    #expect(small.body.count < plain.body.count / 4)
    // Only the sealed cursor differs.
    #expect(JSONBody.batches(gunzip(small.body)) == JSONBody.batches(plain.body))
    let pack = try first("application/senml+json", nil)
    #expect(pack.headers["kerb-gap"] == "telemetry;from=1;to=9;count=9;reason=evicted")
    let records = server.requests.filter { $0.headers["content-type"] == "application/senml+json" }
      .reduce(0) { $0 + ($1.json.array?.count ?? 0) }
    #expect(records == 200)
    #expect(try first("application/senml+cbor", nil).body.first == 0x9F)
  }

  private enum JSONBody {
    static func batches(_ body: [UInt8]) -> JSONValue? { (try? JSONParser.parse(body))?["batches"] }
  }

  private func gunzip(_ bytes: [UInt8]) -> [UInt8] {
    var stream = z_stream()
    guard inflateInit2_(&stream, 31, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK
    else { return [] }
    defer { inflateEnd(&stream) }
    var (input, output) = (bytes, [UInt8](repeating: 0, count: 1 << 20))
    let count = input.withUnsafeMutableBufferPointer { from in
      output.withUnsafeMutableBufferPointer { to in
        stream.next_in = from.baseAddress
        stream.avail_in = UInt32(from.count)
        stream.next_out = to.baseAddress
        stream.avail_out = UInt32(to.count)
        return inflate(&stream, Z_FINISH) == Z_STREAM_END ? to.count - Int(stream.avail_out) : 0
      }
    }
    return Array(output[..<count])
  }

  // MARK: Faults

  enum Fault: String, CaseIterable {
    case tooMany = "33 429 with Retry-After"
    case failing = "33 503"
    case garbage = "33 no HTTP"
    case endless = "33 an answer without an end"
    case broken = "33 an answer that breaks off"
    case early = "33 closed at once"
    case refusing = "33 400"
    case moved = "33 301"
    case denied = "33 403"
    case lost = "32 the answer is lost after it was taken"

    func happen(_ talk: WireServer.Talk) {
      if self == .early { return }
      guard talk.request() != nil else { return }
      switch self {
      case .tooMany: talk.answer(429, "Retry-After: 7\r\n")
      case .failing: talk.answer(503)
      case .garbage: talk.send("SSH-2.0-OpenSSH_9.2\r\n")
      case .endless:
        talk.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        let chunk = "10000\r\n" + String(repeating: "x", count: 0x10000) + "\r\n"
        while talk.send(chunk) {}
      case .broken: talk.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
      case .refusing: talk.answer(400, body: "I don't know \u{1B}[31mthis")
      case .moved: talk.answer(301, "Location: http://elsewhere/\r\n")
      case .denied: talk.answer(403)
      case .lost, .early: break
      }
    }

    var isPersons: Bool { [.refusing, .moved, .denied].contains(self) }
  }

  @Test(
    "Nothing is lost, nothing passed over, and the same comes again under the same id",
    arguments: Fault.allCases)
  func faults(_ fault: Fault) throws {
    let server = try WireServer { talk, number in
      if number < 2 { fault.happen(talk) } else { talk.takeAll() }
    }
    defer { server.stop() }
    let fixture = PushFixture()
    fixture.fill(100)
    fixture.office.admit([PushFixture.spec(port: server.port) { $0.consumer.lanes = [.telemetry] }])
    fixture.tell()
    #expect(eventually { (fixture.report()?.counts.failures ?? 0) > 0 })
    #expect(fixture.cursor().telemetry == 0, "a cursor moved without a 2xx that came to its end")
    let report = try #require(fixture.report())
    #expect(report.needsPerson == fault.isPersons, "\(report.text)")
    #expect(!report.text.unicodeScalars.contains { $0.value < 0x20 })
    #expect(
      fixture.passUntil { fixture.cursor().telemetry == 100 }, "\(fixture.report()?.text ?? "")")
    #expect(sequences(server.requests) == Set(1...100))
    let ids = Set(server.requests.map(\.id))
    let bodies = Set(server.requests.map(\.body))
    #expect(ids.count == bodies.count, "an id has one body")
    #expect(fixture.report()?.failure == nil)
  }

  @Test("31 A half-open peer is given up after a time, and the next connection delivers")
  func halfOpen() throws {
    let server = try WireServer { talk, number in
      if number > 0 { return talk.takeAll() }
      _ = talk.request()
      talk.hold()
    }
    defer { server.stop() }
    let fixture = PushFixture()
    fixture.fill(10)
    fixture.office.admit([PushFixture.spec(port: server.port)])
    fixture.tell()
    #expect(eventually { server.requests.count == 1 })
    fixture.pass(29)
    #expect(fixture.report()?.failure == nil)
    fixture.pass(30)
    #expect(fixture.report()?.failure == .silent)
    #expect(fixture.passUntil { fixture.cursor().telemetry == 10 })
    #expect(server.requests.map(\.id) == [server.requests[0].id, server.requests[0].id])
  }

  @Test("413 gets halves, until the platform takes them")
  func tooLarge() throws {
    let server = try WireServer { talk, _ in
      while let request = talk.request() { talk.answer(request.body.count > 10_000 ? 413 : 200) }
    }
    defer { server.stop() }
    let fixture = PushFixture()
    fixture.fill(2_000)
    fixture.office.admit([PushFixture.spec(port: server.port)])
    fixture.tell()
    #expect(fixture.passUntil { fixture.cursor().telemetry == 2_000 })
    #expect(sequences(server.requests.filter { $0.body.count <= 10_000 }) == Set(1...2_000))
    #expect(server.requests.count { $0.body.count > 10_000 } <= 2, "it remembers")
  }

  @Test("A token stands in a file alone, is read anew for a new connection, and is in no report")
  func token() throws {
    let folder = try TemporaryFolder()
    try folder.write("token", "first-secret\n")
    chmod("\(folder.path)/token", 0o600)
    let server = try WireServer { talk, _ in
      while let request = talk.request() {
        talk.answer(
          request.headers["authorization"] == "Bearer second-secret" ? 204 : 401,
          "Connection: close\r\n")
        return
      }
    }
    defer { server.stop() }
    let fixture = PushFixture()
    fixture.fill(10)
    fixture.office.admit([
      PushFixture.spec(port: server.port) { $0.tokenFile = "\(folder.path)/token" }
    ])
    fixture.tell()
    #expect(eventually { fixture.report()?.needsPerson == true })
    let text = try #require(fixture.report()?.text)
    #expect(text.contains("401") && text.contains("token_file") && !text.contains("secret"))
    try folder.write("token", "second-secret\n")
    chmod("\(folder.path)/token", 0o600)
    #expect(fixture.passUntil { fixture.cursor().telemetry == 10 })
  }

  @Test("35 A name server that hangs holds up nobody else, and takes one thread at most")
  func hangingName() throws {
    let server = try WireServer { talk, _ in talk.takeAll() }
    defer { server.stop() }
    let lookups = Mutex(0)
    let isHeld = Mutex(true)
    let fixture = PushFixture(lookup: { host, port in
      guard host == "hangs.example" else { return PushCredentials.lookup(host, port) }
      lookups.withLock { $0 += 1 }
      _ = eventually { !isHeld.withLock { $0 } }
      return PushCredentials.lookup("127.0.0.1", port)
    })
    fixture.fill(10)
    fixture.office.admit([
      PushFixture.spec("hanging", port: server.port) { $0.address.host = "hangs.example" },
      PushFixture.spec("other", port: server.port),
    ])
    fixture.tell()
    #expect(eventually { fixture.cursor("other").telemetry == 10 })
    #expect(eventually { lookups.withLock { $0 } == 1 })
    fixture.pass(31)
    #expect(fixture.report("hanging")?.text.contains("no connection within 30 s") == true)
    fixture.pass(5)
    #expect(eventually { fixture.report("hanging")?.text.contains("still hangs") == true })
    for _ in 0..<5 { fixture.pass(130) }
    #expect(lookups.withLock { $0 } == 1)
    isHeld.withLock { $0 = false }
    #expect(
      eventually {
        fixture.pass(130)
        return fixture.cursor("hanging").telemetry == 10
      })
  }

  @Test("A store that was set up anew is begun again at its own cursor")
  func otherStore() throws {
    let server = try WireServer { talk, _ in talk.takeAll() }
    defer { server.stop() }
    let fixture = PushFixture()
    fixture.fill(10)
    fixture.office.admit([PushFixture.spec(port: server.port)])
    fixture.tell()
    #expect(eventually { fixture.cursor().telemetry == 10 })
    let other = "00000000-0000-4000-8000-000000000001"
    fixture.store.change { $0.report.storeID = other }
    fixture.fill(10, from: 100)
    fixture.tell()
    #expect(fixture.passUntil { fixture.cursor().telemetry == 20 })
    #expect(server.requests.last?.id == "\(other).3.telemetry.11-20")
  }

  @Test("What a platform says to a body of the store before is no answer to one of the store after")
  func otherStoreOnTheWay() throws {
    let isReleased = Mutex(false)
    let server = try WireServer { talk, number in
      if number > 0 { return talk.takeAll() }
      _ = talk.request()
      _ = eventually { isReleased.withLock { $0 } }
      talk.answer(200)
      talk.hold()
    }
    defer { server.stop() }
    let fixture = PushFixture()
    fixture.fill(10)
    fixture.office.admit([PushFixture.spec(port: server.port)])
    fixture.tell()
    #expect(eventually { server.requests.count == 1 })
    let other = "00000000-0000-4000-8000-000000000001"
    fixture.store.change { $0.report.storeID = other }
    fixture.store.add(PullFixture.event(0, .unacknowledged, .critical, at: 5))
    fixture.tell()
    // Where the door stays open, the next body goes out behind the first; where it is shut, on a way of its own.
    #expect(eventually { server.requests.contains { $0.id.hasPrefix(other) } })
    isReleased.withLock { $0 = true }
    #expect(fixture.passUntil { fixture.cursor() == Position(alarms: 1, telemetry: 10) })
    #expect(server.requests.map(\.id).contains("\(other).3.telemetry.1-10"), "it comes again, as the new store's")
  }

  @Test("A reload stops what is gone, begins what is new, and does not touch the others")
  func reload() throws {
    let connections = Mutex(0)
    let server = try WireServer { talk, _ in
      connections.withLock { $0 += 1 }
      talk.takeAll()
    }
    defer { server.stop() }
    let fixture = PushFixture()
    fixture.fill(10)
    let (one, two) = (
      PushFixture.spec("one", port: server.port), PushFixture.spec("two", port: server.port)
    )
    fixture.office.admit([one])
    fixture.tell()
    #expect(eventually { fixture.cursor("one").telemetry == 10 })
    var moved = one
    moved.consumer.place.line = 99
    fixture.office.admit([moved, two])
    fixture.tell()
    #expect(eventually { fixture.cursor("two").telemetry == 10 })
    #expect(connections.withLock { $0 } == 2, "one's connection is as it was")
    fixture.office.admit([two])
    fixture.fill(10, from: 100)
    fixture.tell()
    #expect(eventually { fixture.cursor("two").telemetry == 20 })
    #expect(fixture.cursor("one").telemetry == 10)
    #expect(fixture.report("one") == nil)
  }
}

@Suite struct PushTextTests {
  @Test("35 A certificate that can't be verified is told plainly while the clock is not set")
  func clock() {
    let unset = PushClock(isBelieved: { false }, unixNow: { 60 })
    #expect(unset.certificateDoubt.contains("the clock is not set (it says 1970-01-01 00:01 UTC)"))
    #expect(unset.certificateDoubt.contains("not yet valid"))
    let set = PushClock(isBelieved: { true }, unixNow: { 1_795_212_000 })
    #expect(!set.certificateDoubt.contains("clock") && set.certificateDoubt.contains("ca_file"))
  }

  @Test("Retry-After is seconds or a date, and anything else is nothing")
  func retryAfter() {
    #expect(RetryAfter.ns("120", nowUnix: 0) == 120_000_000_000)
    #expect(RetryAfter.ns("Fri, 31 Dec 1999 23:59:59 GMT", nowUnix: 946_684_739) == 60_000_000_000)
    #expect(
      RetryAfter.ns("Fri, 31 Dec 1999 23:59:59 GMT", nowUnix: nil) == nil, "no date without a clock"
    )
    #expect(RetryAfter.ns("Fri, 31 Dec 1999 23:59:59 GMT", nowUnix: 1_000_000_000) == 0)
    for text in ["", "-1", "soon", "99999999999999999999", "1.5", "Fri, 31 Dec 1999"] {
      #expect(RetryAfter.ns(text, nowUnix: 0) == nil, "\(text)")
    }
  }
}
