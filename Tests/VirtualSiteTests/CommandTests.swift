import CLinux
import FieldBus
import Glibc
import StreamCore
import Synchronization
import Testing
import VirtualSite

/// Commands against virtual devices on real ptys: through a bus that is being polled, and on a line of one's own.
@Suite("Commands on a line")
struct LineCommandTests {
  private static func place(_ link: String, baud: Int = 9_600) -> BusSpec {
    var spec = BusSpec(name: "b", place: .inCode, busProtocol: .modbusRTU, endpoint: .serialPort(path: link))
    spec.format.baud = baud
    return spec
  }

  private static func lamp(_ address: Int) -> SiteDevice {
    SiteDevice(
      name: "lamp-\(address)", address: address,
      profile: profile([
        point("power", .input, 2), point("level", .holding, 5, .i16, scale: 0.1), point("lamp", .coil, 0, .bool),
        point("mode", .holding, 6, bits: 4...7),
      ]),
      registers: [FixedRegister(.holding, 0, 1)])
  }

  private static func spec(_ device: SiteDevice, kind: String = "streetlight") -> DeviceSpec {
    var spec = DeviceSpec(name: device.name, place: .inCode, bus: 0, address: device.address, profile: "", kind: kind)
    spec.points = device.profile.points
    return spec
  }

  private static func writable(_ name: String, in device: DeviceSpec) throws -> PointSpec {
    var point = try #require(device.points.first { $0.name == name })
    point.write = .maintenance
    return point
  }

  @Test("A session reads, writes with read-back, and keeps a bit field's neighbours")
  func points() throws {
    let device = Self.lamp(3)
    let line = try RunningLine([device])
    defer { line.end() }
    let session = try LineSession(Self.place(line.link))
    let spec = Self.spec(device)
    line.site.set("lamp-3", "level", .number(-12.5))
    line.site.set("lamp-3", "mode", .number(3))
    let level = PointAccess(
      session, device: spec, number: 0, point: try Self.writable("level", in: spec), timeoutNs: Patience.ns / 2)
    #expect(try level.read().raw == -125)
    let (before, after) = try level.write("7.3")
    #expect(before.raw == -125 && after.raw == 73)
    #expect(line.site.registers("lamp-3", .holding, 5, count: 1) == [73])
    let lamp = PointAccess(
      session, device: spec, number: 0, point: try Self.writable("lamp", in: spec), timeoutNs: Patience.ns / 2)
    #expect(try lamp.write("on").after.raw == 1)
    #expect(try lamp.write("off").after.raw == 0)
    let mode = PointAccess(
      session, device: spec, number: 0, point: try Self.writable("mode", in: spec), timeoutNs: Patience.ns / 2)
    #expect(try mode.write("9").after.words == [0x90])
  }

  @Test("Nothing is written to what its profile keeps, to inputs, to personal points, nor to any elevator")
  func refused() throws {
    let device = Self.lamp(3)
    let line = try RunningLine([device])
    defer { line.end() }
    let session = try LineSession(Self.place(line.link))
    let spec = Self.spec(device)
    func attempt(_ point: PointSpec, kind: String = "streetlight") -> PointProblem? {
      do {
        _ = try PointAccess(
          session, device: Self.spec(device, kind: kind), number: 0, point: point, timeoutNs: Patience.ns / 2
        ).write(
          "1")
        return nil
      } catch { return error }
    }
    #expect(attempt(try #require(spec.points.first { $0.name == "lamp" })) == .notWritable)
    #expect(attempt(try Self.writable("power", in: spec)) == .notWritable)
    #expect(attempt(try Self.writable("lamp", in: spec), kind: "elevator") == .notWritable)
    var card = try Self.writable("level", in: spec)
    card.personal = true
    #expect(attempt(card) == .personal)
    #expect(line.site.counts(line: "line").replies == 0)
    #expect(attempt(try Self.writable("lamp", in: spec)) == nil)
  }

