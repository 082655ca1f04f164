// Many lines at once: the agent's bus threads as they are, and as many threads of a loop in C on libmodbus that
// reads the same requests at the same interval. The processor time of these threads alone counts: the virtual
// lines at the other ends take theirs too, which real ones do not.

import CLinux
import CLoop
import FieldBus
import Glibc
import StreamCore
import VirtualSite

/// At nine tenths of what the lines carry; where this machine can't, at the most that it can, by halves.
@MainActor func measureTogether(lines: Int, baud: Int) throws {
  var load = 0.9
  while load > 0.05 {
    if try measureTogether(lines: lines, baud: baud, load: load) { return }
    load /= 2
  }
}

/// True: every interval was kept, and by the loop in C, too.
@MainActor private func measureTogether(lines: Int, baud: Int, load: Double) throws -> Bool {
  let format = LineFormat(baud: baud)
  let cycleNs = Bench(lines: 1, format: format).plan(0).cycleNs
  let everyNs = Int64(Double(cycleNs) / load)
  let bench = Bench(lines: lines, format: format, everyNs: everyNs)
  let requests = bench.plan(0).requests.count
  let site = try bench.site()
  try site.start()
  defer { site.stop() }
  let rounds = max(2, Int64(seconds) * 1_000_000_000 / everyNs)
  let agent = agentTogether(bench, everyNs: everyNs, rounds: rounds)
  let library = libraryTogether(bench, everyNs: everyNs, rounds: rounds)
  let again = agentTogether(bench, everyNs: everyNs, rounds: rounds)
  let wanted = rounds * Int64(requests * lines)
  let cpuUs = min(agent.cpuUs, again.cpuUs)
  // A phase that falls just outside at either end is no interval missed.
  let isKept = [agent, again].allSatisfy { $0.worstStretch < 1.5 && $0.failed == 0 && $0.done >= wanted * 99 / 100 }
  show([
    ("lines", lines), ("baud", baud), ("load", load), ("every_ms", rounded(Double(everyNs) / 1e6)),
    ("transactions_wanted", wanted), ("agent", agent.done), ("libmodbus", library.done), ("failed", agent.failed),
    ("worst_stretch", rounded(agent.worstStretch)), ("agent_cpu_us", rounded(cpuUs)),
    ("libmodbus_cpu_us", rounded(library.cpuUs)), ("cpu_ratio", rounded(cpuUs / library.cpuUs)),
    ("machine_busy", rounded(agent.busy)), ("agent_share_of_a_core", rounded(agent.share)),
    ("kept", isKept),
  ])
  return isKept && library.done >= wanted * 99 / 100
}

private struct Together {
  var done: Int64 = 0
  var failed: Int64 = 0
  var cpuUs = 0.0
  /// Processor time of all these threads ÷ wall time.
  var share = 0.0
  /// How much longer than its interval a request had to wait.
  var worstStretch = 1.0
  /// Of all processors, by the kernel's own count.
  var busy = 0.0
}

@MainActor private func agentTogether(_ bench: Bench, everyNs: Int64, rounds: Int64) -> Together {
  let field = Field(buses: bench.buses, devices: bench.devices)
  let store: OpaquePointer = kerb_gate_new()
  defer { kerb_gate_free(store) }
  field.start(storeGate: store, pseudonymKey: [UInt8](repeating: 1, count: 32), alarmsLeft: [])
  defer { field.stop() }
  func wait(until end: Int64, _ look: () -> Void) {
    while kerb_monotonic_ns() < end {
      // What the store does, without its disk: take the batches away.
      kerb_gate_lock(store)
      _ = kerb_gate_wait_until(store, min(end, kerb_monotonic_ns() + 100_000_000))
      kerb_gate_unlock(store)
      for channel in field.channels { while channel.next() != nil { channel.release() } }
      look()
    }
  }
  // The lines open, and the first rounds spread.
  wait(until: kerb_monotonic_ns() + max(2_000_000_000, 2 * everyNs)) {}
  func counts() -> (good: Int64, all: Int64) {
    (0..<field.busCount).reduce((0, 0)) { ($0.0 + field.bus($1).good, $0.1 + field.bus($1).transactions) }
  }
  var result = Together()
  let (before, cpu, ticks, began) = (counts(), busThreadsNs(), Ticks.now(), kerb_monotonic_ns())
  wait(until: began + rounds * everyNs) {
    for bus in 0..<field.busCount { result.worstStretch = max(result.worstStretch, field.bus(bus).stretch) }
  }
  let (after, cpuNs, wallNs) = (counts(), busThreadsNs() - cpu, kerb_monotonic_ns() - began)
  result.busy = Ticks.now().busy(since: ticks)
  result.done = after.good - before.good
  result.failed = (after.all - after.good) - (before.all - before.good)
  result.cpuUs = Double(cpuNs) / 1e3 / Double(max(result.done, 1))
  result.share = Double(cpuNs) / Double(wallNs)
  return result
}

