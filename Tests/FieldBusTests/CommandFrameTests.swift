import FieldBus
import StreamCore
import Testing

@Suite("Frames of commands")
struct CommandFrameTests {
  private func check(_ reply: [UInt8], _ request: [UInt8]) -> ReadFailure? {
    reply.withUnsafeBufferPointer { reply -> ReadFailure? in
      request.withUnsafeBufferPointer { request -> ReadFailure? in
        do throws(ReadFailure) {
          try CommandFrame.check(reply, answers: request)
          return nil
        } catch { return error }
      }
    }
  }

  @Test("are answered by what has their unit, function, length and echo, and by nothing else")
  func checks() {
    let read = CommandFrame.read(unit: 17, .holding, address: 107, count: 3)
    // Modbus Application Protocol V1.1b3, 6.3: the standard's own example.
    #expect(Array(read.dropFirst()) == [0x03, 0x00, 0x6B, 0x00, 0x03])
    #expect(check([17, 3, 6, 0x02, 0x2B, 0, 0, 0, 0x64], read) == nil)
    #expect(check([18, 3, 6, 0, 0, 0, 0, 0, 0], read) == .corruptReply(.wrongUnit))
    #expect(check([17, 3, 4, 0, 0, 0, 0], read) == .corruptReply(.wrongShape))
    #expect(check([17, 4, 6, 0, 0, 0, 0, 0, 0], read) == .corruptReply(.wrongShape))
    #expect(check([17, 0x83, 2], read) == .refused(2))
    let write = CommandFrame.writeRegisters(unit: 17, address: 1, [3])
    #expect(Array(write.dropFirst()) == [0x06, 0x00, 0x01, 0x00, 0x03])
    #expect(check([17, 6, 0, 1, 0, 3], write) == nil)
    #expect(check([17, 6, 0, 1, 0, 4], write) == .corruptReply(.wrongShape))
    let many = CommandFrame.writeRegisters(unit: 17, address: 1, [0x000A, 0x0102])
    #expect(Array(many.dropFirst()) == [0x10, 0x00, 0x01, 0x00, 0x02, 0x04, 0x00, 0x0A, 0x01, 0x02])
    #expect(check([17, 16, 0, 1, 0, 2], many) == nil)
  }

  @Test("of an identification say their own length, however far they have come")
  func identification() {
    // Modbus Application Protocol V1.1b3, 6.21: the standard's own example.
    var reply: [UInt8] = [1, 0x2B, 0x0E, 0x01, 0x01, 0x00, 0x00, 0x03, 0x00, 0x16]
    reply += Array("Company identification".utf8)
    reply += [0x01, 0x0D]
    reply += Array("Product code ".utf8)
    reply += [0x02, 0x05]
    reply += Array("V2.11".utf8)
    for count in 0..<reply.count {
      let wanted = reply[..<count].withUnsafeBufferPointer { CommandFrame.length(ofIdentification: $0) }
      #expect(wanted > count || count == 0, "at \(count)")
      #expect(wanted <= reply.count, "at \(count)")
    }
    #expect(reply.withUnsafeBufferPointer { CommandFrame.length(ofIdentification: $0) } == reply.count)
    #expect(check(reply, CommandFrame.identification(unit: 1)) == nil)
    let (objects, next) = CommandFrame.objects(reply)
    #expect(objects.map(\.text) == ["Company identification", "Product code ", "V2.11"])
    #expect(next == nil)
  }

  @Test("that are cut off or made up fail, and nothing else")
  func hostile() {
    var state: UInt64 = 7
    func random() -> UInt8 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(truncatingIfNeeded: state >> 56)
    }
    let requests = [
      CommandFrame.read(unit: 1, .coil, address: 0, count: 9), CommandFrame.identification(unit: 1),
      CommandFrame.report(unit: 1), CommandFrame.writeCoil(unit: 1, address: 3, true),
    ]
    for round in 0..<20_000 {
      let request = requests[round % requests.count]
      var reply = (0..<Int(random() % 40)).map { _ in random() }
      if reply.count > 1, round % 3 > 0 { (reply[0], reply[1]) = (1, request[1]) }
      if check(reply, request) == nil {
        #expect(reply[0] == request[0] && reply[1] == request[1])
        _ = CommandFrame.objects(reply)
        _ = CommandFrame.words(reply, count: 9)
      }
    }
  }
}

@Suite("What a person types for a point")
struct PointEntryTests {
  private func point(_ type: ValueType, _ change: (inout PointSpec) -> Void = { _ in }) -> PointSpec {
    var point = PointSpec(name: "p", place: nowhere, source: .register(.holding, address: 0))
    point.type = type
    change(&point)
    return point
  }

