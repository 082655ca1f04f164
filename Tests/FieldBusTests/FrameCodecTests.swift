import FieldBus
import StreamCore
import Testing

@Suite("The codec of frames")
struct FrameCodecTests {
  @Test("computes the checksums that the trade's calculators give for 123456789")
  func checksums() {
    let digits = Array("123456789".utf8)
    let expected: [(FrameChecksum, UInt16)] = [
      (.sum8, 0xDD), (.xor8, 0x31), (.lrc, 0x23), (.crc16Modbus, 0x4B37), (.crc16CCITT, 0x29B1),
    ]
    for (checksum, value) in expected {
      #expect(digits.withUnsafeBufferPointer { checksum.value($0.baseAddress!, 0..<9) } == value, "\(checksum)")
    }
  }

  @Test("writes a checksum so that it holds, and no bit of it can change", arguments: FrameChecksum.allCases)
  func sealing(_ checksum: FrameChecksum) {
    for swapped in [false, true] {
      var frame = BinaryFrame()
      frame.start = ShortBytes([0xAA, 0x55])
      frame.end = ShortBytes([0x16])
      frame.lengthAt = 2
      frame.lengthAdds = 3 + checksum.byteCount + 1
      frame.checksum = checksum
      frame.checksumFrom = 2
      frame.checksumIsSwapped = swapped
      var bytes: [UInt8] = [0, 0, 0, 1, 2, 3, 4, 5] + Array(repeating: 0, count: checksum.byteCount + 1)
      frame.seal(&bytes)
      #expect(bytes.withUnsafeBufferPointer { frame.judge($0.baseAddress!, count: bytes.count) } == .whole(bytes.count))
      #expect(bytes.prefix(3) == [0xAA, 0x55, 5] && bytes.last == 0x16)
      for bit in 0..<(8 * bytes.count) {
        var flipped = bytes
        flipped[bit / 8] ^= 1 << UInt8(bit % 8)
        let verdict = flipped.withUnsafeBufferPointer { frame.judge($0.baseAddress!, count: flipped.count) }
        if case .whole = verdict { Issue.record("\(checksum) lets bit \(bit) pass") }
      }
    }
  }

  @Test(
    "reads addresses as they stand on the meter",
    arguments: [
      ("202301234567", "202301234567"), ("161", "000000000161"), ("AAAA01234567", "AAAA01234567"),
    ])
  func addresses(_ text: String, _ full: String) throws {
    let address = try #require(MeterAddress(text, bytes: 6))
    #expect(address.text == full)
    #expect(address[0] == UInt8(full.suffix(2), radix: 16))
  }

  @Test("takes nothing else for an address", arguments: ["", "1234567890123", "12345678901F", "1A", "A1", " 1"])
  func noAddresses(_ text: String) {
    #expect(MeterAddress(text, bytes: 6) == nil)
  }

  @Test("matches an address with open digits, and no other")
  func wildcards() throws {
    let one = try #require(MeterAddress("202301234567", bytes: 6))
    #expect(one.matches(.any(6)) && MeterAddress.any(6).matches(one))
    #expect(try #require(MeterAddress("AAAAAAAA4567", bytes: 6)).matches(one))
    #expect(try !#require(MeterAddress("AAAAAAAA4568", bytes: 6)).matches(one))
    #expect(!one.matches(.any(7)))
  }

  private static let rules: [(String, FrameRule)] = {
    var length = BinaryFrame()
    length.start = ShortBytes([0x68])
    length.lengthAt = 1
    length.lengthAdds = 4
    length.checksum = .sum8
    var wide = BinaryFrame()
    wide.lengthAt = 2
    wide.lengthBytes = 2
    wide.lengthAdds = -7
    wide.checksum = .xor8
    wide.checksumFrom = 1
    var fixed = BinaryFrame()
    fixed.start = ShortBytes([0xFE, 0xFE, 0x68])
    fixed.size = 256
    fixed.end = ShortBytes([1, 2, 3, 4])
    return [
      ("dlt645", .dlt645), ("cjt188", .cjt188), ("length", .binary(length)), ("wide", .binary(wide)),
      ("fixed", .binary(fixed)),
    ]
  }()