  @Test("A port that one session has is refused to the next, and free behind it")
  func lock() throws {
    let line = try RunningLine([Self.lamp(3)])
    defer { line.end() }
    do {
      let first = try LineSession(Self.place(line.link))
      #expect(throws: PortFailure.self) { _ = try LineSession(Self.place(line.link)) }
      let frame = CommandFrame.read(unit: 3, .holding, address: 0, count: 1)
      _ = try first.ask(LineRequest(frame, timeoutNs: Patience.ns / 2))
    }
    _ = try LineSession(Self.place(line.link))
  }

  @Test("A scan finds the planted devices at the speed they have, who they say they are, and the profile that fits")
  func scan() throws {
    let other = SiteDevice(
      name: "meter", address: 9,
      profile: profile([point("volts", .input, 100), point("hidden", .input, 101)], kind: "meter"))
    let folder = temporaryFolder()
    defer { rmdir(folder) }
    let site = try VirtualSite(
      SiteSpec(
        lines: [SiteLine(name: "line", end: .link(path: "\(folder)/line"), format: LineFormat(baud: 19_200))],
        devices: [Self.lamp(3), other]))
    try site.start()
    defer { site.stop() }
    let session = try LineSession(Self.place("\(folder)/line", baud: 115_200))
    func scanned(_ mostNs: Int64) throws -> [FoundUnit] {
      var scan = Scan(session, isPatient: false, patience: ScanPatience(mostNs: mostNs))
      var found: [FoundUnit] = []
      for format in ScanPlan.formats(bauds: [9_600, 19_200], parities: [.none]) {
        try session.reopen(as: format)
        for address in 1...10 {
          guard var unit = try scan.probe(address, format) else { continue }
          scan.identify(&unit)
          scan.fit(&unit, [Self.lamp(3).profile, other.profile])
          found.append(unit)
        }
      }
      return found
    }
    var found: [FoundUnit] = []
    // Who does not wait for long misses somebody where the machine stops, and never finds who is not there.
    let isWhole = try shown(tries: 5) { number in
      found = try scanned(40_000_000 << Int64(number))
      #expect(found.allSatisfy { [3, 9].contains($0.address) && $0.format.baud == 19_200 })
      // What libmodbus's slave says to function 0x11.
      return found.map(\.address) == [3, 9] && found.allSatisfy { $0.report.hasPrefix("LMB") }
        && found[0].fits.first?.kind == "hydrant" && found[1].fits.map(\.kind) == ["meter"]
    }
    #expect(isWhole, "\(found)")
  }

  @Test("Commands to a polled bus are answered between its polls, wake it when it rests, and disturb no value")
  func polled() throws {
    let device = Self.lamp(3)
    let line = try RunningLine([device], paced: true)
    defer { line.end() }
    line.site.set("lamp-3", "power", .number(321))
    var spec = Self.spec(device)
    // Idle for seconds: only a command can wake the thread.
    for index in spec.points.indices { spec.points[index].everyNs = 20_000_000_000 }
    let field = Field(buses: [Self.place(line.link)], devices: [spec])
    let gate: OpaquePointer = kerb_gate_new()
    defer { kerb_gate_free(gate) }
    field.start(storeGate: gate, pseudonymKey: [UInt8](repeating: 1, count: 32), alarmsLeft: [])
    defer { field.stop() }
    let read = LineRequest(CommandFrame.read(unit: 3, .input, address: 2, count: 1), timeoutNs: Patience.ns / 2)
    #expect(eventually { field.device(0).state == .online })
    var took: [Int64] = []
    for _ in 0..<20 {
      let asked = kerb_monotonic_ns()
      let reply = try field.ask(read, bus: 0, until: Instant(nanoseconds: Patience.end))
      #expect(CommandFrame.words(reply.frame, count: 1) == [321])
      took.append(kerb_monotonic_ns() - asked)
    }
    // The machine may stop now and then, and not each time.
    took.sort()
    #expect(took[took.count / 2] < 900_000_000)
    // A slave that holds to the standard has heard no request too early.
    #expect(line.site.counts(line: "line").early == 0)
    let frames = field.frames(0, after: 0)
    #expect(frames.filter { $0.origin == .command && $0.kind == .reply }.count == 20)
    #expect(frames.allSatisfy { $0.kind != .reply || modbusChecksum($0.bytes) == 0 })
    field.stop()
    #expect(throws: LineFailure.notServed) { try field.ask(read, bus: 0, until: .distantFuture) }
  }
}
