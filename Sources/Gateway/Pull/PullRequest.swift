// A request as the routes see it: method, path, parameters once decoded, and the headers that matter.

import NIOHTTP1
import StreamCore

package struct PullRequest: Sendable {
  package let method: HTTPMethod
  package let path: String
  package let parameters: [(name: String, value: String)]
  package let headers: HTTPHeaders
  /// Of a POST.
  package let body: [UInt8]
  /// For the log: an address, or "unix socket".
  package let peer: String

  package init(_ head: HTTPRequestHead, body: [UInt8] = [], peer: String) throws(PullRefusal) {
    self.body = body
    method = head.method
    headers = head.headers
    self.peer = peer
    guard head.version.minor == 0 || head.headers["host"].count == 1 else {
      throw PullRefusal(.problem(.badRequest, "the request must have exactly one Host header (RFC 9112, 3.2)"))
    }
    guard let origin = RequestTarget.origin(head.uri) else {
      throw PullRefusal(.problem(.badRequest, "the request's target must begin with a slash, for example /v1/batches"))
    }
    guard let target = RequestTarget(origin) else {
      throw PullRefusal(.problem(.badRequest, "a parameter is not valid percent-encoded UTF-8"))
    }
    path = target.path
    parameters = target.parameters
  }

  /// The parameters by name. Refused: one that the route doesn't know, or that is given twice.
  package func arguments(_ known: String...) throws(PullRefusal) -> [String: String] {
    var result: [String: String] = [:]
    for (name, value) in parameters {
      guard known.contains(name) else {
        let allowed = known.isEmpty ? "none here" : known.map { "`\($0)`" }.joined(separator: ", ")
        throw PullRefusal(.problem(.badRequest, "unknown parameter `\(name)`; allowed: \(allowed)"))
      }
      guard result.updateValue(value, forKey: name) == nil else {
        throw PullRefusal(.problem(.badRequest, "the parameter `\(name)` is given twice; give it once"))
      }
    }
    return result
  }

  /// The body. `advice`: what it should be.
  func json(_ advice: String) throws(PullRefusal) -> JSONValue {
    if let coding = headers[canonicalForm: "content-encoding"].first(where: { $0.lowercased() != "identity" }) {
      throw PullRefusal(.problem(.badRequest, "the body is packed (\(coding.prefix(20))); \(advice) as it is"))
    }
    do throws(JSONFailure) { return try JSONParser.parse(body) } catch {
      throw PullRefusal(.problem(.badRequest, "the body is not JSON: \(error.text); \(advice)"))
    }
  }

  package static func malformed(_ name: String, got: String, allowed: String) -> PullRefusal {
    PullRefusal(.problem(.badRequest, "`\(name)`: got \"\(got.prefix(80))\"; allowed: \(allowed)"))
  }

  /// What the client can read, of what this resource is offered as.
  package func negotiated(_ offers: [MediaType]) throws(PullRefusal) -> MediaType {
    if let type = MediaType.negotiate(offers, accept: headers[canonicalForm: "accept"]) { return type }
    let list = offers.map { String($0.essence) }.joined(separator: ", ")
    throw PullRefusal(.problem(.notAcceptable, "\(path) is served as \(list); send one of these in Accept"))
  }
}

/// The parameters of GET /v1/batches.
package struct BatchesQuery: Sendable {
  package var after: String?
  package var limit = Limits.recordsPerAnswerDefault
  package var waitNs: Int64 = 0
  package var lane: Lane?
  package var type: MediaType
  /// The parameters but `after`, as they were given: the next request has them, too.
  package var others = ""

  package init(_ request: PullRequest, type: MediaType) throws(PullRefusal) {
    self.type = type
    let given = try request.arguments("after", "limit", "wait", "lane")
    after = given["after"]
    if let text = given["limit"] {
      guard let value = Int(text), (1...Limits.recordsPerAnswerMax).contains(value) else {
        throw PullRequest.malformed("limit", got: text, allowed: "1 to \(Limits.recordsPerAnswerMax)")
      }
      limit = value
    }
    if let text = given["wait"] {
      // Double() also reads "inf" and hexadecimal.
      let isDecimal = text.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == UInt8(ascii: ".") }
      guard isDecimal, let value = Double(text), (0...Double(Limits.waitSecondsMax)).contains(value) else {
        throw PullRequest.malformed("wait", got: text, allowed: "seconds from 0 to \(Limits.waitSecondsMax)")
      }
      waitNs = Int64(value * 1e9)
    }
    if let text = given["lane"] {
      guard let value = Lane.allCases.first(where: { $0.name == text }) else {
        throw PullRequest.malformed("lane", got: text, allowed: "alarms, telemetry; leave it out for both")
      }
      lane = value
    }
    if given["limit"] != nil { others += "&limit=\(limit)" }
    if let text = given["wait"] { others += "&wait=\(text)" }
    if let lane { others += "&lane=\(lane.name)" }
  }
}
