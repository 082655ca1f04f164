// What goes back to a platform: a status, headers, a body; and the problems of RFC 9457, each with what to do next.

import NIOHTTP1

package struct PullAnswer: Sendable {
  package var status: HTTPResponseStatus
  package var headers: [(name: String, value: String)] = []
  package var contentType = ""
  package var body: [UInt8] = []
  /// Of what the body takes; let go when it is with the kernel.
  var lease: AnswerLease?
  /// The connection ends with this answer.
  package var closes = false

  package static func json(_ body: [UInt8], status: HTTPResponseStatus = .ok) -> PullAnswer {
    PullAnswer(status: status, contentType: "application/json", body: body)
  }

  package static let nothing = PullAnswer(status: .noContent)

  /// `detail`: what happened, to what, and what to do.
  package static func problem(
    _ status: HTTPResponseStatus, _ detail: String, headers: [(name: String, value: String)] = [],
    members: [(name: String, value: String)] = []
  ) -> PullAnswer {
    var writer = JSONWriter()
    writer.object {
      // «about:blank»: the status says what kind of problem it is (RFC 9457, section 4.2.1).
      $0.member("type", "about:blank")
      $0.member("title", status.reasonPhrase)
      $0.member("status", status.code)
      $0.member("detail", detail)
      for member in members { $0.member(member.name, member.value) }
    }
    return PullAnswer(status: status, headers: headers, contentType: "application/problem+json", body: writer.bytes)
  }

  package static func tryLater(_ status: HTTPResponseStatus, _ detail: String, afterSeconds: Int) -> PullAnswer {
    problem(status, detail, headers: [("Retry-After", "\(afterSeconds)")])
  }

  package var closing: PullAnswer {
    var answer = self
    answer.closes = true
    return answer
  }
}

/// Why a request can't be answered; carries the answer itself.
package struct PullRefusal: Error {
  package var answer: PullAnswer
  /// Held back for so long.
  package var delayNs: Int64 = 0
  package init(_ answer: PullAnswer) { self.answer = answer }
}
