import CLinux
import FieldBus
import Gateway
import Store
import StreamCore
import Testing

@Suite struct DeliveryTests {
  // MARK: Nothing lost, nothing twice

  /// Pulls until there is nothing more; the (time, value) of every record of telemetry, in order, and the answers'
  /// sizes.
  private func drain(
    _ fixture: PullFixture, _ query: String, as consumer: String = "all"
  ) throws -> (records: [String], ids: [String], answers: [WireClient.Response]) {
    let client = try fixture.client()
    var after = fixture.cursor(Position(), of: consumer)
    var records: [String] = []
    var ids: [String] = []
    var answers: [WireClient.Response] = []
    while true {
      let response = try client.get("/v1/batches?after=\(after)&\(query)", token: "token-\(consumer)")
      if response.status == 204 { return (records, ids, answers) }
      try #require(response.status == 200)
      try #require(response.next != after, "the cursor must move, or this never ends")
      after = response.next
      ids += response.batches.compactMap { $0["id"]?.string }
      records += response.records.map { "\($0["n"]?.string ?? "") \($0["t"]?.double ?? -1)" }
      answers.append(response)
    }
  }

  /// Blocks of odd sizes, alarms between them; every record has its own time.
  private func fill(_ fixture: PullFixture, seed: UInt64, blocks: Int) -> (telemetry: [String], alarms: [String]) {
    var dice = Dice(state: seed)
    var telemetry: [String] = []
    var alarms: [String] = []
    var time = 1.0
    for _ in 0..<blocks {
      var samples: [Sample] = []
      for _ in 0..<Int.random(in: 1...300, using: &dice) {
        let series = UInt16.random(in: 0...3, using: &dice)
        samples.append(PullFixture.sample(series, Int64.random(in: 0...1, using: &dice), at: time))
        telemetry.append(
          "box-7/\(fixture.catalogue.pointName(fixture.catalogue.series[Int(series)])) \(1_795_212_000 + time)")
        time += 0.25
      }
      fixture.store.add(samples)
      if Bool.random(using: &dice) {
        fixture.store.add(PullFixture.event(0, .unacknowledged, .critical, at: time))
        alarms.append("box-7/cover-1/cover-open \(1_795_212_000 + time)")
      }
    }
    return (telemetry, alarms)
  }

  @Test(
    "A whole backlog drains without loss and without doubles, whatever the limit",
    arguments: [1, 7, 63, 64, 65, 100, 1_000, 10_000], [UInt64(1), 2])
  func drains(limit: Int, seed: UInt64) throws {
    let fixture = try PullFixture()
    let expected = fill(fixture, seed: seed, blocks: limit == 1 ? 2 : 12)
    let found = try drain(fixture, "limit=\(limit)")
    #expect(found.records.filter { $0.contains("cover-open") } == expected.alarms, "seed \(seed)")
    #expect(found.records.filter { !$0.contains("cover-open") } == expected.telemetry, "seed \(seed)")
    #expect(Set(found.ids).count == found.ids.count)
    #expect(found.answers.allSatisfy { $0.records.count <= limit })
    #expect(found.answers.dropLast().allSatisfy { $0.more })
    #expect(found.answers.last?.more == false)
  }

  @Test("A scope that skips drains what it sees, and its cursor passes the rest")
  func drainsScope() throws {
    let fixture = try PullFixture([PullFixture.consumer("water") { $0.kinds = ["hydrant"] }])
    let expected = fill(fixture, seed: 5, blocks: 12)
    let found = try drain(fixture, "limit=50", as: "water")
    #expect(found.records == expected.telemetry.filter { $0.contains("hydrant") })
    #expect(found.answers.dropLast().allSatisfy { $0.records.count > 0 })
  }

  @Test("No answer is larger than a mebibyte, and the cuts lose nothing")
  func drainsBytes() throws {
    let fixture = try PullFixture()
    let text = Array(repeating: UInt8(ascii: "\u{1}"), count: 32)
    for block in 0..<60 {
      fixture.store.add(
        (0..<200).map { index in
          var sample = PullFixture.sample(
            5, Sample.textPlace(offset: 0, length: 32), at: Double(block * 200 + index))
          sample.hasText = true
          return sample
        }, texts: text)
    }
    let found = try drain(fixture, "limit=10000")
    #expect(found.records.count == 12_000)
    #expect(found.records == found.records.uniqued)
    #expect(found.answers.count > 2)
    #expect(found.answers.allSatisfy { $0.body.count <= Limits.answerBytesMax })
    #expect(found.answers.dropLast().allSatisfy { $0.body.count > Limits.answerBytesMax / 2 })
  }

