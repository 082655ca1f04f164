// Ends a check that takes too long: `quick_check` reads the whole file and can only be stopped from another thread. The
// thread that waits for the store to open keeps the time.
//
// Invariant: the handle stands here only while its owner is inside the check, and both sides hold the gate to look: so
// it can't be closed, or be doing anything else, while it is interrupted.

import CLinux
import CSQLite
import StreamCore

final class Interruption: @unchecked Sendable {
  // Unchecked: `handle` and `deadlineNs` are touched with the gate locked only.
  private let gate: OpaquePointer
  private var handle: OpaquePointer?
  private var deadlineNs = Int64.max

  init(gate: OpaquePointer) { self.gate = gate }

  func arm(_ connection: borrowing Connection, budgetNs: Int64) {
    kerb_gate_lock(gate)
    handle = connection.raw
    deadlineNs = kerb_monotonic_ns() + budgetNs
    kerb_gate_signal(gate)
    kerb_gate_unlock(gate)
  }

  func disarm() {
    kerb_gate_lock(gate)
    handle = nil
    deadlineNs = .max
    kerb_gate_unlock(gate)
  }

  /// Called by the waiting thread, gate locked: when to call `strike` at the earliest.
  var nextNs: Int64 { deadlineNs }

  /// Called by the waiting thread, gate locked.
  func strike(now: Int64) {
    guard let handle, now >= deadlineNs else { return }
    sqlite3_interrupt(handle)
    deadlineNs = now + Limits.prefillEveryNs
  }
}

extension Connection {
  /// Looks at the file's structure for at most `budgetNs`. Throws `corrupt` if something is wrong with it; an
  /// interrupted look found nothing so far.
  func quickCheck(_ interruption: Interruption, budgetNs: Int64) throws(StoreFailure) {
    interruption.arm(self, budgetNs: budgetNs)
    defer { interruption.disarm() }
    do throws(StoreFailure) {
      guard try text(of: "PRAGMA quick_check(1)") == "ok" else { throw .corrupt(code: SQLITE_CORRUPT) }
    } catch {
      if case .io(let code) = error, code & 0xFF == SQLITE_INTERRUPT { return }
      throw error
    }
  }
}