  @Test("becomes exactly the registers that mean it")
  func words() throws {
    #expect(
      try PointEntry.words("-12.3", for: point(.i16) { $0.scale = 0.1 }, present: [0]) == [UInt16(bitPattern: -123)])
    #expect(
      try PointEntry.words("305419896", for: point(.u32) { $0.order = .cdab }, present: [0, 0]) == [0x5678, 0x1234])
    #expect(try PointEntry.words("1.5", for: point(.f32), present: [0, 0]) == [0x3FC0, 0])
    #expect(try PointEntry.words("1234", for: point(.bcd16), present: [0]) == [0x1234])
    #expect(
      try PointEntry.words("open", for: point(.u16) { $0.values = [0: "closed", 7: "open"] }, present: [0]) == [7])
    #expect(try PointEntry.words("5", for: point(.u16) { $0.bits = 4...7 }, present: [0xABCD]) == [0xAB5D])
    #expect(try PointEntry.words("Kerb", for: point(.text(characters: 5)), present: []) == [0x4B65, 0x7262, 0])
  }

  @Test(
    "is refused, with what is allowed, if the point can't hold it",
    arguments: [
      "70000", "-1", "x", "", "nan", "inf", "1e400", "0.5",
    ])
  func refused(_ text: String) {
    #expect(throws: PointProblem.self) { try PointEntry.words(text, for: point(.u16), present: [0]) }
  }

  @Test("is refused outside the point's range")
  func range() {
    #expect(throws: PointProblem.badValue("0.0 to 50.0 Cel")) {
      try PointEntry.words(
        "60",
        for: point(.i16) {
          $0.range = 0...50
          $0.unit = "Cel"
        }, present: [0])
    }
  }
}

@Suite("A pcapng file")
struct PcapngTests {
  @Test(
    "has a section, an interface and packets whose lengths add up, with the frame's bytes behind the dissector's name")
  func blocks() throws {
    let frame = LineFrame(number: 1, at: .zero, kind: .request, bytes: [1, 3, 0, 0, 0, 2, 0xC4, 0x0B])
    let stray = LineFrame(number: 2, at: .zero, kind: .stray, length: 300, bytes: [1, 2, 3])
    let file =
      Pcapng.head(bus: "rs485-1") + Pcapng.packet(frame, unixNs: 1_795_212_001_000_000_007)
      + Pcapng.packet(stray, unixNs: 0)
    func number(_ place: Int) -> Int { (0..<4).reduce(0) { $0 | Int(file[place + $1]) << (8 * $1) } }
    var types: [Int] = []
    var starts: [Int] = []
    var place = 0
    while place < file.count {
      types.append(number(place))
      starts.append(place)
      let length = number(place + 4)
      #expect(length % 4 == 0 && number(place + length - 4) == length)
      place += length
    }
    #expect(place == file.count)
    #expect(types == [0x0A0D_0D0A, 1, 6, 6])
    #expect(number(starts[1] + 8) & 0xFFFF == 252)
    let packet = starts[2]
    #expect(number(packet + 12) << 32 | number(packet + 16) == 1_795_212_001_000_000_007)
    let captured = number(packet + 20)
    let data = Array(file[(packet + 28)..<(packet + 28 + captured)])
    #expect(Array(data.prefix(12)) == [0, 12, 0, 8] + Array("mbrtu".utf8) + [0, 0, 0])
    #expect(Array(data.suffix(8)) == frame.bytes)
    // Of the stray burst 297 bytes were not kept.
    #expect(number(starts[3] + 24) - number(starts[3] + 20) == 297)
    #expect(Pcapng.packet(LineFrame(number: 3, at: .zero, kind: .silence), unixNs: 0).isEmpty)
  }
}

@Suite("A line that is listened to")
struct FrameSplitterTests {
  private func feed(_ splitter: inout FrameSplitter, _ bytes: [UInt8], at now: Int64) -> [LineFrame] {
    bytes.withUnsafeBufferPointer { splitter.take($0, at: now) }
    return splitter.frames(at: now)
  }
  private func framed(_ body: [UInt8]) -> [UInt8] {
    let sum = modbusChecksum(body)
    return body + [UInt8(sum & 0xFF), UInt8(sum >> 8)]
  }

  @Test("falls into requests and replies, even where an adapter hands over both at once; noise ends with the silence")
  func split() {
    var splitter = FrameSplitter(format: LineFormat(), personalUnits: [])
    let request = framed([1, 3, 0, 0, 0, 2])
    let reply = framed([1, 3, 4, 0, 1, 0, 2])
    var frames = feed(&splitter, Array(request[..<3]), at: 0)
    #expect(frames.isEmpty)
    frames = feed(&splitter, Array(request[3...]) + reply, at: 5 * millisecond)
    #expect(frames.map(\.kind) == [.request, .reply])
    #expect(frames.map(\.bytes) == [request, reply])
    frames = feed(&splitter, [9, 9, 9], at: second)
    #expect(frames.isEmpty)
    frames = splitter.frames(at: 2 * second)
    #expect(frames.map(\.kind) == [.broken])
    #expect(feed(&splitter, framed([1, 0x83, 2]), at: 3 * second).map(\.kind) == [.reply])
  }

  @Test("shows nothing personal")
  func personal() {
    var splitter = FrameSplitter(format: LineFormat(), personalUnits: [1])
    let frames = feed(&splitter, framed([1, 3, 0, 0, 0, 1]) + framed([1, 3, 2, 0xBE, 0xEF]), at: 0)
    #expect(frames.last?.isMasked == true)
    #expect(frames.last?.bytes.dropLast(2) == [1, 3, 2, 0, 0])
    #expect(feed(&splitter, [0xBE, 0xEF, 0xBE], at: second).isEmpty)
    #expect(splitter.frames(at: 2 * second).first?.bytes == [0, 0, 0])
  }
}
