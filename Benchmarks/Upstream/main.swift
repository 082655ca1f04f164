// What the figures of the pull interface are measured with: a backlog made at once, and clients that cost next to
// nothing. Called by Benchmarks/upstream.
//
//   upstream-bench fill CONFIGURATION PROFILES COUNT      COUNT samples in the store of that configuration
//   upstream-bench pull PORT TYPE RECORDS TOKENFILE…      a client for each token, all at once, until each has RECORDS
//
// Each prints one JSON object.

import CLinux
import FieldBus
import Gateway
import Glibc
import Store
import StreamCore

let arguments = Array(CommandLine.arguments.dropFirst())
switch arguments.first {
case "fill" where arguments.count == 4: try fill(arguments[1], profiles: arguments[2], count: Int(arguments[3]) ?? 0)
case "pull" where arguments.count > 4:
  try pull(
    port: UInt16(arguments[1]) ?? 0, type: arguments[2], records: Int(arguments[3]) ?? 0,
    tokenFiles: Array(arguments[4...]))
default:
  print("upstream-bench fill CONFIGURATION PROFILES COUNT | pull PORT TYPE RECORDS TOKENFILE…")
  exit(64)
}

func seconds() -> Double { Double(kerb_monotonic_ns()) / 1e9 }

struct BenchFailure: Error { var what: String }

// MARK: A backlog

/// As the buses would have handed them over: every second each point once, integers that wander, some with a decimal
/// scale, every tenth a float.
func fill(_ path: String, profiles: String, count: Int) throws {
  let diagnostics = Diagnostics()
  guard
    let configuration = ConfigurationReader.read(
      path: path, profileDirectories: [profiles], diagnostics: diagnostics, systemProfileDirectories: [],
      enforcesMemoryLimit: false)
  else { throw BenchFailure(what: diagnostics.sorted.map(\.text).joined(separator: "\n")) }
  let catalogue = Catalogue(configuration)
  _ = mkdir(configuration.statePath, 0o750)
  let memory = UnsafeMutableRawPointer.allocate(byteCount: BatchChannel.bytes, alignment: 64)
  defer { memory.deallocate() }
  let channel = BatchChannel(memory: memory, bus: 0)
  let store = StoreThread(
    configuration: StoreConfiguration(
      statePath: configuration.statePath, telemetryBytes: configuration.telemetryBytes,
      alarmBytes: configuration.alarmBytes, commitNs: configuration.commitNs, catalogue: catalogue.encoded(),
      seriesCount: catalogue.series.count, alarmNames: catalogue.alarms.map(catalogue.alarmName),
      consumers: configuration.cursorOwners),
    channels: [channel], onDurable: { _ in })
  _ = try store.start()
  store.clockKnown(offsetNs: kerb_realtime_ns() - kerb_monotonic_ns())
  var dice = SystemRandomNumberGenerator()
  let points = catalogue.pointCount
  var raws = (0..<points).map { Int64(200 + $0 % 700) }
  let first = kerb_monotonic_ns() / 1_000_000 - Int64(count / points) * 1_000
  var batch = channel.filling
  func handOver() {
    while !channel.handOver() { poll(nil, 0, 1) }
    kerb_gate_lock(store.wake)
    kerb_gate_signal(store.wake)
    kerb_gate_unlock(store.wake)
    batch = channel.filling
  }
  for number in 0..<count {
    let point = number % points
    let bits = dice.next()
    raws[point] += bits & 3 == 0 ? Int64(bits >> 2 & 7) - 3 : 0
    let isFloat = catalogue.series[point].encoding == .float
    let raw = isFloat ? Int64((Float(raws[point]) * 0.25).bitPattern) : raws[point]
    let ms = first + Int64(number / points) * 1_000 + Int64(point / 100) * 8
    let sample = Sample(
      at: Instant(nanoseconds: ms * 1_000_000), raw: raw, series: UInt16(point), quality: .good)
    if !batch.append(sample) {
      handOver()
      _ = batch.append(sample)
    }
  }
  handOver()
  let done = Answered<Int64>()
  store.flush { _ in store.report { done.set($0.storedSamples) } }
  let stored = done.wait(ns: 600_000_000_000) ?? 0
  store.stop()
  print("{\"stored\":\(stored)}")
}
