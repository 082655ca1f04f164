import CLinux
import FieldBus
import Glibc
import StreamCore
import Testing

@Suite struct LineSplitterTests {
  private func lines(_ bytes: [UInt8], split: UInt8? = 0x2C, end: [UInt8] = [0x0D, 0x0A]) -> [[String?]] {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 4_096, alignment: 64)
    defer { memory.deallocate() }
    var arena = Arena(memory: memory, capacityBytes: 4_096)
    var splitter = LineSplitter(frame: TextFrame(end: end, split: split), arena: &arena)
    var result: [[String?]] = []
    for byte in bytes where splitter.take(byte) {
      result.append((1...3).map { splitter.field($0).map { String(decoding: $0, as: UTF8.self) } })
      splitter.clear()
    }
    return result
  }

  @Test("lines and fields come out as they were sent")
  func fields() {
    #expect(
      lines(Array("CARD, 0012 ,IN\r\nX\r\n,\r\n".utf8)) == [
        ["CARD", "0012", "IN"], ["X", nil, nil], ["", "", nil],
      ])
    #expect(lines(Array("a,b\n".utf8), split: nil, end: [0x0A]) == [["a,b", nil, nil]])
  }

  @Test("empty lines, noise and overlong lines disturb nothing that follows")
  func noise() {
    var bytes = [UInt8](repeating: 0x41, count: 3_000)
    bytes += Array("\r\n\r\nOK,1\r\n\rB\r\n".utf8)
    #expect(lines(bytes) == [["OK", "1", nil], ["\rB", nil, nil]])
  }

  @Test("whatever bytes come, the splitter never fails and finds the next line")
  func random() {
    var state: UInt64 = 99
    var bytes: [UInt8] = []
    for _ in 0..<200_000 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      bytes.append(UInt8(truncatingIfNeeded: state >> 56))
    }
    bytes += Array("\r\nLAST,2\r\n".utf8)
    #expect(lines(bytes).last == ["LAST", "2", nil])
  }
}

@Suite struct ListenLoopTests {
  @Test("a card reader's lines become samples: each card an occurrence, its number a pseudonym")
  func cards() throws {
    var master: Int32 = -1
    var path = [CChar](repeating: 0, count: 128)
    #expect(kerb_pty_open(&master, &path, 128) == 0)
    defer { close(master) }
    let slave = String(decoding: path.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    var spec = DeviceSpec(name: "reader", place: nowhere, bus: 0, address: 0, profile: "", kind: "access-gate")
    spec.frame = .text(end: [0x0D, 0x0A], split: 0x2C)
    for (number, name) in ["record", "card", "count"].enumerated() {
      var point = PointSpec(name: name, place: nowhere, source: .field(number + 1))
      point.type = name == "count" ? .u16 : .text(characters: 12)
      point.personal = name == "card"
      spec.points.append(point)
    }
    let busSpec = BusSpec(name: "r", place: nowhere, busProtocol: .serial, endpoint: .serialPort(path: slave))
    let layout = BusLayout(spec: busSpec, bus: 0, devices: [spec], numbering: Numbering(devices: [spec]))
    let bytes = layout.bytes + 4_096
    let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
    defer { memory.deallocate() }
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
    var arena = Arena(memory: memory, capacityBytes: bytes)
    let channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: 0)
    let board = BusBoard(layout: layout, arena: &arena)
    var loop = ListenLoop(
      layout: layout, path: slave, board: board, channel: channel,
      pseudonymKey: BusRig.key, alarmsLeft: [], arena: &arena)
    _ = loop.step()  // opens the line
    #expect(board.bus[.state] == BusBoard.running)
    let text = Array("CARD,0012345678,7\r\nCARD,0012345678,7\r\nCARD,99,70000\r\n".utf8)
    #expect(write(master, text, text.count) == text.count)
    let deadline = kerb_monotonic_ns() + 60_000_000_000
    while board.bus[.transactions] < 3, kerb_monotonic_ns() < deadline {
      _ = loop.step()
      _ = kerb_fd_wait_readable(loop.listensOn, 1_000_000)
    }
    loop.handOver()
    let batch = try #require(channel.next())
    #expect(batch.sampleCount == 9)
    var cards: [[UInt8]] = []
    var counts: [Sample] = []
    for index in 0..<batch.sampleCount {
      let sample = batch.sample(index)
      if sample.series == 1 { cards.append(Array(batch.text(of: sample))) }
      if sample.series == 2 { counts.append(sample) }
    }
    try #require(cards.count == 3)
    #expect(cards[0] == cards[1] && cards[1] != cards[2])
    #expect(cards.allSatisfy { $0.count == Limits.pseudonymBytes })
    // 70000 is no u16: no value, rather than another one.
    #expect(counts.map(\.quality) == [.good, .good, .bad])
    // The clear number is nowhere in the bus's memory any more.
    let arenaBytes = Array(UnsafeRawBufferPointer(start: memory, count: bytes))
    let clear = Array("0012345678".utf8)
    let found = arenaBytes.indices.dropLast(clear.count).contains {
      Array(arenaBytes[$0..<($0 + clear.count)]) == clear
    }
    #expect(!found)
  }

  @Test("a port that isn't there, then is, then goes away: tried again each time")
  func port() {
    var spec = DeviceSpec(name: "reader", place: nowhere, bus: 0, address: 0, profile: "", kind: "k")
    spec.points = [PointSpec(name: "a", place: nowhere, source: .field(1))]
    let busSpec = BusSpec(
      name: "r", place: nowhere, busProtocol: .serial, endpoint: .serialPort(path: "/nonexistent/tty"))
    let layout = BusLayout(spec: busSpec, bus: 0, devices: [spec], numbering: Numbering(devices: [spec]))
    let bytes = layout.bytes + 4_096
    let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
    defer { memory.deallocate() }
    var arena = Arena(memory: memory, capacityBytes: bytes)
    let channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: 0)
    let board = BusBoard(layout: layout, arena: &arena)
    var loop = ListenLoop(
      layout: layout, path: "/nonexistent/tty", board: board,
      channel: channel, pseudonymKey: BusRig.key, alarmsLeft: [], arena: &arena)
    let before = kerb_monotonic_ns()
    let until = loop.step()
    #expect(until.nanoseconds >= before + Limits.reopenNsMin)
    #expect(board.bus[.problem] == Int64(ENOENT))
    #expect(board.device(0)[.state] == BusBoard.offline)
  }
}
