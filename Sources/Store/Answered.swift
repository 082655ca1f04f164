// One answer of the store's thread, waited for by another thread. The first one counts.

import CLinux

package final class Answered<Value: Sendable>: @unchecked Sendable {
  // Unchecked: the gate guards the value.
  private let gate: OpaquePointer = kerb_gate_new()
  private var value: Value?

  package init() {}

  deinit { kerb_gate_free(gate) }

  package func set(_ value: Value) {
    kerb_gate_lock(gate)
    if self.value == nil { self.value = value }
    kerb_gate_signal(gate)
    kerb_gate_unlock(gate)
  }

  /// Nil: it did not come in time.
  package func wait(ns span: Int64) -> Value? {
    kerb_gate_lock(gate)
    defer { kerb_gate_unlock(gate) }
    let deadline = kerb_monotonic_ns() + span
    while value == nil {
      if kerb_gate_wait_until(gate, deadline) == 0 { break }
    }
    return value
  }
}
