import CLinux
import FieldBus
import Glibc
import StreamCore
import TestSupport
import Testing
import VirtualSite

/// Points and meters read by a person, against virtual meters on real ptys: through a bus that is being asked,
/// and on a line of one's own.
@Suite("Commands on a line of meters", .serialized)
struct MeterToolTests {
  private static let electric = """
    frame = { format = "dlt645" }
    point = [
      { name = "energy", read = "di 00010000", type = "bcd:4", scale = 0.01, every = "20s", range = [0, 900000] },
      { name = "volts", read = "di 02010100", type = "bcd:2", scale = 0.1, every = "20s", range = [100, 300] },
      { name = "meter_no", read = "di 04000402", type = "bcd:6", every = "20s", personal = true },
      { name = "meter_check", read = "di 04000402 offset 5", type = "bcd:1", every = "20s" },
    ]
    """
  private static let water = """
    frame = { format = "cjt188" }
    point = [{ name = "volume", read = "di 901F offset 0 unit 2C", type = "bcd:4", scale = 0.01, every = "20s" }]
    """

  private static func profile(_ text: String, _ id: String) -> Profile {
    let diagnostics = Diagnostics()
    guard let root = TomlFile.parse("kind = \"k\"\n\(text)", file: id, into: diagnostics) else {
      return Profile(id: id, kind: "k")
    }
    let profile = ProfileParser.parse(root, id: id, diagnostics: diagnostics)
    #expect(diagnostics.all.map(\.text) == [])
    return profile
  }

  private static func meter(_ address: String, _ text: String = electric, name: String = "m") -> SiteDevice {
    var device = SiteDevice(name: name, address: 0, profile: profile(text, "k/\(name)"))
    let bytes = device.profile.frame?.format == .dlt645 ? MeterAddress.dlt645Bytes : MeterAddress.cjt188Bytes
    device.meterAddress = MeterAddress(address, bytes: bytes)
    device.signals["energy"] = Signal(.constant(.number(1234.56)))
    device.signals["volts"] = Signal(.constant(.number(231.4)))
    device.signals["volume"] = Signal(.constant(.number(77.5)))
    return device
  }

  private static func configured(_ site: SiteDevice) -> DeviceSpec {
    var spec = DeviceSpec(name: site.name, place: .inCode, bus: 0, address: 0, profile: "", kind: "k")
    spec.frame = site.profile.frame
    spec.meterAddress = site.meterAddress
    spec.points = site.profile.points
    return spec
  }

  private static func bus(_ link: String, _ busProtocol: BusProtocol) -> BusSpec {
    BusSpec(name: "b", place: .inCode, busProtocol: busProtocol, endpoint: .serialPort(path: link))
  }

  /// A running bus, or a line of one's own, on the same virtual line.
  private static func withLine(
    _ meters: [SiteDevice], live: Bool, configured: [SiteDevice]? = nil, _ body: (AnyLine, RunningLine) throws -> Void
  ) throws {
    let busProtocol = meters[0].profile.frame?.busProtocol ?? .dlt645
    let line = try RunningLine(meters, busProtocol: busProtocol)
    defer { line.end() }
    let devices = (configured ?? meters).map(Self.configured)
    guard live else {
      let session = try FrameSession(bus(line.link, busProtocol), devices: devices)
      return try body(AnyLine { request throws(LineFailure) in try session.ask(request) }, line)
    }
    let field = Field(buses: [bus(line.link, busProtocol)], devices: devices)
    let gate: OpaquePointer = kerb_gate_new()
    defer { kerb_gate_free(gate) }
    field.start(storeGate: gate, pseudonymKey: [UInt8](repeating: 1, count: 32), alarmsLeft: [])
    defer { field.stop() }
    #expect(eventually { field.bus(0).state == .running })
    try body(
      AnyLine { request throws(LineFailure) in
        try field.ask(request, bus: 0, until: Instant(nanoseconds: Patience.end))
      }, line)
  }

  struct AnyLine: AskableLine {
    let body: (LineRequest) throws(LineFailure) -> LineReply
    func ask(_ request: LineRequest) throws(LineFailure) -> LineReply { try body(request) }
  }

  private static func point(_ name: String, of device: SiteDevice) throws -> PointSpec {
    try #require(device.profile.points.first { $0.name == name })
  }

