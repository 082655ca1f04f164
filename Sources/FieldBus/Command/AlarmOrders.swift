// What people and platforms do to the alarms of a bus: acknowledge, shelve, take out of service. Any
// thread gives an order and waits; the bus's thread, which owns the alarms, carries it out at its next
// turn. The line is not needed for it.
//
//   free ──give──▶ posted ──serve──▶ answered ──fetched──▶ free
//                    └──deadline, end of service──▶ free
//
// Invariants:
//  1. A slot changes hands under the inbox's gate only.
//  2. The bus's thread allocates nothing here, and takes the gate only if something was posted.
//  3. An order whose giver has gone is not carried out.

import CLinux
import StreamCore
import Synchronization

/// One order for one alarm.
package struct AlarmRequest: Sendable {
  package var order: AlarmOrder
  /// Of the state that is meant; nil: whatever it is now.
  package var serial: UInt32?
  /// Of a shelving: its end.
  package var until = Instant.distantFuture
  /// UTF-8, as long as the limits allow at most.
  package var by: [UInt8]
  package var note: [UInt8]

  package init(_ order: AlarmOrder, serial: UInt32? = nil, by: String = "", note: String = "") {
    self.order = order
    self.serial = serial
    self.by = Array(by.utf8.prefix(Limits.nameBytesMax))
    self.note = Array(note.utf8.prefix(Limits.noteBytesMax))
  }
}

package struct AlarmOrders: @unchecked Sendable {
  // Unchecked: the slots are touched with the gate locked, the count is atomic.

  private enum State: UInt8 { case free, posted, answered }

  private struct Slot: BitwiseCopyable {
    var state = State.free
    var order = AlarmOrder.acknowledge
    var hasSerial = false
    var wasNoRoom = false
    var byCount: UInt8 = 0
    var noteCount: UInt8 = 0
    var alarm: UInt16 = 0
    var serial: UInt32 = 0
    var until = Instant.distantFuture
    var verdict = AlarmVerdict.already
    var failed = false
  }

  private let slots: UnsafeMutablePointer<Slot>
  private let bytes: UnsafeMutablePointer<UInt8>
  private let posted: UnsafeMutablePointer<Atomic<Int>>

  private static let textBytes = Limits.nameBytesMax + Limits.noteBytesMax

  static var memoryBytes: Int {
    Arena.bytes(of: Slot.self, count: Limits.commandsPerBusMax)
      + Arena.bytes(of: UInt8.self, count: Limits.commandsPerBusMax * textBytes) + Arena.alignment
  }

  init(arena: inout Arena) {
    slots = arena.take(Slot.self, count: Limits.commandsPerBusMax, first: Slot())
    bytes = arena.take(UInt8.self, count: Limits.commandsPerBusMax * Self.textBytes, first: 0)
    posted = arena.takeBytes(MemoryLayout<Int>.stride).bindMemory(to: Atomic<Int>.self, capacity: 1)
    posted.initialize(to: Atomic(0))
  }

  // MARK: Who gives orders. With the gate locked.

  /// Nil: too many wait already.
  func post(_ request: AlarmRequest, alarm: Int) -> Int? {
    var free = 0
    while free < Limits.commandsPerBusMax, slots[free].state != .free { free += 1 }
    guard free < Limits.commandsPerBusMax else { return nil }
    var slot = Slot()
    slot.state = .posted
    slot.order = request.order
    slot.alarm = UInt16(alarm)
    slot.hasSerial = request.serial != nil
    slot.serial = request.serial ?? 0
    slot.until = request.until
    let by = request.by.prefix(Limits.nameBytesMax)
    let note = request.note.prefix(Limits.noteBytesMax)
    slot.byCount = UInt8(by.count)
    slot.noteCount = UInt8(note.count)
    let texts = bytes + free * Self.textBytes
    for (place, byte) in by.enumerated() { texts[place] = byte }
    for (place, byte) in note.enumerated() { texts[by.count + place] = byte }
    slots[free] = slot
    posted.pointee.add(1, ordering: .releasing)
    return free
  }

  func isAnswered(_ index: Int) -> Bool { slots[index].state == .answered }

  /// Nil: it was not carried out, and never will be.
  func fetch(_ index: Int) -> Pipeline.OrderOutcome? {
    defer { slots[index].state = .free }
    if slots[index].state == .posted {
      posted.pointee.subtract(1, ordering: .releasing)
      return nil
    }
    if slots[index].failed { return nil }
    return slots[index].wasNoRoom ? .noRoom : .judged(slots[index].verdict)
  }

  /// All that waits now will not be carried out.
  func failAll() {
    for index in 0..<Limits.commandsPerBusMax where slots[index].state == .posted {
      slots[index].failed = true
      slots[index].state = .answered
      posted.pointee.subtract(1, ordering: .releasing)
    }
  }

  // MARK: Bus thread only

  var isEmpty: Bool { posted.pointee.load(ordering: .acquiring) == 0 }

  /// With the gate locked.
  func carryOut(_ pipeline: inout Pipeline, at now: Instant) {
    for index in 0..<Limits.commandsPerBusMax where slots[index].state == .posted {
      let slot = slots[index]
      let texts = UnsafePointer(bytes + index * Self.textBytes)
      let outcome = pipeline.order(
        slot.order, alarm: Int(slot.alarm), serial: slot.hasSerial ? slot.serial : nil, until: slot.until,
        by: UnsafeBufferPointer(start: texts, count: Int(slot.byCount)),
        note: UnsafeBufferPointer(start: texts + Int(slot.byCount), count: Int(slot.noteCount)), at: now)
      switch outcome {
      case .judged(let verdict): slots[index].verdict = verdict
      case .noRoom: slots[index].wasNoRoom = true
      }
      slots[index].state = .answered
      posted.pointee.subtract(1, ordering: .releasing)
    }
  }
}

extension Inbox {
  /// Posts, wakes the bus's thread, and waits. `alarm`: its number on the bus.
  package func order(
    _ request: AlarmRequest, alarm: Int, until deadline: Instant
  ) throws(LineFailure) -> Pipeline.OrderOutcome {
    kerb_gate_lock(gate)
    defer { kerb_gate_unlock(gate) }
    guard isServed else { throw .notServed }
    guard let index = alarms.post(request, alarm: alarm) else { throw .busy }
    wakeForPost()
    while !alarms.isAnswered(index) {
      if kerb_gate_wait_until(gate, deadline.nanoseconds) == 0 { break }
    }
    guard let outcome = alarms.fetch(index) else { throw isServed ? .tooLate : .notServed }
    return outcome
  }

  /// Bus thread only.
  func serveAlarms(_ pipeline: inout Pipeline, at now: Instant) {
    guard !alarms.isEmpty else { return }
    kerb_gate_lock(gate)
    alarms.carryOut(&pipeline, at: now)
    kerb_gate_signal(gate)
    kerb_gate_unlock(gate)
  }
}
