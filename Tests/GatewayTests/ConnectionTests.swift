import FieldBus
import Gateway
import Glibc
import Store
import StreamCore
import Testing

@Suite struct ConnectionTests {
  private static let short: ConnectionTimes = {
    var times = ConnectionTimes()
    times.headerNs = 150_000_000
    times.idleNs = 150_000_000
    return times
  }()

  /// A connection and the answer to what was sent on it. Where times are short a busy machine may be slower than they
  /// are: then the connection has ended before anything was on it, and the next one is tried.
  private func answered(
    _ fixture: PullFixture, _ bytes: String
  ) throws -> (client: WireClient, response: WireClient.Response) {
    var found: (WireClient, WireClient.Response)?
    _ = try eventually {
      let client = try fixture.client()
      client.send(bytes)
      if let response = try? client.response() { found = (client, response) }
      return found != nil
    }
    return try #require(found)
  }

  @Test("Requests sent at once are answered one after the other, in order")
  func pipelined() throws {
    let fixture = try PullFixture()
    let client = try fixture.client()
    let paths = ["/healthz", "/v1/none", "/v1/points", "/v1/batches", "/v1/alarms", "/healthz?x=1", "/v1/schema"]
    let all = (0..<20).flatMap { _ in paths }
    for path in all { client.sendRequest(path, token: "token-all") }
    for path in all {
      let expected = path == "/v1/none" ? 404 : path == "/v1/batches" ? 204 : 200
      #expect(try client.response().status == expected, "\(path)")
    }
  }

  @Test("A request behind a long poll waits for its turn")
  func pipelinedLongPoll() throws {
    let fixture = try PullFixture()
    let client = try fixture.client()
    client.sendRequest("/v1/batches?wait=60", token: "token-all")
    client.sendRequest("/healthz", token: nil)
    #expect(eventually { fixture.counts.waiting == 1 })
    #expect(client.staysSilent(forNs: 20_000_000))
    fixture.store.add([PullFixture.sample(0, 1, at: 1)])
    fixture.tell()
    #expect(try client.response().records.count == 1)
    #expect(try client.response().json["status"] == .string("ok"))
  }

  @Test("Who waits for a word before the body gets it, and never between the answers to what came before")
  func expectation() throws {
    let fixture = try PullFixture()
    let client = try fixture.client()
    func head(_ length: Int) -> String {
      "POST /v1/alarms/1/ack HTTP/1.1\r\nHost: box\r\nAuthorization: Bearer token-all\r\nExpect: 100-Continue\r\n"
        + "Content-Length: \(length)\r\n\r\n"
    }
    client.send(head(2))
    #expect(try client.rawHead() == "HTTP/1.1 100 Continue")
    client.send("{}")
    #expect(try client.response().status == 404)
    client.sendRequest("/v1/batches?wait=60", token: "token-all")
    client.send(head(2))
    #expect(eventually { fixture.counts.waiting == 1 })
    #expect(client.staysSilent(forNs: 20_000_000))
    fixture.store.add([PullFixture.sample(0, 1, at: 1)])
    fixture.tell()
    #expect(try client.response().records.count == 1)
    #expect(try client.rawHead() == "HTTP/1.1 100 Continue")
    client.send("{}")
    #expect(try client.response().status == 404)
    // One that is too long is told so instead.
    client.send(head(Limits.bodyBytesMax + 1))
    #expect(try client.response().status == 413)
  }

  @Test(
    "A whole address is a target like its path; anything else that is no path is 400",
    arguments: [
      ("http://box:8480/healthz", 200), ("HTTPS://box/healthz?x=1", 200), ("http://box", 404), ("http://box?x=1", 404),
      ("ftp://box/healthz", 400), ("http:/healthz", 400), ("healthz", 400), ("*", 400),
    ])
  func targets(target: String, status: Int) throws {
    let fixture = try PullFixture()
    let client = try fixture.client()
    client.send("GET \(target) HTTP/1.1\r\nHost: box\r\n\r\n")
    #expect(try client.response().status == status)
  }

