import CLinux
import FieldBus
import Glibc
import StreamCore
import Testing
import VirtualSite

/// The agent's own bus loop and libmodbus on one end of a real pty, a virtual device with a fault on the other:
/// whatever the fault, no register's value is taken for another's, and the line comes back when the fault ends.
@Suite("The agent on a faulty line", .serialized)
struct AgentOnLineTests {
  /// Two units, two far registers each, that look alike on the wire; each register moves within a band of its own.
  private func site() throws -> (RunningLine, [DeviceSpec], [UInt16: ClosedRange<Int64>]) {
    var virtual: [SiteDevice] = []
    var specs: [DeviceSpec] = []
    var truth: [UInt16: ClosedRange<Int64>] = [:]
    for unit in 1...2 {
      var points: [PointSpec] = []
      var signals: [String: Signal] = [:]
      for (number, address) in [0, 500].enumerated() {
        var spec = point("p\(address)", .holding, address)
        spec.everyNs = 0
        points.append(spec)
        let low = unit * 1_000 + number * 100
        signals["p\(address)"] = Signal(
          .walk(low: Double(low), high: Double(low + 90), periodNs: 200_000_000))
        truth[UInt16((unit - 1) * 2 + number)] = Int64(low)...Int64(low + 90)
      }
      virtual.append(SiteDevice(name: "d\(unit)", address: unit, profile: profile(points), signals: signals))
      var device = DeviceSpec(name: "d\(unit)", place: .inCode, bus: 0, address: unit, profile: "", kind: "k")
      device.points = points
      specs.append(device)
    }
    return (try RunningLine(virtual), specs, truth)
  }

  @Test(
    "no wrong value is good while the fault lasts, and all is well behind it",
    arguments: [
      ("FAULTS 1 a reply later than the timeout", Fault.Kind.late(ns: 90_000_000)),
      ("FAULTS 1 a reply twice as late", .late(ns: 130_000_000)),
      ("FAULTS 2 wrong unit, then the right one", .wrongUnit),
      ("FAULTS 3 one byte at a time", .dripping(ns: 12_000_000)), ("FAULTS 4 truncated", .truncated(bytes: 4)),
      ("FAULTS 5 bit flips", .corrupted), ("FAULTS 6 right checksum, wrong function", .wrongFunction),
      ("FAULTS 6 right checksum, wrong byte count", .wrongCount), ("FAULTS 7 an exception", .exception(4)),
      ("FAULTS 8 the own request comes back", .echo), ("FAULTS 10 noise in front", .noise),
      ("FAULTS 15 silence", .silent), ("FAULTS 16 answers only every second request", .alternate),
    ])
  func fault(name: String, kind: Fault.Kind) throws {
    // A reply that is late already, and later still by a machine that stopped, is later than any device is: that tells
    // nothing of the bus. Where the machine ran, one wrong value is one too many.
    let isShown = try shown(tries: 4) { _ in try isRight(name, kind) }
    #expect(isShown, "\(name)")
  }

  /// False: the machine has spoilt it.
  private func isRight(_ name: String, _ kind: Fault.Kind) throws -> Bool {
    let (line, specs, truth) = try site()
    defer { line.end() }
    let rig = LineRig(link: line.link, devices: specs)
    rig.run(atMostMs: Patience.ms, truth: truth) { $0.good >= 20 }
    #expect(rig.good >= 20, "\(name): before")
    line.site.inject("d1", Fault(kind))
    rig.run(atMostMs: 900, truth: truth)
    line.site.inject("d1", nil)
    rig.good = 0
    // Back within one probe.
    rig.run(atMostMs: Patience.ms, truth: truth) { $0.good >= 20 && $0.board.device(0)[.state] == BusBoard.online }
    #expect(rig.good >= 20, "\(name): after")
    #expect(rig.board.device(0)[.state] == BusBoard.online, "\(name)")
    if rig.wrong > 0, rig.hasStalled { return false }
    #expect(rig.wrong == 0, "\(name)")
    return true
  }

  @Test("FAULTS 8: on a line that echoes everything the port learns to take the echo off, and says so")
  func echo() throws {
    let (line, specs, truth) = try site()
    defer { line.end() }
    for unit in 1...2 { line.site.inject("d\(unit)", Fault(.echo)) }
    let rig = LineRig(link: line.link, devices: specs)
    rig.run(atMostMs: Patience.ms, truth: truth) { $0.good >= 40 }
    #expect(rig.good >= 40)
    #expect(rig.wrong == 0)
    #expect(rig.board.bus[.echo] == 1)
  }
}
