// What a bus does next: pure decisions, time is a parameter. The bus's loop carries them out.
//
//   closed ──open──▶ open ──lost──▶ closed (reopened with backoff, 250 ms to 2 s)
//   unit:  unknown ──good──▶ online ──fails, retries used up──▶ offline ──good probe──▶ online
//
// Invariants:
//  1. A request starts no sooner than the silence t3.5 (and the configured turnaround) after the last byte seen.
//  2. RTU replies carry no number, so after a failure the line is kept quiet and drained for another whole response timeout;
//     then the unit's next reply is thrown away (it could be the late one), the line is drained as long again, and only the
//     read after that counts. A reply that is up to two response timeouts late never becomes a value.
//  3. An offline unit is asked only its cheapest request, at intervals that double up to a minute.
//  4. What is due longest is asked first: no request starves.

import StreamCore

package enum BusAction: Equatable {
  case open
  /// `discard`: carry it out, but the reply is not to be believed.
  case transact(request: Int, discard: Bool)
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
  package var timeoutNs: Int64
  package var retries: Int
  /// The protocol numbers its transactions (Modbus TCP): a late reply can't be mistaken, invariant 2 is not needed.
  package var isNumbered: Bool

  package init(_ bus: BusSpec) {
    isNumbered = bus.busProtocol == .modbusTCP
    silenceNs = isNumbered ? 0 : bus.format.silenceNs
    turnaroundNs = bus.turnaroundNs
    timeoutNs = bus.responseTimeoutNs
    retries = bus.retries
  }
}

package struct RequestSlot: BitwiseCopyable {
  package var unit: UInt16 = 0
  package var table = RegisterTable.holding
  package var address: UInt16 = 0
  package var count: UInt16 = 0
  package var firstBinding: UInt16 = 0
  package var bindingCount: UInt16 = 0
  package var refusals: UInt16 = 0
  package var intervalNs: Int64 = 0
  package var wireNs: Int64 = 0
  package var dueAt = Instant.zero
}

