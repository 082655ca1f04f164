// The loops that are held against each other on one line: the agent's, a bare one without any library, one in C
// on libmodbus.

import CLinux
import CLoop
import FieldBus
import Glibc
import StreamCore

struct Measured {
  /// Ideal wire time of what was read, silences included ÷ wall time.
  var share = 0.0
  /// Transactions a second.
  var rate = 0.0
  var cpuUs = 0.0
  var good: Int64 = 0
  var failed: Int64 = 0
}

func threadCpuNs() -> Int64 {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

@MainActor func measureAgent(
  _ spec: BusSpec, _ devices: [DeviceSpec], learned: [String: LearnedDevice] = [:]
) -> Measured {
  let layout = BusLayout(spec: spec, bus: 0, devices: devices, numbering: Numbering(devices: devices), learned: learned)
  let bytes = layout.bytes + 8_192
  let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
  defer { memory.deallocate() }
  memset(memory, 0, bytes)
  var arena = Arena(memory: memory, capacityBytes: bytes)
  let channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: 0)
  let board = BusBoard(layout: layout, arena: &arena)
  var loop = BusLoop(
    layout: layout, port: ModbusPort(spec), board: board, channel: channel,
    pseudonymKey: [UInt8](repeating: 1, count: 32), alarmsLeft: [], arena: &arena)
  let gate: OpaquePointer = kerb_gate_new()
  defer { kerb_gate_free(gate) }
  loop.start()
  func turn() {
    let until = loop.step()
    while channel.next() != nil { channel.release() }
    if until.nanoseconds > kerb_monotonic_ns() {
      kerb_gate_lock(gate)
      _ = kerb_gate_wait_until(gate, until.nanoseconds)
      kerb_gate_unlock(gate)
    }
  }
  while board.bus[.good] < 2 { turn() }
  let failed = board.bus[.transactions] - board.bus[.good]
  let (good, ideal, cpu) = (board.bus[.good], board.bus[.idealNs], threadCpuNs())
  let began = kerb_monotonic_ns()
  while kerb_monotonic_ns() - began < Int64(seconds) * 1_000_000_000 { turn() }
  let wallNs = kerb_monotonic_ns() - began
  let done = board.bus[.good] - good
  let idealNs = board.bus[.idealNs] - ideal
  let cpuUs = Double(threadCpuNs() - cpu) / 1e3 / Double(done)
  loop.stop()
  return Measured(
    share: Double(idealNs) / Double(wallNs), rate: Double(done) * 1e9 / Double(wallNs), cpuUs: cpuUs, good: done,
    failed: board.bus[.transactions] - board.bus[.good] - failed)
}

/// write, read until the reply is whole, wait for the silence: no library.
@MainActor func measureBare(
  _ link: String, _ format: LineFormat, _ plan: PollPlan, silenceNs: Int64
) -> Measured {
  let fd = open(link, O_RDWR | O_NOCTTY)
  precondition(fd >= 0 && kerb_tty_raw(fd, Int32(format.baud), 0x4E, 1) == 0)
  defer { close(fd) }
  var reply = [UInt8](repeating: 0, count: 300)
  var request = [UInt8](repeating: 0, count: 8)
  var done: Int64 = 0
  var idealNs: Int64 = 0
  var next = 0
  var began: Int64 = .max
  var cpu: Int64 = 0
  // The first transaction waits out whatever was on the line before, and isn't counted.
  while began == .max || kerb_monotonic_ns() - began < Int64(seconds) * 1_000_000_000 {
    let planned = plan.requests[next]
    next = (next + 1) % plan.requests.count
    ReplyFrame.request(
      unit: planned.unit, table: planned.table, address: planned.address, count: planned.count, into: &request)
    let sum = crc(request[..<6])
    request[6] = UInt8(sum & 0xFF)
    request[7] = UInt8(sum >> 8)
    let replyBytes = 5 + planned.table.dataBytes(count: planned.count)
    precondition(write(fd, request, 8) == 8)
    var got = 0
    while got < replyBytes {
      guard kerb_fd_wait_readable(fd, 500_000_000) == 1 else { break }
      let count = reply.withUnsafeMutableBytes { room in
        read(fd, room.baseAddress.map { $0 + got }, room.count - got)
      }
      if count <= 0 { break }
      got += count
    }
    if got == replyBytes, crc(reply[..<got]) == 0 {
      done += 1
      idealNs += planned.wireNs
    }
    let until = kerb_monotonic_ns() + silenceNs
    var moment = timespec(tv_sec: Int(until / 1_000_000_000), tv_nsec: Int(until % 1_000_000_000))
    while clock_nanosleep(CLOCK_MONOTONIC, Int32(TIMER_ABSTIME), &moment, nil) == EINTR {}
    if began == .max {
      began = kerb_monotonic_ns()
      cpu = threadCpuNs()
      done = 0
      idealNs = 0
    }
  }
  let wallNs = kerb_monotonic_ns() - began
  return Measured(
    share: Double(idealNs) / Double(wallNs), rate: Double(done) * 1e9 / Double(wallNs),
    cpuUs: Double(threadCpuNs() - cpu) / 1e3 / Double(max(done, 1)), good: done)
}

/// A loop in C on libmodbus's own calls.
@MainActor func measureLibrary(_ link: String, _ format: LineFormat, _ plan: PollPlan) -> Measured {
  let requests = plan.requests.flatMap {
    [Int32($0.unit), Int32($0.table.readFunction), Int32($0.address), Int32($0.count)]
  }
  var cpuNs: Int64 = 0
  var done = [Int64](repeating: 0, count: plan.requests.count)
  let runNs = Int64(seconds) * 1_000_000_000
  let count = kerb_libmodbus_loop(
    link, Int32(format.baud), format.silenceNs, runNs, requests, Int32(plan.requests.count), &cpuNs, &done)
  precondition(count > 0, "libmodbus read nothing")
  let idealNs = zip(plan.requests, done).reduce(0) { $0 + $1.0.wireNs * $1.1 }
  return Measured(
    share: Double(idealNs) / Double(runNs), rate: Double(count) * 1e9 / Double(runNs),
    cpuUs: Double(cpuNs) / 1e3 / Double(count), good: count)
}

/// CRC-16/Modbus.
func crc(_ bytes: ArraySlice<UInt8>) -> UInt16 {
  var sum: UInt16 = 0xFFFF
  for byte in bytes {
    sum ^= UInt16(byte)
    for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0xA001 : sum >> 1 }
  }
  return sum
}
