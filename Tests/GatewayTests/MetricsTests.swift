import CLinux
import FieldBus
import Gateway
import Store
import StreamCore
import TestSupport
import Testing

@Suite struct MetricsTests {
  /// Value by "name{labels}"; fails on anything that Prometheus would refuse.
  private func samples(_ response: WireClient.Response) throws -> [String: Double] {
    #expect(response.status == 200)
    #expect(response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
    var samples: [String: Double] = [:]
    var family = ""
    for line in String(decoding: response.body, as: UTF8.self).split(separator: "\n") {
      if line.hasPrefix("# HELP ") { continue }
      if line.hasPrefix("# TYPE ") {
        let words = line.split(separator: " ")
        #expect(words.count == 4 && ["counter", "gauge"].contains(words[3]))
        family = String(words[2])
        #expect((words[3] == "counter") == family.hasSuffix("_total"), "\(family)")
        continue
      }
      let end = try #require(line.lastIndex(of: " "))
      let key = String(line[..<end])
      #expect(key == family || key.hasPrefix(family + "{"), "\(key) stands under \(family)")
      #expect(
        samples.updateValue(try #require(Double(line[line.index(after: end)...])), forKey: key) == nil, "\(key)")
    }
    return samples
  }

  @Test("Buses, devices, points, buffer, consumers and traffic are there, under conventional names")
  func whole() throws {
    let fixture = try PullFixture([
      PullFixture.consumer("water") { $0.kinds = ["hydrant"] }, PullFixture.consumer("keeper") { $0.metrics = .all },
    ])
    fixture.store.change {
      $0.report.storedSamples = 7
      $0.report.losses.damaged = 3
      $0.report.consumers = ["all", "water"].map {
        ConsumerReport(name: $0, held: Position(), lagRecords: 5, gapRecords: 2, lastSeen: nil)
      }
    }
    fixture.field.change { $0.devices[0].good = 41 }
    _ = try fixture.get("/v1/points", as: "water")
    _ = try fixture.get("/v1/none")
    _ = try fixture.get("/v1/points")
    let all = try samples(try fixture.get("/metrics", as: "keeper"))
    #expect(all["kerb_build_info{gateway=\"box-7\",version=\"\(Version.text)\"}"] == 1)
    #expect(all["kerb_bus_up{bus=\"rs485-1\"}"] == 1)
    #expect(all["kerb_bus_utilisation_ratio{bus=\"rs485-1\"}"] == 0.5)
    #expect(all["kerb_bus_samples_produced_total{bus=\"rs485-1\"}"] == 120)
    #expect(all["kerb_device_up{device=\"cover-1\",kind=\"manhole-cover\",bus=\"rs485-1\"}"] == 1)
    #expect(all["kerb_device_results_total{device=\"cover-1\",result=\"good\"}"] == 41)
    #expect(all["kerb_buffer_samples"] == 7 && all["kerb_buffer_damaged_samples_total"] == 3)
    #expect(all["kerb_consumer_lag_records{consumer=\"water\"}"] == 5)
    #expect(all["kerb_consumer_requests_total{consumer=\"all\"}"] == 2)
    // Without the right one sees oneself, whatever one sees of the field.
    let open = try samples(try fixture.get("/metrics"))
    #expect(open["kerb_device_up{device=\"cover-1\",kind=\"manhole-cover\",bus=\"rs485-1\"}"] == 1)
    #expect(open["kerb_consumer_lag_records{consumer=\"all\"}"] == 5)
    #expect(!open.keys.contains { $0.contains("\"water\"") || $0.contains("\"keeper\"") })
    #expect(all["kerb_consumer_requests_total{consumer=\"water\"}"] == 1)
    #expect(all["kerb_http_answers_total{code=\"404\"}"] == 1)
    #expect(all["kerb_http_refusals_total{reason=\"unknown_token\"}"] == 0)
    #expect(try #require(all["process_resident_memory_bytes"]) > 0)
    #expect(try #require(all["kerb_limit_used{limit=\"connectionsMax\"}"]) >= 1)
    #expect(try fixture.get("/metrics", as: nil).status == 401)
  }

  @Test("A consumer with a narrow scope is shown its own devices and itself, and nobody else")
  func narrow() throws {
    let fixture = try PullFixture([PullFixture.consumer("water") { $0.kinds = ["hydrant"] }])
    fixture.store.change {
      $0.report.consumers = ["all", "water"].map {
        ConsumerReport(name: $0, held: Position(), lagRecords: 5, gapRecords: 2, lastSeen: nil)
      }
    }
    _ = try fixture.get("/v1/points")
    let own = try samples(try fixture.get("/metrics", as: "water"))
    #expect(own.keys.contains("kerb_device_up{device=\"hydrant-1\",kind=\"hydrant\",bus=\"rs485-1\"}"))
    #expect(own.keys.contains("kerb_consumer_lag_records{consumer=\"water\"}"))
    for secret in ["cover-1", "lift-1", "gate-1", "\"all\""] {
      #expect(!own.keys.contains { $0.contains(secret) }, "\(secret)")
    }
  }

  @Test("Every limit of the pull interface is shown, with its value")
  func limits() throws {
    let source = try text(ofFile: "\(packageRoot)/Sources/StreamCore/Limits+Upstream.swift")
    let names = source.split(separator: "static let ").dropFirst().map { $0.prefix { $0.isLetter } }
    #expect(names.count > 30)
    let fixture = try PullFixture()
    let shown = try samples(try fixture.get("/metrics"))
    // A default is no limit.
    for name in names where name != "pullPortDefault" {
      #expect(shown["kerb_limit{limit=\"\(name)\"}"] != nil, "\(name)")
    }
    #expect(shown["kerb_limit{limit=\"headerNsMax\"}"] == 10)
    #expect(shown["kerb_limit{limit=\"connectionsMax\"}"] == 64)
  }

  @Test("Labels are escaped, numbers are as short as they can be, and an empty family is left out")
  func writing() {
    var writer = MetricsWriter()
    writer.family("a", .gauge, "A.") {
      $0.sample(1.5, ("x", "back\\slash \"quote\"\nline"))
      $0.sample(-3, ("x", ""), ("y", "é"))
      $0.sample(.infinity)
    }
    writer.family("b", .gauge, "B.") { _ in }
    writer.counter("c_total", "C.", Int64.max)
    let text = String(decoding: writer.bytes, as: UTF8.self)
    #expect(
      text == """
        # HELP a A.
        # TYPE a gauge
        a{x="back\\\\slash \\"quote\\"\\nline"} 1.5
        a{x="",y="é"} -3
        a +Inf
        # HELP c_total C.
        # TYPE c_total counter
        c_total 9.223372036854776e+18

        """)
  }

