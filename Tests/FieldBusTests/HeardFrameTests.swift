import CLinux
import FieldBus
import Glibc
import StreamCore
import Testing

/// A loop that listens on one end of a pty; the test is the device at the other.
private final class ListenRig {
  private var master: Int32 = -1
  private let memory: UnsafeMutableRawPointer
  private let bytes: Int
  let board: BusBoard
  private var loop: ListenLoop

  init(_ profile: Profile) throws {
    var path = [CChar](repeating: 0, count: 128)
    try #require(kerb_pty_open(&master, &path, 128) == 0)
    let slave = String(decoding: path.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let device = frameDevice(profile, address: "")
    let spec = BusSpec(name: "r", place: nowhere, busProtocol: .serial, endpoint: .serialPort(path: slave))
    let layout = BusLayout(spec: spec, bus: 0, devices: [device], numbering: Numbering(devices: [device]))
    bytes = layout.bytes
    memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
    var arena = Arena(memory: memory, capacityBytes: bytes)
    let channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: 0)
    board = BusBoard(layout: layout, arena: &arena)
    loop = ListenLoop(
      layout: layout, path: slave, board: board, channel: channel, pseudonymKey: BusRig.key, alarmsLeft: [],
      arena: &arena)
    _ = loop.step()
  }

  deinit {
    if master >= 0 { close(master) }
    memory.deallocate()
  }

  /// Until the black box has that, the frame of the opening included.
  func hear(_ sent: [UInt8], until isHeard: ([LineFrame]) -> Bool) {
    #expect(write(master, sent, sent.count) == sent.count)
    let deadline = kerb_monotonic_ns() + 20_000_000_000
    while kerb_monotonic_ns() < deadline {
      let until = Swift.min(loop.step().nanoseconds, deadline)
      if isHeard(frames) { return }
      _ = kerb_fd_wait_readable(loop.listensOn, Swift.max(0, until - kerb_monotonic_ns()))
    }
  }

  func unplug() {
    close(master)
    master = -1
    while board.bus[.state] == BusBoard.running { _ = loop.step() }
  }

  var frames: [LineFrame] { board.blackBox.frames(after: 0) }
  var everything: [UInt8] { Array(UnsafeRawBufferPointer(start: memory, count: bytes)) }
}

extension [UInt8] {
  fileprivate func holds(_ other: [UInt8]) -> Bool {
    indices.dropLast(other.count - 1).contains {
      self[$0] == other[0] && Array(self[$0..<($0 + other.count)]) == other
    }
  }
}

@Suite("The black box of a line that is listened to")
struct HeardFrameTests {
  private static let text = """
    frame = { format = "text", end = "\\r\\n", split = "," }
    point = [{ name = "state", read = "field 1", type = "text:8" }, { name = "level", read = "field 2", type = "i16" }]
    """

  @Test("has each line of text with its end and its time, empty ones and what was too long as well")
  func lines() throws {
    let rig = try ListenRig(frameProfile(Self.text))
    let before = kerb_monotonic_ns()
    let long = [UInt8](repeating: 0x41, count: 600)
    rig.hear(Array("OK,7\r\n".utf8), until: { $0.count == 2 })
    rig.hear(Array("\r\n".utf8) + long + Array("\r\nOK,8\r\n".utf8), until: { $0.count == 6 })
    let frames = rig.frames
    try #require(frames.map(\.kind) == [.opened, .reply, .stray, .stray, .stray, .reply])
    #expect(frames.map(\.length) == [0, 6, 2, 513, 89, 6])
    #expect(frames[1].bytes == Array("OK,7\r\n".utf8) && frames[5].bytes == Array("OK,8\r\n".utf8))
    #expect(frames[3].bytes == Array(repeating: 0x41, count: Limits.frameBytesMax))
    #expect(frames.allSatisfy { !$0.isMasked && $0.origin == .line && $0.cause == nil })
    #expect(frames.dropFirst().allSatisfy { $0.at.nanoseconds >= before && $0.at.nanoseconds <= kerb_monotonic_ns() })
    rig.unplug()
    #expect(rig.frames.last?.kind == .lost)
  }

