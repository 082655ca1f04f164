// What a bus of asked frames does next: pure decisions, time is a parameter. AskLoop carries them out.
//
//   closed ──open──▶ open ──lost──▶ closed (reopened with backoff, 250 ms to 2 s)
//   unit:  unknown ──good──▶ online ──fails, retries used up──▶ offline ──good probe──▶ online
//
// A question is told if its reply can be no other question's of the bus: meters repeat address and item, a
// profile can say where a reply repeats the question (`echo`). Text is not told, unless there is but one
// question on the bus.
//
// Invariants:
//  1. A question starts no sooner than the silence (and the configured turnaround) after the last byte seen.
//  2. A told question that failed is not asked again for four response timeouts, so that its late reply can't
//     pass for a newer one. The line rests for none of this: other questions, also of the same unit, go on.
//  3. After a failure of a question that is not told the line is kept quiet and drained for another response
//     timeout, and until two have passed since it was asked; then the unit's next reply is not believed, and
//     the line is drained as long again; only the read after that counts.
//  4. After a broken reply the unit's next one is not believed, whatever was asked: where there is noise, an
//     8-bit sum is weak. It is asked again at once.
//  5. An offline unit is asked only its cheapest question, at intervals that double up to a minute; all probes
//     of a bus, and the quiet that they need, take at most 2 % of it.
//  6. What is due longest is asked first: no question starves.
//  7. What a device refuses is asked more and more rarely, but never dropped for good.

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
  package var isTold = false
  package var intervalNs: Int64 = 0
  package var wireNs: Int64 = 0
  package var dueAt = Instant.zero
  /// Not asked before then (invariant 2).
  package var barredUntil = Instant.zero
}

package struct AskUnit: BitwiseCopyable {
  package var state = UnitState.unknown
  package var attempts: UInt8 = 0
  /// The next reply is not to be believed (invariants 3 and 4).
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
  /// From a question's last byte to its reply's first.
  package var latency = Latency()
}

package struct AskMachine: ~Copyable {
  package let silenceNs: Int64
  package let turnaroundNs: Int64
  /// The ceiling for a device's thinking time.
  package let timeoutNs: Int64
  package let retries: Int
  package let askCount: Int
  package let unitCount: Int
  package let asks: UnsafeMutablePointer<AskSlot>
  package let units: UnsafeMutablePointer<AskUnit>

  package internal(set) var isOpen = false
  var reopenAt = Instant.zero
  var reopenNs = Limits.reopenNsMin
  var quietUntil = Instant.zero
  /// Since when something has been coming in unasked.
  var noiseSince = Instant.distantFuture
  package internal(set) var silenceUntil = Instant.zero
  /// The question to be asked again before all others.
  var again: Int?
  /// The unit that failed just now: what else it is asked shows at once whether it is there.
  var failing: Int?
  /// Time that probes of offline units may take; grows with 2 % of all time.
  var probeBudgetNs: Int64 = 0
  var budgetAt = Instant.zero

  static let firstBackoffNs: Int64 = 1_000_000_000

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
    budgetAt = now
    // So that what goes missing soon after the start comes back soon, too.
    probeBudgetNs = 4 * timeoutNs
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
    earn(at: now)
    var chosen = -1
    var due = Instant.distantFuture
    if let again {
      chosen = again
      due = now
    } else if let unit = failing, let retry = unbarred(of: unit, at: now) {
      chosen = retry
      due = now
    } else {
      failing = nil
      for unit in 0..<unitCount { consider(unit, at: now, &chosen, &due) }
    }
    guard chosen >= 0 else { return .wait(until: .distantFuture) }
    if due > now { return .wait(until: due) }
    if silenceUntil > now { return .wait(until: silenceUntil) }
    return .ask(chosen, discard: units[Int(asks[chosen].unit)].isSuspect)
  }

  private func consider(_ unit: Int, at now: Instant, _ chosen: inout Int, _ due: inout Instant) {
    guard units[unit].state == .offline else {
      for index in asks(of: unit) {
        let at = Swift.max(asks[index].dueAt, asks[index].barredUntil)
        guard at < due else { continue }
        due = at
        chosen = index
      }
      return
    }
    guard units[unit].askCount > 0 else { return }
    let probe = unbarred(of: unit, at: now) ?? soonest(of: unit)
    let missingNs = Swift.max(0, probeNs(probe) - probeBudgetNs)
    var at = Swift.max(units[unit].probeAt, asks[probe].barredUntil)
    // 2 % of the time that passes until then.
    if missingNs > 0 { at = Swift.max(at, now + missingNs * 50) }
    guard at < due else { return }
    due = at
    chosen = probe
  }

  package func asks(of unit: Int) -> Range<Int> {
    let first = Int(units[unit].firstAsk)
    return first..<(first + Int(units[unit].askCount))
  }

  /// The unit's cheapest question that may be asked now.
  private func unbarred(of unit: Int, at now: Instant) -> Int? {
    var best = -1
    for index in asks(of: unit) where asks[index].barredUntil <= now {
      if best < 0 || asks[index].wireNs < asks[best].wireNs { best = index }
    }
    return best < 0 ? nil : best
  }

  private func soonest(of unit: Int) -> Int {
    var best = Int(units[unit].firstAsk)
    for index in asks(of: unit) where asks[index].barredUntil < asks[best].barredUntil { best = index }
    return best
  }

  // MARK: Probes

  /// 2 % of the time that passes, saved up for at most ten probes.
  mutating func earn(at now: Instant) {
    probeBudgetNs = Swift.min(probeBudgetNs + (now - budgetAt) / 50, 20 * timeoutNs)
    budgetAt = now
  }

  /// What a probe costs the line if nobody answers.
  private func probeNs(_ ask: Int) -> Int64 {
    let waitNs = timeoutNs(unit: Int(asks[ask].unit))
    return asks[ask].isTold ? waitNs : Swift.max(waitNs + timeoutNs, 2 * timeoutNs)
  }

  /// How long to wait for a reply's first byte.
  package func timeoutNs(unit: Int) -> Int64 {
    let latency = units[unit].latency
    guard latency.isKnown else { return timeoutNs }
    if units[unit].state == .offline { return Swift.min(2 * latency.boundNs, timeoutNs) }
    // After a failure the ceiling: the device may have become slower.
    return units[unit].attempts > 0 ? timeoutNs : Swift.min(latency.boundNs, timeoutNs)
  }

  /// Forgets what was learned of a unit's time.
  package mutating func forget(_ unit: Int) { units[unit].latency = Latency() }
}
