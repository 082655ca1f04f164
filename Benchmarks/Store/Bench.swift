// A store at work, without the buses: what hands samples to it, and waits for its answers.

import CLinux
import Glibc
import Store
import StreamCore

func configuration(_ folder: String, telemetryBytes: Int, commitNs: Int64, series: Int) -> StoreConfiguration {
  StoreConfiguration(
    statePath: folder, telemetryBytes: telemetryBytes, alarmBytes: 1 << 20, commitNs: commitNs, catalogue: [1, 2, 3],
    seriesCount: series, alarmNames: ["a/b"], consumers: ["platform"])
}

/// A store with two buses that nobody polls.
final class Bench {
  let store: StoreThread
  let channels: [BatchChannel]
  private let memory: UnsafeMutableRawPointer

  init(_ configuration: StoreConfiguration) throws {
    memory = .allocate(byteCount: 2 * BatchChannel.bytes, alignment: 64)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: 2 * BatchChannel.bytes)
    channels = [BatchChannel(memory: memory, bus: 0), BatchChannel(memory: memory + BatchChannel.bytes, bus: 1)]
    store = StoreThread(configuration: configuration, channels: channels, onDurable: { _ in })
    _ = try store.start()
  }

  deinit {
    store.stop()
    memory.deallocate()
  }

  func report() -> StoreReport {
    let answer = Answer()
    store.report { answer.set($0) }
    return answer.wait()
  }

  /// Until everything is durable.
  func flush() {
    let answer = Answer()
    store.flush { _ in answer.set(StoreReport()) }
    _ = answer.wait()
  }

  /// All of them seen at once by the store.
  func hand(_ samples: some Sequence<Sample>, of sources: some Sequence<UInt8>) {
    kerb_gate_lock(store.wake)
    for (sample, source) in zip(samples, sources) {
      let channel = channels[Int(source)]
      guard !channel.filling.append(sample) else { continue }
      precondition(channel.handOver())
      _ = channel.filling.append(sample)
    }
    for channel in channels { _ = channel.handOver() }
    kerb_gate_signal(store.wake)
    kerb_gate_unlock(store.wake)
  }
}

final class Answer: @unchecked Sendable {
  // Unchecked: the gate guards the report.
  private let gate: OpaquePointer = kerb_gate_new()
  private var report: StoreReport?
  deinit { kerb_gate_free(gate) }
  func set(_ report: StoreReport) {
    kerb_gate_lock(gate)
    self.report = report
    kerb_gate_signal(gate)
    kerb_gate_unlock(gate)
  }
  func wait() -> StoreReport {
    kerb_gate_lock(gate)
    defer { kerb_gate_unlock(gate) }
    while report == nil { _ = kerb_gate_wait_until(gate, kerb_monotonic_ns() + 1_000_000_000) }
    return report ?? StoreReport()
  }
}
