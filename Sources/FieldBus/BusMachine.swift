// What a bus does next: pure decisions, time is a parameter. The bus's loop carries them out.
//
//   closed ──open──▶ open ──lost──▶ closed (reopened with backoff, 250 ms to 2 s)
//   unit:  unknown ──good──▶ online ──fails, retries used up──▶ offline ──good probe──▶ online
//
// Invariants:
//  1. A request starts no sooner than the silence t3.5 (and the configured turnaround) after the last byte seen.
//  2. The fence. RTU replies carry no number: only unit, function and length tell what a reply answers. While a unit owes a reply (it
//     came not at all, or broken), nothing of the same shape (function, length) is asked of it, so whatever comes, however late,
//     can't be taken for another request's reply. The debt is over when both are true: the unit has answered a request of another
//     shape (a device answers in order), and four response timeouts have passed (a bridge on the way may not). Meanwhile the
//     request's parts stand in for it; if a unit has nothing of another shape, a read is made for that alone, and its values go
//     nowhere. The line rests for none of this.
//  3. An offline unit is asked only its cheapest request; all probes of a bus together take at most 2 % of it.
//  4. Among what is due, what an alarm watches goes first, by earliest deadline; then what is most overdue for its interval, so that
//     on overload all the rest stretches by the same factor. What is overdue eight intervals goes before everything: nothing
//     starves.
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

/// What the loop tells the rest of the house after a transaction.
package enum UnitChange: Equatable {
  case none
  case cameOnline
  case wentOffline
}

package struct BusTiming: BitwiseCopyable, Sendable {
  package var silenceNs: Int64
  package var turnaroundNs: Int64
  /// The ceiling for a device's thinking time.
  package var timeoutNs: Int64
  package var characterNs: Int64
  package var retries: Int
  /// The protocol numbers its transactions (Modbus TCP): a late reply can't be mistaken, invariant 2 is not needed.
  package var isNumbered: Bool

  package init(_ bus: BusSpec) {
    isNumbered = bus.busProtocol == .modbusTCP
    silenceNs = isNumbered ? 0 : bus.format.silenceNs
    characterNs = isNumbered ? 0 : bus.format.characterNs
    turnaroundNs = bus.turnaroundNs
    timeoutNs = bus.responseTimeoutNs
    retries = bus.retries
  }
}

/// What tells one reply from another on the line.
package struct Shape: BitwiseCopyable, Equatable {
  var table = RegisterTable.holding
  var dataBytes: UInt16 = 0

  init(table: RegisterTable, count: Int) {
    self.table = table
    dataBytes = UInt16(truncatingIfNeeded: table.dataBytes(count: count))
  }
}

package struct RequestSlot: BitwiseCopyable {
  package var unit: UInt16 = 0
  package var table = RegisterTable.holding
  package var isWatched = false
  /// In use; a refused one makes room for its parts.
  package var isActive = false
  package var isSplit = false
  package var wasGood = false
  package var refusals: UInt8 = 0
  /// Failures in a row while the unit answered other requests.
  package var strikes: UInt8 = 0
  package var address: UInt16 = 0
  package var count: UInt16 = 0
  package var firstBinding: UInt32 = 0
  package var bindingCount: UInt16 = 0
  package var partCount: UInt16 = 0
  package var firstPart: UInt32 = 0
  package var intervalNs: Int64 = 0
  package var wireNs: Int64 = 0
  package var dueAt = Instant.zero

  /// Its parts are asked meanwhile: a reply of its shape is owed.
  package var isStoodIn = false

  var shape: Shape { Shape(table: table, count: Int(count)) }
}

/// A reply that may still come.
package struct Debt: BitwiseCopyable {
  var shape = Shape(table: .holding, count: 0)
  /// Not over before then.
  var until = Instant.zero
  /// The unit has answered something else since.
  var isFenced = false
  /// Over then, whatever happened.
  var giveUpAt = Instant.zero

  func stands(at now: Instant) -> Bool { now < giveUpAt && !(isFenced && now >= until) }
}

package struct UnitSlot: BitwiseCopyable {
  package var address: UInt8 = 0
  /// Registers that the device allows in one request.
  package var registersMax = UInt16(Limits.registersPerReadMax)
  package var state = UnitState.unknown
  package var attempts: UInt8 = 0
  package var firstRequest: UInt32 = 0
  package var requestCount: UInt32 = 0
  package var firstPoint: UInt16 = 0
  package var pointCount: UInt16 = 0
  package var firstAlarm: UInt16 = 0
  package var alarmCount: UInt16 = 0
  package var debts: (Debt, Debt, Debt, Debt) = (Debt(), Debt(), Debt(), Debt())
  package var backoffNs: Int64 = 0
  package var probeAt = Instant.zero
  package var latency = Latency()
  package init() {}

  subscript(debt index: Int) -> Debt {
    get {
      switch index {
      case 0: debts.0
      case 1: debts.1
      case 2: debts.2
      default: debts.3
      }
    }
    set {
      switch index {
      case 0: debts.0 = newValue
      case 1: debts.1 = newValue
      case 2: debts.2 = newValue
      default: debts.3 = newValue
      }
    }
  }
}

