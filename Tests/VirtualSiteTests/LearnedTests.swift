import CLinux
import FieldBus
import Glibc
import StreamCore
import TestSupport
import Testing
import VirtualSite

/// What a bus learns of a device, over restarts of the agent and a change of the device.
@Suite("What was learned of a device", .serialized)
struct LearnedTests {
  private struct Bench {
    let folder: TemporaryFolder
    let site: VirtualSite
    let store: OpaquePointer = kerb_gate_new()
    let spec: BusSpec
    let device: DeviceSpec

    init() throws {
      folder = try TemporaryFolder()
      let link = "\(folder.path)/line"
      var profile = Profile(id: "t/t", kind: "t")
      // Cheaper read over the gap than around it; the device refuses the gap.
      for address in [0, 1, 4, 5] {
        var point = PointSpec(name: "p\(address)", place: .inCode, source: .register(.holding, address: address))
        point.everyNs = 20_000_000
        profile.points.append(point)
      }
      site = try VirtualSite(
        SiteSpec(
          lines: [SiteLine(name: "l", end: .link(path: link), paced: false)],
          devices: [SiteDevice(name: "d", line: 0, address: 1, profile: profile, holes: .refuse)]))
      spec = BusSpec(name: "l", place: .inCode, busProtocol: .modbusRTU, endpoint: .serialPort(path: link))
      var device = DeviceSpec(name: "d", place: .inCode, bus: 0, address: 1, profile: "t/t", kind: "t")
      device.points = profile.points
      self.device = device
      try site.start()
    }

    func end() {
      site.stop()
      kerb_gate_free(store)
    }

    /// Runs the bus until `isDone`, calls `then`, and says what is known at the end.
    func run(
      knowing learned: [String: LearnedDevice], until isDone: (DeviceReport) -> Bool,
      then: (Field) throws -> Void = { _ in }
    ) throws -> (known: [String: LearnedDevice], report: DeviceReport) {
      let field = Field(buses: [spec], devices: [device], learned: learned)
      field.start(storeGate: store, pseudonymKey: [UInt8](repeating: 1, count: 32), alarmsLeft: [])
      defer { field.stop() }
      let deadline = Patience.end
      kerb_gate_lock(store)
      while !isDone(field.device(0)), kerb_monotonic_ns() < deadline {
        _ = kerb_gate_wait_until(store, kerb_monotonic_ns() + 5_000_000)
        for channel in field.channels { while channel.next() != nil { channel.release() } }
      }
      kerb_gate_unlock(store)
      #expect(isDone(field.device(0)))
      try then(field)
      return (field.learned(), field.device(0))
    }
  }

  @Test("is known again after a restart, and is gone once it was forgotten: then all is learned anew")
  func forget() throws {
    let bench = try Bench()
    defer { bench.end() }
    let enough: (DeviceReport) -> Bool = { $0.good >= 40 }
    let (known, met) = try bench.run(knowing: [:], until: enough)
    #expect(met.exceptions > 0)
    #expect(known["d"]?.refused == [RefusedSpan(table: .holding, address: 0, count: 6)])
    #expect(known["d"]?.latency.isKnown == true)

    let (kept, again) = try bench.run(knowing: known, until: enough)
    #expect(again.exceptions == 0, "the refused span is not asked again")
    #expect(again.refusedRequests == 1)
    #expect(kept["d"]?.refused == known["d"]?.refused)
    #expect((kept["d"]?.latency.count ?? 0) > (known["d"]?.latency.count ?? 0))

    let (left, _) = try bench.run(knowing: known, until: enough) { field in
      // Nothing is learned anew before it is looked at.
      bench.site.inject("d", Fault(.silent))
      defer { bench.site.inject("d", nil) }
      try field.forget(0, until: Instant(nanoseconds: Patience.end))
      let atOnce = field.learned()
      #expect(atOnce["d"]?.latency.count ?? 0 == 0)
      #expect(atOnce["d"]?.refused ?? [] == [])
      #expect(field.forgottenCount == 1)
      #expect(field.device(0).refusedRequests == 0)
    }
    let (anew, asked) = try bench.run(knowing: left, until: enough)
    #expect(asked.exceptions > 0)
    #expect(anew["d"]?.refused == known["d"]?.refused)
  }

  @Test("is forgotten by the running plan too: what was split is asked in one piece again")
  func whole() throws {
    let bench = try Bench()
    defer { bench.end() }
    var exceptions: Int64 = 0
    _ = try bench.run(knowing: [:], until: { $0.good >= 40 }) { field in
      exceptions = field.device(0).exceptions
      #expect(field.device(0).refusedRequests == 1)
      try field.forget(0, until: Instant(nanoseconds: Patience.end))
      #expect(eventually { field.device(0).exceptions > exceptions && field.device(0).refusedRequests == 1 })
    }
  }
}
