// Counts the allocations of the way from bus to stream: a real libmodbus master on a pty, a virtual device at
// the other end, points of several types with deadband, windows, alarms and texts. Prints one JSON object;
// exits 1 if anything was allocated after the start, 2 if the count itself does not work.

import CLinux
import CMallocCount
import FieldBus
import Glibc
import StreamCore
import VirtualSite

let samplesWanted: Int64 = 100_000
let place = SourcePlace(file: "probe", line: 1, column: 1)

func point(_ name: String, _ address: Int, _ type: ValueType, _ change: (inout PointSpec) -> Void = { _ in })
  -> PointSpec
{
  var spec = PointSpec(name: name, place: place, source: .register(.holding, address: address))
  spec.type = type
  spec.everyNs = 0
  change(&spec)
  return spec
}

var profile = Profile(id: "probe/probe", kind: "probe")
for index in 0..<100 {
  profile.points.append(
    point("p\(index)", index, .u16) {
      if index % 10 == 0 {
        $0.windows = [WindowSpec(everyNs: 1_000_000_000, statistics: [.min, .max, .mean, .last, .count, .sum])]
      }
    })
}
profile.points.append(point("f", 100, .f32))
profile.points.append(
  point("sum", 0, .f64) {
    $0.source = .computed
    $0.compute = "p0 + p1 * 2 - min(f, 3)"
  })
profile.points.append(point("card", 102, .text(characters: 16)) { $0.personal = true })
profile.points.append(point("label", 110, .text(characters: 16)) { $0.heartbeatNs = 1_000_000 })

var signals: [String: Signal] = [:]
for index in 0..<100 { signals["p\(index)"] = Signal(.walk(low: 0, high: 60_000, periodNs: 1_000_000_000)) }
signals["f"] = Signal(.walk(low: 0, high: 100, periodNs: 1_000_000_000))
signals["card"] = Signal(.sequence([.text("1234567"), .text("7654321"), .text("5550001")], everyNs: 2_000_000))
signals["label"] = Signal(.constant(.text("firmware 1.2.3")))

let link = "/tmp/kerb-probe-\(getpid())"
let site = try VirtualSite(
  SiteSpec(
    lines: [SiteLine(name: "l", end: .link(path: link), format: LineFormat(baud: 115_200), paced: false)],
    devices: [SiteDevice(name: "d", line: 0, address: 1, profile: profile, signals: signals)]))
try site.start()

var busSpec = BusSpec(name: "b", place: place, busProtocol: .modbusRTU, endpoint: .serialPort(path: link))
busSpec.format = LineFormat(baud: 115_200)
var deviceSpec = DeviceSpec(name: "d", place: place, bus: 0, address: 1, profile: "probe/probe", kind: "probe")
deviceSpec.points = profile.points
deviceSpec.alarms = [
  AlarmSpec(name: "high", place: place, when: "p0 > 30000 and p1 >= 0", whenPlace: place),
  AlarmSpec(name: "old", place: place, when: "age(f) > 1 or rising(sum > 40000) or @d2.p0 > 5", whenPlace: place),
]
// On another bus: what is named of it is looked up on a board.
var neighbour = DeviceSpec(name: "d2", place: place, bus: 1, address: 2, profile: "probe/probe", kind: "probe")
neighbour.points = [point("p0", 0, .u16)]

let layout = BusLayout(
  spec: busSpec, bus: 0, devices: [deviceSpec, neighbour],
  numbering: Numbering(devices: [deviceSpec, neighbour]))
let bytes = layout.bytes + 8_192
let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
memset(memory, 0, bytes)
var arena = Arena(memory: memory, capacityBytes: bytes)
let channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: 0)
let board = BusBoard(layout: layout, arena: &arena)
var loop = BusLoop(
  layout: layout, port: ModbusPort(busSpec), board: board, channel: channel,
  pseudonymKey: [UInt8](repeating: 7, count: 32), alarmsLeft: [], arena: &arena)
loop.start()

var samples: Int64 = 0
var texts: Int64 = 0
var events: Int64 = 0

@MainActor func turn() {
  let until = loop.step()
  while let batch = channel.next() {
    samples += Int64(batch.sampleCount)
    for index in 0..<batch.sampleCount where batch.sample(index).hasText { texts += 1 }
    events += Int64(batch.eventCount)
    channel.release()
  }
  // As the bus's thread waits, but never so long that the count's end is missed.
  _ = kerb_poll_until(nil, 0, Swift.min(until.nanoseconds, kerb_monotonic_ns() + 2_000_000))
}

// The port opens and the first replies arrive: that is the start.
let deadline = kerb_monotonic_ns() + 600_000_000_000
while samples < 1_000, kerb_monotonic_ns() < deadline { turn() }
samples = 0

kerb_malloc_count_start()
while samples < samplesWanted, kerb_monotonic_ns() < deadline { turn() }
let allocations = kerb_malloc_count_stop()

// The count must be able to see one.
kerb_malloc_count_start()
let canary = [Int](repeating: 1, count: Int(samples % 7) + 100)
let seen = kerb_malloc_count_stop()

var frames: Int64 = 0
for probe in FramesProbe.all {
  guard let count = try probe.allocations(wanted: 200) else {
    print("{\"silent\":\"\(probe.name)\"}")
    site.stop()
    exit(2)
  }
  frames += count
}
for probe in ListeningProbe.all {
  guard let count = probe.allocations(wanted: 200) else {
    print("{\"silent\":\"\(probe.name)\"}")
    site.stop()
    exit(2)
  }
  frames += count
}

print(
  "{\"samples\":\(samples),\"texts\":\(texts),\"events\":\(events),\"good\":\(board.bus[.good]),"
    + "\"allocations\":\(allocations),\"frames_allocations\":\(frames),\"canary\":\(seen),"
    + "\"canary_sum\":\(canary.reduce(0, +))}"
)
// No `defer`: exit() would pass it by, and the link would stay.
site.stop()
if seen < 1 || samples < samplesWanted || texts == 0 || events == 0 { exit(2) }
exit(allocations == 0 && frames == 0 ? 0 : 1)