  @Test("shows a text that finds no end, as at a wrong speed; the line is whole if its end comes after all")
  func noEnd() throws {
    let rig = try ListenRig(frameProfile(Self.text))
    rig.hear(Array("OK,".utf8), until: { $0.count == 2 })
    rig.hear(Array("9\r\n".utf8), until: { $0.count == 3 })
    try #require(rig.frames.map(\.kind) == [.opened, .stray, .reply])
    #expect(rig.frames[1].bytes == Array("OK,".utf8) && rig.frames[2].bytes == Array("OK,9\r\n".utf8))
  }

  private static func binary(_ second: UInt8) -> [UInt8] {
    let body: [UInt8] = [0xAA, second, 0x10]
    let sum = modbusChecksum(body)
    return body + [UInt8(truncatingIfNeeded: sum), UInt8(truncatingIfNeeded: sum >> 8)]
  }

  @Test("has binary frames, and apart from them noise and frames whose checksum does not hold")
  func binary() throws {
    let rig = try ListenRig(
      frameProfile(
        """
        frame = { format = "binary", start = "AA", size = 5, checksum = { type = "crc16-modbus" } }
        point = [{ name = "level", read = "byte 1", type = "u8" }]
        """))
    let bad: [UInt8] = [0xAA, 9, 9, 9, 9]
    // A burst of noise, and what only began to be a frame before the device fell silent.
    let noise = [UInt8](repeating: 0x55, count: Limits.frameBytesMax + 10)
    let parts: [[UInt8]] = [[1, 2], Self.binary(3), Self.binary(4), bad, Self.binary(5), noise, [0xAA, 1]]
    let sent = Array(parts.joined())
    rig.hear(sent, until: { $0.count == 8 })
    let frames = rig.frames
    try #require(frames.map(\.kind) == [.opened, .stray, .reply, .reply, .broken, .reply, .stray, .stray])
    #expect(frames.map(\.length) == [0, 2, 5, 5, 5, 5, Limits.frameBytesMax, 12])
    #expect(frames.map(\.cause) == [nil, nil, nil, nil, .checksum, nil, nil, nil])
    #expect(frames[1].bytes == [1, 2] && frames[2].bytes == Self.binary(3) && frames[3].bytes == Self.binary(4))
    #expect(frames[4].bytes == bad && frames[5].bytes == Self.binary(5) && frames[7].bytes.suffix(2) == [0xAA, 1])
    #expect(rig.board.bus[.good] == 3)
  }

  @Test(
    "has zeros of every byte where a point is personal, whatever came: only when, and how many",
    arguments: [
      "frame = { format = \"text\", end = \"\\r\\n\", split = \",\" }\npoint = [{ name = \"direction\", "
        + "read = \"field 1\", type = \"text:4\" }, { name = \"card\", read = \"field 2\", type = \"text:12\", "
        + "personal = true }]",
      "frame = { format = \"binary\", start = \"01\", size = 9 }\npoint = [{ name = \"card\", read = \"byte 1\", "
        + "type = \"u32\", personal = true }]",
    ])
  func personal(_ profile: String) throws {
    let rig = try ListenRig(frameProfile(profile))
    let card = Array("8675309124".utf8)
    // As it should be, torn, without its comma, twice in one, and far too long.
    let end: [UInt8] = [0x0D, 0x0A]
    let endless = Array([[UInt8]](repeating: card, count: 60).joined())
    let parts: [[UInt8]] = [Array("IN,".utf8), card, end, [1], card, card, end, end, endless, end, card]
    let sent = Array(parts.joined())
    rig.hear(sent) { $0.reduce(0) { $0 + $1.length } >= sent.count }
    let heard = rig.frames.dropFirst()
    #expect(heard.count >= 4 && heard.reduce(0) { $0 + $1.length } == sent.count)
    #expect(heard.allSatisfy { $0.isMasked && $0.length > 0 && $0.bytes.allSatisfy { $0 == 0 } })
    // The text's last line waits for its end; what is whole has left nothing behind.
    let before = rig.frames.count
    rig.hear([0x0D, 0x0A]) { $0.count > before }
    let isLeft = rig.everything.holds(card)
    #expect(!isLeft)
  }
}
