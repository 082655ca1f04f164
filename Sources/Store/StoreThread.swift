// The thread that owns the store. Everything that touches a file of it runs here; all others hand over batches or leave
// a request.
//
//   idle --start()--> opening --> running --stop()--> stopping --> ended
//
// Invariants:
//  1. The `Buffer` is made, used and dropped by this thread alone; its handles trap for any other.
//  2. `phase`, `requests` and `outcome` are touched with the gate locked.
//  3. A batch handed over before the gate was signalled is seen: the thread looks once more before it sleeps.

import CLinux
import Glibc
import StreamCore
import Synchronization

package final class StoreThread: @unchecked Sendable {
  // Unchecked: what changes after init is behind the gate (invariant 2) or atomic; the handles trap for strangers.

  private enum Phase { case idle, opening, running, stopping, ended }

  private let configuration: StoreConfiguration
  private let channels: [BatchChannel]
  private let numbers: [FeedNumbers?]
  private let onDurable: @Sendable (Position) -> Void
  private let door: StoreGate
  private var gate: OpaquePointer { door.pointer }
  private let interruption: Interruption
  private let heart = Atomic<Int64>(0)
  private var phase = Phase.idle
  private var requests: [(Buffer) -> Void] = []
  private var outcome: Result<StoreOpening, StoreFailure>?
  private var thread = pthread_t()
  private var last: StoreReport?

  /// Opens nothing yet. `numbers`: by channel; nil: those in force. `gate`: what buses signal; it outlives this store
  /// if a bus does. `onDurable` is called on the store thread after every commit that brought something.
  package init(
    configuration: StoreConfiguration, channels: [BatchChannel], numbers: [FeedNumbers?] = [],
    gate: StoreGate = StoreGate(), onDurable: @escaping @Sendable (Position) -> Void
  ) {
    self.configuration = configuration
    self.channels = channels
    self.numbers = numbers
    self.onDurable = onDurable
    door = gate
    interruption = Interruption(gate: gate.pointer)
  }

  deinit {
    precondition(phase == .idle || phase == .ended, "a running store was let go; call stop() first")
  }

  /// What a bus signals after a hand-over, locked. Valid as long as this object, or whoever else has the gate.
  package var wake: OpaquePointer { gate }

  /// When the thread moved last, on the monotonic clock: at least every second while it is alive.
  package var heartbeat: Int64 { heart.load(ordering: .relaxed) }

  // MARK: Start and stop

  /// Returns when the store is open and its new epoch durable. After a failure it can be tried again.
  package func start() throws(StoreFailure) -> StoreOpening {
    kerb_gate_lock(gate)
    precondition(phase == .idle, "a store is started once")
    phase = .opening
    outcome = nil
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setstacksize(&attributes, Limits.storeStackBytes)
    let code = pthread_create(&thread, &attributes, storeThreadMain, Unmanaged.passRetained(self).toOpaque())
    pthread_attr_destroy(&attributes)
    guard code == 0 else {
      Unmanaged.passUnretained(self).release()
      phase = .idle
      kerb_gate_unlock(gate)
      throw .unusable(path: configuration.statePath, code: -code)
    }
    while outcome == nil {
      _ = kerb_gate_wait_until(gate, interruption.nextNs)
      interruption.strike(now: kerb_monotonic_ns())
    }
    let result = outcome
    kerb_gate_unlock(gate)
    guard case .success(let opening) = result else {
      pthread_join(thread, nil)
      kerb_gate_lock(gate)
      phase = .idle
      kerb_gate_unlock(gate)
      if case .failure(let failure) = result { throw failure }
      throw .closed
    }
    return opening
  }

  /// Call when the buses have stopped: takes over what they left, commits everything, closes, and waits for that.
  package func stop() {
    kerb_gate_lock(gate)
    guard phase == .running else {
      kerb_gate_unlock(gate)
      return
    }
    phase = .stopping
    kerb_gate_signal(gate)
    kerb_gate_unlock(gate)
    pthread_join(thread, nil)
  }

  /// After `stop()`: how it ended. Nil: it never ran.
  package var reportAtEnd: StoreReport? {
    kerb_gate_lock(gate)
    defer { kerb_gate_unlock(gate) }
    return last
  }

  fileprivate func run() {
    kerb_thread_name("kerb-store")
    kerb_block_signals()
    let buffer: Buffer
    do throws(StoreFailure) {
      buffer = try Buffer(
        configuration: configuration, channels: channels, numbers: numbers, interruption: interruption)
      conclude(.success(try buffer.opening))
    } catch {
      conclude(.failure(error))
      return
    }
    serve(buffer)
    let report = buffer.report()
    kerb_gate_lock(gate)
    last = report
    phase = .ended
    kerb_gate_unlock(gate)
  }

  private func conclude(_ result: Result<StoreOpening, StoreFailure>) {
    heart.store(kerb_monotonic_ns(), ordering: .relaxed)
    kerb_gate_lock(gate)
    outcome = result
    if case .success = result { phase = .running }
    kerb_gate_signal(gate)
    kerb_gate_unlock(gate)
  }

  // MARK: The loop

  private func serve(_ buffer: Buffer) {
    var told = buffer.durable
    while true {
      heart.store(kerb_monotonic_ns(), ordering: .relaxed)
      kerb_gate_lock(gate)
      let waiting = requests
      requests.removeAll(keepingCapacity: true)
      let isLast = phase == .stopping
      kerb_gate_unlock(gate)

      if isLast {
        // What was acknowledged just before the stop goes into the last commit.
        for request in waiting { request(buffer) }
        buffer.close()
      } else {
        buffer.drain()
        buffer.commit(all: false)
        for request in waiting { request(buffer) }
      }
      buffer.copyOn()
      _ = buffer.keepInPlace()
      if buffer.durable != told {
        told = buffer.durable
        onDurable(told)
      }
      if isLast {
        buffer.backup?.fail(.closed)
        return
      }
      if waiting.isEmpty { buffer.prepare() }
      sleep(until: buffer.nextNs, isBlocked: buffer.isBlocked)
    }
  }

  private func sleep(until dueNs: Int64, isBlocked: Bool) {
    let deadline = min(dueNs, kerb_monotonic_ns() + Limits.storeWaitNs)
    kerb_gate_lock(gate)
    defer { kerb_gate_unlock(gate) }
    guard requests.isEmpty, phase == .running else { return }
    // Batches that found no room wait for the disk, not for this thread.
    guard isBlocked || !channels.contains(where: { $0.waiting > 0 }) else { return }
    _ = kerb_gate_wait_until(gate, deadline)
  }

  // MARK: Requests. Completions are called on the store thread; when it doesn't run, at once on the caller's.

  private func ask(_ request: @escaping (Buffer) -> Void, else refuse: (StoreFailure) -> Void) {
    kerb_gate_lock(gate)
    guard phase == .running else {
      kerb_gate_unlock(gate)
      return refuse(.closed)
    }
    guard requests.count < Limits.storeRequestsMax else {
      kerb_gate_unlock(gate)
      return refuse(.busy)
    }
    requests.append(request)
    kerb_gate_signal(gate)
    kerb_gate_unlock(gate)
  }

  package func read(
    _ request: ReadRequest, for consumer: String?,
    _ completion: @escaping @Sendable (Result<ReadAnswer, StoreFailure>) -> Void
  ) {
    ask({ completion($0.read(request, for: consumer)) }, else: { completion(.failure($0)) })
  }

  /// Monotone; a position past what is durable counts as the durable one; an unknown consumer's is ignored. A refused
  /// one (`busy`, `closed`) is as if it had been lost on the way: the consumer gets the same again.
  package func acknowledge(_ position: Position, by consumer: String, at: Instant) {
    ask({ $0.acknowledge(position, by: consumer, at: at) }, else: { _ in })
  }

  /// These may pull from now on. Who goes keeps its cursor for when it comes back. Calls with what went wrong, or nil.
  package func serve(_ consumers: [CursorOwner], _ completion: @escaping @Sendable (StoreFailure?) -> Void) {
    ask(
      { buffer in
        do throws(StoreFailure) {
          try buffer.serve(consumers)
          completion(nil)
        } catch { completion(error) }
      }, else: { completion($0) })
  }

  /// Nil: no such consumer, or the store doesn't run.
  package func position(of consumer: String, _ completion: @escaping @Sendable (Position?) -> Void) {
    ask({ completion($0.cursors[consumer]?.held) }, else: { _ in completion(nil) })
  }

  /// Nil: nothing stored refers to that version any more, or it is damaged.
  package func catalogue(version: UInt32, _ completion: @escaping @Sendable ([UInt8]?) -> Void) {
    ask({ completion($0.catalogue(version)) }, else: { _ in completion(nil) })
  }

  package func alarms(_ completion: @escaping @Sendable ([StoredAlarm]) -> Void) {
    ask({ completion($0.alarms()) }, else: { _ in completion([]) })
  }

  /// Takes over events that no bus made and commits them, all or none. False: not now.
  package func log(_ events: [NewEvent], _ completion: @escaping @Sendable (Bool) -> Void) {
    ask({ completion($0.log(events)) }, else: { _ in completion(false) })
  }

  /// Wall time of epochs, for what does not come with `read`. Empty: the store doesn't run, or can't be read.
  package func clocks(of epochs: [UInt32], _ completion: @escaping @Sendable ([EpochClock]) -> Void) {
    ask({ completion($0.clocks(of: epochs)) }, else: { _ in completion([]) })
  }

  package func report(_ completion: @escaping @Sendable (StoreReport) -> Void) {
    ask({ completion($0.report()) }, else: { _ in completion(StoreReport()) })
  }

  /// One step of a look at everything; see `VerifyAnswer`.
  package func verify(
    from: Int64?, _ completion: @escaping @Sendable (Result<VerifyAnswer, StoreFailure>) -> Void
  ) {
    ask({ completion($0.verify(from: from)) }, else: { completion(.failure($0)) })
  }

  /// Copies both files into `folder`, which exists and is empty, while the store works on. The answer: bytes.
  package func backUp(
    to folder: String, _ completion: @escaping @Sendable (Result<Int64, StoreFailure>) -> Void
  ) {
    ask(
      { buffer in
        guard buffer.backup == nil else { return completion(.failure(.busy)) }
        buffer.backup = BackupTask(folder: folder, completion: completion)
      }, else: { completion(.failure($0)) })
  }

  /// Unix time = monotonic time + offset. Corrects everything stored in this epoch, and dates earlier epochs of the
  /// same boot that never knew.
  package func clockKnown(offsetNs: Int64) {
    ask({ $0.clockKnown(offsetNs) }, else: { _ in })
  }

  /// Takes over and commits everything now. The answer: what is durable then; or why something still waits.
  package func flush(_ completion: @escaping @Sendable (Result<Position, StoreFailure>) -> Void) {
    ask(
      { buffer in
        buffer.finish()
        if buffer.intake.isEmpty {
          completion(.success(buffer.durable))
        } else {
          completion(.failure(buffer.unavailable))
        }
      }, else: { completion(.failure($0)) })
  }
}

/// A lock and a condition: the buses signal it, the store waits at it. Of its own, because a bus may outlive a store.
package final class StoreGate: @unchecked Sendable {
  // Unchecked: the pointer never changes, and what it points to is made for threads.
  package let pointer: OpaquePointer

  package init() {
    guard let pointer = kerb_gate_new() else { preconditionFailure("no memory at start") }
    self.pointer = pointer
  }

  deinit { kerb_gate_free(pointer) }
}

private func storeThreadMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  guard let context else { return nil }
  Unmanaged<StoreThread>.fromOpaque(context).takeRetainedValue().run()
  return nil
}
