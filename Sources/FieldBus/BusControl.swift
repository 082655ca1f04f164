// What other threads may ask of a bus's thread, and how that thread waits until there is something to do: for
// its deadline, for a command, for bytes on a line that is listened to. Nothing is polled: with nothing due the
// thread does not wake.
//
// Invariants:
//  1. No call is missed: what is asked or posted is looked at under the gate before a wait begins, and a
//     wait that is no longer under the gate has announced that the bell must be rung.
//  2. The pulse is either a moment that is past, when the thread moved last, or the moment until which it
//     waits. So a thread is stuck if its pulse is long past, whether it hangs at work or has slept through its
//     own deadline.

import CLinux
import StreamCore
import Synchronization

package final class BusControl: @unchecked Sendable {
  // Unchecked: the gate is a C mutex and condition, everything else is atomic.
  let inbox: Inbox
  private let counters: Counters<BusCounter>
  private let asked = Atomic<Int>(Order.run.rawValue)
  private let paused = Atomic<Bool>(false)
  /// The store's gate: signalled when a batch was handed over.
  private let storeGate: OpaquePointer

  enum Order: Int { case run, pause, stop }

  package init(board: BusBoard, storeGate: OpaquePointer) {
    inbox = board.inbox
    counters = board.bus
    self.storeGate = storeGate
    moved()
  }

  package func stop() { ask(.stop) }
  /// The bus hands over what it has and rests, until `resume()`.
  package func pause() { ask(.pause) }
  package func resume() { ask(.run) }
  package var isPaused: Bool { paused.load(ordering: .acquiring) }

  private func ask(_ what: Order) {
    kerb_gate_lock(inbox.gate)
    if order != .stop { asked.store(what.rawValue, ordering: .relaxed) }
    inbox.wake()
    kerb_gate_unlock(inbox.gate)
  }

  // MARK: Bus thread only

  var order: Order { Order(rawValue: asked.load(ordering: .relaxed)) ?? .run }

  func setPaused(_ value: Bool) { paused.store(value, ordering: .releasing) }

  /// At the begin of every turn.
  func moved() { counters.set(.pulse, kerb_monotonic_ns()) }

  /// Waits until the deadline, or until somebody asks something. `order`: what the thread has acted on.
  /// `posts`: how many commands were seen so far; a new one ends the wait, one that waits for its turn does
  /// not. `descriptor`: bytes on it end the wait, too; -1: none.
  func wait(until deadline: Instant, order: Order, posts: Int64, listeningOn descriptor: Int32) {
    counters.set(.pulse, deadline.nanoseconds)
    kerb_gate_lock(inbox.gate)
    defer { kerb_gate_unlock(inbox.gate) }
    while self.order == order, inbox.posts == posts {
      if descriptor >= 0 {
        inbox.waitForBell(or: descriptor, until: deadline)
        return
      }
      if kerb_gate_wait_until(inbox.gate, deadline.nanoseconds) == 0 { return }
      // Woken, by somebody or by nothing: the loop's condition tells.
      if kerb_monotonic_ns() >= deadline.nanoseconds { return }
    }
  }

  func wakeStore() {
    kerb_gate_lock(storeGate)
    kerb_gate_signal(storeGate)
    kerb_gate_unlock(storeGate)
  }
}
