// What a bus does next: pure decisions, time is a parameter. The bus's loop carries them out.
//
//   closed ──open──▶ open ──lost──▶ closed (reopened with backoff, 250 ms to 2 s)
//   unit:  unknown ──good──▶ online ──fails, retries used up──▶ offline ──good probe──▶ online
//
// Invariants:
//  1. A request starts no sooner than the silence t3.5 (and the configured turnaround) after the last byte seen. Where
//     the bus learns (`Tolerance`), a unit that has answered so far gets what it has proved to bear, behind a whole
//     reply only: a failure, noise, a command, another's fence bring the whole silence back at once.
//  2. The fence. RTU replies carry no number: only unit, function and length tell what a reply answers.
//     While a unit owes a reply (it came not at all, or broken), nothing of the same shape (function,
//     length) is asked of it, so whatever comes, however late, can't be taken for another request's reply.
//     The debt is over when both are true: the unit has answered a request of another shape (a device
//     answers in order), and four response timeouts have passed (a bridge on the way may not). Meanwhile the
//     request's parts stand in for it; if a unit has nothing of another shape, a read is made for that
//     alone, and its values go nowhere. The line rests for none of this. (A device that hears every second
//     request only would answer all fences and no request: once that shows, a read that goes nowhere is put
//     in front of each request.)
//  3. An offline unit is asked only its cheapest request; all probes of a bus together take at most 2 % of
//     it.
//  4. Among what is due, what an alarm watches goes first, by earliest deadline; then what is most overdue
//     for its interval, so that on overload all the rest stretches by the same factor. What is overdue eight
//     intervals goes before everything: nothing starves.
//  5. A request that a device refuses falls into its parts, and the refusal is remembered.

import StreamCore

package enum BusAction: Equatable {
  case open
  case transact(request: Int)
  /// A read whose values go nowhere (invariant 2).
  case fence(unit: Int, table: RegisterTable, address: Int, count: Int)
  case wait(until: Instant)
  /// Keep the line quiet, throw away what comes.
  case drain(until: Instant)
}

package enum Outcome: Equatable {
  case good
  case failed(ReadFailure)
}

extension Outcome {
  /// A whole frame of the unit that was asked.
  var isReply: Bool {
    switch self {
    case .good, .failed(.refused): true
    case .failed: false
    }
  }
}

/// What the loop tells the rest of the house after a transaction.
package enum UnitChange: Equatable {
  case none
  case cameOnline
  case wentOffline
}

