// Lives through days of the demo's community in virtual time, through the real pipelines, and prints one JSON
// object: what came out, and a fingerprint of every sample and event. The same seed gives the same fingerprint.
// usage: simulation [days] [seed] [seconds a turn: all intervals are so many times as long] [profiles]

import CMallocCount
import FieldBus
import Glibc
import StreamCore
import VirtualSite

func argument(_ index: Int, _ fallback: UInt64) -> UInt64 {
  index < CommandLine.arguments.count ? UInt64(CommandLine.arguments[index]) ?? fallback : fallback
}

let days = Int64(clamping: argument(1, 30))
let seed = argument(2, 1)
let turnSeconds = max(1, Int64(clamping: argument(3, 1)))
let profiles = CommandLine.arguments.count > 4 ? CommandLine.arguments[4] : "profiles"

let place = SourcePlace(file: "simulation", line: 1, column: 1)
let diagnostics = Diagnostics()
let library = ProfileLibrary(searchPaths: [profiles])
let buses = Community.lines.map {
  BusSpec(name: $0, place: place, busProtocol: .modbusRTU, endpoint: .serialPort(path: "/dev/\($0)"))
}
var devices: [DeviceSpec] = []
for device in Community.devices {
  guard let profile = library.load(device.profile, place: place, key: "profile", into: diagnostics),
    let bus = Community.lines.firstIndex(of: device.line)
  else {
    print("{\"missing\":\"\(device.profile)\"}")
    exit(2)
  }
  var spec = DeviceSpec(
    name: device.name, place: place, bus: bus, address: device.address, profile: device.profile, kind: profile.kind)
  spec.points = profile.points
  spec.alarms = profile.alarms
  devices.append(spec)
}

/// Pages in use, in KiB.
func residentKiB() -> Int {
  var usage = rusage()
  return getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 ? usage.ru_maxrss : 0
}

struct Account {
  var readings: Int64 = 0
  var samples: Int64 = 0
  var events: Int64 = 0
  var lost: Int64 = 0
  var arenaBytes = 0
  var allocations: Int64 = 0
  var fingerprint = Fingerprint()
}

var account = Account()
var firstDayKiB = 0
for (index, layout) in Field.layouts(buses: buses, devices: devices).enumerated() {
  var bus = SimulatedBus(layout, seed: seed &* 31 &+ UInt64(index), turnSeconds: turnSeconds)
  var clock = Seeded(state: seed &+ 99)
  bus.live(turn: 0)
  kerb_malloc_count_start()
  let turnsPerDay = 86_400 / turnSeconds
  for turn in 1..<(days * turnsPerDay) {
    // The clock becomes known in the first hour, and is stepped now and then.
    if turn == 50 { bus.setClock(offsetNs: 1_767_225_600 * 1_000_000_000, turn: turn) }
    if turn % 40_000 == 0 {
      let step = Int64(clock.below(120_000)) - 60_000
      bus.setClock(offsetNs: 1_767_225_600 * 1_000_000_000 + step * 1_000_000, turn: turn)
    }
    bus.live(turn: turn)
    if turn == turnsPerDay - 1 { firstDayKiB = max(firstDayKiB, residentKiB()) }
  }
  bus.end(second: days * 86_400)
  account.allocations += kerb_malloc_count_stop()
  account.readings += bus.readings
  account.samples += bus.samples
  account.events += bus.events
  account.lost += bus.lost
  account.arenaBytes += bus.arenaBytes
  account.fingerprint.add(Int64(bitPattern: bus.fingerprint.value))
}

print(
  "{\"days\":\(days),\"seed\":\(seed),\"readings\":\(account.readings),\"samples\":\(account.samples),"
    + "\"events\":\(account.events),\"lost\":\(account.lost),\"arena_bytes\":\(account.arenaBytes),"
    + "\"allocations\":\(account.allocations),\"first_day_kib\":\(firstDayKiB),\"end_kib\":\(residentKiB()),"
    + "\"fingerprint\":\"\(String(account.fingerprint.value, radix: 16))\"}")
exit(account.allocations == 0 && account.lost == 0 ? 0 : 1)
