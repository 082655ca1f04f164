import FieldBus
import Gateway
import Store
import StreamCore
import Testing

@Suite struct PullServerTests {
  // MARK: Who may

  @Test("Answers to who acknowledges nothing are counted until it does; where there was nothing to take, none is")
  func unacknowledged() throws {
    let fixture = try PullFixture()
    #expect(fixture.counts.unacknowledged["all"] == nil)
    #expect(try fixture.get("/v1/batches").status == 204)
    #expect(fixture.counts.unacknowledged["all"] == 0)
    fixture.store.add([PullFixture.sample(0, 34, at: 0.25)])
    let next = try fixture.get("/v1/batches").next
    for _ in 0..<2 { #expect(try fixture.get("/v1/batches").status == 200) }
    _ = try fixture.get("/v1/status")
    #expect(fixture.counts.unacknowledged["all"] == 3)
    #expect(try fixture.get("/v1/batches?after=\(next)").status == 204)
    #expect(fixture.counts.unacknowledged["all"] == 0)
  }

  @Test("Without a token, with a wrong one, with two, or with another scheme: 401, and the challenge")
  func unauthorized() throws {
    let fixture = try PullFixture()
    for headers in [
      "", "Authorization: Bearer wrong\r\n", "Authorization: Basic dG9rZW4tYWxs\r\n", "Authorization: Bearer\r\n",
      "Authorization: Bearer token-all\r\nAuthorization: Bearer token-all\r\n",
      "Authorization: Bearer token-all x\r\n",
    ] {
      let response = try fixture.get("/v1/batches", as: nil, headers: headers)
      #expect(response.status == 401, "\(headers)")
      #expect(response.headers["www-authenticate"]?.hasPrefix("Bearer realm=\"kerb\"") == true)
      #expect(response.headers["content-type"] == "application/problem+json")
      #expect(response.json["status"] == .integer(401))
      #expect(!response.detail.isEmpty)
    }
    #expect(fixture.counts.refused(.unknownToken) == 1)
    // Blanks around it are no part of a token.
    let padded = try fixture.get("/v1/schema", as: nil, headers: "Authorization:  bearer \t token-all \t\r\n")
    #expect(padded.status == 200)
    #expect(fixture.store.change { $0.acknowledged.isEmpty && $0.reads == 0 })
  }

  @Test("/healthz needs no token, and tells when the storage fails or is silent")
  func health() throws {
    let fixture = try PullFixture()
    let well = try fixture.get("/healthz", as: nil)
    #expect(well.status == 200)
    #expect(well.json == .object([JSONMember(name: "status", value: .string("ok"))]))
    fixture.store.change { $0.report.state = .failing }
    let ill = try fixture.get("/healthz", as: nil)
    #expect(ill.status == 503)
    #expect(ill.headers["retry-after"] != nil)
    let silent = try PullFixture(healthNs: 1_000_000)
    silent.store.change { $0.isMute = true }
    #expect(try silent.get("/healthz", as: nil).status == 503)
  }

  @Test("What is not there is 404, what can't be written is 405 with Allow, HEAD is GET without a body")
  func routes() throws {
    let fixture = try PullFixture()
    for path in ["/v1/nothing", "/v1/", "/", "/v2/batches", "/v1/batches/", "/v1/metrics"] {
      let response = try fixture.get(path)
      #expect(response.status == 404, "\(path)")
      #expect(response.headers["content-type"] == "application/problem+json")
    }
    for (path, method) in [
      ("/v1/batches", "POST"), ("/v1/points", "DELETE"), ("/healthz", "PUT"), ("/v1/alarms", "OPTIONS"),
    ] {
      let response = try fixture.get(path, method: method)
      #expect(response.status == 405, "\(path)")
      #expect(response.headers["allow"] == "GET, HEAD")
    }
    let get = try fixture.get("/v1/points")
    let head = try fixture.get("/v1/points", method: "HEAD")
    #expect(head.status == 200)
    #expect(head.headers["content-length"] == "\(get.body.count)")
    #expect(try fixture.get("/v1/batches", headers: "Accept: text/html\r\n").status == 406)
    #expect(try fixture.get("/v1/batches", headers: "Accept: text/html, */*;q=0.1\r\n").status == 204)
  }

  @Test(
    "A malformed parameter is 400 and says which and what is allowed",
    arguments: [
      "limit=0", "limit=10001", "limit=ten", "limit=", "wait=-1", "wait=61", "wait=inf", "wait=0x1p3", "wait=nan",
      "lane=both", "after=", "after=%FF", "after=abc", "limt=5", "limit=5&limit=6", "lane=Alarms", "wait=1e1",
      "after=%4",
    ])
  func malformed(_ query: String) throws {
    let fixture = try PullFixture()
    let response = try fixture.get("/v1/batches?\(query)")
    #expect(response.status == 400)
    #expect(response.headers["content-type"] == "application/problem+json")
    #expect(fixture.store.change { $0.acknowledged.isEmpty && $0.reads == 0 })
    if !query.contains("%") {
      #expect(response.detail.contains(String(query.prefix { $0 != "=" })), "\(response.detail)")
    }
  }

  // MARK: What comes

  @Test("Records carry name, time, value, unit, quality, label, statistic and window, each in the form of its type")
  func records() throws {
    let fixture = try PullFixture()
    let text = Array("SN-42".utf8)
    var serial = PullFixture.sample(5, Sample.textPlace(offset: 0, length: text.count), at: 5)
    serial.hasText = true
    fixture.store.add(
      [
        PullFixture.sample(0, 34, at: 0.25), PullFixture.sample(1, 363, at: 1),
        PullFixture.sample(2, Int64(Float(3.4).bitPattern), at: 2), PullFixture.sample(3, 1, at: 3),
        PullFixture.sample(4, 1, at: 4), serial, PullFixture.sample(6, -1, at: 6),
        PullFixture.sample(0, 0, at: 7, .bad), PullFixture.sample(0, -905, at: 8, .uncertain),
        PullFixture.sample(8, 171, at: 60),
        PullFixture.sample(9, Int64(bitPattern: (0.1 + 0.2).bitPattern), at: 60),
      ], texts: text)
    let response = try fixture.get("/v1/batches")
    #expect(response.status == 200)
    #expect(response.headers["content-type"] == "application/json")
    #expect(response.json["gateway"] == .string("box-7"))
    #expect(response.json["store"] == .string(PullFixture.storeID))
    #expect(!response.more)
    #expect(response.batches.count == 1)
    #expect(response.batches[0]["id"] == .string("\(PullFixture.storeID).3.telemetry.1-11"))
    #expect(response.batches[0]["lane"] == .string("telemetry"))
    let expected = [
      #"{"n":"box-7/cover-1/tilt","t":1795212000.25,"v":3.4,"u":"deg","q":"good"}"#,
      #"{"n":"box-7/cover-1/battery","t":1795212001,"v":3.63,"u":"V","q":"good"}"#,
      #"{"n":"box-7/hydrant-1/flow","t":1795212002,"v":3.4,"q":"good"}"#,
      #"{"n":"box-7/hydrant-1/open","t":1795212003,"vb":true,"q":"good"}"#,
      #"{"n":"box-7/lift-1/state","t":1795212004,"v":1,"label":"moving","q":"good"}"#,
      #"{"n":"box-7/lift-1/serial","t":1795212005,"vs":"SN-42","q":"good"}"#,
      #"{"n":"box-7/lift-1/trips","t":1795212006,"v":18446744073709551615,"q":"good"}"#,
      #"{"n":"box-7/cover-1/tilt","t":1795212007,"u":"deg","q":"bad"}"#,
      #"{"n":"box-7/cover-1/tilt","t":1795212008,"v":-90.5,"u":"deg","q":"uncertain"}"#,
      #"{"n":"box-7/cover-1/tilt","t":1795212060,"v":17.1,"u":"deg","q":"good","stat":"max","window":"1m"}"#,
      #"{"n":"box-7/cover-1/tilt","t":1795212060,"v":0.30000000000000004,"u":"deg","q":"good","stat":"mean","#
        + #""window":"1m"}"#,
    ]
    let body = String(decoding: response.body, as: UTF8.self)
    #expect(body.contains("[" + expected.joined(separator: ",") + "]"), "\(body)")
  }

  @Test("An alarm comes as a batch of its own, before telemetry, with message and values filled in")
  func alarms() throws {
    let fixture = try PullFixture()
    fixture.store.add([PullFixture.sample(0, 1, at: 9)])
    var event = PullFixture.event(0, .unacknowledged, .critical, at: 10)
    event.add(AlarmCause(series: 0, quality: .good, raw: 171))
    event.add(AlarmCause(series: 1, quality: .bad, raw: 0))
    fixture.store.add(event)
    fixture.store.add(PullFixture.event(0, .returnedUnacknowledged, .critical, at: 20))
    let response = try fixture.get("/v1/batches")
    let ids = response.batches.compactMap { $0["id"]?.string }
    let store = PullFixture.storeID
    #expect(ids == ["\(store).3.alarms.1", "\(store).3.alarms.2", "\(store).3.telemetry.1-1"])
    let body = String(decoding: response.body, as: UTF8.self)
    #expect(
      body.contains(
        #"{"n":"box-7/cover-1/cover-open","t":1795212010,"id":"1","alarm":"cover-open","event":"raised","#
          + #""state":"unacknowledged","active":true,"#
          + #""severity":"critical","since":1795212008,"message":{"en":"Cover cover-1 of box-7: 17.1 deg","#
          + #""zh":"井盖 cover-1"},"values":{"tilt":17.1}}"#), "\(body)")
    #expect(response.records[1]["active"] == .bool(false))
    #expect(response.records[1]["state"] == .string("returned-unacknowledged"))
    #expect(response.records[1]["message"]?["en"] == .string("Cover cover-1 of box-7: ? deg"))
    #expect(try fixture.get("/v1/batches?lane=telemetry").names == ["box-7/cover-1/tilt"])
    #expect(try fixture.get("/v1/batches?lane=alarms").records.count == 2)
  }

  @Test("While the clock is unknown, times are relative; those of an older epoch count in it alone")
  func unknownClock() throws {
    let fixture = try PullFixture(clockKnown: false)
    fixture.store.add([PullFixture.sample(0, 34, at: 5)], epoch: 2)
    fixture.store.add([PullFixture.sample(0, 35, at: 998.75)])
    let response = try fixture.get("/v1/batches")
    let old = try #require(response.records.first)
    let new = try #require(response.records.last)
    #expect(old["t"] == nil)
    #expect(old["mono"] == .integer(5))
    #expect(old["unsynchronised"] == .bool(true))
    #expect(new["t"] == .number(-1.25))
    #expect(new["unsynchronised"] == .bool(true))
    // Once it is known, what is stored has its time.
    fixture.store.change { $0.clocks = [EpochClock(epoch: 3, offsetNs: PullFixture.offsetNs)] }
    let again = try fixture.get("/v1/batches")
    #expect(again.records.last?["t"] == .number(1_795_212_998.75))
    #expect(again.records.last?["unsynchronised"] == nil)
    #expect(again.records.first?["unsynchronised"] == .bool(true))
  }

  @Test("While the clock is unknown, the end of a shelf is told relative to now, before and after it, in every format")
  func unknownClockAndShelf() throws {
    let fixture = try PullFixture(clockKnown: false)
    var event = PullFixture.event(0, .shelved, .critical, at: 990)
    event.change = .shelved
    event.until = PullFixture.at(1_008.5)
    fixture.store.add(event)
    let shelved = try #require(try fixture.get("/v1/batches").records.first)
    #expect(shelved["until"] == .number(8.5) && shelved["t"] == .integer(-10) && shelved["since"] == .integer(-12))
    let senml = try fixture.get("/v1/batches", headers: "Accept: application/senml+json\r\n")
    #expect(senml.json.array?.first?["until"] == .number(8.5))
    fixture.clock.at.store(1_020_000_000_000, ordering: .relaxed)
    #expect(try fixture.get("/v1/batches").records.first?["until"] == .number(-11.5))
    // An answer that began before its record was made does not date it into the future.
    fixture.clock.at.store(980_000_000_000, ordering: .relaxed)
    let early = try #require(try fixture.get("/v1/batches").records.first)
    #expect(early["t"] == .integer(0) && early["since"] == .integer(0))
    // Known, it is absolute.
    fixture.store.change { $0.clocks = [EpochClock(epoch: 3, offsetNs: PullFixture.offsetNs)] }
    #expect(try fixture.get("/v1/batches").records.first?["until"] == .number(1_795_213_008.5))
  }

  @Test(
    "Old blocks keep the names under which they were written; without their catalogue they are a gap, not silence")
  func oldCatalogue() throws {
    let fixture = try PullFixture()
    var old = fixture.catalogue
    old.devices[0].name = "cover-old"
    let encoded = old.encoded()
    fixture.store.change { $0.catalogues[9] = encoded }
    fixture.store.add([PullFixture.sample(0, 1, at: 1)], version: 9)
    fixture.store.add([PullFixture.sample(0, 2, at: 2)], version: 8)
    fixture.store.add([PullFixture.sample(0, 3, at: 3)])
    let response = try fixture.get("/v1/batches")
    #expect(response.names == ["box-7/cover-old/tilt", "box-7/cover-1/tilt"])
    #expect(response.gaps.count == 1)
    #expect(response.gaps.first?["from"] == .integer(2))
    #expect(response.gaps.first?["reason"] == .string("damaged"))
  }

  @Test("Gaps say lane, bounds, count, times and reason")
  func gaps() throws {
    let fixture = try PullFixture()
    fixture.store.change {
      $0.telemetryGaps = [
        Gap(
          from: 1, to: 120, epoch: 3, start: PullFixture.at(1), end: PullFixture.at(61.5), reason: .evicted)
      ]
    }
    fixture.store.add([PullFixture.sample(0, 3, at: 70)])
    let response = try fixture.get("/v1/batches")
    let body = String(decoding: response.body, as: UTF8.self)
    #expect(
      body.contains(
        #""gaps":[{"lane":"telemetry","from":1,"to":120,"count":120,"start":1795212001,"end":1795212061.5,"#
          + #""reason":"evicted"}]"#), "\(body)")
    #expect(response.batches.first?["id"]?.string?.hasSuffix(".121-121") == true)
    #expect(try fixture.get("/v1/batches?after=\(response.next)").status == 204)
  }

  @Test("A store that can't be read is 503 with Retry-After")
  func storeFails() throws {
    let fixture = try PullFixture()
    fixture.store.change { $0.failure = .io(code: 10) }
    let response = try fixture.get("/v1/batches")
    #expect(response.status == 503)
    #expect(response.headers["retry-after"] != nil)
  }
}
