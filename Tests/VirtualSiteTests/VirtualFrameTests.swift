import CLinux
import FieldBus
import Glibc
import StreamCore
import TestSupport
import Testing
import VirtualSite

private func parsed(_ text: String) -> Profile {
  let diagnostics = Diagnostics()
  guard let root = TomlFile.parse("kind = \"k\"\n\(text)", file: "p", into: diagnostics) else {
    return Profile(id: "k/x", kind: "k")
  }
  let profile = ProfileParser.parse(root, id: "k/x", diagnostics: diagnostics)
  #expect(diagnostics.all.map(\.text) == [])
  return profile
}

private func virtual(_ profile: Profile, address: String, name: String = "d") -> SiteDevice {
  var device = SiteDevice(name: name, address: Int(address) ?? 0, profile: profile)
  switch profile.frame?.busProtocol {
  case .dlt645: device.meterAddress = MeterAddress(address, bytes: MeterAddress.dlt645Bytes)
  case .cjt188: device.meterAddress = MeterAddress(address, bytes: MeterAddress.cjt188Bytes)
  default: break
  }
  return device
}

@Suite("A virtual device with frames")
struct VirtualFrameTests {
  private static let meter = """
    frame = { format = "dlt645" }
    point = [{ name = "e", read = "di 00010000", type = "bcd:4" }]
    """

  private static func exchanges() throws -> [WireExchange] {
    try ["dlt645.wire", "cjt188.wire", "serial.wire"].flatMap { try WireExchange.all(in: $0) }.filter(\.isBothWays)
  }

  @Test(
    "answers a published question byte for byte as the published device did",
    arguments: try VirtualFrameTests.exchanges())
  func replay(_ exchange: WireExchange) throws {
    let profile = parsed(exchange.profile)
    let device = virtual(profile, address: exchange.address)
    let line = try RunningLine([device], busProtocol: profile.frame?.busProtocol ?? .serial)
    defer { line.end() }
    if exchange.failure.isEmpty {
      for (name, value) in exchange.values {
        #expect(line.site.set("d", name, .raw(try #require(Int64(value)))))
      }
    } else {
      line.site.inject("d", Fault(.exception(2)))
    }
    let master = try #require(Master(link: line.link))
    master.send(exchange.sent)
    let preamble = profile.frame?.isMeter == true ? 4 : 0
    let wanted = Array(exchange.received.drop { $0 == MeterAddress.preambleByte && preamble > 0 })
    let got = master.bytes(preamble + wanted.count)
    #expect(got.prefix(preamble).allSatisfy { $0 == MeterAddress.preambleByte })
    #expect(WireExchange.hex(Array(got.dropFirst(preamble))) == WireExchange.hex(wanted))
  }

  @Test("hears only what is addressed to it, whole and right")
  func deaf() throws {
    let profile = parsed(Self.meter)
    let line = try RunningLine([virtual(profile, address: "000102030425")], busProtocol: .dlt645)
    defer { line.end() }
    let master = try #require(Master(link: line.link))
    let right = WireExchange.bytes("68 25 04 03 02 01 00 68 11 04 33 33 34 33 E1 16")
    var wrongSum = right
    wrongSum[14] ^= 1
    var other = right
    other[1] = 0x26
    other[14] = 0xE2
    for (number, bytes) in [wrongSum, other, Array(right.dropLast())].enumerated() {
      master.send(bytes)
      #expect(eventually { line.site.counts(line: "line").foreign == number + 1 })
      #expect(master.bytes(1, withinMs: 100).isEmpty)
    }
    master.send(right)
    #expect(master.bytes(24).count == 24)
    #expect(line.site.counts(line: "line").foreign == 3)
  }
}

/// The agent's own loop on one end of a real pty, a virtual meter with a fault on the other.
@Suite("The agent on a line of frames", .serialized)
struct AgentOnFramesTests {
  private final class Rig<Loop: BusWork & ~Copyable> {
    let memory: UnsafeMutableRawPointer
    let board: BusBoard
    let channel: BatchChannel
    var loop: Loop
    var good: [UInt16: [Int64]] = [:]

    init(_ spec: BusSpec, _ devices: [DeviceSpec], _ make: (BusLayout, BusBoard, BatchChannel, inout Arena) -> Loop) {
      let layout = BusLayout(spec: spec, bus: 0, devices: devices, numbering: Numbering(devices: devices))
      let bytes = layout.bytes + 8_192
      memory = .allocate(byteCount: bytes, alignment: 64)
      memset(memory, 0, bytes)
      var arena = Arena(memory: memory, capacityBytes: bytes)
      channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: 0)
      board = BusBoard(layout: layout, arena: &arena)
      loop = make(layout, board, channel, &arena)
      loop.start()
    }

    deinit { memory.deallocate() }

    var goodCount: Int { good.values.reduce(0) { $0 + $1.count } }

