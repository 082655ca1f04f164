// What the machine makes of what happened: a reply, a refusal, a silence, noise, a lost line.

import StreamCore

extension AskMachine {
  package mutating func opened(at now: Instant) {
    isOpen = true
    reopenNs = Limits.reopenNsMin
    // Whoever spoke before us may not have finished.
    silenceUntil = now + silenceNs
    quietUntil = now
    noiseSince = .distantFuture
    again = nil
    failing = nil
  }

  package mutating func openFailed(at now: Instant) {
    isOpen = false
    reopenAt = now + reopenNs
    reopenNs = Swift.min(reopenNs * 2, Limits.reopenNsMax)
  }

  /// The line went away under us.
  package mutating func lost(at now: Instant) {
    isOpen = false
    reopenAt = now + Limits.reopenNsMin
    again = nil
    failing = nil
    for unit in 0..<unitCount { units[unit].state = .unknown }
  }

  /// Bytes came in that nobody asked for: wait for silence, but not for ever.
  package mutating func heard(at now: Instant) {
    silenceUntil = Swift.max(silenceUntil, now + silenceNs)
    if noiseSince == .distantFuture { noiseSince = now }
    quietUntil = Swift.max(quietUntil, Swift.min(now + silenceNs, noiseSince + Limits.babbleNsMax))
  }

  /// The line may not be used yet: something was heard on it.
  package func isQuietNeeded(at now: Instant) -> Bool { now < quietUntil }

  /// A reply may still come from somebody.
  package func isOwed(at now: Instant) -> Bool {
    for index in 0..<askCount where asks[index].barredUntil > now { return true }
    for unit in 0..<unitCount where units[unit].isSuspect { return true }
    return false
  }

  /// `ended`: when the reply was complete, or given up. `thoughtNs`: from the question's last byte to the reply's
  /// first.
  package mutating func completed(
    _ ask: Int, _ outcome: Outcome, discarded: Bool, started: Instant, ended: Instant, thoughtNs: Int64
  ) -> UnitChange {
    noiseSince = .distantFuture
    silenceUntil = ended + silenceNs + turnaroundNs
    let unit = Int(asks[ask].unit)
    if units[unit].state == .offline { probeBudgetNs -= ended - started }
    switch outcome {
    case .failed(.portLost):
      lost(at: ended)
      return .none
    case .good where discarded:
      believe(unit, asked: ask, started, ended)
      again = ask
      failing = nil
      return .none
    case .good, .failed(.refused):
      // A refusal is an answer too: the device is there.
      again = nil
      failing = nil
      if outcome == .good { learn(unit, thoughtNs) }
      units[unit].attempts = 0
      units[unit].backoffNs = 0
      schedule(ask, at: ended)
      if case .failed = outcome {
        delayRefused(ask, at: ended)
      } else {
        asks[ask].refusals = 0
      }
      guard units[unit].state != .online else { return .none }
      units[unit].state = .online
      for index in asks(of: unit) where index != ask { asks[index].dueAt = ended }
      return .cameOnline
    case .failed(let failure):
      doubt(unit, asked: ask, failure, started, ended)
      return failed(unit, at: ended)
    }
  }

  /// A command's question, which is none of the plan's, or one in the same words (`ask`).
  package mutating func noteForeign(
    unit: Int?, ask: Int?, _ outcome: Outcome, discarded: Bool, started: Instant, ended: Instant
  ) {
    noiseSince = .distantFuture
    silenceUntil = ended + silenceNs + turnaroundNs
    guard let unit else { return }
    switch outcome {
    case .good: if discarded { believe(unit, asked: ask, started, ended) }
    case .failed(.refused), .failed(.portLost): break
    case .failed(let failure): doubt(unit, asked: ask, failure, started, ended)
    }
  }

  // MARK: Late replies and noise

  private mutating func believe(_ unit: Int, asked ask: Int?, _ started: Instant, _ now: Instant) {
    units[unit].isSuspect = false
    // What came may have been the late one, and its own is on the way.
    if !isTold(unit, ask) { quietUntil = quietEnd(started, now) }
  }

  /// A timeout that was learned is shorter: what it saves must not be taken from the quiet.
  private func quietEnd(_ started: Instant, _ now: Instant) -> Instant {
    Swift.max(now + timeoutNs, started + 2 * timeoutNs)
  }

  private mutating func doubt(
    _ unit: Int, asked ask: Int?, _ failure: ReadFailure, _ started: Instant, _ now: Instant
  ) {
    if let ask, asks[ask].isTold { asks[ask].barredUntil = now + Self.barTimeouts * timeoutNs }
    if isTold(unit, ask) {
      if case .corruptReply = failure { units[unit].isSuspect = true }
    } else {
      units[unit].isSuspect = true
      quietUntil = quietEnd(started, now)
      if units[unit].state == .offline { probeBudgetNs -= quietUntil - now }
    }
  }

  /// Four, as for Modbus: a bridge or a radio link may hold a reply back.
  package static var barTimeouts: Int64 { 4 }

  /// Of a question that is none of the plan's: as the unit's own.
  private func isTold(_ unit: Int, _ ask: Int?) -> Bool {
    if let ask { return asks[ask].isTold }
    for index in asks(of: unit) where !asks[index].isTold { return false }
    return true
  }

  private mutating func failed(_ unit: Int, at now: Instant) -> UnitChange {
    again = nil
    failing = nil
    units[unit].attempts = Swift.min(units[unit].attempts + 1, 100)
    // One lost reply is noise, whatever the configuration says of retries.
    if Int(units[unit].attempts) <= Swift.max(1, retries), units[unit].state != .offline {
      failing = unit
      return .none
    }
    units[unit].attempts = 0
    let wasOffline = units[unit].state == .offline
    units[unit].state = .offline
    let backoffNs = units[unit].backoffNs
    units[unit].backoffNs = backoffNs == 0 ? Self.firstBackoffNs : Swift.min(backoffNs * 2, Limits.backoffNsMax)
    units[unit].probeAt = now + units[unit].backoffNs
    return wasOffline ? .none : .wentOffline
  }

  private mutating func learn(_ unit: Int, _ thoughtNs: Int64) {
    // A probe after a silence tells of the silence, not of the device.
    guard units[unit].state == .online, units[unit].attempts == 0 else { return }
    units[unit].latency.add(Swift.max(0, thoughtNs))
  }

  // MARK: Schedule

  /// Keeps the phase; what was missed altogether is not made up for.
  private mutating func schedule(_ ask: Int, at now: Instant) {
    // Asked before its time, to see whether the unit is there.
    if asks[ask].dueAt > now { return }
    let intervalNs = asks[ask].intervalNs
    var due = asks[ask].dueAt + intervalNs
    if due <= now {
      let behind = now - due
      due = intervalNs > 0 ? due + (behind / intervalNs + (behind % intervalNs == 0 ? 0 : 1)) * intervalNs : now
    }
    asks[ask].dueAt = due
  }

  private mutating func delayRefused(_ ask: Int, at now: Instant) {
    asks[ask].refusals = Swift.min(asks[ask].refusals + 1, 16)
    guard asks[ask].refusals > 2 else { return }
    let factor = Int64(1) << Int64(Swift.min(asks[ask].refusals - 2, 6))
    let delayNs = Swift.min(Swift.max(asks[ask].intervalNs, Self.firstBackoffNs) * factor, Limits.backoffNsMax)
    let later = now + delayNs
    if later > asks[ask].dueAt { asks[ask].dueAt = later }
  }
}
