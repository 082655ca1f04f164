// The same for frames: the agent's own loop against virtual meters and asked sensors, one line of each kind.

import CLinux
import CMallocCount
import FieldBus
import Glibc
import StreamCore
import VirtualSite

struct FramesProbe {
  let name: String
  /// TOML of the device's profile.
  let profile: String
  var address = "12"

  static let all = [
    FramesProbe(
      name: "dlt645",
      profile: """
        frame = { format = "dlt645" }
        [[point]]
        name = "a"
        read = "di 00010000"
        type = "bcd:4"
        every = "0s"
        [[point]]
        name = "b"
        read = "di 02030000"
        type = "sbcd:3"
        every = "0s"
        """),
    FramesProbe(
      name: "cjt188",
      profile: """
        frame = { format = "cjt188" }
        [[point]]
        name = "a"
        read = "di 901F offset 0 unit 2C"
        type = "bcd:4"
        every = "0s"
        [[point]]
        name = "s"
        read = "di 901F offset 17"
        type = "u8"
        bits = "0..1"
        every = "0s"
        """),
    FramesProbe(
      name: "binary",
      profile: """
        [frame]
        format = "binary"
        start = "AA 55"
        length = { at = 4, adds = 7 }
        checksum = { type = "crc16-modbus" }
        ask = "AA 55 {address} 03 00 {checksum}"
        echo = [2, 3]
        [[point]]
        name = "a"
        read = "byte 5"
        type = "u32"
        every = "0s"
        [[point]]
        name = "card"
        read = "byte 9"
        type = "u32"
        personal = true
        every = "0s"
        """),
    FramesProbe(
      name: "text",
      profile: """
        frame = { format = "text", split = ";", ask = "?{address}\\r\\n" }
        [[point]]
        name = "a"
        read = "key T"
        type = "f32"
        every = "0s"
        [[point]]
        name = "card"
        read = "key C"
        type = "text:12"
        personal = true
        every = "0s"
        """),
  ]

  /// Allocations on this thread while `wanted` samples were read; nil: they did not come.
  @MainActor
  func allocations(wanted: Int64) throws -> Int64? {
    let diagnostics = Diagnostics()
    guard let root = TomlFile.parse("kind = \"k\"\n\(profile)", file: name, into: diagnostics) else { return nil }
    let parsed = ProfileParser.parse(root, id: "k/x", diagnostics: diagnostics)
    guard diagnostics.isEmpty, let frame = parsed.frame else { return nil }
    let link = "/tmp/kerb-probe-\(name)-\(getpid())"
    var device = SiteDevice(name: "d", address: Int(address) ?? 0, profile: parsed)
    let bytes = frame.format == .dlt645 ? MeterAddress.dlt645Bytes : MeterAddress.cjt188Bytes
    if frame.isMeter { device.meterAddress = MeterAddress(address, bytes: bytes) }
    device.signals["a"] = Signal(.walk(low: 0, high: 60_000, periodNs: 1_000_000_000))
    device.signals["card"] = Signal(.sequence([.text("1234567"), .text("7654321")], everyNs: 20_000_000))
    let line = SiteLine(name: "l", busProtocol: frame.busProtocol, end: .link(path: link), paced: false)
    let site = try VirtualSite(SiteSpec(lines: [line], devices: [device]))
    try site.start()
    defer { site.stop() }

    let busSpec = BusSpec(name: "b", place: place, busProtocol: frame.busProtocol, endpoint: .serialPort(path: link))
    var spec = DeviceSpec(name: "d", place: place, bus: 0, address: device.address, profile: "k/x", kind: "k")
    spec.meterAddress = device.meterAddress
    spec.frame = frame
    spec.points = parsed.points
    let layout = BusLayout(spec: busSpec, bus: 0, devices: [spec], numbering: Numbering(devices: [spec]))
    let memory = UnsafeMutableRawPointer.allocate(byteCount: layout.bytes + 8_192, alignment: 64)
    defer { memory.deallocate() }
    memset(memory, 0, layout.bytes + 8_192)
    var arena = Arena(memory: memory, capacityBytes: layout.bytes + 8_192)
    let channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: 0)
    let board = BusBoard(layout: layout, arena: &arena)
    var loop = AskLoop(
      layout: layout, port: TextPort(path: link, format: busSpec.format, writes: true), board: board, channel: channel,
      pseudonymKey: [UInt8](repeating: 7, count: 32), alarmsLeft: [], arena: &arena)
    loop.start()
    let deadline = kerb_monotonic_ns() + 600_000_000_000
    var samples = Self.turn(&loop, channel, until: 20, deadline)
    kerb_malloc_count_start()
    samples = Self.turn(&loop, channel, until: wanted, deadline)
    let allocations = kerb_malloc_count_stop()
    return samples >= wanted ? Int64(allocations) : nil
  }

  private static func turn(
    _ loop: inout AskLoop<TextPort>, _ channel: BatchChannel, until wanted: Int64, _ deadline: Int64
  ) -> Int64 {
    var samples: Int64 = 0
    while samples < wanted, kerb_monotonic_ns() < deadline {
      let until = loop.step()
      while let batch = channel.next() {
        samples += Int64(batch.sampleCount)
        channel.release()
      }
      let waitNs = until.nanoseconds - kerb_monotonic_ns()
      if waitNs > 0 { _ = kerb_poll_until(nil, 0, kerb_monotonic_ns() + Swift.min(waitNs, 2_000_000)) }
    }
    return samples
  }
}
