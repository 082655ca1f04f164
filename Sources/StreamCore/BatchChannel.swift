// The way from one bus thread to the store thread: a fixed circle of batches, one producer, one consumer, no lock.
//
// Invariants:
//  1. `written - read` is between 0 and `Limits.batchesPerBus - 1`; the batch at `written` belongs to the producer,
//     those from `read` to `written - 1` to the consumer.
//  2. A batch changes hands only by a releasing store of an index, seen by an acquiring load.

import Synchronization

package struct BatchChannel: @unchecked Sendable {
  // Unchecked: invariant 1 gives every batch exactly one owner; the indices are atomic.

  private let written: UnsafeMutablePointer<Atomic<Int>>
  private let read: UnsafeMutablePointer<Atomic<Int>>
  private let batches: UnsafeMutableRawPointer
  private let bus: Int

  package static let bytes = 128 + Batch.bytes * Limits.batchesPerBus

  /// `memory`: `BatchChannel.bytes` long, aligned to 64; it must outlive both threads.
  package init(memory: UnsafeMutableRawPointer, bus: Int) {
    written = memory.bindMemory(to: Atomic<Int>.self, capacity: 1)
    read = (memory + 64).bindMemory(to: Atomic<Int>.self, capacity: 1)
    batches = memory + 128
    self.bus = bus
    written.initialize(to: Atomic(0))
    read.initialize(to: Atomic(0))
    var index = 0
    while index < Limits.batchesPerBus {
      Batch(memory: batches + index * Batch.bytes).clear(bus: bus)
      index += 1
    }
  }

  private func batch(at index: Int) -> Batch {
    Batch(existing: batches + (index % Limits.batchesPerBus) * Batch.bytes)
  }

  // MARK: Producer

  /// The batch being filled.
  package var filling: Batch { batch(at: written.pointee.load(ordering: .relaxed)) }

  /// Hands the filled batch over and takes a fresh one. False: the store is behind and no batch is free; the filled
  /// one stays with the producer.
  package func handOver() -> Bool {
    let current = written.pointee.load(ordering: .relaxed)
    guard current - read.pointee.load(ordering: .acquiring) < Limits.batchesPerBus - 1 else { return false }
    batch(at: current + 1).clear(bus: bus)
    written.pointee.store(current + 1, ordering: .releasing)
    return true
  }

  // MARK: Consumer

  /// Batches that wait for the consumer. Any thread may ask.
  package var waiting: Int {
    written.pointee.load(ordering: .acquiring) - read.pointee.load(ordering: .relaxed)
  }

  /// The oldest batch handed over; it stays valid until `release()`.
  package func next() -> Batch? {
    let current = read.pointee.load(ordering: .relaxed)
    guard current < written.pointee.load(ordering: .acquiring) else { return nil }
    return batch(at: current)
  }

  /// Gives the batch of `next()` back to the producer.
  package func release() {
    let current = read.pointee.load(ordering: .relaxed)
    precondition(current < written.pointee.load(ordering: .acquiring), "released what was not taken")
    read.pointee.store(current + 1, ordering: .releasing)
  }
}
