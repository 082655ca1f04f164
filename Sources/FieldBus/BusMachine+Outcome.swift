// What the machine makes of what happened: a reply, a refusal, a silence, noise, a lost line.

import StreamCore

extension BusMachine {
  // MARK: What happened

  package mutating func opened(at now: Instant) {
    isOpen = true
    reopenNs = Limits.reopenNsMin
    // Whoever spoke before us may not have finished.
    silenceUntil = now + timing.silenceNs
    isTidy = false
    settledAt = .distantFuture
    quietUntil = now
    noiseSince = .distantFuture
    again = nil
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
  }

  package var portIsOpen: Bool { isOpen }

  /// Bytes came in that nobody asked for: wait for silence, but not for ever.
  package mutating func heard(at now: Instant) {
    isTidy = false
    settledAt = .distantFuture
    silenceUntil = Swift.max(silenceUntil, now + timing.silenceNs)
    if noiseSince == .distantFuture { noiseSince = now }
    quietUntil = Swift.min(now + timing.silenceNs, noiseSince + Limits.babbleNsMax)
  }

  /// The line may not be used yet: something was heard on it.
  package func isQuietNeeded(at now: Instant) -> Bool { now < quietUntil }

  /// A reply may still come from somebody.
  package func isOwed(at now: Instant) -> Bool {
    for unit in 0..<unitCount {
      for index in 0..<Self.debtsMax where units[unit][debt: index].stands(at: now) { return true }
    }
    return false
  }

  /// Somebody else's transaction on this line (a command) is over.
  package mutating func noteForeign(unit: Int, table: RegisterTable, count: Int, failed: Bool, ended: Instant) {
    rest(after: ended, isTidy: false)
    guard failed else { return }
    for index in 0..<unitCount where Int(units[index].address) == unit {
      owe(Shape(table: table, count: count), unit: index, at: ended)
    }
  }

  private mutating func rest(after ended: Instant, isTidy: Bool) {
    noiseSince = .distantFuture
    silenceUntil = ended + timing.silenceNs + timing.turnaroundNs
    settledAt = .distantFuture
    self.isTidy = isTidy
  }

  /// `ended`: when the reply was complete, or given up.
  package mutating func completed(_ request: Int, _ outcome: Outcome, started: Instant, ended: Instant) -> UnitChange {
    let unit = Int(requests[request].unit)
    let isEarly = started < silenceUntil
    let isPrompt = started < silenceUntil + timing.silenceNs
    rest(after: ended, isTidy: outcome.isReply)
    if units[unit].state == .offline { probeBudgetNs -= ended - started }
    switch outcome {
    case .failed(.portLost):
      lost(at: ended)
      return .none
    case .good:
      units[unit].isFencedLast = false
      units[unit].lockstep = 0
      requests[request].wasGood = true
      requests[request].refusals = 0
      requests[request].strikes = 0
      learn(unit, tookNs: ended - started, wireNs: requests[request].wireNs)
      schedule(request, at: ended)
      return answered(unit, except: request, promptly: isPrompt, at: ended)
    case .failed(.refused(let code)):
      schedule(request, at: ended)
      refused(request, code: code, at: ended)
      return answered(unit, except: request, promptly: isPrompt, at: ended)
    case .failed(let failure):
      noteLockstep(unit)
      owe(requests[request].shape, unit: unit, at: ended)
      if !isEarly { strike(request, at: ended) }
      if requests[request].isActive { standIn(for: request, at: ended) }
      return failed(unit, failure, frameNs: requests[request].wireNs, early: isEarly, ended: ended)
    }
  }