  @Test("The status is of the scope: a narrow one counts its own")
  func status() throws {
    let fixture = try PullFixture([PullFixture.consumer("water") { $0.kinds = ["hydrant"] }])
    fixture.clock.at.add(5_500_000_000, ordering: .relaxed)
    let all = try fixture.get("/v1/status").json
    #expect(all["clock_synchronised"] == .bool(true))
    #expect(all["uptime_s"] == .number(5.5))
    #expect(all["devices"]?["online"] == .integer(4))
    let own = try fixture.get("/v1/status", as: "water").json
    #expect(own["devices"]?["online"] == .integer(1))
    #expect(own["points"]?["bad"] == .integer(2))
    #expect(own["you"]?["name"] == .string("water"))
  }
}

@Suite struct HostileClientTests {
  @Test("More requests a second than a token may send are 429 with Retry-After; another token is not held up")
  func tooOften() throws {
    let fixture = try PullFixture([PullFixture.consumer("other")])
    let client = try fixture.client()
    for _ in 0..<Limits.requestsBurstMax { #expect(try client.get("/v1/schema", token: "token-all").status == 200) }
    let refused = try client.get("/v1/schema", token: "token-all")
    #expect(refused.status == 429)
    #expect(refused.headers["retry-after"] == "1")
    #expect(fixture.counts.refused(.tooOften) == 1)
    #expect(try client.get("/v1/schema", token: "token-other").status == 200)
    fixture.clock.at.add(10_000_000, ordering: .relaxed)
    for _ in 0..<5 { #expect(try client.get("/v1/schema", token: "token-all").status == 200) }
    #expect(try client.get("/v1/schema", token: "token-all").status == 429)
  }

  @Test("Guessed tokens are held back after a few, are counted, and a right token from there is not")
  func guesses() throws {
    let fixture = try PullFixture()
    let client = try fixture.client()
    for _ in 0..<Limits.guessesFree { #expect(try client.get("/v1/points", token: "guess").status == 401) }
    let asked = kerb_monotonic_ns()
    client.sendRequest("/v1/points", token: "guess")
    #expect(try client.response().status == 401)
    #expect(kerb_monotonic_ns() - asked >= Limits.guessDelayNs)
    // The machine may be busy, but not each time; who is held back is so each time.
    var quickest = Int64.max
    for _ in 0..<40 where quickest >= Limits.guessDelayNs {
      let asked = kerb_monotonic_ns()
      #expect(try fixture.get("/v1/points").status == 200)
      quickest = min(quickest, kerb_monotonic_ns() - asked)
    }
    #expect(quickest < Limits.guessDelayNs)
    #expect(fixture.counts.refused(.unknownToken) == Int64(Limits.guessesFree) + 1)
    // After a while a slip of the finger is one again.
    fixture.clock.at.add(Limits.guesserForgottenNs + 1, ordering: .relaxed)
    client.sendRequest("/v1/points", token: "guess")
    #expect(try client.response().status == 401)
    #expect(try client.get("/v1/points", token: "guess").status == 401)
  }

  @Test("Slow heads from many addresses take no place from who has a token, nor from who comes to show one")
  func slowHeads() throws {
    let folder = try BoxKeyTests.Folder()
    let path = "\(folder.path)/pull.sock"
    let fixture = try PullFixture(listen: [.unix(path: path)])
    let known = try WireClient(unix: path)
    #expect(try known.get("/v1/points", token: "token-all").status == 200)
    // A unix socket has no address: these come as if each had its own.
    let slow = try (0..<500).map { _ in
      let client = try WireClient(unix: path)
      client.send("GET /v1/batches HTTP/1.1\r\nX-Slow: ")
      return client
    }
    #expect(eventually { fixture.counts.refused(.crowdedOut) >= 500 - Int64(Limits.connectionsMax) })
    #expect(fixture.counts.connections <= Limits.connectionsMax + 1)
    #expect(try known.get("/v1/points", token: "token-all").status == 200)
    #expect(try WireClient(unix: path).get("/v1/points", token: "token-all").status == 200)
    try slow[0].waitForEnd()
    // Those that wait have shown a token: nobody new pushes them out.
    known.sendRequest("/v1/batches?wait=60", token: "token-all")
    #expect(eventually { fixture.counts.waiting == 1 })
    for _ in 0..<3 * Limits.connectionsMax { try WireClient(unix: path).send("GET / HTTP/1.1\r\n") }
    fixture.store.add([PullFixture.sample(0, 1, at: 1)])
    fixture.tell()
    #expect(try known.response().records.count == 1)
  }

  @Test(
    "Two framings of a body, a second request inside the first, and broken chunks: one answer at most, then the end",
    arguments: [
      "POST /v1/batches HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
      "POST /v1/batches HTTP/1.1\r\nHost: b\r\nContent-Length: 4\r\nContent-Length: 40\r\n\r\nabcd",
      "POST /v1/batches HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
      "POST /v1/batches HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
      "POST /v1/batches HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
      "POST /v1/batches HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
      "POST /v1/batches HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdeXX",
    ])
  func smuggling(_ request: String) throws {
    let fixture = try PullFixture()
    let client = try fixture.client()
    // What is smuggled must never be answered: it would be answered to the next one behind a proxy.
    client.send(request + "GET /v1/points HTTP/1.1\r\nHost: b\r\nAuthorization: Bearer token-all\r\n\r\n")
    var received: [Int] = []
    while let response = try? client.response() {
      received.append(response.status)
      #expect(response.status >= 400, "\(response.status)")
    }
    #expect(received.count == 1, "\(received)")
    #expect(client.isEnded)
    #expect(try fixture.get("/healthz", as: nil).status == 200)
  }
}
