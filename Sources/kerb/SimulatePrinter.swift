// What `kerb simulate` prints: a line for everything that happens, for people or as JSON (docs/simulate.md has the
// keys).

import FieldBus
import Gateway
import Glibc
import StreamCore
import VirtualSite

final class SitePrinter: Sendable {
  private let json: Bool
  private let units: [String: String]

  init(json: Bool, spec: SiteSpec) {
    self.json = json
    var units: [String: String] = [:]
    for device in spec.devices {
      for point in device.profile.points {
        if let unit = point.unit { units["\(device.name)/\(point.name)"] = unit }
      }
    }
    self.units = units
  }

  func started(_ site: VirtualSite) {
    for (index, line) in site.spec.lines.enumerated() {
      let count = site.spec.devices.count { $0.line == index }
      let place: String
      switch line.end {
      case .link(let path): place = path
      case .listen(let host, _): place = "\(host):\(site.port(line: line.name))"
      }
      if json {
        var writer = JSONWriter()
        writer.object {
          $0.member("event", "line")
          $0.member("line", line.name)
          $0.member("protocol", line.busProtocol.rawValue)
          $0.member("at", place)
          $0.member("devices", count)
          $0.member("started_ns", site.startedAt.nanoseconds)
        }
        show(writer)
      } else {
        show("line \(line.name): \(count) devices, \(line.busProtocol.rawValue) at \(place)\(pace(line))")
      }
    }
  }

  private func pace(_ line: SiteLine) -> String {
    guard line.busProtocol != .modbusTCP else { return "" }
    let parity = line.format.parity == .none ? "N" : line.format.parity == .even ? "E" : "O"
    return ", \(line.format.baud) 8\(parity)\(line.format.stopBits)\(line.paced ? ", paced" : "")"
  }

  func happened(_ happening: SiteHappening) {
    if json {
      var writer = JSONWriter()
      writer.object { object(happening, &$0) }
      show(writer)
    } else {
      show("\(clock(happening.sinceStartNs))  \(happening.target): \(words(happening))")
    }
  }

  private func object(_ happening: SiteHappening, _ writer: inout JSONWriter) {
    func head(_ event: String) {
      writer.member("event", event)
      writer.member("at_ns", happening.at.nanoseconds)
      writer.member("t", Double(happening.sinceStartNs) / 1e9)
    }
    switch happening.what {
    case .value(let point, let value):
      head("value")
      writer.member("device", happening.target)
      writer.member("point", point)
      writer.key("value")
      switch value {
      case .number(let number): writer.number(number)
      case .text(let text): writer.string(text)
      case .flag(let on): writer.bool(on)
      case .raw(let raw): writer.integer(raw)
      }
    case .released(let point):
      head("released")
      writer.member("device", happening.target)
      writer.member("point", point)
    case .fault(let fault), .faultOver(let fault):
      if case .fault = happening.what { head("fault") } else { head("fault-over") }
      writer.member("device", happening.target)
      writer.member("fault", fault.name)
    case .lineUnplugged, .linePlugged:
      head(happening.what == .linePlugged ? "plugged" : "unplugged")
      writer.member("line", happening.target)
    case .spoke(let text):
      head("spoke")
      writer.member("device", happening.target)
      writer.member("text", text)
    }
  }

  private func words(_ happening: SiteHappening) -> String {
    switch happening.what {
    case .value(let point, let value):
      let unit = units["\(happening.target)/\(point)"].map { " \($0)" } ?? ""
      return "\(point) is \(value.text)\(unit)"
    case .released(let point): return "\(point) moves by itself again"
    case .fault(let fault): return "fault \(fault.name)"
    case .faultOver(let fault): return "fault \(fault.name) is over"
    case .lineUnplugged: return "pulled out"
    case .linePlugged: return "plugged in again"
    case .spoke(let text): return "says \(text)"
    }
  }

  func refused(_ line: String, _ diagnostics: Diagnostics) {
    for diagnostic in diagnostics.sorted { complain("not done: \(line)\n  \(diagnostic.key): \(diagnostic.message)") }
  }

  func stopped() {
    if !json { show("stopped; the links are gone") }
  }

}

/// "01:07.25" of a time since the start.
func clock(_ ns: Int64) -> String {
  func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
  let hundredths = Swift.max(0, ns) / 10_000_000
  return "\(two(hundredths / 6_000)):\(two(hundredths / 100 % 60)).\(two(hundredths % 100))"
}