  @Test("A request in pieces of one byte is a request")
  func dripped() throws {
    let fixture = try PullFixture()
    let client = try fixture.client()
    for byte in "GET /healthz HTTP/1.1\r\nHost: box\r\n\r\n".utf8 { client.send([byte]) }
    #expect(try client.response().status == 200)
  }

  @Test("A head that does not end in time is 408, and the connection ends")
  func slowHead() throws {
    let fixture = try PullFixture(times: Self.short)
    let head = try answered(fixture, "GET /healthz HTTP/1.1\r\nHost: box\r\nX-Slow: ")
    #expect(head.response.status == 408)
    try head.client.waitForEnd()
    let body = try answered(fixture, "GET /healthz HTTP/1.1\r\nHost: box\r\nContent-Length: 5\r\n\r\nab")
    #expect(body.response.status == 408)
    try body.client.waitForEnd()
  }

  @Test("A connection without a request is closed, before the first and after an answer")
  func idle() throws {
    let fixture = try PullFixture(times: Self.short)
    let silent = try fixture.client()
    try silent.waitForEnd()
    let served = try answered(fixture, "GET /healthz HTTP/1.1\r\nHost: box\r\n\r\n")
    #expect(served.response.status == 200)
    try served.client.waitForEnd()
    #expect(eventually { fixture.counts.connections == 0 })
  }

  @Test("An endless head is 431 before it is stored, and so is one that is too long")
  func longHead() throws {
    let fixture = try PullFixture()
    let endless = try fixture.client()
    endless.send("GET /healthz HTTP/1.1\r\nHost: box\r\nX: " + String(repeating: "a", count: 3 * Limits.headerBytesMax))
    #expect(try endless.response().status == 431)
    try endless.waitForEnd()
    let many = try fixture.client()
    many.send("GET /healthz HTTP/1.1\r\nHost: box\r\n" + String(repeating: "X: a\r\n", count: 3_000) + "\r\n")
    #expect(try many.response().status == 431)
    let behind = try fixture.client()
    behind.send("GET /healthz HTTP/1.1\r\nHost: box\r\n\r\nGET /healthz HTTP/1.1\r\nHost: box\r\nX: aaa")
    #expect(try behind.response().status == 200)
    behind.send(String(repeating: "a", count: 3 * Limits.headerBytesMax))
    #expect(try behind.response().status == 431, "the line of the second one was there before")
    let fits = try fixture.client()
    let value = String(repeating: "a", count: Limits.headerBytesMax - 200)
    #expect(try fits.get("/healthz", token: nil, headers: "X: \(value)\r\n").status == 200)
  }

