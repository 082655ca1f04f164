// The only loop that blocks on a line: one POSIX thread a bus, its stack sized, its waits on the monotonic clock.
// Pause and stop come in through `BusControl`, commands through the bus's inbox; both are seen between two
// transactions.

import CLinux
import Glibc
import StreamCore
import Synchronization

/// What other threads may ask of a bus's thread.
package final class BusControl: @unchecked Sendable {
  // Unchecked: the gate is a C mutex and condition, everything else is atomic.
  let inbox: Inbox
  /// The inbox's: what is posted there wakes the thread, too.
  private var gate: OpaquePointer { inbox.gate }
  private let asked = Atomic<Int>(BusControl.run)
  private let paused = Atomic<Bool>(false)
  /// The store's gate: signalled when a batch was handed over.
  private let storeGate: OpaquePointer

  private static let run = 0
  private static let pause = 1
  private static let stop = 2

  package init(inbox: Inbox, storeGate: OpaquePointer) {
    self.inbox = inbox
    self.storeGate = storeGate
  }

  package func stop() { ask(Self.stop) }
  /// The bus hands over what it has and rests, until `resume()`.
  package func pause() { ask(Self.pause) }
  package func resume() { ask(Self.run) }
  package var isPaused: Bool { paused.load(ordering: .acquiring) }

  private func ask(_ what: Int) {
    kerb_gate_lock(gate)
    if asked.load(ordering: .relaxed) != Self.stop { asked.store(what, ordering: .relaxed) }
    kerb_gate_signal(gate)
    kerb_gate_unlock(gate)
  }

  // MARK: Bus thread only

  var isStopping: Bool { asked.load(ordering: .relaxed) == Self.stop }
  var shouldPause: Bool { asked.load(ordering: .relaxed) == Self.pause }

  func setPaused(_ value: Bool) { paused.store(value, ordering: .releasing) }

  /// Waits until the deadline or until somebody asks something. `posts`: how many commands were seen so far; a
  /// new one ends the wait, one that waits for its turn does not.
  func wait(until deadline: Instant, posts: Int64) {
    let seen = asked.load(ordering: .relaxed)
    kerb_gate_lock(gate)
    while asked.load(ordering: .relaxed) == seen, seen != Self.stop, inbox.posts == posts {
      if kerb_gate_wait_until(gate, deadline.nanoseconds) == 0 { break }
      // Woken, by somebody or by nothing: the loop's condition tells.
      if kerb_monotonic_ns() >= deadline.nanoseconds { break }
    }
    kerb_gate_unlock(gate)
  }

  func wakeStore() {
    kerb_gate_lock(storeGate)
    kerb_gate_signal(storeGate)
    kerb_gate_unlock(storeGate)
  }
}

package final class BusThread: @unchecked Sendable {
  // Unchecked: the handle is written before `start` returns and used by the one who joins.
  private var handle = pthread_t()
  private var body: (@Sendable () -> Void)?
  private let name: String

  /// Deep enough for libmodbus's select and the decoder; a tenth of the default.
  package static let stackBytes = 256 << 10
  /// With nothing to do, a turn a second keeps the watchdog's heartbeat moving.
  private static let idleNs: Int64 = 1_000_000_000

  package init(name: String) { self.name = name }

  /// Runs the loop that `make` builds, on the new thread, until it is told to stop.
  package func start<Loop: BusWork & ~Copyable>(
    control: BusControl, make: @escaping @Sendable () -> Loop
  ) {
    let name = self.name
    body = {
      kerb_block_signals()
      kerb_thread_name(name)
      var loop = make()
      BusThread.run(&loop, control)
    }
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setstacksize(&attributes, Self.stackBytes)
    let failure = pthread_create(
      &handle, &attributes,
      { context in
        guard let context else { return nil }
        let thread = Unmanaged<BusThread>.fromOpaque(context).takeRetainedValue()
        thread.body?()
        return nil
      }, Unmanaged.passRetained(self).toOpaque())
    pthread_attr_destroy(&attributes)
    precondition(failure == 0, "no thread to be had")
  }

  package func join() { pthread_join(handle, nil) }

  private static func run<Loop: BusWork & ~Copyable>(_ loop: inout Loop, _ control: BusControl) {
    loop.start()
    control.inbox.open()
    while !control.isStopping {
      let posts = control.inbox.posts
      if control.shouldPause {
        control.inbox.failAll(.notServed)
        loop.handOver()
        control.wakeStore()
        control.setPaused(true)
        control.wait(until: Instant(nanoseconds: kerb_monotonic_ns()) + idleNs, posts: posts)
        loop.rest()
        continue
      }
      control.setPaused(false)
      let until = loop.step()
      if loop.takeHandedOver() { control.wakeStore() }
      let now = Instant(nanoseconds: kerb_monotonic_ns())
      if until > now { control.wait(until: Swift.min(until, now + idleNs), posts: posts) }
    }
    control.inbox.close()
    loop.stop()
    control.wakeStore()
  }
}

/// What a bus's thread turns: Modbus polls, or listens to lines of text.
package protocol BusWork: ~Copyable, SendableMetatype {
  mutating func start()
  mutating func step() -> Instant
  mutating func handOver()
  mutating func takeHandedOver() -> Bool
  /// A turn while paused: only the heartbeat.
  mutating func rest()
  mutating func stop()
}

extension BusLoop: BusWork where Line: ~Copyable {}
