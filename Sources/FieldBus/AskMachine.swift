// What a bus of asked frames does next: pure decisions, time is a parameter. AskLoop carries them out.
//
//   closed ──open──▶ open ──lost──▶ closed (reopened with backoff, 250 ms to 2 s)
//   unit:  unknown ──good──▶ online ──fails, retries used up──▶ offline ──good probe──▶ online
//
// Invariants:
//  1. A question starts no sooner than the silence (and the configured turnaround) after the last byte seen.
//  2. After a failure the line is kept quiet and drained for another response timeout; then the unit's next
//     reply is not believed (it could be the late one, and an 8-bit sum is weak where there was noise), and
//     the line is drained as long again; only the read after that counts.
//  3. An offline unit is asked only its cheapest question, at intervals that double up to a minute.
//  4. What is due longest is asked first: no question starves.
//  5. What a device refuses is asked more and more rarely, but never dropped for good.

import StreamCore

package enum AskAction: Equatable {
  case open
  /// `discard`: carry it out, but the reply is not to be believed.
  case ask(Int, discard: Bool)
  case wait(until: Instant)
  /// Keep the line quiet, throw away what comes.
  case drain(until: Instant)
}

package struct AskSlot: BitwiseCopyable {
  package var unit: UInt16 = 0
  package var refusals: UInt16 = 0
  package var firstRead: UInt16 = 0
  package var readCount: UInt16 = 0
  /// In the bus's table of bytes.
  package var firstByte: UInt32 = 0
  package var byteCount: UInt16 = 0
  package var preamble: UInt8 = 0
  package var isNumbered = false
  package var intervalNs: Int64 = 0
  package var wireNs: Int64 = 0
  package var dueAt = Instant.zero
}

package struct AskUnit: BitwiseCopyable {
  package var state = UnitState.unknown
  package var attempts: UInt8 = 0
  /// The next reply is not to be believed (invariant 2).
  package var isSuspect = false
  /// Replies with the serial number that was asked for, one after the other: two prove that the meter repeats it.
  package var repeatedSerials: UInt8 = 0
  package var firstAsk: UInt16 = 0
  package var askCount: UInt16 = 0
  package var firstPoint: UInt16 = 0
  package var pointCount: UInt16 = 0
  package var firstAlarm: UInt16 = 0
  package var alarmCount: UInt16 = 0
  package var backoffNs: Int64 = 0
  package var probeAt = Instant.zero
}

package struct AskMachine: ~Copyable {
  package let silenceNs: Int64
  package let turnaroundNs: Int64
  package let timeoutNs: Int64
  package let retries: Int
  package let askCount: Int
  package let unitCount: Int
  package let asks: UnsafeMutablePointer<AskSlot>
  package let units: UnsafeMutablePointer<AskUnit>

  package private(set) var isOpen = false
  private var reopenAt = Instant.zero
  private var reopenNs = Limits.reopenNsMin
  private var quietUntil = Instant.zero
  package private(set) var silenceUntil = Instant.zero
  /// The question to be asked again before all others.
  private var again: Int?

  private static let firstBackoffNs: Int64 = 1_000_000_000

  package static func bytes(asks: Int, units: Int) -> Int {
    Arena.bytes(of: AskSlot.self, count: asks) + Arena.bytes(of: AskUnit.self, count: units)
  }

  package init(bus: BusSpec, asks: Int, units: Int, arena: inout Arena) {
    silenceNs = bus.format.silenceNs
    turnaroundNs = bus.turnaroundNs
    timeoutNs = bus.responseTimeoutNs
    retries = bus.retries
    askCount = asks
    unitCount = units
    self.asks = arena.take(AskSlot.self, count: asks, first: AskSlot())
    self.units = arena.take(AskUnit.self, count: units, first: AskUnit())
  }

  /// Spreads the first round, so that a bus doesn't ask everything at once and then rest.
  package mutating func start(at now: Instant) {
    for index in 0..<askCount {
      let phase = asks[index].intervalNs / Int64(Swift.max(askCount, 1)) * Int64(index)
      // Not by more than a second: a fresh box should show its values.
      asks[index].dueAt = now + Swift.min(phase, 1_000_000_000)
    }
  }

  // MARK: Decisions

  package mutating func next(at now: Instant) -> AskAction {
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
          if units[unit].probeAt < due {
            due = units[unit].probeAt
            chosen = cheapest(of: unit)
          }
          continue
        }
        for index in asks(of: unit) where asks[index].dueAt < due {
          due = asks[index].dueAt
          chosen = index
        }
      }
    }
    guard chosen >= 0 else { return .wait(until: .distantFuture) }
    if due > now { return .wait(until: due) }
    if silenceUntil > now { return .wait(until: silenceUntil) }
    return .ask(chosen, discard: units[Int(asks[chosen].unit)].isSuspect)
  }

  package func asks(of unit: Int) -> Range<Int> {
    let first = Int(units[unit].firstAsk)
    return first..<(first + Int(units[unit].askCount))
  }

  private func cheapest(of unit: Int) -> Int {
    var best = -1
    for index in asks(of: unit) where best < 0 || asks[index].wireNs < asks[best].wireNs { best = index }
    return best
  }

  // MARK: What happened

  package mutating func opened(at now: Instant) {
    isOpen = true
    reopenNs = Limits.reopenNsMin
    // Whoever spoke before us may not have finished.
    silenceUntil = now + silenceNs
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
    for unit in 0..<unitCount { units[unit].state = .unknown }
  }

  /// `ended`: when the reply was complete, or given up.
  package mutating func completed(_ ask: Int, _ outcome: Outcome, discarded: Bool, ended: Instant) -> UnitChange {
    silenceUntil = ended + silenceNs + turnaroundNs
    let unit = Int(asks[ask].unit)
    switch outcome {
    case .failed(.portLost):
      lost(at: ended)
      return .none
    case .good where discarded:
      units[unit].isSuspect = false
      quietUntil = ended + timeoutNs
      again = ask
      return .none
    case .good, .failed(.refused):
      // A refusal is an answer too: the device is there.
      again = nil
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
    case .failed:
      return failed(ask, unit: unit, ended: ended)
    }
  }

  private mutating func failed(_ ask: Int, unit: Int, ended: Instant) -> UnitChange {
    quietUntil = ended + timeoutNs
    units[unit].isSuspect = true
    units[unit].attempts += 1
    if Int(units[unit].attempts) <= retries, units[unit].state != .offline {
      again = ask
      return .none
    }
    again = nil
    units[unit].attempts = 0
    let wasOffline = units[unit].state == .offline
    units[unit].state = .offline
    let backoffNs = units[unit].backoffNs
    units[unit].backoffNs = backoffNs == 0 ? Self.firstBackoffNs : Swift.min(backoffNs * 2, Limits.backoffNsMax)
    units[unit].probeAt = ended + units[unit].backoffNs
    return wasOffline ? .none : .wentOffline
  }

  /// Keeps the phase; what was missed altogether is not made up for.
  private mutating func schedule(_ ask: Int, at now: Instant) {
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