  private static func problem<Line: AskableLine>(_ access: PointAccess<Line>, write: String? = nil) -> PointProblem? {
    do throws(PointProblem) {
      if let write { _ = try access.write(write) } else { _ = try access.read() }
      return nil
    } catch { return error }
  }

  @Test(
    "A point is read as the polls read it, with and without an agent; none is written, none personal is shown",
    arguments: [true, false])
  func read(live: Bool) throws {
    let meters = [Self.meter("202301234567", name: "one"), Self.meter("202301234599", name: "two")]
    try Self.withLine(meters, live: live) { line, running in
      running.site.set("two", "volts", .number(229.9))
      for (number, volts) in [(0, 2_314), (1, 2_299)] as [(Int, Int64)] {
        func access(_ name: String) throws -> PointAccess<AnyLine> {
          PointAccess(
            line, device: Self.configured(meters[number]), number: number,
            point: try Self.point(name, of: meters[number]),
            timeoutNs: Patience.ns / 2)
        }
        let reading = try access("volts").read()
        #expect(reading.raw == volts && reading.quality == .good)
        #expect(reading.bytes.count == 2 && reading.words.isEmpty)
        #expect(try access("energy").read().bytes == [0x56, 0x34, 0x12, 0x00])
        #expect(Self.problem(try access("meter_no")) == .personal)
        #expect(Self.problem(try access("meter_check")) == .personalReply("meter_no"))
        #expect(Self.problem(try access("volts"), write: "1") == .onlyRead)
        #expect(Self.problem(try access("meter_no"), write: "1") == .personal)
      }
      running.site.inject("one", Fault(.silent))
      func access(timeoutNs: Int64) throws -> PointAccess<AnyLine> {
        PointAccess(
          line, device: Self.configured(meters[0]), number: 0, point: try Self.point("volts", of: meters[0]),
          timeoutNs: timeoutNs)
      }
      #expect(Self.problem(try access(timeoutNs: 100_000_000)) == .line(.noReply))
      running.site.inject("one", nil)
      #expect(Self.problem(try access(timeoutNs: Patience.ns / 2)) == nil)
      running.site.inject("one", Fault(.exception(2)))
      #expect(Self.problem(try access(timeoutNs: Patience.ns / 2)) == .line(.refused(2)))
    }
  }

  @Test("Points of text and of binary frames are read by their own questions", arguments: [true, false])
  func profiles(live: Bool) throws {
    let text = """
      frame = { format = "text", split = ",", ask = "#{address:02}\\r\\n" }
      point = [{ name = "a", read = "field 2", type = "f32", every = "20s" },
               { name = "b", read = "field 3", type = "f32", every = "20s" }]
      """
    var device = SiteDevice(name: "t", address: 7, profile: Self.profile(text, "k/t"))
    device.signals["b"] = Signal(.constant(.number(21.5)))
    try Self.withLine([device], live: live) { line, _ in
      var spec = Self.configured(device)
      spec.address = 7
      let access = PointAccess(line, device: spec, number: 0, point: spec.points[1], timeoutNs: Patience.ns / 2)
      let reading = try access.read()
      #expect(reading.bytes == Array("21.5".utf8))
      #expect(Float(bitPattern: UInt32(truncatingIfNeeded: reading.raw)) == 21.5)
    }
  }