private final class LibraryThread: @unchecked Sendable {
  // Unchecked: its own thread alone touches it until it is joined.
  var handle = pthread_t()
  let link: String
  let format: LineFormat
  let requests: [Int32]
  let (everyNs, runNs): (Int64, Int64)
  var done: Int64 = 0
  var cpuNs: Int64 = 0

  init(_ link: String, _ format: LineFormat, _ plan: PollPlan, everyNs: Int64, runNs: Int64) {
    self.link = link
    self.format = format
    self.everyNs = everyNs
    self.runNs = runNs
    requests = plan.requests.flatMap {
      [Int32($0.unit), Int32($0.table.readFunction), Int32($0.address), Int32($0.count)]
    }
    pthread_create(
      &handle, nil,
      { raw in
        guard let raw else { return nil }
        let own = Unmanaged<LibraryThread>.fromOpaque(raw).takeUnretainedValue()
        own.done = kerb_libmodbus_rounds(
          own.link, Int32(own.format.baud), own.format.silenceNs, own.everyNs, own.runNs, own.requests,
          Int32(own.requests.count / 4), &own.cpuNs)
        return nil
      }, Unmanaged.passUnretained(self).toOpaque())
  }
}

@MainActor private func libraryTogether(_ bench: Bench, everyNs: Int64, rounds: Int64) -> Together {
  let began = kerb_monotonic_ns()
  let threads = bench.buses.indices.map {
    LibraryThread(bench.link($0), bench.buses[$0].format, bench.plan($0), everyNs: everyNs, runNs: rounds * everyNs)
  }
  for thread in threads { pthread_join(thread.handle, nil) }
  var result = Together()
  result.done = threads.reduce(0) { $0 + max(0, $1.done) }
  let cpuNs = threads.reduce(0) { $0 + $1.cpuNs }
  result.cpuUs = Double(cpuNs) / 1e3 / Double(max(result.done, 1))
  result.share = Double(cpuNs) / Double(kerb_monotonic_ns() - began)
  return result
}

/// What the threads of the buses have had of the processor so far: the kernel counts it in nanoseconds.
private func busThreadsNs() -> Int64 {
  var sum: Int64 = 0
  for task in (try? TextFile.names(in: "/proc/self/task")) ?? [] {
    guard let name = try? TextFile.read("/proc/self/task/\(task)/comm", bytesMax: 64), name.hasPrefix("kerb-b"),
      let times = try? TextFile.read("/proc/self/task/\(task)/schedstat", bytesMax: 256)
    else { continue }
    sum += times.split(separator: " ").first.flatMap { Int64($0) } ?? 0
  }
  return sum
}

/// The kernel's count of what all processors did.
private struct Ticks {
  var idle = 0.0
  var all = 0.0

  static func now() -> Ticks {
    guard let text = try? TextFile.read("/proc/stat", bytesMax: 1 << 16), let line = text.split(separator: "\n").first
    else { return Ticks() }
    let parts = line.split(separator: " ").dropFirst().prefix(8).compactMap { Double($0) }
    guard parts.count >= 5 else { return Ticks() }
    return Ticks(idle: parts[3] + parts[4], all: parts.reduce(0, +))
  }

  func busy(since before: Ticks) -> Double { all > before.all ? 1 - (idle - before.idle) / (all - before.all) : 0 }
}
