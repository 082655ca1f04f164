// Who was refused, and why: counted for /metrics, and logged. Lives on the event loop.
//
// Invariant: of one kind a line is logged at most every `Limits.refusalLogNs`, with the count since the last: an attack
// must not fill the journal, and must not go unseen either.

import Logging
import StreamCore

package enum Refusal: Int, Sendable, CaseIterable {
  case unknownToken, missingToken, forbidden, tooOften, handshake, crowdedOut, connections, connectionsOfAddress
  case connectionsOfConsumer, longPolls, commandsTooOften
  case targetTooLong, headTooLarge, bodyTooLarge, notHTTP, tooSlow

  /// As /metrics and the log say it.
  package var word: String {
    switch self {
    case .unknownToken: return "unknown_token"
    case .missingToken: return "missing_token"
    case .forbidden: return "forbidden"
    case .tooOften: return "too_often"
    case .crowdedOut: return "crowded_out"
    case .handshake: return "handshake"
    case .connections: return "connections"
    case .connectionsOfAddress: return "connections_of_address"
    case .connectionsOfConsumer: return "connections_of_consumer"
    case .longPolls: return "long_polls"
    case .commandsTooOften: return "commands_too_often"
    case .targetTooLong: return "target_too_long"
    case .headTooLarge: return "head_too_large"
    case .bodyTooLarge: return "body_too_large"
    case .notHTTP: return "not_http"
    case .tooSlow: return "too_slow"
    }
  }
}

final class RefusalBook {
  private let logger: Logger
  private var counts = [Int64](repeating: 0, count: Refusal.allCases.count)
  private var logged = [Int64](repeating: 0, count: Refusal.allCases.count)
  private var loggedAt = [Instant?](repeating: nil, count: Refusal.allCases.count)

  init(_ logger: Logger) { self.logger = logger }

  /// Since start.
  func count(_ refusal: Refusal) -> Int64 { counts[refusal.rawValue] }

  func note(_ refusal: Refusal, peer: String, consumer: String? = nil, detail: String? = nil, at now: Instant) {
    let place = refusal.rawValue
    counts[place] += 1
    if let last = loggedAt[place], now - last < Limits.refusalLogNs { return }
    var metadata: Logger.Metadata = [
      "reason": "\(refusal.word)", "peer": "\(peer)", "times": "\(counts[place] - logged[place])",
    ]
    if let consumer { metadata["consumer"] = "\(consumer)" }
    if let detail { metadata["detail"] = "\(detail.prefix(200))" }
    logger.warning("refused", metadata: metadata)
    logged[place] = counts[place]
    loggedAt[place] = now
  }
}