  @Test("takes any bytes without harm, and leaves nothing behind that waits", arguments: FrameCodecTests.rules.map(\.0))
  func anyBytes(_ name: String) throws {
    let rule = try #require(Self.rules.first { $0.0 == name }?.1)
    let memory = UnsafeMutableRawPointer.allocate(byteCount: FrameReader.memoryBytes, alignment: 64)
    defer { memory.deallocate() }
    var arena = Arena(memory: memory, capacityBytes: FrameReader.memoryBytes)
    var reader = FrameReader(arena: &arena)
    var random = Seeded(188)
    let asked: [UInt8] = [0x68, 0x10, 1, 2, 3, 4, 5, 0x68, 0x11, 4, 0x33, 0x33, 0x34, 0x33, 0, 0x16]
    for round in 0..<20_000 {
      let count = Int(random.next() % 64)
      for _ in 0..<count {
        // Mostly bytes that frames are made of.
        let choice = random.next()
        let usual: [UInt8] = [0x68, 0x16, 0x10, 0x91, 0x81, 4, 0xFE, 0x33]
        let byte = choice % 3 == 0 ? UInt8(truncatingIfNeeded: choice >> 8) : usual[Int(choice >> 8 & 7)]
        guard reader.take(byte, rule) else { continue }
        repeat {
          #expect(reader.frameLength > 0 && reader.frameLength <= FrameReader.capacity)
          asked.withUnsafeBufferPointer {
            let reply = rule.reply(
              UnsafePointer(reader.bytes), count: reader.frameLength, asked: $0, numbered: round % 2 == 0)
            if case .data(let first, let count) = reply {
              #expect(first >= 0 && count >= 0 && first + count <= reader.frameLength)
            }
          }
        } while reader.next(rule)
      }
      if round % 16 == 0 {
        while reader.giveUp(rule) {}
        #expect(reader.pendingBytes == 0)
      }
    }
    #expect(reader.droppedBytes > 0)
  }

  @Test("counts noise, and no preamble as noise")
  func counting() {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: FrameReader.memoryBytes, alignment: 64)
    defer { memory.deallocate() }
    var arena = Arena(memory: memory, capacityBytes: FrameReader.memoryBytes)
    var reader = FrameReader(arena: &arena)
    let frame: [UInt8] = [0x68, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0x68, 0x13, 0x00, 0xDF, 0x16]
    var found = 0
    for byte in [0, 1, 0x68, 0xFE, 0xFE] + frame + [0xFE] + frame where reader.take(byte, .dlt645) { found += 1 }
    #expect(found == 2)
    #expect(reader.droppedBytes == 3)
  }
}