  @Test(
    "A data item of a meter that nobody has configured is read, and asked for its address", arguments: [true, false])
  func item(live: Bool) throws {
    let stranger = Self.meter("000000004711", name: "stranger")
    try Self.withLine([stranger, Self.meter("202301234567")], live: live, configured: []) { line, _ in
      let address = try #require(MeterAddress("4711", bytes: 6))
      let question = DLT645.question(address, 0x0201_0100)
      let reply = try line.ask(LineRequest([0xFE, 0xFE] + question, timeoutNs: Patience.ns / 2))
      #expect(FrameReading.data(of: reply.frame, asked: question, .dlt645) == [0x14, 0x23])
      #expect(MeterQuestion([0xFE, 0xFE] + question, .dlt645)?.identifier == 0x0201_0100)
      #expect(MeterQuestion(question, .dlt645)?.address == address)
      #expect(throws: LineFailure.refused(2)) {
        try line.ask(LineRequest(DLT645.question(address, 0x0201_0101), timeoutNs: Patience.ns / 2))
      }
      // Two answer at once: that is nobody's answer.
      #expect(throws: LineFailure.self) {
        try line.ask(LineRequest(DLT645.addressQuestion(.any(6)), timeoutNs: 300_000_000))
      }
    }
  }

  private static func search(_ line: AnyLine, _ busProtocol: BusProtocol, thinkNs: Int64 = 8_000_000) throws -> (
    found: [FoundUnit], isCrowded: Bool, asked: Int
  ) {
    var asked = 0
    var scan = MeterScan(line, busProtocol, format: LineFormat(), thinkNs: thinkNs, isPatient: false) {
      asked = $0.asked
    }
    let found = try scan.find().map { unit in
      var unit = unit
      scan.fit(&unit, [profile(electric, "k/electric"), profile(water, "k/water")])
      return unit
    }
    return (found, scan.isCrowded, asked)
  }

  @Test("A meter that is alone is found with one question, and its profile known", arguments: [true, false])
  func alone(live: Bool) throws {
    // Who does not wait for long hears nobody where the machine stops, and nobody who is not there.
    try Self.withLine([Self.meter("202301234567")], live: live, configured: []) { line, _ in
      let isFound = try shown(tries: 5) { number in
        let (found, isCrowded, asked) = try Self.search(line, .dlt645, thinkNs: 200_000_000 << Int64(number))
        #expect(found.allSatisfy { $0.addressText == "202301234567" })
        return found.count == 1 && !isCrowded && asked == 1 && found[0].fits.map(\.profile) == ["k/electric"]
          && found[0].fits[0].confidence > 0.5
      }
      #expect(isFound)
    }
    try Self.withLine([Self.meter("78330011223344", Self.water)], live: live, configured: []) { line, _ in
      let isFound = try shown(tries: 5) { number in
        let (found, isCrowded, _) = try Self.search(line, .cjt188, thinkNs: 200_000_000 << Int64(number))
        #expect(found.allSatisfy { $0.addressText == "78330011223344" && $0.meterType == 0x10 })
        return found.count == 1 && !isCrowded && found[0].fits.map(\.profile) == ["k/water"]
      }
      #expect(isFound)
    }
  }

  @Test("Several meters whose answers collide are told apart two digits at a time")
  func several() throws {
    let addresses = ["202301234567", "202301231967", "000000000042"]
    let meters = addresses.compactMap { MeterAddress($0, bytes: 6) }
    let line = AnyLine { request throws(LineFailure) in
      guard let question = MeterQuestion(request.frame, .dlt645) else { throw .notPossible }
      let fitting = meters.filter { $0.matches(question.address) }
      guard let meter = fitting.first else { throw .noReply }
      if fitting.count > 1 { throw .corrupt(.checksum) }
      return LineReply(frame: [DLT645.start] + (0..<6).map { meter[$0] } + [DLT645.start], tookNs: 1)
    }
    let (found, isCrowded, asked) = try Self.search(line, .dlt645)
    #expect(found.map(\.addressText) == ["000000000042", "202301231967", "202301234567"] && !isCrowded)
    // The open question, a hundred, and a hundred below «67».
    #expect(asked == 201)
    let waters = ["78330011223346", "78330011223319"].map { Self.meter($0, Self.water, name: $0) }
    try Self.withLine(waters, live: false) { line, _ in
      let (found, isCrowded, _) = try Self.search(line, .cjt188, thinkNs: 2_000_000_000)
      #expect(found.isEmpty && isCrowded)
    }
  }

  @Test("Where nobody is, nobody is found, and what the search costs is known before")
  func nobody() throws {
    try Self.withLine([Self.meter("1")], live: false) { line, running in
      running.site.inject("m", Fault(.silent))
      let longest = MeterScan<AnyLine>.longestNs(.dlt645, formats: [LineFormat()], thinkNs: 30_000_000)
      // The machine may stop for a while, and not each time.
      let isInTime = try shown(tries: 10) { _ in
        let started = kerb_monotonic_ns()
        let (found, isCrowded, asked) = try Self.search(line, .dlt645, thinkNs: 30_000_000)
        #expect(found.isEmpty && !isCrowded && asked == 2)
        return kerb_monotonic_ns() - started < 2 * longest + 100_000_000
      }
      #expect(isInTime)
    }
  }
}