  @Test("A batch has the same id and the same records wherever the cursor began and whatever the limit is")
  func stableBatches() throws {
    let fixture = try PullFixture()
    _ = fill(fixture, seed: 9, blocks: 8)
    var seen: [String: JSONValue] = [:]
    let client = try fixture.client()
    for limit in [64, 200, 777, 10_000] {
      var after = ""
      for _ in 0..<40 {
        let response = try client.get("/v1/batches?limit=\(limit)\(after)", token: "token-all")
        if response.status == 204 { break }
        for batch in response.batches {
          let id = try #require(batch["id"]?.string)
          let records = try #require(batch["records"])
          if let earlier = seen[id] { #expect(earlier == records, "\(id)") }
          seen[id] = records
        }
        after = "&after=\(response.next)"
      }
      fixture.store.change { $0.cursors = [:] }
    }
    let starts = seen.keys.filter { $0.contains("telemetry") }.compactMap {
      $0.split(separator: ".").last?.split(separator: "-").first
    }
    #expect(Set(starts).count == starts.count, "one id for each place")
  }

  @Test("Gaps in front of a cut come with it, those behind it later, each once")
  func gapsAndCuts() throws {
    let fixture = try PullFixture()
    for block in 0..<6 {
      fixture.store.add((0..<10).map { PullFixture.sample(0, 1, at: Double(block * 10 + $0)) })
      fixture.store.change {
        let from = $0.durable.telemetry + 1
        $0.telemetryGaps.append(Gap(from: from, to: from + 4, epoch: 3, start: nil, end: nil, reason: .overflow))
      }
    }
    for limit in [1, 10, 15, 1_000] {
      let found = try drain(fixture, "limit=\(limit)")
      #expect(found.records.count == 60)
      let gaps = found.answers.flatMap(\.gaps).compactMap { $0["from"]?.integer }
      #expect(gaps == [11, 26, 41, 56, 71, 86], "limit \(limit)")
    }
  }

  // MARK: Acknowledging

  @Test(
    "`after` acknowledges, monotonously; without it the answer starts at the stored cursor; asking again is safe")
  func acknowledges() throws {
    let fixture = try PullFixture()
    fixture.store.add((0..<10).map { PullFixture.sample(0, Int64($0), at: Double($0)) })
    let first = try fixture.get("/v1/batches?limit=4")
    let again = try fixture.get("/v1/batches?limit=4")
    #expect(first.body == again.body)
    #expect(fixture.store.change { $0.cursors["all"] } == nil)
    let second = try fixture.get("/v1/batches?limit=4&after=\(first.next)")
    #expect(fixture.store.change { $0.cursors["all"] } == Position(alarms: 0, telemetry: 4))
    #expect(second.records.first?["v"] == .number(0.4))
    _ = try fixture.get("/v1/batches?limit=4&after=\(second.next)")
    // The older cursor is answered again, and moves nothing back.
    #expect(try fixture.get("/v1/batches?limit=4&after=\(first.next)").body == second.body)
    #expect(fixture.store.change { $0.cursors["all"] } == Position(alarms: 0, telemetry: 8))
    #expect(try fixture.get("/v1/batches").records.count == 2)
  }

  @Test("One lane asked for leaves the other lane's cursor where it is")
  func lanes() throws {
    let fixture = try PullFixture([PullFixture.consumer("fire") { $0.lanes = [.alarms] }])
    fixture.store.add([PullFixture.sample(0, 1, at: 1)])
    fixture.store.add(PullFixture.event(0, .unacknowledged, .critical, at: 2))
    let alarms = try fixture.get("/v1/batches?lane=alarms")
    _ = try fixture.get("/v1/batches?lane=alarms&after=\(alarms.next)")
    #expect(fixture.store.change { $0.cursors["all"] } == Position(alarms: 1, telemetry: 0))
    #expect(try fixture.get("/v1/batches").names == ["box-7/cover-1/tilt"])
    #expect(try fixture.get("/v1/batches", as: "fire").records.count == 1)
    let refused = try fixture.get("/v1/batches?lane=telemetry", as: "fire")
    #expect(refused.status == 403)
    #expect(refused.detail.contains("telemetry"))
  }

  @Test(
    "A store set up anew under a request: a cursor of the old one is 409, a request without one begins there"
  )
  func storeRenewed() throws {
    let fixture = try PullFixture()
    fixture.store.add((0..<3).map { PullFixture.sample(0, Int64($0), at: Double($0)) })
    let old = try fixture.get("/v1/batches?limit=1")
    let renewed = "ffffffff-4b5a-4c7d-8e9f-0a1b2c3d4e5f"
    fixture.store.change { $0.report.storeID = renewed }
    let conflict = try fixture.get("/v1/batches?after=\(old.next)")
    #expect(conflict.status == 409)
    #expect(conflict.json["store"] == .string(renewed))
    // A cursor was moved, on a store whose sequences go on: nothing that is still to come is skipped by it.
    let anew = try fixture.get("/v1/batches")
    #expect(anew.json["store"] == .string(renewed))
    #expect(anew.batches.first?["id"]?.string?.hasPrefix(renewed) == true)
    #expect(try fixture.get("/v1/batches?after=\(anew.next)").status == 204)
  }

  // MARK: Scopes

  @Test("Devices, kinds, labels, points and severity each narrow what is seen")
  func scopes() throws {
    let fixture = try PullFixture([
      PullFixture.consumer("device") { $0.devices = ["lift-1"] },
      PullFixture.consumer("kind") { $0.kinds = ["hydrant", "manhole-cover"] },
      PullFixture.consumer("label") { $0.labels = ["grid": "G4"] },
      PullFixture.consumer("point") { $0.points = ["flow", "cover-1/tilt"] },
      PullFixture.consumer("severity") { $0.severityMin = .major },
      PullFixture.consumer("none") {
        $0.devices = ["cover-1"]
        $0.kinds = ["hydrant"]
      },
    ])
    fixture.store.add((0...6).map { PullFixture.sample(UInt16($0), 1, at: Double($0)) })
    fixture.store.add(PullFixture.event(0, .unacknowledged, .critical, at: 1))
    fixture.store.add(PullFixture.event(1, .unacknowledged, .warning, at: 2))
    func seen(_ consumer: String) throws -> [String] {
      try fixture.get("/v1/batches", as: consumer).names.map { String($0.dropFirst("box-7/".count)) }
    }
    #expect(try seen("device") == ["lift-1/state", "lift-1/serial", "lift-1/trips"])
    #expect(
      try seen("kind") == [
        "cover-1/cover-open", "hydrant-1/leak", "cover-1/tilt", "cover-1/battery", "hydrant-1/flow",
        "hydrant-1/open",
      ])
    #expect(try seen("label") == ["lift-1/state", "lift-1/serial", "lift-1/trips"])
    #expect(try seen("point") == ["cover-1/cover-open", "hydrant-1/leak", "cover-1/tilt", "hydrant-1/flow"])
    #expect(try seen("severity").contains("hydrant-1/leak") == false)
    #expect(try seen("severity").contains("cover-1/cover-open"))
    // Nothing for it, but its cursor must be able to pass.
    let empty = try fixture.get("/v1/batches", as: "none")
    #expect(empty.status == 200)
    #expect(empty.batches.isEmpty && !empty.more)
    #expect(try fixture.get("/v1/batches?after=\(empty.next)", as: "none").status == 204)
  }

