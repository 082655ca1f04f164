// What the demo's community hands to its store: its devices' own signals, polled by the agent's own loop
// and put through its own pipeline, on a line that carries its own clock. A day takes seconds.

import FieldBus
import StreamCore
import VirtualSite

/// A line whose requests and replies take their time on a clock of its own.
struct TimedLine: Port, ~Copyable {
  var nowNs: Int64 = 0
  private let bus: BusSpec
  private let names: [Int: String]
  private let site: VirtualSite
  private var random = SystemlessRandom(state: 7)

  init(bus: BusSpec, names: [Int: String], site: VirtualSite) {
    self.bus = bus
    self.names = names
    self.site = site
  }

  var now: Instant { Instant(nanoseconds: nowNs) }
  var frame: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: nil, count: 0) }
  mutating func open() throws(PortFailure) {}
  mutating func close() {}
  mutating func drain() throws(ReadFailure) -> Int { 0 }
  mutating func reopen(as format: LineFormat) throws(PortFailure) {}

  mutating func exchange(
    _ request: UnsafeBufferPointer<UInt8>, timeoutNs: Int64, into reply: UnsafeMutablePointer<UInt8>
  ) throws(ReadFailure) -> Int { throw .noReply }

  mutating func read(
    unit: Int, table: RegisterTable, address: Int, count: Int, timeoutNs: Int64,
    into words: UnsafeMutablePointer<UInt16>
  ) throws(ReadFailure) {
    // The virtual site replies at once; the scheduler adds its part, as in `kerb demo`.
    nowNs += PollPlan.wireNs(count: count, table: table, on: bus) + Int64(random.next() % 600_000)
    let found = site.registers(names[unit] ?? "", table, address, count: count, atNs: nowNs)
    guard found.count == count else { throw .noReply }
    for (index, word) in found.enumerated() { words[index] = word }
  }
}

/// SplitMix64.
struct SystemlessRandom {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

struct DemoData {
  var samples: [Sample] = []
  /// By sample: the bus it came from.
  var sources: [UInt8] = []
  var seriesCount = 0
  var seconds = 0

  /// The devices of `kerb demo`, on each of its two buses.
  private static let street = [
    ("manhole", "manhole-cover", 3), ("streetlight", "streetlight", 3), ("hydrant", "hydrant", 2),
    ("smoke", "smoke-detector", 2), ("elevator", "elevator", 1), ("gate", "access-gate", 1),
  ]

  init(profiles: String, seconds: Int) throws {
    self.seconds = seconds
    let library = ProfileLibrary(searchPaths: [profiles])
    let diagnostics = Diagnostics()
    var siteDevices: [SiteDevice] = []
    var specs: [DeviceSpec] = []
    var names: [[Int: String]] = [[:], [:]]
    for line in 0..<2 {
      var address = 1
      for (name, kind, count) in Self.street {
        for _ in 0..<count {
          let full = "\(name)-\(line)-\(address)"
          guard let profile = library.load("\(kind)/generic", place: .inCode, key: "", into: diagnostics) else {
            preconditionFailure("no profile \(kind)/generic in \(profiles)")
          }
          siteDevices.append(SiteDevice(name: full, line: line, address: address, profile: profile))
          var device = DeviceSpec(
            name: full, place: .inCode, bus: line, address: address, profile: profile.id, kind: kind)
          device.points = profile.points
          device.alarms = profile.alarms
          specs.append(device)
          names[line][address] = full
          address += 1
        }
      }
    }
    let site = try VirtualSite(
      SiteSpec(
        lines: (0..<2).map { SiteLine(name: "l\($0)", end: .link(path: "unused")) }, devices: siteDevices,
        seed: 20_260_101))
    let numbering = Numbering(devices: specs)
    seriesCount = numbering.seriesCount
    var parts: [[(at: Int64, bus: Int, samples: [Sample])]] = []
    for line in 0..<2 {
      let spec = BusSpec(
        name: "l\(line)", place: .inCode, busProtocol: .modbusRTU, endpoint: .serialPort(path: "unused"))
      parts.append(
        Self.run(
          BusLayout(spec: spec, bus: line, devices: specs, numbering: numbering), bus: line,
          TimedLine(bus: spec, names: names[line], site: site), seconds: seconds))
    }
    // As they would come to the store: batch by batch, by the time at which each was handed over.
    let merged = (parts[0] + parts[1]).enumerated().sorted { ($0.element.at, $0.offset) < ($1.element.at, $1.offset) }
    for part in merged {
      samples += part.element.samples
      sources += [UInt8](repeating: UInt8(part.element.bus), count: part.element.samples.count)
    }
  }

  private static func run(
    _ layout: BusLayout, bus: Int, _ line: consuming TimedLine, seconds: Int
  ) -> [(at: Int64, bus: Int, samples: [Sample])] {
    let bytes = layout.bytes + 8_192
    let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
    defer { memory.deallocate() }
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
    var arena = Arena(memory: memory, capacityBytes: bytes)
    let channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: 0)
    let board = BusBoard(layout: layout, arena: &arena)
    var loop = BusLoop(
      layout: layout, port: line, board: board, channel: channel, pseudonymKey: [UInt8](repeating: 1, count: 32),
      alarmsLeft: [], arena: &arena)
    loop.start()
    let end = Int64(seconds) * 1_000_000_000
    var parts: [(at: Int64, bus: Int, samples: [Sample])] = []
    while loop.port.nowNs < end {
      let until = loop.step().nanoseconds
      if until > loop.port.nowNs { loop.port.nowNs = min(until, end) }
      while let batch = channel.next() {
        parts.append((loop.port.nowNs, bus, (0..<batch.sampleCount).map { batch.sample($0) }.filter { !$0.hasText }))
        channel.release()
      }
    }
    return parts
  }
}
