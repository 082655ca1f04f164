import CLinux
import FieldBus
import Glibc
import StreamCore
import TestSupport
import Testing

@testable import VirtualSite

/// Bus threads with nothing due, on real ptys.
@Suite("An idle bus", .serialized)
struct IdleTests {
  /// How often the thread of that name was given the processor so far.
  private static func switches(_ name: String) -> Int? {
    guard let folder = opendir("/proc/self/task") else { return nil }
    defer { closedir(folder) }
    while let entry = readdir(folder) {
      let task = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      guard let comm = try? TextFile.read("/proc/self/task/\(task)/comm", bytesMax: 64), comm == "\(name)\n",
        let status = try? TextFile.read("/proc/self/task/\(task)/status", bytesMax: 1 << 14)
      else { continue }
      return status.split(separator: "\n").filter { $0.contains("ctxt_switches") }
        .compactMap { $0.split(separator: "\t").last.flatMap { Int($0) } }.reduce(0, +)
    }
    return nil
  }

  @Test("is not woken once between its deadlines, listening or asking, and at once when something comes")
  func sleeps() throws {
    let folder = try TemporaryFolder()
    let paths = ["poll", "hear"].map { "\(folder.path)/\($0)" }
    var profile = Profile(id: "t/t", kind: "t")
    profile.points = [PointSpec(name: "p", place: .inCode, source: .register(.holding, address: 7))]
    profile.points[0].everyNs = 3_600_000_000_000
    var spoken = Profile(id: "t/s", kind: "t")
    spoken.frame = .text(end: [0x0D, 0x0A], split: nil)
    spoken.points = [PointSpec(name: "s", place: .inCode, source: .field(1))]
    let site = try VirtualSite(
      SiteSpec(
        lines: [
          SiteLine(name: "poll", end: .link(path: paths[0]), paced: false),
          SiteLine(name: "hear", busProtocol: .serial, end: .link(path: paths[1]), paced: false),
        ],
        devices: [
          SiteDevice(name: "d", line: 0, address: 1, profile: profile),
          SiteDevice(name: "r", line: 1, address: 0, profile: spoken),
        ]))
    try site.start()
    defer { site.stop() }
    let buses = [
      BusSpec(name: "poll", place: .inCode, busProtocol: .modbusRTU, endpoint: .serialPort(path: paths[0])),
      BusSpec(name: "hear", place: .inCode, busProtocol: .serial, endpoint: .serialPort(path: paths[1])),
    ]
    var devices = [
      DeviceSpec(name: "d", place: .inCode, bus: 0, address: 1, profile: "t/t", kind: "t"),
      DeviceSpec(name: "r", place: .inCode, bus: 1, address: 0, profile: "t/s", kind: "t"),
    ]
    devices[0].points = profile.points
    devices[1].points = spoken.points
    devices[1].frame = spoken.frame
    let field = Field(buses: buses, devices: devices)
    let store: OpaquePointer = kerb_gate_new()
    defer { kerb_gate_free(store) }
    field.start(storeGate: store, pseudonymKey: [UInt8](repeating: 1, count: 32), alarmsLeft: [])
    defer { field.stop() }

    func waits(for condition: () -> Bool) -> Bool {
      let deadline = Patience.end
      kerb_gate_lock(store)
      defer { kerb_gate_unlock(store) }
      while !condition(), kerb_monotonic_ns() < deadline {
        _ = kerb_gate_wait_until(store, kerb_monotonic_ns() + 5_000_000)
      }
      return condition()
    }
    // The first poll is over, and its batch: nothing is due for nearly an hour.
    #expect(
      waits {
        field.bus(0).good == 1 && field.bus(1).state == .running
          && field.pulse.nanoseconds > kerb_monotonic_ns() + 60_000_000_000
      })
    // A bus says that it waits before it does, and on a busy machine long before: so a second look may be needed.
    let sleeps = try shown(tries: 8) { _ in
      let before = try ["kerb-poll", "kerb-hear"].map { try #require(Self.switches($0)) }
      kerb_gate_lock(store)
      let isQuiet = kerb_gate_wait_until(store, kerb_monotonic_ns() + 2_500_000_000) == 0
      kerb_gate_unlock(store)
      #expect(isQuiet, "a bus handed something over")
      return try ["kerb-poll", "kerb-hear"].map { try #require(Self.switches($0)) } == before
    }
    #expect(sleeps)

    site.speak("r", Array("HELLO\r\n".utf8))
    #expect(waits { field.bus(1).good == 1 })
    let reply = try field.ask(
      LineRequest(CommandFrame.read(unit: 1, .holding, address: 7, count: 1), timeoutNs: Patience.ns / 2), bus: 0,
      until: Instant(nanoseconds: Patience.end))
    #expect(reply.frame.count == 5)
  }
}
