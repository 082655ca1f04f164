// The alarms of the box itself: buffer, storage, clock, certificate, key, flood. Looked at by the main
// thread once a second, ordered about by any; the store logs what happens to them.
//
// Invariants:
//  1. A change is taken only while there is room to keep its event until the store has it: none is lost,
//     none comes twice.
//  2. What cannot be known neither raises nor ends.

import CLinux
import FieldBus
import Store
import StreamCore
import Synchronization

/// What is the matter with the box. `unknown`: it can't be told.
package struct HouseFacts: Sendable {
  package var truths: [BuiltInAlarm: Truth] = [:]
  package init() {}

  package subscript(alarm: BuiltInAlarm) -> Truth {
    get { truths[alarm] ?? .unknown }
    set { truths[alarm] = newValue }
  }
}

package final class HouseAlarms: Sendable {
  fileprivate struct Entry {
    var alarm: BuiltInAlarm?
    var rule: AlarmRule
    var machine: AlarmMachine
  }

  fileprivate struct State {
    var entries: [Entry]
    /// Not yet with the store.
    var waiting: [NewEvent] = []
    var isLogging = false
    var produced: Int64 = 0
  }

  private let first: Int
  private let state: Mutex<State>
  /// Every alarm may change, be ordered about and be reminded of while the store is busy; beyond it changes wait.
  private static let waitingMax = 4 * BuiltInAlarm.allCases.count

  /// `first`: number of the first in the catalogue. `left`: as they were at the last stop, on the present clock.
  package init(_ specs: [AlarmSpec], first: Int, left: [AlarmEvent?], at now: Instant) {
    self.first = first
    let entries = specs.enumerated().map { index, spec in
      let rule = AlarmRule(spec)
      let event = first + index < left.count ? left[first + index] : nil
      return Entry(
        alarm: BuiltInAlarm(rawValue: spec.name), rule: rule,
        machine: event.map { AlarmMachine($0, rule: rule, at: now) } ?? AlarmMachine())
    }
    state = Mutex(State(entries: entries))
  }

  package func owns(_ alarm: Int) -> Bool { state.withLock { (first..<(first + $0.entries.count)).contains(alarm) } }

  /// Events since the start.
  package var produced: Int64 { state.withLock { $0.produced } }

  /// Takes what is due.
  package func look(_ facts: HouseFacts, at now: Instant) {
    state.withLock { state in
      for index in state.entries.indices where state.waiting.count < Self.waitingMax {
        let entry = state.entries[index]
        let when = entry.alarm.map { facts[$0] } ?? .unknown
        let clear: Truth = when == .unknown ? .unknown : when == .yes ? .no : .yes
        let change = state.entries[index].machine.observe(
          when: when, clear: clear, isSuppressed: false, rule: entry.rule, at: now)
        if let change { state.take(change, index, first: first, by: [], note: [], until: .distantFuture, at: now) }
      }
    }
  }

  /// `alarm` is one of these.
  package func order(_ request: AlarmRequest, alarm: Int, at now: Instant) -> Pipeline.OrderOutcome {
    state.withLock { state in
      let index = alarm - first
      let verdict = state.entries[index].machine.judge(request.order, serial: request.serial)
      guard case .change(let change) = verdict else { return .judged(verdict) }
      guard state.waiting.count < Self.waitingMax else { return .noRoom }
      state.take(
        change, index, first: first, by: request.by, note: request.note, until: request.until, at: now)
      return .judged(verdict)
    }
  }

  /// Gives the store what it does not have yet. One hand-over at a time: the order stays.
  package func handOver(to store: any BatchSource) {
    let events = state.withLock { state -> [NewEvent] in
      if state.isLogging { return [] }
      state.isLogging = !state.waiting.isEmpty
      return state.waiting
    }
    if events.isEmpty { return }
    store.log(events) { isTaken in
      self.state.withLock { state in
        state.isLogging = false
        if isTaken { state.waiting.removeFirst(events.count) }
      }
    }
  }
}

extension HouseAlarms.State {
  fileprivate mutating func take(
    _ change: AlarmChange, _ index: Int, first: Int, by: [UInt8], note: [UInt8], until: Instant, at now: Instant
  ) {
    let event = entries[index].machine.take(
      change, alarm: UInt16(first + index), rule: entries[index].rule, until: until, at: now)
    waiting.append(NewEvent(event: event, by: by, note: note))
    produced += 1
  }
}
