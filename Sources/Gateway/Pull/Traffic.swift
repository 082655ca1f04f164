// What goes over the pull interface, counted: answers by status, requests and bytes by consumer; and who asks too
// often, or guesses. Lives on the event loop.
//
// Invariants:
//  1. Everything here is bounded: statuses are ours, consumers at most `Limits.consumersMax`, addresses at most
//     `Limits.guessersMax`.
//  2. A right token is never slowed by the wrong ones that came from its address.

import StreamCore

struct ConsumerTraffic {
  var requests: Int64 = 0
  var answerBytes: Int64 = 0
  /// Answers with a cursor to requests without `after`, since one with it.
  var unacknowledged: Int64 = 0
  /// By `CommandResult`.
  var commands: [CommandResult: Int64] = [:]
  /// Requests that it may send now, and when they were counted.
  fileprivate var allowance = Double(Limits.requestsBurstMax)
  fileprivate var countedAt: Instant?
}

final class Traffic {
  private(set) var answers: [UInt: Int64] = [:]
  private(set) var consumers: [String: ConsumerTraffic] = [:]
  private(set) var guessers: [String: Guesser] = [:]

  struct Guesser {
    var failures = 0
    var lastAt: Instant
  }

  func answered(_ status: UInt) { answers[status, default: 0] += 1 }

  func sent(_ bytes: Int, to consumer: String) { consumers[consumer]?.answerBytes += Int64(bytes) }

  func commanded(_ consumer: String, _ result: CommandResult) { consumers[consumer]?.commands[result, default: 0] += 1 }

  func gave(to consumer: String) { consumers[consumer]?.unacknowledged += 1 }

  func acknowledged(by consumer: String) { consumers[consumer]?.unacknowledged = 0 }

  /// The others are gone.
  func keep(_ names: [String]) { consumers = consumers.filter { names.contains($0.key) } }

  // MARK: Too often

  /// Counts a request of a known consumer; false: it sends too many. A bucket that fills at
  /// `Limits.requestsPerSecondMax`.
  func admits(_ name: String, at now: Instant) -> Bool {
    var traffic = consumers[name] ?? ConsumerTraffic()
    traffic.requests += 1
    let seconds = traffic.countedAt.map { Double(now - $0) / 1e9 } ?? 0
    traffic.countedAt = now
    let filled = traffic.allowance + max(0, seconds) * Double(Limits.requestsPerSecondMax)
    traffic.allowance = min(Double(Limits.requestsBurstMax), filled)
    let admits = traffic.allowance >= 1
    if admits { traffic.allowance -= 1 }
    consumers[name] = traffic
    return admits
  }

  // MARK: Guessing

  /// A token that is nobody's came from there: how long its answer is held back. A slip of the finger costs nothing.
  func guessed(from peer: String, at now: Instant) -> Int64 {
    var guesser = guessers[peer] ?? Guesser(lastAt: now)
    if now - guesser.lastAt > Limits.guesserForgottenNs { guesser.failures = 0 }
    guesser.failures += 1
    guesser.lastAt = now
    if guessers[peer] == nil, guessers.count >= Limits.guessersMax,
      let oldest = guessers.min(by: { $0.value.lastAt < $1.value.lastAt })
    {
      guessers[oldest.key] = nil
    }
    guessers[peer] = guesser
    return guesser.failures > Limits.guessesFree ? Limits.guessDelayNs : 0
  }
}
