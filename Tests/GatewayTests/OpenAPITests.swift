import Gateway
import Store
import StreamCore
import Testing

/// The document is held against what the server says of itself: in its 404, its 406 and its 400.
@Suite struct OpenAPITests {
  private func members(_ value: JSONValue?) -> [String] {
    if case .object(let members)? = value { return members.map(\.name) }
    return []
  }

  private func document(_ fixture: PullFixture) throws -> JSONValue {
    let response = try fixture.get("/v1/openapi.json")
    #expect(response.status == 200)
    #expect(response.json["openapi"] == .string("3.1.0"))
    return response.json
  }

  /// The backquoted words, or those with a slash.
  private func quoted(_ text: String) -> Set<String> {
    Set(text.split(separator: "`").enumerated().filter { $0.offset % 2 == 1 }.map { String($0.element) })
  }

  @Test("It names every route that there is, and no other")
  func routes() throws {
    let fixture = try PullFixture()
    let detail = try fixture.get("/v1/nothing").detail
    let list = detail.split(separator: "there are ").last ?? ""
    let words = list.split { ", ".contains($0) }.filter { $0.hasPrefix("/") }
    #expect(words.count > 6)
    let paths = members(try document(fixture)["paths"]).map { $0.replacing("{id}", with: "ID") }
    #expect(Set(words.map(String.init)) == Set(paths))
  }

  @Test("It names every parameter of every route, and every type in which it is served")
  func parametersAndTypes() throws {
    let fixture = try PullFixture()
    let document = try document(fixture)
    for path in members(document["paths"]) where document["paths"]?[path]?["get"] != nil {
      let get = document["paths"]?[path]?["get"]
      let named = Set((get?["parameters"]?.array ?? []).compactMap { $0["name"]?.string })
      let types = Set(members(get?["responses"]?["200"]?["content"]))
      if path == "/healthz" { continue }
      let unknown = try fixture.get("\(path)?nonsense=1")
      #expect(unknown.status == 400, "\(path)")
      #expect(quoted(unknown.detail).subtracting(["nonsense"]) == named, "\(path): \(unknown.detail)")
      let type = try fixture.get(path, headers: "Accept: text/nonsense\r\n")
      #expect(type.status == 406, "\(path)")
      let served = type.detail.split(separator: "served as ").last?.split(separator: ";").first ?? ""
      #expect(Set(served.split(separator: ", ").map(String.init)) == types, "\(path): \(type.detail)")
    }
  }

  @Test("Every answer of a round through all that can go wrong is in it, with its type and its headers")
  func answers() throws {
    let fixture = try PullFixture([
      PullFixture.consumer("water") {
        $0.kinds = ["hydrant"]
        $0.lanes = [.telemetry]
      }
    ])
    let document = try document(fixture)
    var seen: Set<Int> = []
    func check(_ path: String, _ response: WireClient.Response, _ method: String = "get") throws {
      seen.insert(response.status)
      var described = document["paths"]?[path]?[method]?["responses"]?["\(response.status)"]
      if case .string(let reference)? = described?["$ref"] {
        described = document["components"]?["responses"]?[String(reference.split(separator: "/").last ?? "")]
      }
      let answer = try #require(described, "\(path): \(response.status) is not in the document")
      let type = response.headers["content-type"].map { String($0.prefix { $0 != ";" }) }
      #expect(members(answer["content"]).contains(type ?? "") || (type == nil && response.status == 204), "\(path)")
      for header in members(answer["headers"]) where answer["headers"]?[header]?["required"] == .bool(true) {
        #expect(response.headers[header.lowercased()] != nil, "\(path): \(response.status) without \(header)")
      }
    }
    fixture.store.add([PullFixture.sample(0, 1, at: 1)])
    for path in members(document["paths"]) where document["paths"]?[path]?["get"] != nil {
      try check(path, try fixture.get(path))
      try check(path, try fixture.get(path, as: path == "/healthz" ? "all" : nil))
      try check(path, try fixture.get(path, method: "POST"))
      if path != "/healthz" { try check(path, try fixture.get(path + "?x=%zz")) }
      if path != "/healthz" { try check(path, try fixture.get(path, headers: "Accept: text/html\r\n")) }
      try check(path, try fixture.get(path, headers: "X: \(String(repeating: "a", count: 9_000))\r\n"))
      try check(path, try fixture.get("\(path)?x=\(String(repeating: "a", count: Limits.targetBytesMax))"))
      try check(path, try fixture.get(path, headers: "Content-Length: 70000\r\n"))
    }
    try check("/v1/batches", try fixture.get("/v1/batches?after=\(fixture.cursor(Position(alarms: 0, telemetry: 1)))"))
    try check("/v1/batches", try fixture.get("/v1/batches?after=\(fixture.cursor(Position(alarms: 0, telemetry: 9)))"))
    try check("/v1/batches", try fixture.get("/v1/batches?lane=alarms", as: "water"))
    try check("/v1/alarms", try fixture.get("/v1/alarms", as: "water"))
    try check("/v1/points", try fixture.get("/v1/points?device=none"))
    try check("/v1/points", try fixture.get("/v1/points?device=none", as: "water"))
    let ack = "/v1/alarms/{id}/ack"
    try check(ack, try fixture.get("/v1/alarms/17/ack", method: "POST"), "post")
    try check(ack, try fixture.get("/v1/alarms/17/ack", as: nil, method: "POST"), "post")
    try check(ack, try fixture.get("/v1/alarms/17/ack", as: "water", method: "POST"), "post")
    try check(ack, try fixture.get("/v1/alarms/x/ack", method: "POST"), "post")
    try check(ack, try fixture.get("/v1/alarms/17/ack"), "post")
    fixture.store.change { $0.failure = .io(code: 10) }
    try check("/v1/batches", try fixture.get("/v1/batches"))
    #expect(seen.isSuperset(of: [200, 204, 400, 401, 403, 404, 405, 406, 409, 413, 414, 431, 503]), "\(seen.sorted())")
  }
}