package struct UnitSlot: BitwiseCopyable {
  package var address: UInt8 = 0
  package var state = UnitState.unknown
  package var firstRequest: UInt16 = 0
  package var requestCount: UInt16 = 0
  package var firstPoint: UInt16 = 0
  package var pointCount: UInt16 = 0
  package var firstAlarm: UInt16 = 0
  package var alarmCount: UInt16 = 0
  /// Replies still to be thrown away before one counts (invariant 2).
  package var suspicion: UInt8 = 0
  package var attempts: UInt8 = 0
  package var backoffNs: Int64 = 0
  package var probeAt = Instant.zero
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
  /// The earliest start of the next request.
  package private(set) var silenceUntil = Instant.zero
  /// The request to be tried again before all others.
  private var again: Int?

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
    for index in 0..<requestCount {
      let phase = requests[index].intervalNs / Int64(Swift.max(requestCount, 1)) * Int64(index)
      // The first round is not delayed by more than a second: a fresh box should show its values.
      requests[index].dueAt = now + Swift.min(phase, 1_000_000_000)
    }
  }

  // MARK: Decisions

  package mutating func next(at now: Instant) -> BusAction {
    guard isOpen else { return now >= reopenAt ? .open : .wait(until: reopenAt) }
    if now < quietUntil { return .drain(until: quietUntil) }
    var chosen = -1
    var due = Instant.distantFuture
    if let again {
      chosen = again
      due = now
    } else {
      for unit in 0..<unitCount {
        if units[unit].state == .offline {
          // Invariant 3.
          if units[unit].probeAt < due {
            due = units[unit].probeAt
            chosen = cheapestRequest(of: unit)
          }
          continue
        }
        let first = Int(units[unit].firstRequest)
        for index in first..<(first + Int(units[unit].requestCount)) where requests[index].dueAt < due {
          due = requests[index].dueAt
          chosen = index
        }
      }
    }
    guard chosen >= 0 else { return .wait(until: .distantFuture) }
    if due > now { return .wait(until: due) }
    if silenceUntil > now { return .wait(until: silenceUntil) }
    return .transact(request: chosen, discard: units[Int(requests[chosen].unit)].suspicion > 0)
  }

  private func cheapestRequest(of unit: Int) -> Int {
    let first = Int(units[unit].firstRequest)
    var best = first
    for index in first..<(first + Int(units[unit].requestCount)) where requests[index].wireNs < requests[best].wireNs {
      best = index
    }
    return units[unit].requestCount == 0 ? -1 : best
  }

  // MARK: What happened

  package mutating func opened(at now: Instant) {
    isOpen = true
    reopenNs = Limits.reopenNsMin
    // Whoever spoke before us may not have finished.
    silenceUntil = now + timing.silenceNs
    quietUntil = now
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

  /// `ended`: when the reply was complete, or given up.
  package mutating func completed(
    _ request: Int, _ outcome: Outcome, discarded: Bool, ended: Instant
  ) -> UnitChange {
    silenceUntil = ended + timing.silenceNs + timing.turnaroundNs
    let unit = Int(requests[request].unit)
    switch outcome {
    case .failed(.portLost):
      lost(at: ended)
      return .none
    case .good where discarded:
      units[unit].suspicion -= 1
      quietUntil = ended + timing.timeoutNs
      again = request
      return .none
    case .good, .failed(.refused):
      // An exception is an answer too: the device is there.
      again = nil
      units[unit].attempts = 0
      units[unit].backoffNs = 0
      schedule(request, at: ended)
      if case .failed = outcome {
        delayRefused(request, at: ended)
      } else {
        requests[request].refusals = 0
      }
      guard units[unit].state != .online else { return .none }
      wake(unit, except: request, at: ended)
      return .cameOnline
    case .failed:
      return failed(request, unit: unit, ended: ended)
    }
  }

  /// A command's transaction, which is none of the plan's: the line rests behind it as behind any other, and after a failure it
  /// is drained for as long as the reply may still come (invariants 1 and 2).
  package mutating func noteForeignTransaction(
    unit address: Int, ended: Instant, outcome: Outcome, timeoutNs: Int64, discarded: Bool
  ) {
    silenceUntil = ended + timing.silenceNs + timing.turnaroundNs
    let isAnswer: Bool
    switch outcome {
    case .good, .failed(.refused): isAnswer = true
    case .failed: isAnswer = false
    }
    guard !timing.isNumbered, discarded || !isAnswer else { return }
    quietUntil = Swift.max(quietUntil, ended + timeoutNs)
    for unit in 0..<unitCount where Int(units[unit].address) == address {
      units[unit].suspicion = isAnswer ? units[unit].suspicion - 1 : 1
    }
  }

  /// A late reply of that unit may still be on its way.
  package func suspects(unit address: Int) -> Bool {
    for unit in 0..<unitCount where Int(units[unit].address) == address { return units[unit].suspicion > 0 }
    return false
  }

  private mutating func failed(_ request: Int, unit: Int, ended: Instant) -> UnitChange {
    if !timing.isNumbered {
      // Invariant 2.
      quietUntil = ended + timing.timeoutNs
      units[unit].suspicion = 1
    }
    units[unit].attempts += 1
    if Int(units[unit].attempts) <= timing.retries, units[unit].state != .offline {
      again = request
      return .none
    }
    again = nil
    units[unit].attempts = 0
    let wasOffline = units[unit].state == .offline
    units[unit].state = .offline
    units[unit].backoffNs =
      units[unit].backoffNs == 0 ? 1_000_000_000 : Swift.min(units[unit].backoffNs * 2, Limits.backoffNsMax)
    units[unit].probeAt = ended + units[unit].backoffNs
    return wasOffline ? .none : .wentOffline
  }

  private mutating func wake(_ unit: Int, except request: Int, at now: Instant) {
    units[unit].state = .online
    let first = Int(units[unit].firstRequest)
    for index in first..<(first + Int(units[unit].requestCount)) where index != request {
      requests[index].dueAt = now
    }
  }

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

  /// A register that keeps being refused is asked more and more rarely, but never dropped for good.
  private mutating func delayRefused(_ request: Int, at now: Instant) {
    requests[request].refusals = Swift.min(requests[request].refusals + 1, 16)
    guard requests[request].refusals > 2 else { return }
    let factor = Int64(1) << Int64(Swift.min(requests[request].refusals - 2, 6))
    let delayNs = Swift.min(Swift.max(requests[request].intervalNs, 1_000_000_000) * factor, Limits.backoffNsMax)
    let later = now + delayNs
    if later > requests[request].dueAt { requests[request].dueAt = later }
  }
}