package struct BusMachine: ~Copyable {
  package let timing: BusTiming
  package let requestCount: Int
  package let unitCount: Int
  package let requests: UnsafeMutablePointer<RequestSlot>
  package let units: UnsafeMutablePointer<UnitSlot>

  var isOpen = false
  var reopenAt = Instant.zero
  var reopenNs = Limits.reopenNsMin
  /// Until then the line must stay quiet.
  var quietUntil = Instant.zero
  /// Since when something has been coming in unasked.
  var noiseSince = Instant.distantFuture
  /// The earliest start of the next request.
  package internal(set) var silenceUntil = Instant.zero
  /// The last thing on the line was a whole reply: the silence may be shortened.
  var isTidy = false
  /// What was chosen while the line had to rest, and since when it may start: not looked for again at the
  /// rest's end. Any transaction, noise or command undoes it.
  var settled = Choice()
  var settledAt = Instant.distantFuture
  /// The unit that is being knocked at.
  var knocked: Int?
  /// The unit to be tried again before all others.
  var again: Int?
  /// Time that probes of offline units may take; grows with 2 % of all time.
  var probeBudgetNs: Int64 = 0
  var standInCount = 0
  var budgetAt = Instant.zero
  /// How far the most overdue request is stretched, in hundredths of its interval; 100: in time.
  package internal(set) var stretchPercent: Int64 = 100

  package static func bytes(requests: Int, units: Int) -> Int {
    Arena.bytes(of: RequestSlot.self, count: requests) + Arena.bytes(of: UnitSlot.self, count: units)
  }

  package init(timing: BusTiming, requests: Int, units: Int, arena: inout Arena) {
    self.timing = timing
    requestCount = requests
    unitCount = units
    self.requests = arena.take(RequestSlot.self, count: requests, first: RequestSlot())
    self.units = arena.take(UnitSlot.self, count: units, first: UnitSlot())
  }

  /// Spreads the first polls over each interval, so that a bus doesn't ask everything at once and then rest.
  package mutating func start(at now: Instant) {
    budgetAt = now
    // So that what goes missing soon after the start comes back soon, too.
    probeBudgetNs = 4 * timing.timeoutNs
    var active: Int64 = 0
    for index in 0..<requestCount where requests[index].isActive { active += 1 }
    var number: Int64 = 0
    for index in 0..<requestCount where requests[index].isActive {
      // The first round is not delayed by more than a second: a fresh box should show its values.
      let spread = Swift.min(requests[index].intervalNs, 1_000_000_000)
      requests[index].dueAt = now + spread / active * number
      requests[index].servedAt = requests[index].dueAt + -requests[index].intervalNs
      number += 1
    }
  }

  // MARK: Decisions

  package mutating func next(at now: Instant) -> BusAction {
    guard isOpen else { return now >= reopenAt ? .open : .wait(until: reopenAt) }
    if now < quietUntil { return .drain(until: quietUntil) }
    earn(at: now)
    if standInCount > 0 { restore(at: now) }
    var choice = Choice()
    if let unit = again {
      if let action = retry(unit, at: now) {
        return silenceUntil > now ? .wait(until: silenceUntil) : action
      }
      again = nil
    }
    if settledAt <= now, requests[settled.request].isActive {
      choice = settled
    } else {
      for unit in 0..<unitCount { consider(unit, at: now, &choice) }
      guard choice.request >= 0 else { return .wait(until: choice.nextAt) }
    }
    let ready = choice.needsFence ? silenceUntil : silenceEnd(before: Int(requests[choice.request].unit))
    if ready > now {
      settled = choice
      settledAt = ready
      return .wait(until: ready)
    }
    settledAt = .distantFuture
    if let knock = knock(for: choice.request, at: now) { return knock }
    if choice.needsFence, let fence = fence(Int(requests[choice.request].unit), for: choice.request, at: now) {
      return fence
    }
    stretchPercent = Swift.max(100, choice.stretchPercent)
    return .transact(request: choice.request)
  }

  /// When a request to that unit may start.
  func silenceEnd(before unit: Int) -> Instant {
    guard timing.learnsSilence, isTidy, units[unit].state == .online, units[unit].attempts == 0 else {
      return silenceUntil
    }
    return silenceUntil + -units[unit].tolerance.savedNs(of: timing.silenceNs)
  }

  struct Choice {
    var request = -1
    /// 0: overdue beyond all bearing, 1: watched, 2: a probe that the budget allows, 3: the rest, 4: what has
    /// no interval.
    var rank = Int.max
    /// Within a rank, smaller goes first.
    var order = Int64.max
    var needsFence = false
    var stretchPercent: Int64 = 100
    var nextAt = Instant.distantFuture
  }

  func consider(_ unit: Int, at now: Instant, _ choice: inout Choice) {
    if units[unit].state == .offline { return considerProbe(unit, at: now, &choice) }
    let first = Int(units[unit].firstRequest)
    for index in first..<(first + Int(units[unit].requestCount)) where requests[index].isActive {
      let request = requests[index]
      if request.dueAt > now {
        if request.dueAt < choice.nextAt { choice.nextAt = request.dueAt }
        continue
      }
      let debt = debt(of: request.shape, unit: unit, at: now)
      if let debt, debt.isFenced || (now < debt.until && fence(unit, for: index, at: now) == nil) {
        // The fence has been passed, or there is none for so small a device; what is left is to wait.
        if debt.until < choice.nextAt { choice.nextAt = debt.until }
        continue
      }
      let intervalNs = Swift.max(request.intervalNs, 1)
      let overdueNs = now - request.dueAt
      let nominalNs = Swift.max(request.intervalNs, Limits.alwaysIntervalNs)
      let rank: Int
      let order: Int64
      if overdueNs > 8 * nominalNs {
        rank = 0
        order = request.dueAt.nanoseconds
      } else if request.isWatched, request.intervalNs > 0 {
        rank = 1
        order = (request.dueAt + intervalNs).nanoseconds
      } else if request.intervalNs == 0 {
        // What is read as often as the line allows takes what the others leave, in turn.
        rank = 4
        order = request.dueAt.nanoseconds
      } else {
        rank = 3
        order = -((now - request.servedAt) / (intervalNs / 1_000 + 1))
      }
      guard rank < choice.rank || (rank == choice.rank && order < choice.order) else { continue }
      choice.request = index
      choice.rank = rank
      choice.order = order
      choice.needsFence = debt != nil
      choice.stretchPercent = request.intervalNs > 0 ? (now - request.servedAt) / (request.intervalNs / 100 + 1) : 100
    }
  }

  // MARK: Probes

  /// 2 % of the time that passes, saved up for at most ten probes.
  mutating func earn(at now: Instant) {
    probeBudgetNs = Swift.min(probeBudgetNs + (now - budgetAt) / 50, 10 * timing.timeoutNs)
    budgetAt = now
  }

  func considerProbe(_ unit: Int, at now: Instant, _ choice: inout Choice) {
    guard units[unit].requestCount > 0 else { return }
    let costNs = timeoutNs(unit: unit, wireNs: 0)
    let missingNs = Swift.max(0, costNs - probeBudgetNs)
    let at = Swift.max(units[unit].probeAt, now + missingNs * 50)
    guard at <= now else {
      if at < choice.nextAt { choice.nextAt = at }
      return
    }
    // The longest unasked first.
    let order = units[unit].probeAt.nanoseconds
    guard choice.rank > 2 || (choice.rank == 2 && order < choice.order) else { return }
    choice.request = cheapestRequest(of: unit)
    choice.rank = 2
    choice.order = order
    choice.needsFence = isBarred(requests[choice.request].shape, unit: unit, at: now)
  }

  func cheapestRequest(of unit: Int) -> Int {
    let first = Int(units[unit].firstRequest)
    var best = first
    for index in first..<(first + Int(units[unit].requestCount)) where requests[index].isActive {
      if !requests[best].isActive || requests[index].wireNs < requests[best].wireNs { best = index }
    }
    return best
  }

  // MARK: Timeouts

  /// How long to wait for a reply that takes `wireNs` on the line.
  package func timeoutNs(unit: Int, wireNs: Int64) -> Int64 {
    let latency = units[unit].latency
    guard latency.isKnown else { return wireNs + timing.timeoutNs }
    if units[unit].state == .offline { return wireNs + Swift.min(2 * latency.boundNs, timing.timeoutNs) }
    // After a failure the ceiling: the device may have become slower.
    if units[unit].attempts > 0 { return wireNs + timing.timeoutNs }
    return wireNs + Swift.min(latency.boundNs, timing.timeoutNs)
  }
}