  @Test(
    "A target that is too long is 414 and says how long it may be, whole or without an end, first or behind others",
    arguments: ["", "\r\n", "GET /healthz HTTP/1.1\r\nHost: box\r\n\r\n"])
  func longTarget(before: String) throws {
    let fixture = try PullFixture()
    func client() throws -> WireClient {
      let client = try fixture.client()
      client.send(before)
      if before.hasPrefix("GET") { #expect(try client.response().status == 200) }
      return client
    }
    let most = String(repeating: "a", count: Limits.targetBytesMax - 1)
    let fits = try client()
    fits.send("GET /\(most) HTTP/1.1\r\nHost: box\r\n\r\n")
    #expect(try fits.response().status == 404)
    for end in [" HTTP/1.1\r\nHost: box\r\n\r\n", ""] {
      let long = try client()
      // Without an end it is refused while it comes.
      let rest = end.isEmpty ? String(repeating: "b", count: 1 << 20) : "b"
      long.send("GET /\(most)\(rest)\(end)")
      let response = try long.response()
      #expect(response.status == 414, "\(end.count)")
      #expect(response.headers["content-type"] == "application/problem+json")
      #expect(response.json["detail"]?.string?.contains("\(Limits.targetBytesMax) bytes") == true)
      try long.waitForEnd()
    }
    let both = try client()
    both.send("GET /\(most)\(most) HTTP/1.1\r\nX: \(String(repeating: "b", count: 2 * Limits.headerBytesMax))\r\n\r\n")
    #expect(try both.response().status == 414)
    #expect(fixture.counts.refused(.targetTooLong) == 3 && fixture.counts.refused(.headTooLarge) == 0)
  }

  @Test("A body over the limit is 413, announced or chunked; a small one is ignored")
  func bodies() throws {
    let fixture = try PullFixture()
    let announced = try fixture.client()
    announced.send("POST /v1/batches HTTP/1.1\r\nHost: box\r\nContent-Length: 65537\r\n\r\n")
    #expect(try announced.response().status == 413)
    try announced.waitForEnd()
    let chunked = try fixture.client()
    chunked.send("POST /v1/batches HTTP/1.1\r\nHost: box\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in 0..<70 { chunked.send("400\r\n" + String(repeating: "b", count: 1_024) + "\r\n") }
    #expect(try chunked.response().status == 413)
    let small = try fixture.client()
    small.send("GET /healthz HTTP/1.1\r\nHost: box\r\nContent-Length: 5\r\n\r\nhello")
    #expect(try small.response().status == 200)
    #expect(try small.get("/healthz", token: nil).status == 200)
  }

  @Test(
    "What is not HTTP/1.1 gets one problem and the end",
    arguments: [
      ("\u{16}\u{3}\u{1}\u{2}garbage\r\n\r\n", 400), ("GET /healthz\r\n\r\n", 505), ("GET / HTTP/3.0\r\n\r\n", 505),
      ("GET /healthz HTTP/1.1\r\n\r\n", 400), ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
      ("GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n", 400),
      ("POST /v1/batches HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
      ("GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    ])
  func garbage(_ request: String, status: Int) throws {
    let fixture = try PullFixture(times: Self.short)
    let (client, response) = try answered(fixture, request)
    #expect(response.status == status)
    #expect(response.headers["content-type"] == "application/problem+json")
    try client.waitForEnd()
  }

  @Test("HTTP/1.0 and «Connection: close» end with their answer")
  func closing() throws {
    let fixture = try PullFixture()
    for request in [
      "GET /healthz HTTP/1.0\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n",
      "GET /healthz HTTP/1.1\r\nHost: b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
      let client = try fixture.client()
      client.send(request)
      let response = try client.response()
      #expect(response.status == 200)
      #expect(response.headers["connection"] == "close")
      try client.waitForEnd()
    }
  }

  @Test("One address has a bounded number of connections; the next is told 429")
  func perAddress() throws {
    let fixture = try PullFixture()
    let held = try (0..<Limits.connectionsPerAddressMax).map { _ in try fixture.client() }
    for client in held { #expect(try client.get("/healthz", token: nil).status == 200) }
    let next = try fixture.get("/healthz", as: nil)
    #expect(next.status == 429)
    #expect(next.headers["retry-after"] != nil)
    held[0].hangUp()
    let isFree = try eventually { try fixture.get("/healthz", as: nil).status == 200 }
    #expect(isFree)
  }

  @Test("In all there is a bound too, on connections and on long polls; a unix socket has them as well")
  func inAll() throws {
    let folder = try BoxKeyTests.Folder()
    let path = "\(folder.path)/pull.sock"
    let fixture = try PullFixture(["two", "three"].map { PullFixture.consumer($0) }, listen: [.unix(path: path)])
    var facts = stat()
    #expect(stat(path, &facts) == 0)
    #expect(facts.st_mode & 0o777 == 0o660)
    let held = try (0..<Limits.connectionsMax).map { _ in try WireClient(unix: path) }
    let (own, others) = (held[..<Limits.connectionsPerConsumerMax], held[Limits.connectionsPerConsumerMax...])
    for client in own { #expect(try client.get("/v1/schema", token: "token-all").status == 200) }
    let greedy = try others[others.startIndex].get("/v1/schema", token: "token-all")
    #expect(greedy.status == 429, "half of all are the others'")
    #expect(greedy.headers["connection"] == "close")
    for client in others.dropFirst() { #expect(try client.get("/v1/schema", token: "token-two").status == 200) }
    let last = try WireClient(unix: path)
    #expect(try last.get("/v1/schema", token: "token-two").status == 200)
    let next = try WireClient(unix: path).get("/healthz", token: nil)
    #expect(next.status == 503)
    #expect(next.headers["retry-after"] != nil)
    let half = Limits.longPollsPerConsumerMax
    for client in own[..<half] { client.sendRequest("/v1/batches?wait=60", token: "token-all") }
    #expect(eventually { fixture.counts.waiting == half })
    let tooMany = try own[half].get("/v1/batches?wait=1", token: "token-all")
    #expect(tooMany.status == 429 && tooMany.headers["retry-after"] != nil)
    #expect(try own[half].get("/v1/batches", token: "token-all").status == 204)
    let waiting = others.dropFirst().prefix(half)
    for client in waiting { client.sendRequest("/v1/batches?wait=60", token: "token-two") }
    #expect(eventually { fixture.counts.waiting == Limits.longPollsMax })
    let refused = try last.get("/v1/batches?wait=1", token: "token-three")
    #expect(refused.status == 503 && refused.headers["retry-after"] != nil)
    #expect(try last.get("/v1/batches", token: "token-three").status == 204)
  }

  @Test("A dead socket file is replaced, a living one and any other file are not")
  func socketFile() throws {
    let folder = try BoxKeyTests.Folder()
    let path = "\(folder.path)/pull.sock"
    // Bound and closed without removing the file: as a killed agent leaves it.
    let dead = try PullFixture(listen: [.unix(path: path)])
    #expect(throws: PullFailure.self) { _ = try PullFixture(listen: [.unix(path: path)]) }
    #expect(try WireClient(unix: path).get("/healthz", token: nil).status == 200)
    dead.server.stop()
    var facts = stat()
    #expect(stat(path, &facts) != 0, "removed at the stop")
    let fd = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
    #expect(bound == 0)
    close(fd)
    let alive = try PullFixture(listen: [.unix(path: path)])
    #expect(try WireClient(unix: path).get("/healthz", token: nil).status == 200)
    alive.server.stop()
    close(open(path, O_CREAT | O_WRONLY, 0o600))
    #expect(throws: PullFailure.self) { _ = try PullFixture(listen: [.unix(path: path)]) }
  }

  @Test("A port that is taken is refused by name, and nothing stays bound")
  func portTaken() throws {
    let fixture = try PullFixture()
    do {
      _ = try PullFixture(listen: [.tcp(host: "127.0.0.1", port: fixture.port)])
      Issue.record("bound twice")
    } catch let failure as PullFailure {
      #expect(failure.text.contains("127.0.0.1:\(fixture.port): Address already in use"))
    }
  }

  @Test("At a stop a long poll gets its answer, a silent connection ends, and nobody can connect any more")
  func stops() throws {
    let fixture = try PullFixture()
    let poll = try fixture.client()
    poll.sendRequest("/v1/batches?wait=60", token: "token-all")
    let silent = try fixture.client()
    #expect(try silent.get("/healthz", token: nil).status == 200)
    #expect(eventually { fixture.counts.waiting == 1 })
    fixture.server.stop()
    #expect(try poll.response().status == 204)
    try poll.waitForEnd()
    try silent.waitForEnd()
    #expect(throws: WireFailure.self) { _ = try fixture.client() }
  }
}
