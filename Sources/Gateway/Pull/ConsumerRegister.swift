// Who may ask: the consumers with the hashes of their tokens. Immutable; lives on the event loop.

import Logging
import NIOHTTP1
import StreamCore

/// A consumer that has shown its token.
package struct Consumer: Sendable {
  /// Its number, never given to another one in the life of the process.
  package var index: Int
  package var spec: ConsumerSpec
  package var cursorKey: [UInt8]
  /// Turns the box's pseudonyms into those of this consumer.
  package var pseudonymKey: [UInt8]
  package var name: String { spec.name }
}

final class ConsumerRegister {
  private let consumers: [(hash: [UInt8], consumer: Consumer)]
  private let refusals: RefusalBook
  private let traffic: Traffic
  /// For the register that follows this one.
  let nextIndex: Int

  init(
    _ specs: [ConsumerSpec], keys: BoxKey, refusals: RefusalBook, traffic: Traffic, logger: Logger, firstIndex: Int = 0
  ) {
    self.refusals = refusals
    self.traffic = traffic
    var consumers: [(hash: [UInt8], consumer: Consumer)] = []
    nextIndex = firstIndex + specs.count
    for (index, spec) in zip(firstIndex..., specs) {
      guard let hash = Hexadecimal.bytes(spec.tokenSHA256), hash.count == Sodium.hashBytes else {
        logger.error("consumer has no usable token hash and is locked out", metadata: ["consumer": "\(spec.name)"])
        continue
      }
      let consumer = Consumer(
        index: index, spec: spec, cursorKey: keys.cursorKey(consumer: spec.name),
        pseudonymKey: keys.consumerKey(spec.name, number: spec.pseudonymKey))
      consumers.append((hash, consumer))
    }
    self.consumers = consumers
  }

  func authenticate(_ request: PullRequest, at now: Instant) throws(PullRefusal) -> Consumer {
    let given = request.headers["authorization"]
    guard given.count == 1 else {
      refusals.note(.missingToken, peer: request.peer, at: now)
      throw Self.refusal("send one header «Authorization: Bearer TOKEN»", challenge: "")
    }
    // Blanks around a value are no part of it; one or more stand between the words (RFC 9110, sections 5.5, 11.4).
    let words = given[0].split { $0 == " " || $0 == "\t" }
    guard words.count == 2, words[0].lowercased() == "bearer" else {
      refusals.note(.missingToken, peer: request.peer, at: now)
      throw Self.refusal("the Authorization header must be «Bearer TOKEN»", challenge: "")
    }
    let hash = Sodium.sha256(Array(words[1].utf8))
    // All are compared, whoever it is: time tells nobody anything.
    var found: Consumer?
    for entry in consumers where Sodium.areEqual(entry.hash, hash) { found = entry.consumer }
    if let found { return found }
    refusals.note(.unknownToken, peer: request.peer, at: now)
    var refusal = Self.refusal(
      "nobody has this token; `kerb consumer add NAME` on the box makes a new one",
      challenge: ", error=\"invalid_token\"")
    refusal.delayNs = traffic.guessed(from: request.peer, at: now)
    throw refusal
  }

  private static func refusal(_ detail: String, challenge: String) -> PullRefusal {
    PullRefusal(
      .problem(.unauthorized, detail, headers: [("WWW-Authenticate", "Bearer realm=\"kerb\"\(challenge)")]))
  }
}