@Suite("A value in a frame's bytes")
struct FrameValueTests {
  private func decode(_ type: ValueType, _ bytes: [UInt8], order: WordOrder = .abcd, unit: UInt8? = nil) -> Decoded {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 1_024, alignment: 64)
    defer { memory.deallocate() }
    var arena = Arena(memory: memory, capacityBytes: 1_024)
    let decoder = Decoder(sentinels: [], pseudonymKey: BusRig.key, arena: &arena)
    let source = unit.map { PointSource.identifier(0, offset: 1, unit: $0) } ?? .byte(1)
    var spec = PointSpec(name: "x", place: nowhere, source: source)
    spec.type = type
    spec.order = order
    let binding = Binding(spec, point: 0, offset: 1)
    return ([0xEE] + bytes).withUnsafeBufferPointer { decoder.decode(binding, data: $0) }
  }

  @Test("is read in its type and order")
  func types() {
    #expect(decode(.u8, [200]).raw == 200)
    #expect(decode(.i8, [0xFE]).raw == -2)
    #expect(decode(.u16, [0x12, 0x34]).raw == 0x1234)
    #expect(decode(.i16, [0xFE, 0xFF], order: .dcba).raw == -2)
    #expect(decode(.u32, [1, 2, 3, 4]).raw == 0x0102_0304)
    #expect(decode(.u32, [1, 2, 3, 4], order: .dcba).raw == 0x0403_0201)
    #expect(decode(.u32, [1, 2, 3, 4], order: .badc).raw == 0x0201_0403)
    #expect(decode(.u32, [1, 2, 3, 4], order: .cdab).raw == 0x0304_0102)
    #expect(decode(.i64, Array(repeating: 0xFF, count: 8)).raw == -1)
    #expect(Float(bitPattern: UInt32(decode(.f32, [0, 0, 0x48, 0x41], order: .dcba).raw)) == 12.5)
    #expect(decode(.bcd(bytes: 3, signed: false), [0x56, 0x34, 0x12], order: .dcba).raw == 123_456)
    #expect(decode(.bcd(bytes: 7, signed: false), [0x20, 0x15, 5, 0x11, 0x22, 1, 0x31]).raw == 20_150_511_220_131)
    #expect(decode(.bcd(bytes: 3, signed: true), [0x56, 0x34, 0x92], order: .dcba).raw == -123_456)
    #expect(decode(.bcd32, [0x12, 0x34, 0x56, 0x78]).raw == 12_345_678)
  }

  @Test("is none if a digit is above nine, if the frame ends before, or if another unit follows")
  func none() {
    #expect(decode(.bcd(bytes: 2, signed: false), [0x1A, 0x00]).quality == .bad)
    #expect(decode(.u32, [1, 2, 3]).quality == .bad)
    #expect(decode(.bcd(bytes: 1, signed: false), [0x12, 0x2C], unit: 0x2C).raw == 12)
    #expect(decode(.bcd(bytes: 1, signed: false), [0x12, 0x29], unit: 0x2C).quality == .bad)
    #expect(decode(.bcd(bytes: 1, signed: false), [0x12], unit: 0x2C).quality == .bad)
  }
}

@Suite("A line of text")
struct TextPlaceTests {
  private func line<T>(_ text: String, split: UInt8?, _ body: (borrowing LineSplitter) -> T) -> T? {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 4_096, alignment: 64)
    defer { memory.deallocate() }
    var arena = Arena(memory: memory, capacityBytes: 4_096)
    var splitter = LineSplitter(frame: TextFrame(end: [0x0A], split: split), arena: &arena)
    for byte in Array((text + "\n").utf8) where splitter.take(byte) { return body(splitter) }
    return nil
  }

  private func value(_ key: String, in text: String, split: UInt8? = 0x3B) -> String?? {
    line(text, split: split) { splitter in
      Array(key.utf8).withUnsafeBufferPointer { key in
        splitter.value(of: key).map { String(decoding: $0, as: UTF8.self) }
      }
    }
  }

  @Test("names its values")
  func keys() {
    #expect(value("T", in: "T=21.5;H=40") == "21.5")
    #expect(value("H", in: "T=21.5; H = 40 ") == "40")
    #expect(value("T", in: "TT=1;T=2") == "2")
    #expect(value("H", in: "T=21.5") == .some(nil))
    #expect(value("T", in: "T") == .some(nil))
    #expect(value("T", in: "T=1;T=2") == .some(nil), "which of the two?")
    #expect(value("T", in: "T=a=b", split: nil) == "a=b")
  }

  @Test("has columns from 1, and none past its end")
  func columns() {
    func column(_ first: Int, _ last: Int) -> String?? {
      line(">01+03.82", split: nil) { $0.column(first: first, last: last).map { String(decoding: $0, as: UTF8.self) } }
    }
    #expect(column(1, 1) == ">")
    #expect(column(4, 9) == "+03.82")
    #expect(column(4, 10) == .some(nil))
  }
}
