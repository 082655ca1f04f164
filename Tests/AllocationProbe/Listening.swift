// The same for a line that is only listened to: what comes goes down the data's way, and into the black box, noise too.

import CLinux
import CMallocCount
import FieldBus
import Glibc
import StreamCore

struct ListeningProbe {
  let name: String
  /// TOML of the device's profile.
  let profile: String
  /// What the device sends, again and again.
  let said: [UInt8]

  static let all = [
    ListeningProbe(
      name: "listening-text",
      profile: """
        frame = { format = "text", end = "\\r\\n", split = "," }
        point = [{ name = "a", read = "field 1", type = "i16" }]
        """, said: Array("42,x\r\n\r\n17\r\n".utf8) + Array(repeating: 0x41, count: 600) + [0x0D, 0x0A]),
    ListeningProbe(
      name: "listening-card",
      profile: """
        frame = { format = "text", end = "\\r\\n", split = "," }
        point = [{ name = "a", read = "field 1", type = "text:12", personal = true }]
        """, said: Array("8675309124,x\r\n".utf8)),
    ListeningProbe(
      name: "listening-binary",
      profile: """
        frame = { format = "binary", start = "AA", size = 4, checksum = { type = "sum8" } }
        point = [{ name = "a", read = "byte 1", type = "u8" }]
        """, said: [1, 2, 0xAA, 3, 4, 0xB1, 0xAA, 9, 9, 9, 0xAA, 0, 0, 0xAA]),
  ]

  /// Allocations on this thread while `wanted` samples came; nil: they did not.
  @MainActor
  func allocations(wanted: Int64) -> Int64? {
    let diagnostics = Diagnostics()
    guard let root = TomlFile.parse("kind = \"k\"\n\(profile)", file: name, into: diagnostics) else { return nil }
    let parsed = ProfileParser.parse(root, id: "k/x", diagnostics: diagnostics)
    var talker: Int32 = -1
    var path = [CChar](repeating: 0, count: 128)
    guard diagnostics.isEmpty, kerb_pty_open(&talker, &path, 128) == 0 else { return nil }
    defer { close(talker) }
    let link = String(decoding: path.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let busSpec = BusSpec(name: "b", place: place, busProtocol: .serial, endpoint: .serialPort(path: link))
    var spec = DeviceSpec(name: "d", place: place, bus: 0, address: 0, profile: "k/x", kind: "k")
    spec.frame = parsed.frame
    spec.points = parsed.points
    let layout = BusLayout(spec: busSpec, bus: 0, devices: [spec], numbering: Numbering(devices: [spec]))
    let memory = UnsafeMutableRawPointer.allocate(byteCount: layout.bytes, alignment: 64)
    defer { memory.deallocate() }
    memset(memory, 0, layout.bytes)
    var arena = Arena(memory: memory, capacityBytes: layout.bytes)
    let channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: 0)
    let board = BusBoard(layout: layout, arena: &arena)
    var loop = ListenLoop(
      layout: layout, path: link, board: board, channel: channel, pseudonymKey: [UInt8](repeating: 7, count: 32),
      alarmsLeft: [], arena: &arena)
    _ = loop.step()
    turn(&loop, board, channel, talker, until: 20)
    kerb_malloc_count_start()
    turn(&loop, board, channel, talker, until: wanted)
    let allocations = kerb_malloc_count_stop()
    // All that was sent is in the black box: frames, and what is none.
    guard board.bus[.good] >= wanted, board.blackBox.newest > wanted else { return nil }
    return Int64(allocations)
  }

  private func turn(
    _ loop: inout ListenLoop, _ board: BusBoard, _ channel: BatchChannel, _ talker: Int32, until wanted: Int64
  ) {
    let deadline = kerb_monotonic_ns() + 600_000_000_000
    while board.bus[.good] < wanted, kerb_monotonic_ns() < deadline {
      said.withUnsafeBufferPointer { _ = write(talker, $0.baseAddress, $0.count) }
      let before = board.bus[.good]
      while board.bus[.good] == before, kerb_monotonic_ns() < deadline {
        let until = Swift.min(loop.step().nanoseconds, kerb_monotonic_ns() + 2_000_000)
        if board.bus[.good] == before { _ = kerb_fd_wait_readable(loop.listensOn, until - kerb_monotonic_ns()) }
      }
      while channel.next() != nil { channel.release() }
    }
  }
}
