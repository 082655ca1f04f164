// Whether a bus feels its store's disk: a bus's own thread polls a line every 50 ms, and every other stretch of time a
// sync of the store takes 5 s. What counts is how far each poll's interval is off, in both kinds of stretches.

import CFaultVFS
import CLinux
import FieldBus
import Glibc
import Store
import StreamCore

/// When each request was sent. Written by the bus's thread alone, read when it has ended.
private final class Times: @unchecked Sendable {
  // Unchecked: see above.
  let ns: UnsafeMutablePointer<Int64>
  let capacity: Int
  var count = 0
  init(capacity: Int) {
    ns = .allocate(capacity: capacity)
    ns.initialize(repeating: 0, count: capacity)
    self.capacity = capacity
  }
  deinit { ns.deallocate() }
}

/// A line on the real clock: a request and its reply take as long as their bytes at 19,200 baud.
private struct PacedLine: Port, ~Copyable {
  let times: Times
  let wireNs: Int64
  private var turn: UInt16 = 0
  init(_ times: Times, wireNs: Int64) {
    self.times = times
    self.wireNs = wireNs
  }

  var now: Instant { Instant(nanoseconds: kerb_monotonic_ns()) }
  var frame: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: nil, count: 0) }
  mutating func open() throws(PortFailure) {}
  mutating func close() {}
  mutating func drain() throws(ReadFailure) -> Int { 0 }
  mutating func reopen(as format: LineFormat) throws(PortFailure) {}
  mutating func exchange(
    _ request: UnsafeBufferPointer<UInt8>, timeoutNs: Int64, into reply: UnsafeMutablePointer<UInt8>
  ) throws(ReadFailure) -> Int { throw .noReply }

  mutating func read(
    unit: Int, table: RegisterTable, address: Int, count: Int, timeoutNs: Int64,
    into words: UnsafeMutablePointer<UInt16>
  ) throws(ReadFailure) {
    let began = kerb_monotonic_ns()
    if times.count < times.capacity {
      times.ns[times.count] = began
      times.count += 1
    }
    _ = kerb_poll_until(nil, 0, began + wireNs)
    turn &+= 7
    for index in 0..<count { words[index] = turn &+ UInt16(truncatingIfNeeded: index) }
  }
}

private let pollNs: Int64 = 50_000_000
private let syncNs: Int64 = 5_000_000_000
/// A stretch begins and ends outside of the sync.
private let stretchNs: Int64 = 6_000_000_000

func jitter(folder: String, rounds: Int) throws {
  guard let vfs = fault_vfs_new("jitter") else { preconditionFailure("no file system") }
  var configuration = configuration(folder, telemetryBytes: 4 << 20, commitNs: 1_000_000_000, series: 16)
  configuration.vfs = "jitter"
  let bench = try Bench(configuration)
  while !bench.report().isPrepared {}

  let here = SourcePlace(file: "bench", line: 1, column: 1)
  let spec = BusSpec(name: "b", place: here, busProtocol: .modbusRTU, endpoint: .serialPort(path: "unused"))
  var device = DeviceSpec(name: "d", place: here, bus: 0, address: 1, profile: "", kind: "bench")
  for address in 0..<4 {
    var point = PointSpec(name: "p\(address)", place: here, source: .register(.holding, address: address))
    point.type = .u16
    point.everyNs = pollNs
    device.points.append(point)
  }
  let layout = BusLayout(spec: spec, bus: 0, devices: [device], numbering: Numbering(devices: [device]))
  let bytes = layout.bytes + 8_192
  nonisolated(unsafe) let memory = UnsafeMutableRawPointer.allocate(byteCount: 2 * bytes, alignment: 64)
  memory.initializeMemory(as: UInt8.self, repeating: 0, count: 2 * bytes)
  var arena = Arena(memory: memory, capacityBytes: bytes)
  let board = BusBoard(layout: layout, arena: &arena)
  let control = BusControl(board: board, storeGate: bench.store.wake)
  let times = Times(capacity: 2 * rounds * Int(stretchNs / pollNs) * 2)
  let channel = bench.channels[0]
  let thread = BusThread(name: "kerb-bench")
  thread.start(control: control) {
    var arena = Arena(memory: memory + bytes, capacityBytes: bytes)
    return BusLoop(
      layout: layout, port: PacedLine(times, wireNs: 12_000_000), board: board, channel: channel,
      pseudonymKey: [UInt8](repeating: 1, count: 32), alarmsLeft: [], arena: &arena)
  }
  _ = kerb_poll_until(nil, 0, kerb_monotonic_ns() + 2_000_000_000)

  var bounds: [(from: Int64, to: Int64, isHeld: Bool)] = []
  var held = 0
  for stretch in 0..<(2 * rounds) {
    let began = kerb_monotonic_ns()
    let holds = stretch % 2 == 1
    if holds {
      fault_vfs_hold(vfs, Int32(FAULT_SYNC))
      // The next commit is a second away at most; then 5 s from when the sync began.
      if fault_vfs_held(vfs, 3_000_000_000) == 1 { held += 1 }
      let from = kerb_monotonic_ns()
      _ = kerb_poll_until(nil, 0, from + syncNs)
      bounds.append((from, kerb_monotonic_ns(), true))
      fault_vfs_release(vfs)
    } else {
      _ = kerb_poll_until(nil, 0, began + syncNs)
      bounds.append((began, kerb_monotonic_ns(), false))
    }
    _ = kerb_poll_until(nil, 0, began + stretchNs)
  }
  control.stop()
  thread.join()
  func offs(_ isHeld: Bool) -> [Double] {
    var offs: [Double] = []
    for index in 1..<max(1, times.count) {
      let at = times.ns[index]
      guard bounds.contains(where: { $0.isHeld == isHeld && $0.from < times.ns[index - 1] && at <= $0.to }) else {
        continue
      }
      offs.append(abs(Double(at - times.ns[index - 1] - pollNs)) / 1e6)
    }
    return offs.sorted()
  }
  func line(_ offs: [Double]) -> String {
    guard let last = offs.last else { return "{}" }
    return "{\"polls\":\(offs.count),\"p50_ms\":\(rounded(offs[offs.count / 2])),"
      + "\"p99_ms\":\(rounded(offs[offs.count * 99 / 100])),\"max_ms\":\(rounded(last))}"
  }
  print(
    "{\"syncs_of_5_s\":\(held),\"without\":\(line(offs(false))),\"with\":\(line(offs(true)))}")
}