package enum UnitState: UInt8, BitwiseCopyable { case unknown, online, offline }

package struct BusMachine: ~Copyable {
  package let timing: BusTiming
  package let requestCount: Int
  package let unitCount: Int
  package let requests: UnsafeMutablePointer<RequestSlot>
  package let units: UnsafeMutablePointer<UnitSlot>

  private var isOpen = false
  private var reopenAt = Instant.zero
  private var reopenNs = Limits.reopenNsMin
  /// Until then the line must stay quiet.
  private var quietUntil = Instant.zero
  /// Since when something has been coming in unasked.
  private var noiseSince = Instant.distantFuture
  /// The earliest start of the next request.
  package private(set) var silenceUntil = Instant.zero
  /// The unit to be tried again before all others.
  private var again: Int?
  /// Time that probes of offline units may take; grows with 2 % of all time.
  private var probeBudgetNs: Int64 = 0
  private var standInCount = 0
  private var budgetAt = Instant.zero
  /// How far the most overdue request is stretched, in hundredths of its interval; 100: in time.
  package private(set) var stretchPercent: Int64 = 100

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
    for unit in 0..<unitCount { consider(unit, at: now, &choice) }
    guard choice.request >= 0 else { return .wait(until: choice.nextAt) }
    if silenceUntil > now { return .wait(until: silenceUntil) }
    if choice.needsFence, let fence = fence(Int(requests[choice.request].unit), for: choice.request, at: now) {
      return fence
    }
    stretchPercent = Swift.max(100, choice.stretchPercent)
    return .transact(request: choice.request)
  }

  private struct Choice {
    var request = -1
    /// 0: overdue beyond all bearing, 1: watched, 2: a probe that the budget allows, 3: the rest, 4: what has no interval.
    var rank = Int.max
    /// Within a rank, smaller goes first.
    var order = Int64.max
    var needsFence = false
    var stretchPercent: Int64 = 100
    var nextAt = Instant.distantFuture
  }

  private func consider(_ unit: Int, at now: Instant, _ choice: inout Choice) {
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
        order = -(overdueNs / (intervalNs / 1_000 + 1))
      }
      guard rank < choice.rank || (rank == choice.rank && order < choice.order) else { continue }
      choice.request = index
      choice.rank = rank
      choice.order = order
      choice.needsFence = debt != nil
      choice.stretchPercent = request.intervalNs > 0 ? 100 + overdueNs / (request.intervalNs / 100 + 1) : 100
    }
  }

  // MARK: Probes

  /// 2 % of the time that passes, saved up for at most ten probes.
  private mutating func earn(at now: Instant) {
    probeBudgetNs = Swift.min(probeBudgetNs + (now - budgetAt) / 50, 10 * timing.timeoutNs)
    budgetAt = now
  }

  private func considerProbe(_ unit: Int, at now: Instant, _ choice: inout Choice) {
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

  private func cheapestRequest(of unit: Int) -> Int {
    let first = Int(units[unit].firstRequest)
    var best = first
    for index in first..<(first + Int(units[unit].requestCount)) where requests[index].isActive {
      if !requests[best].isActive || requests[index].wireNs < requests[best].wireNs { best = index }
    }
    return best
  }

  // MARK: Retries and fences

  /// The unit's next attempt after a failure: a due request of another shape, else a fence. Nil: nothing is due any more.
  private func retry(_ unit: Int, at now: Instant) -> BusAction? {
    let first = Int(units[unit].firstRequest)
    var barred = -1
    for index in first..<(first + Int(units[unit].requestCount))
    where requests[index].isActive && requests[index].dueAt <= now {
      if !isBarred(requests[index].shape, unit: unit, at: now) { return .transact(request: index) }
      barred = index
    }
    return barred < 0 ? nil : fence(unit, for: barred, at: now)
  }

  /// A read of a shape that is not owed, if the device has one: of the unit's own requests the cheapest such one, else the barred one made shorter or
  /// longer.
  private func fence(_ unit: Int, for request: Int, at now: Instant) -> BusAction? {
    let first = Int(units[unit].firstRequest)
    var best = -1
    for index in first..<(first + Int(units[unit].requestCount)) where requests[index].isActive {
      guard !isBarred(requests[index].shape, unit: unit, at: now) else { continue }
      if best < 0 || requests[index].wireNs < requests[best].wireNs { best = index }
    }
    if best >= 0 {
      return .fence(
        unit: unit, table: requests[best].table, address: Int(requests[best].address), count: Int(requests[best].count))
    }
    let barred = requests[request]
    let step = barred.table.isBits ? 8 : 1
    let largest = barred.table.isBits ? Limits.bitsPerReadMax : Int(units[unit].registersMax)
    // Shorter is always answered; longer only where there is more to read.
    var count = 1
    while count <= Swift.min(largest, Int(barred.count) + 4 * step) {
      if !isBarred(Shape(table: barred.table, count: count), unit: unit, at: now) {
        let room = Limits.registersPerTable - count
        return .fence(unit: unit, table: barred.table, address: Swift.min(Int(barred.address), room), count: count)
      }
      count += step
    }
    return nil
  }

  // MARK: Debts

  private static let debtsMax = 4

  private func isBarred(_ shape: Shape, unit: Int, at now: Instant) -> Bool {
    debt(of: shape, unit: unit, at: now) != nil
  }

  private func debt(of shape: Shape, unit: Int, at now: Instant) -> Debt? {
    guard !timing.isNumbered else { return nil }
    for index in 0..<Self.debtsMax {
      let debt = units[unit][debt: index]
      if debt.shape == shape, debt.stands(at: now) { return debt }
    }
    return nil
  }

  private func owe(_ shape: Shape, unit: Int, at now: Instant) {
    guard !timing.isNumbered else { return }
    var place = 0
    for index in 0..<Self.debtsMax {
      let debt = units[unit][debt: index]
      if debt.shape == shape || !debt.stands(at: now) {
        place = index
        break
      }
      // With more debts than places the oldest makes room.
      if debt.giveUpAt < units[unit][debt: place].giveUpAt { place = index }
    }
    var debt = Debt()
    debt.shape = shape
    debt.until = now + 4 * timing.timeoutNs
    debt.giveUpAt = now + Limits.owedNsMax
    units[unit][debt: place] = debt
  }

  /// The unit answered something that can't be what is owed.
  private func fenceOff(_ unit: Int) {
    for index in 0..<Self.debtsMax { units[unit][debt: index].isFenced = true }
  }

  /// The parts take the place of a request that may not be asked now.
  private mutating func standIn(for request: Int, at now: Instant) {
    guard !timing.isNumbered, requests[request].partCount > 0, !requests[request].isSplit else { return }
    requests[request].isStoodIn = true
    requests[request].isActive = false
    standInCount += 1
    let first = Int(requests[request].firstPart)
    for part in first..<(first + Int(requests[request].partCount)) {
      requests[part].isActive = true
      requests[part].dueAt = requests[request].dueAt
    }
  }

  /// Ends what is over: the request is asked itself again.
  private mutating func restore(at now: Instant) {
    for request in 0..<requestCount where requests[request].isStoodIn {
      guard !isBarred(requests[request].shape, unit: Int(requests[request].unit), at: now) else { continue }
      requests[request].isStoodIn = false
      requests[request].isActive = true
      standInCount -= 1
      var due = Instant.distantFuture
      let first = Int(requests[request].firstPart)
      for part in first..<(first + Int(requests[request].partCount)) {
        due = Swift.min(due, requests[part].dueAt)
        retire(part)
      }
      requests[request].dueAt = due
    }
  }

  private mutating func retire(_ part: Int) {
    if requests[part].isStoodIn { standInCount -= 1 }
    requests[part].isActive = false
    requests[part].isStoodIn = false
    requests[part].isSplit = false
    let first = Int(requests[part].firstPart)
    for inner in first..<(first + Int(requests[part].partCount)) { retire(inner) }
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

  // MARK: What happened

  package mutating func opened(at now: Instant) {
    isOpen = true
    reopenNs = Limits.reopenNsMin
    // Whoever spoke before us may not have finished.
    silenceUntil = now + timing.silenceNs
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
    silenceUntil = ended + timing.silenceNs + timing.turnaroundNs
    guard failed else { return }
    for index in 0..<unitCount where Int(units[index].address) == unit {
      owe(Shape(table: table, count: count), unit: index, at: ended)
    }
  }

  /// `ended`: when the reply was complete, or given up.
  package mutating func completed(_ request: Int, _ outcome: Outcome, started: Instant, ended: Instant) -> UnitChange {
    let unit = Int(requests[request].unit)
    noiseSince = .distantFuture
    silenceUntil = ended + timing.silenceNs + timing.turnaroundNs
    if units[unit].state == .offline { probeBudgetNs -= ended - started }
    switch outcome {
    case .failed(.portLost):
      lost(at: ended)
      return .none
    case .good:
      requests[request].wasGood = true
      requests[request].refusals = 0
      requests[request].strikes = 0
      learn(unit, tookNs: ended - started, wireNs: requests[request].wireNs)
      schedule(request, at: ended)
      return answered(unit, except: request, at: ended)
    case .failed(.refused(let code)):
      schedule(request, at: ended)
      refused(request, code: code, at: ended)
      return answered(unit, except: request, at: ended)
    case .failed(let failure):
      owe(requests[request].shape, unit: unit, at: ended)
      strike(request, at: ended)
      if requests[request].isActive { standIn(for: request, at: ended) }
      return failed(unit, failure, frameNs: requests[request].wireNs, ended: ended)
    }
  }

  /// The same for a fence.
  package mutating func completedFence(
    unit: Int, table: RegisterTable, count: Int, _ outcome: Outcome, started: Instant, ended: Instant
  ) -> UnitChange {
    noiseSince = .distantFuture
    silenceUntil = ended + timing.silenceNs + timing.turnaroundNs
    if units[unit].state == .offline { probeBudgetNs -= ended - started }
    switch outcome {
    case .failed(.portLost):
      lost(at: ended)
      return .none
    case .good, .failed(.refused):
      return answered(unit, except: -1, at: ended)
    case .failed(let failure):
      owe(Shape(table: table, count: count), unit: unit, at: ended)
      return failed(unit, failure, frameNs: 0, ended: ended)
    }
  }

  /// A command's transaction, which is none of the plan's. What it did not get is owed like any other reply, what it got fences off
  /// the rest. `shape`: of a read; replies to all else say what they answer. `replyNs`: what the reply takes on the line.
  package mutating func noteForeignTransaction(
    unit address: Int, shape: Shape?, _ outcome: Outcome, replyNs: Int64, ended: Instant
  ) {
    noiseSince = .distantFuture
    silenceUntil = ended + timing.silenceNs + timing.turnaroundNs
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
  private mutating func answered(_ unit: Int, except request: Int, at now: Instant) -> UnitChange {
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

  private mutating func failed(_ unit: Int, _ failure: ReadFailure, frameNs: Int64, ended: Instant) -> UnitChange {
    // Of a broken reply the rest may still be on its way.
    if case .corruptReply = failure, !timing.isNumbered { quietUntil = ended + frameNs / 2 + timing.silenceNs }
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

  private mutating func learn(_ unit: Int, tookNs: Int64, wireNs: Int64) {
    // A probe after a silence tells of the silence, not of the device.
    guard units[unit].state == .online, units[unit].attempts == 0 else { return }
    units[unit].latency.add(Swift.max(0, tookNs - (wireNs - 2 * timing.silenceNs - timing.turnaroundNs)))
  }

  // MARK: Schedule

  /// Keeps the phase; what was missed altogether is not made up for.
  private mutating func schedule(_ request: Int, at now: Instant) {
    let intervalNs = requests[request].intervalNs
    var due = requests[request].dueAt + intervalNs
    if due <= now {
      let behind = now - due
      due = intervalNs > 0 ? due + (behind / intervalNs + (behind % intervalNs == 0 ? 0 : 1)) * intervalNs : now
    }
    requests[request].dueAt = due
  }

  // MARK: Refusals

  /// Illegal function, address or value, or a failure inside: what was never good falls into its parts at once, what was good
  /// only when it repeats; without parts it is asked more and more rarely, never dropped for good.
  private mutating func refused(_ request: Int, code: UInt8, at now: Instant) {
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

  /// Some devices don't refuse what they can't answer, they fall silent: the same, once it has failed while others didn't.
  private mutating func strike(_ request: Int, at now: Instant) {
    guard units[Int(requests[request].unit)].state == .online, !requests[request].wasGood else { return }
    requests[request].strikes = Swift.min(requests[request].strikes + 1, 100)
    if requests[request].strikes >= 3, requests[request].partCount > 0 { split(request, at: now) }
  }

  private mutating func split(_ request: Int, at now: Instant) {
    if requests[request].isStoodIn { standInCount -= 1 }
    requests[request].isStoodIn = false
    requests[request].isActive = false
    requests[request].isSplit = true
    let first = Int(requests[request].firstPart)
    for part in first..<(first + Int(requests[request].partCount)) {
      requests[part].isActive = true
      requests[part].dueAt = now
    }
  }

  /// Forgets what was learned of a unit's time; its refusals are forgotten at the next start.
  package mutating func forget(_ unit: Int) { units[unit].latency = Latency() }
}