  /// The same for a fence.
  package mutating func completedFence(
    unit: Int, table: RegisterTable, count: Int, _ outcome: Outcome, started: Instant, ended: Instant
  ) -> UnitChange {
    rest(after: ended, isTidy: false)
    if units[unit].state == .offline { probeBudgetNs -= ended - started }
    switch outcome {
    case .failed(.portLost):
      lost(at: ended)
      return .none
    case .good, .failed(.refused):
      // A knock that is answered was none.
      if knocked == unit { units[unit].wantsKnock = false } else { units[unit].isFencedLast = true }
      knocked = nil
      return answered(unit, except: -1, promptly: false, at: ended)
    case .failed(let failure):
      knocked = nil
      units[unit].isFencedLast = false
      owe(Shape(table: table, count: count), unit: unit, at: ended)
      return failed(unit, failure, frameNs: 0, early: false, ended: ended)
    }
  }

  /// A command's transaction, which is none of the plan's. What it did not get is owed like any other reply,
  /// what it got fences off the rest. `shape`: of a read; replies to all else say what they answer. `replyNs`:
  /// what the reply takes on the line.
  package mutating func noteForeignTransaction(
    unit address: Int, shape: Shape?, _ outcome: Outcome, replyNs: Int64, ended: Instant
  ) {
    rest(after: ended, isTidy: false)
    if case .failed(.corruptReply) = outcome, !timing.isNumbered { quietUntil = ended + replyNs / 2 + timing.silenceNs }
    for unit in 0..<unitCount where Int(units[unit].address) == address {
      switch outcome {
      case .good, .failed(.refused): fenceOff(unit)
      case .failed: if let shape { owe(shape, unit: unit, at: ended) }
      }
    }
  }

  /// Whether a reply of that shape is owed by that address, and whether only time is still to pass.
  package func debt(unit address: Int, _ shape: Shape, at now: Instant) -> (isOwed: Bool, isFenced: Bool) {
    for unit in 0..<unitCount where Int(units[unit].address) == address {
      if let debt = debt(of: shape, unit: unit, at: now) { return (true, debt.isFenced) }
    }
    return (false, false)
  }

  /// The unit spoke: it is there, and what it owes is fenced off.
  mutating func answered(_ unit: Int, except request: Int, promptly: Bool, at now: Instant) -> UnitChange {
    if timing.learnsSilence { units[unit].tolerance.answered(promptly: promptly) }
    if again == unit { again = nil }
    fenceOff(unit)
    units[unit].attempts = 0
    units[unit].backoffNs = 0
    guard units[unit].state != .online else { return .none }
    units[unit].state = .online
    let first = Int(units[unit].firstRequest)
    for index in first..<(first + Int(units[unit].requestCount)) where index != request {
      requests[index].dueAt = now
    }
    return .cameOnline
  }

  mutating func failed(
    _ unit: Int, _ failure: ReadFailure, frameNs: Int64, early: Bool, ended: Instant
  ) -> UnitChange {
    // Of a broken reply the rest may still be on its way.
    if case .corruptReply = failure, !timing.isNumbered { quietUntil = ended + frameNs / 2 + timing.silenceNs }
    if timing.learnsSilence, units[unit].tolerance.failed(early: early) {
      again = unit
      return .none
    }
    units[unit].attempts = Swift.min(units[unit].attempts + 1, 100)
    // One lost reply is noise, whatever the configuration says of retries.
    if Int(units[unit].attempts) <= Swift.max(1, timing.retries), units[unit].state != .offline {
      again = unit
      return .none
    }
    if again == unit { again = nil }
    let wasOffline = units[unit].state == .offline
    units[unit].state = .offline
    units[unit].backoffNs =
      units[unit].backoffNs == 0 ? 1_000_000_000 : Swift.min(units[unit].backoffNs * 2, Limits.backoffNsMax)
    units[unit].probeAt = ended + units[unit].backoffNs
    return wasOffline ? .none : .wentOffline
  }

  private mutating func noteLockstep(_ unit: Int) {
    units[unit].lockstep = units[unit].isFencedLast ? Swift.min(units[unit].lockstep + 1, 100) : 0
    units[unit].isFencedLast = false
    if units[unit].lockstep >= 2 {
      units[unit].wantsKnock = true
      units[unit].lockstep = 0
    }
  }

