// What every measurement runs on: a paced virtual line with sixteen units of forty points, and the bus that reads them.

import FieldBus
import Glibc
import StreamCore
import VirtualSite

/// Forty points a unit: holding 0-9, 20-29, 100-104, input 0-7, coil 0-6.
let spans: [(RegisterTable, ClosedRange<Int>)] = [
  (.holding, 0...9), (.holding, 20...29), (.holding, 100...104), (.input, 0...7), (.coil, 0...6),
]
let units = 16
let place = SourcePlace(file: "bench", line: 1, column: 1)

struct Bench {
  var lines: [SiteLine] = []
  var virtual: [SiteDevice] = []
  var buses: [BusSpec] = []
  var devices: [DeviceSpec] = []

  /// `needsNs`: the silence that a unit needs before a request; nil: all hold to the standard.
  init(lines count: Int, format: LineFormat, everyNs: Int64 = 0, needsNs: ((Int) -> Int64)? = nil) {
    var profile = Profile(id: "bench/bench", kind: "bench")
    for (table, addresses) in spans {
      for address in addresses {
        var point = PointSpec(name: "\(table)\(address)", place: place, source: .register(table, address: address))
        point.type = table.isBits ? .bool : .u16
        point.everyNs = everyNs
        profile.points.append(point)
      }
    }
    for line in 0..<count {
      let link = "/tmp/kerb-wire-\(getpid())-\(line)"
      lines.append(
        SiteLine(name: "l\(line)", end: .link(path: link), format: format, paced: true, strict: needsNs == nil))
      var bus = BusSpec(name: "b\(line)", place: place, busProtocol: .modbusRTU, endpoint: .serialPort(path: link))
      bus.format = format
      buses.append(bus)
      for unit in 1...units {
        var device = SiteDevice(name: "d\(line)-\(unit)", line: line, address: unit, profile: profile)
        device.silenceNs = needsNs?(unit) ?? 0
        virtual.append(device)
        var spec = DeviceSpec(
          name: "d\(line)-\(unit)", place: place, bus: line, address: unit, profile: "", kind: "bench")
        spec.points = profile.points
        devices.append(spec)
      }
    }
  }

  func site() throws -> VirtualSite { try VirtualSite(SiteSpec(lines: lines, devices: virtual)) }

  func link(_ line: Int) -> String {
    if case .serialPort(let path) = buses[line].endpoint { path } else { "" }
  }

  func plan(_ line: Int) -> PollPlan { PollPlan(bus: buses[line], devices: devices.filter { $0.bus == line }) }
}

func rounded(_ value: Double) -> Double { (value * 10_000).rounded() / 10_000 }

/// One JSON object on a line of its own.
func show(_ members: [(String, any CustomStringConvertible)]) {
  print("{" + members.map { "\"\($0.0)\":\($0.1)" }.joined(separator: ",") + "}")
  // At once, in a pipe too.
  fflush(nil)
}
