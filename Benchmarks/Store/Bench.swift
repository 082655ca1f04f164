// A store at work, without the buses: what hands samples to it, and waits for its answers.

import CLinux
import Glibc
import Store
import StreamCore

func configuration(_ folder: String, telemetryBytes: Int, commitNs: Int64, series: Int) -> StoreConfiguration {
  StoreConfiguration(
    statePath: folder, telemetryBytes: telemetryBytes, alarmBytes: 1 << 20, commitNs: commitNs, catalogue: [1, 2, 3],
    seriesCount: series, alarmNames: ["a/b"], consumers: [CursorOwner(name: "platform")])
}

/// A store with two buses that nobody polls.
/// A store that does not answer for so long is broken.
let patienceNs: Int64 = 600_000_000_000

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
    let answered = Answered<StoreReport>()
    store.report { answered.set($0) }
    return answered.wait(ns: patienceNs) ?? StoreReport()
  }

  /// Until everything is durable.
  func flush() {
    let answered = Answered<Bool>()
    store.flush { _ in answered.set(true) }
    _ = answered.wait(ns: patienceNs)
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