  mutating func learn(_ unit: Int, tookNs: Int64, wireNs: Int64) {
    // A probe after a silence tells of the silence, not of the device.
    guard units[unit].state == .online, units[unit].attempts == 0 else { return }
    units[unit].latency.add(Swift.max(0, tookNs - (wireNs - 2 * timing.silenceNs - timing.turnaroundNs)))
  }

  // MARK: Schedule

  /// Keeps the phase; what was missed altogether is not made up for.
  mutating func schedule(_ request: Int, at now: Instant) {
    let intervalNs = requests[request].intervalNs
    requests[request].servedAt = now
    var due = requests[request].dueAt + intervalNs
    if due <= now {
      let behind = now - due
      due = intervalNs > 0 ? due + (behind / intervalNs + (behind % intervalNs == 0 ? 0 : 1)) * intervalNs : now
    }
    requests[request].dueAt = due
  }

  // MARK: Refusals

  /// Illegal function, address or value, or a failure inside: what was never good falls into its parts at once,
  /// what was good only when it repeats; without parts it is asked more and more rarely, never dropped for
  /// good.
  mutating func refused(_ request: Int, code: UInt8, at now: Instant) {
    requests[request].refusals = Swift.min(requests[request].refusals + 1, 16)
    let isFinal = code >= 1 && code <= 4
    let needed = requests[request].wasGood ? 3 : 1
    if isFinal, requests[request].partCount > 0, requests[request].refusals >= needed {
      split(request, at: now)
      return
    }
    guard requests[request].refusals > 2 else { return }
    let factor = Int64(1) << Int64(Swift.min(requests[request].refusals - 2, 6))
    let delayNs = Swift.min(Swift.max(requests[request].intervalNs, 1_000_000_000) * factor, Limits.backoffNsMax)
    let later = now + delayNs
    if later > requests[request].dueAt { requests[request].dueAt = later }
  }

  /// Some devices don't refuse what they can't answer, they fall silent: the same, once it has failed while
  /// others didn't.
  mutating func strike(_ request: Int, at now: Instant) {
    guard units[Int(requests[request].unit)].state == .online, !requests[request].wasGood else { return }
    requests[request].strikes = Swift.min(requests[request].strikes + 1, 100)
    if requests[request].strikes >= 3, requests[request].partCount > 0 { split(request, at: now) }
  }

  mutating func split(_ request: Int, at now: Instant) {
    if requests[request].isStoodIn { standInCount -= 1 }
    requests[request].isStoodIn = false
    requests[request].isActive = false
    requests[request].isSplit = true
    let first = Int(requests[request].firstPart)
    for part in first..<(first + Int(requests[request].partCount)) {
      requests[part].isActive = true
      requests[part].dueAt = now
      requests[part].servedAt = now
    }
  }

  // MARK: Forgetting

  package func nodes(of unit: Int) -> Range<Int> {
    let first = Int(units[unit].firstRequest)
    return first..<(first + Int(units[unit].requestCount))
  }

  /// All that was learned of a unit since the plan was made: it is asked as if it had never been met. What it
  /// owes stays owed.
  package mutating func forget(_ unit: Int, at now: Instant) {
    settledAt = .distantFuture
    units[unit].latency = Latency()
    units[unit].tolerance = Tolerance()
    for request in nodes(of: unit) {
      requests[request].wasGood = false
      requests[request].refusals = 0
      requests[request].strikes = 0
    }
    // Wholes stand before their parts: what a split whole retires is not split any more when its turn comes.
    for request in nodes(of: unit) where requests[request].isSplit {
      requests[request].isSplit = false
      requests[request].isActive = true
      requests[request].dueAt = now
      let first = Int(requests[request].firstPart)
      for part in first..<(first + Int(requests[request].partCount)) { retire(part) }
    }
  }
}