  @Test("Values outside the scope are not told through an alarm either")
  func alarmCauses() throws {
    let fixture = try PullFixture([PullFixture.consumer("point") { $0.points = ["battery"] }])
    var event = PullFixture.event(0, .unacknowledged, .critical, at: 1)
    event.add(AlarmCause(series: 0, quality: .good, raw: 171))
    fixture.store.add(event)
    let record = try #require(try fixture.get("/v1/batches", as: "point").records.first)
    #expect(record["values"] == .object([]))
    #expect(record["message"]?["en"] == .string("Cover cover-1 of box-7: ? deg"))
  }

  @Test("Personal values are left out unless asked for; then each consumer has its own pseudonym, always the same")
  func personal() throws {
    let fixture = try PullFixture([
      PullFixture.consumer("gate") { $0.personal = .pseudonym },
      PullFixture.consumer("police") { $0.personal = .pseudonym },
    ])
    let inside = Array(repeating: UInt8(0xAB), count: Limits.pseudonymBytes)
    var card = PullFixture.sample(7, Sample.textPlace(offset: 0, length: inside.count), at: 1)
    card.hasText = true
    fixture.store.add([card, card], texts: inside)
    #expect(try fixture.get("/v1/batches").records.isEmpty)
    let gate = try fixture.get("/v1/batches", as: "gate").records.map { $0["vs"]?.string ?? "" }
    let police = try fixture.get("/v1/batches", as: "police").records.map { $0["vs"]?.string ?? "" }
    #expect(gate.count == 2 && gate[0] == gate[1])
    #expect(gate[0].count == 32 && gate[0].allSatisfy { "0123456789abcdef".contains($0) })
    #expect(gate[0] != police[0])
    #expect(gate[0] != Hexadecimal.text(inside))
  }