    func run(atMostMs: Int64, until isDone: (Rig) -> Bool = { _ in false }) {
      let deadline = kerb_monotonic_ns() + atMostMs * 1_000_000
      while kerb_monotonic_ns() < deadline, !isDone(self) {
        let until = loop.step()
        loop.handOver()
        while let batch = channel.next() {
          for index in 0..<batch.sampleCount where batch.sample(index).quality == .good {
            good[batch.sample(index).series, default: []].append(batch.sample(index).raw)
          }
          channel.release()
        }
        _ = waitForInput([loop.listensOn], until: Swift.min(until.nanoseconds, deadline))
      }
    }
  }

  private static func spec(_ link: String, _ busProtocol: BusProtocol, _ format: LineFormat) -> BusSpec {
    var spec = BusSpec(name: "b", place: .inCode, busProtocol: busProtocol, endpoint: .serialPort(path: link))
    spec.format = format
    return spec
  }

  private static func asked(_ spec: BusSpec, _ devices: [DeviceSpec]) -> Rig<AskLoop<TextPort>> {
    Rig(spec, devices) { layout, board, channel, arena in
      AskLoop(
        layout: layout, port: TextPort(path: layout.spec.serialPath, format: layout.spec.format, writes: true),
        board: board,
        channel: channel, pseudonymKey: [UInt8](repeating: 0, count: 32), alarmsLeft: [], arena: &arena)
    }
  }

  private static func device(_ site: SiteDevice) -> DeviceSpec {
    var spec = DeviceSpec(name: site.name, place: .inCode, bus: 0, address: site.address, profile: "", kind: "k")
    spec.frame = site.profile.frame
    spec.meterAddress = site.meterAddress
    spec.points = site.profile.points
    return spec
  }

  private static func shipped(_ id: String) throws -> Profile {
    let diagnostics = Diagnostics()
    let library = ProfileLibrary(searchPaths: ["\(packageRoot)/profiles"])
    return try #require(library.load(id, place: .inCode, key: "", into: diagnostics))
  }

  @Test(
    "reads every value of a shipped profile at the line's own pace",
    arguments: [
      ("electricity-meter/dlt645-generic", "202301234567"), ("water-meter/cjt188-generic", "78330011223344"),
      ("heat-meter/cjt188-generic", "00740012064713"), ("level-sensor/binary-generic", "17"),
    ])
  func shipped(_ id: String, _ address: String) throws {
    var profile = try Self.shipped(id)
    for index in profile.points.indices { profile.points[index].range = nil }
    let isMeter = profile.frame?.isMeter == true
    let format = isMeter ? LineFormat(baud: 2_400, parity: .even) : LineFormat()
    let folder = temporaryFolder()
    var line = SiteLine(
      name: "line", busProtocol: profile.frame?.busProtocol ?? .serial, end: .link(path: folder + "/line"),
      format: format)
    line.turnaroundNs = 20_000_000
    let device = virtual(profile, address: address)
    let site = try VirtualSite(SiteSpec(lines: [line], devices: [device]))
    try site.start()
    defer {
      site.stop()
      rmdir(folder)
    }
    // Another one for each, so that none can be taken for another.
    for (index, point) in profile.points.enumerated() where point.bits == nil {
      site.set("d", point.name, .raw(Int64(index + 1) * 11))
    }
    let rig = Self.asked(Self.spec(folder + "/line", line.busProtocol, format), [Self.device(device)])
    rig.run(atMostMs: Patience.ms) { $0.good.count == profile.points.count }
    for (index, point) in profile.points.enumerated() {
      let values = Set(rig.good[UInt16(index)] ?? [])
      if point.bits == nil {
        #expect(values == [Int64(index + 1) * 11], "\(point.name)")
      } else {
        #expect(!values.isEmpty, "\(point.name)")
      }
    }
    #expect(rig.board.bus[.good] == rig.board.bus[.transactions])
    #expect(site.counts(line: "line").early == 0)
  }

  @Test("hears what a weather station says, key by key")
  func weather() throws {
    let profile = try Self.shipped("weather-station/text-generic")
    var station = virtual(profile, address: "")
    station.speaksEveryNs = 100_000_000
    station.signals = [
      "temperature": Signal(.constant(.number(21.5))), "humidity": Signal(.constant(.number(40))),
      "wind_speed": Signal(.constant(.number(3.25))), "wind_direction": Signal(.constant(.number(270))),
    ]
    let line = try RunningLine([station], busProtocol: .serial)
    defer { line.end() }
    let rig = Rig(Self.spec(line.link, .serial, LineFormat()), [Self.device(station)]) {
      layout, board, channel, arena in
      ListenLoop(
        layout: layout, path: layout.spec.serialPath, board: board, channel: channel,
        pseudonymKey: [UInt8](repeating: 0, count: 32), alarmsLeft: [], arena: &arena)
    }
    rig.run(atMostMs: Patience.ms) { $0.goodCount >= 8 }
    #expect(rig.good[0]?.last == Int64(Float(21.5).bitPattern))
    #expect(rig.good[2]?.last == Int64(Float(3.25).bitPattern))
    #expect(rig.good[3]?.last == 270)
  }

  @Test("hears binary frames that a device sends on its own, and comes to itself behind half of one")
  func binary() throws {
    let profile = parsed(
      """
      [frame]
      format = "binary"
      start = "42 4D"
      length = { at = 2, type = "u16", adds = 4 }
      checksum = { type = "crc16-ccitt" }
      [[point]]
      name = "pm25"
      read = "byte 4"
      type = "u16"
      [[point]]
      name = "pm10"
      read = "byte 6"
      type = "u16"
      """)
    let sensor = virtual(profile, address: "")
    let line = try RunningLine([sensor], busProtocol: .serial)
    defer { line.end() }
    let rig = Rig(Self.spec(line.link, .serial, LineFormat()), [Self.device(sensor)]) { layout, board, channel, arena in
      ListenLoop(
        layout: layout, path: layout.spec.serialPath, board: board, channel: channel,
        pseudonymKey: [UInt8](repeating: 0, count: 32), alarmsLeft: [], arena: &arena)
    }
    rig.run(atMostMs: 200)
    // Said until it is heard: where a busy device has not seen yet that somebody listens, it is lost.
    let isHeard = shown(tries: 100) { _ in
      #expect(line.site.set("d", "pm25", .raw(17)))
      rig.run(atMostMs: 600) { $0.good[0]?.last == 17 }
      return rig.good[0]?.last == 17
    }
    #expect(isHeard)
    line.site.speak("d", [0x42, 0x4D, 0x00, 0x20, 1, 2, 3])
    rig.run(atMostMs: 400)
    #expect(line.site.set("d", "pm25", .raw(18)))
    rig.run(atMostMs: Patience.ms) { $0.good[0]?.last == 18 }
    #expect(rig.good[0]?.drop { $0 == 17 } == [18])
  }

  @Test(
    "no wrong value is good while a meter's fault lasts, and all is well behind it",
    arguments: ["meter", "sensor"],
    [
      Fault.Kind.late(ns: 90_000_000), .late(ns: 130_000_000), .wrongUnit, .dripping(ns: 25_000_000),
      .truncated(bytes: 4),
      .corrupted, .wrongFunction, .wrongCount, .echo, .noise, .silent, .alternate,
    ])
  func fault(_ what: String, _ kind: Fault.Kind) throws {
    let profile = parsed(what == "meter" ? Self.meter : Self.sensor)
    var devices = ["11", "12"].map { virtual(profile, address: $0, name: $0) }
    // Each value moves within a band of its own, whatever is read when.
    for number in 0..<2 {
      for (index, point) in profile.points.enumerated() {
        let low = Double(1_000 * (2 * number + index + 1))
        devices[number].signals[point.name] = Signal(.walk(low: low, high: low + 900, periodNs: 200_000_000))
      }
    }
    let line = try RunningLine(devices, busProtocol: profile.frame?.busProtocol ?? .serial)
    defer { line.end() }
    var spec = Self.spec(line.link, profile.frame?.busProtocol ?? .serial, LineFormat())
    spec.responseTimeoutNs = 60_000_000
    let rig = Self.asked(spec, devices.map(Self.device))
    rig.run(atMostMs: Patience.ms) { $0.goodCount >= 10 }
    line.site.inject("11", Fault(kind))
    rig.run(atMostMs: 500)
    line.site.inject("11", nil)
    let before = rig.goodCount
    rig.run(atMostMs: Patience.ms) { $0.goodCount >= before + 10 && $0.board.device(0)[.state] == BusBoard.online }
    #expect(rig.goodCount >= before + 10)
    #expect(rig.board.device(0)[.state] == BusBoard.online)
    for (series, values) in rig.good {
      let low = 1_000 * (Int64(series) + 1)
      #expect(values.allSatisfy { (low...(low + 900)).contains($0) }, "\(series)")
    }
  }

  private static let meter = """
    frame = { format = "dlt645" }
    [[point]]
    name = "a"
    read = "di 00010000"
    type = "bcd:4"
    every = "0s"
    [[point]]
    name = "b"
    read = "di 00020000"
    type = "bcd:4"
    every = "0s"
    """
  private static let sensor = """
    [frame]
    format = "binary"
    start = "AA 55"
    length = { at = 4, adds = 7 }
    checksum = { type = "crc16-modbus" }
    echo = [2, 3]
    [[point]]
    name = "a"
    read = "byte 5"
    ask = "AA 55 {address} 03 00 {checksum}"
    every = "0s"
    [[point]]
    name = "b"
    read = "byte 5"
    ask = "AA 55 {address} 04 00 {checksum}"
    every = "0s"
    """
}

extension BusSpec {
  fileprivate var serialPath: String { if case .serialPort(let path) = endpoint { path } else { "" } }
}
