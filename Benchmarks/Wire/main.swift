// The wire's use: the agent's bus loop against a paced virtual line, back to back, and beside it, in the same
// run, a bare loop that writes a request and reads its reply with nothing in between but the silence. Prints
// one JSON object a baud rate: ideal wire time of the plan ÷ wall time.
//
//   swift run -c release Wire [seconds for each measurement] [baud …]

import CLinux
import CLoop
import FieldBus
import Glibc
import StreamCore
import VirtualSite

let arguments = CommandLine.arguments.dropFirst().compactMap { Int($0) }
let seconds = arguments.first ?? 10
let bauds = arguments.count > 1 ? Array(arguments.dropFirst()) : [9_600, 19_200, 115_200]
let place = SourcePlace(file: "bench", line: 1, column: 1)
let units = 16

/// Forty points a unit: holding 0-9, 20-29, 100-104, input 0-7, coil 0-6.
let spans: [(RegisterTable, ClosedRange<Int>)] = [
  (.holding, 0...9), (.holding, 20...29), (.holding, 100...104), (.input, 0...7), (.coil, 0...6),
]

for baud in bauds {
  let format = LineFormat(baud: baud)
  let link = "/tmp/kerb-wire-\(getpid())"
  var profile = Profile(id: "bench/bench", kind: "bench")
  for (table, addresses) in spans {
    for address in addresses {
      var point = PointSpec(name: "\(table)\(address)", place: place, source: .register(table, address: address))
      point.type = table.isBits ? .bool : .u16
      point.everyNs = 0
      profile.points.append(point)
    }
  }
  let devices = (1...units).map { SiteDevice(name: "d\($0)", line: 0, address: $0, profile: profile) }
  let site = try VirtualSite(
    SiteSpec(lines: [SiteLine(name: "l", end: .link(path: link), format: format, paced: true)], devices: devices))
  try site.start()

  var spec = BusSpec(name: "b", place: place, busProtocol: .modbusRTU, endpoint: .serialPort(path: link))
  spec.format = format
  let specs = (1...units).map { address in
    var device = DeviceSpec(name: "d\(address)", place: place, bus: 0, address: address, profile: "", kind: "bench")
    device.points = profile.points
    return device
  }
  let plan = PollPlan(bus: spec, devices: specs)
  // What merging contiguous ranges alone would send.
  let contiguousNs = spans.reduce(0) { $0 + PollPlan.wireNs(count: $1.1.count, table: $1.0, on: spec) } * Int64(units)
  let agent = measureAgent(spec, specs)
  let bare = measureBare(link, format, plan)
  let library = measureLibrary(link, format, plan)
  let again = measureAgent(spec, specs)
  site.stop()
  let best = max(agent.share, again.share)
  print(
    "{\"baud\":\(baud),\"units\":\(units),\"points\":\(units * profile.points.count),"
      + "\"requests\":\(plan.requests.count),\"agent\":\(rounded(best)),\"bare\":\(rounded(bare.share)),"
      + "\"ratio\":\(rounded(best / bare.share)),\"plan_over_contiguous\":"
      + "\(rounded(Double(contiguousNs) / Double(plan.cycleNs))),\"agent_cpu_us\":\(rounded(agent.cpuUs)),"
      + "\"bare_cpu_us\":\(rounded(bare.cpuUs)),\"libmodbus\":\(rounded(library.share)),"
      + "\"libmodbus_cpu_us\":\(rounded(library.cpuUs)),\"cpu_ratio\":"
      + "\(rounded(min(agent.cpuUs, again.cpuUs) / library.cpuUs)),\"good\":\(agent.good),"
      + "\"failed\":\(agent.failed + again.failed)}"
  )
}

func threadCpuNs() -> Int64 {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

func rounded(_ value: Double) -> Double { (value * 10_000).rounded() / 10_000 }

@MainActor func measureAgent(
  _ spec: BusSpec, _ devices: [DeviceSpec]
) -> (share: Double, good: Int64, failed: Int64, cpuUs: Double) {
  let layout = BusLayout(spec: spec, bus: 0, devices: devices, numbering: Numbering(devices: devices))
  let bytes = layout.bytes + 8_192
  let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
  defer { memory.deallocate() }
  memset(memory, 0, bytes)
  var arena = Arena(memory: memory, capacityBytes: bytes)
  let channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: 0)
  let board = BusBoard(layout: layout, arena: &arena)
  var loop = BusLoop(
    layout: layout, port: ModbusPort(spec), board: board, channel: channel,
    pseudonymKey: [UInt8](repeating: 1, count: 32), alarmStates: [], arena: &arena)
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
  let (good, ideal, cpu) = (board.bus[.good], board.bus[.idealNs], threadCpuNs())
  let began = kerb_monotonic_ns()
  while kerb_monotonic_ns() - began < Int64(seconds) * 1_000_000_000 { turn() }
  let wallNs = kerb_monotonic_ns() - began
  let done = board.bus[.good] - good
  let idealNs = board.bus[.idealNs] - ideal
  let cpuUs = Double(threadCpuNs() - cpu) / 1e3 / Double(done)
  loop.stop()
  return (Double(idealNs) / Double(wallNs), done, board.bus[.transactions] - board.bus[.good], cpuUs)
}

/// write, read until the reply is whole, wait for the silence: no library.
@MainActor func measureBare(_ link: String, _ format: LineFormat, _ plan: PollPlan) -> (share: Double, cpuUs: Double) {
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
    let until = kerb_monotonic_ns() + format.silenceNs
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
  return (Double(idealNs) / Double(wallNs), Double(threadCpuNs() - cpu) / 1e3 / Double(max(done, 1)))
}

/// A loop in C on libmodbus's own calls.
@MainActor func measureLibrary(_ link: String, _ format: LineFormat, _ plan: PollPlan) -> (
  share: Double, cpuUs: Double
) {
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
  return (Double(idealNs) / Double(runNs), Double(cpuNs) / 1e3 / Double(count))
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