  // MARK: Waiting

  @Test("A long poll is answered when something becomes durable, not before")
  func longPoll() throws {
    let fixture = try PullFixture()
    let client = try fixture.client()
    client.sendRequest("/v1/batches?wait=60", token: "token-all")
    #expect(eventually { fixture.counts.waiting == 1 })
    #expect(client.staysSilent(forNs: 20_000_000))
    fixture.store.add(PullFixture.event(0, .unacknowledged, .critical, at: 1))
    fixture.tell()
    #expect(try client.response().names == ["box-7/cover-1/cover-open"])
    #expect(fixture.counts.waiting == 0)
  }

  @Test("What lies outside the scope does not end a long poll, but moves its cursor")
  func longPollOutside() throws {
    let fixture = try PullFixture([PullFixture.consumer("lift") { $0.kinds = ["elevator"] }])
    let client = try fixture.client()
    client.sendRequest("/v1/batches?wait=60", token: "token-lift")
    #expect(eventually { fixture.counts.waiting == 1 })
    let reads = fixture.store.change { $0.reads }
    fixture.store.add([PullFixture.sample(0, 1, at: 1)])
    fixture.tell()
    #expect(eventually { fixture.store.change { $0.reads } > reads && fixture.counts.waiting == 1 })
    // As when its time is over.
    fixture.server.stop()
    let response = try client.response()
    #expect(response.status == 200)
    #expect(response.batches.isEmpty)
    #expect(response.next == fixture.cursor(Position(alarms: 0, telemetry: 1), of: "lift"))
  }

  @Test("A long poll that nothing comes to ends when its time is over, not before")
  func longPollEnds() throws {
    let fixture = try PullFixture()
    let asked = kerb_monotonic_ns()
    #expect(try fixture.get("/v1/batches?wait=0.2").status == 204)
    #expect(kerb_monotonic_ns() - asked >= 200_000_000)
  }

  @Test("A long poll for alarms is not read again for telemetry")
  func longPollLane() throws {
    let fixture = try PullFixture()
    let client = try fixture.client()
    client.sendRequest("/v1/batches?wait=60&lane=alarms", token: "token-all")
    #expect(eventually { fixture.counts.waiting == 1 })
    let reads = fixture.store.change { $0.reads }
    fixture.store.add([PullFixture.sample(0, 1, at: 1)])
    fixture.tell()
    #expect(fixture.counts.waiting == 1)
    fixture.server.stop()
    #expect(try client.response().status == 204)
    #expect(fixture.store.change { $0.reads } == reads)
  }

  @Test("Too many long polls: 503 with Retry-After; one that hangs up makes room")
  func tooManyLongPolls() throws {
    let fixture = try PullFixture(listen: [.tcp(host: "127.0.0.1", port: 0)])
    let others = try (0..<Limits.connectionsPerAddressMax).map { _ in try fixture.client() }
    // One address has fewer connections than there are long polls: the rest come over a unix socket in their own
    // test.
    for client in others { client.sendRequest("/v1/batches?wait=60", token: "token-all") }
    #expect(eventually { fixture.counts.waiting == Limits.connectionsPerAddressMax })
    others[0].hangUp()
    #expect(eventually { fixture.counts.waiting == Limits.connectionsPerAddressMax - 1 })
    #expect(try fixture.get("/v1/batches").status == 204)
  }

  @Test("Behind a long backlog out of scope, an answer is given before all of it was looked at")
  func boundedWork() throws {
    let fixture = try PullFixture([PullFixture.consumer("lift") { $0.kinds = ["elevator"] }])
    let block = (0..<4_096).map { PullFixture.sample(0, 1, at: Double($0)) }
    for _ in 0..<20 { fixture.store.add(block) }
    fixture.store.add([PullFixture.sample(4, 1, at: 9_000)])
    let first = try fixture.get("/v1/batches", as: "lift")
    #expect(first.status == 200)
    #expect(first.batches.isEmpty && first.more)
    let second = try fixture.get("/v1/batches?after=\(first.next)", as: "lift")
    #expect(second.records.count == 1 && !second.more)
  }
}

extension [String] {
  fileprivate var uniqued: [String] {
    var seen: Set<String> = []
    return filter { seen.insert($0).inserted }
  }
}
