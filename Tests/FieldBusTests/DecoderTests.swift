import FieldBus
import StreamCore
import Testing

@Suite struct DecoderTests {
  private func decode(
    _ words: [UInt16], _ change: (inout PointSpec) -> Void, sentinels: [Int64] = []
  ) -> (Decoded, [UInt8], [UInt16]) {
    var spec = PointSpec(name: "p", place: nowhere, source: .register(.holding, address: 0))
    spec.invalid = sentinels
    change(&spec)
    let bytes = Decoder.bytes(sentinels: sentinels.count) + 256
    let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
    defer { memory.deallocate() }
    var arena = Arena(memory: memory, capacityBytes: bytes)
    let decoder = Decoder(sentinels: sentinels, pseudonymKey: BusRig.key, arena: &arena)
    var binding = Binding(spec, point: 0, offset: 0)
    binding.setSentinels(first: 0, count: sentinels.count)
    var registers = words
    return registers.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return (Decoded(), [], []) }
      let decoded = decoder.decode(binding, base)
      return (
        decoded, Array(UnsafeBufferPointer(start: decoder.text, count: decoded.textLength)), Array(buffer)
      )
    }
  }

  @Test(
    "the four word orders of 32 bits",
    arguments: [
      (WordOrder.abcd, [0x1234, 0x5678]), (.cdab, [0x5678, 0x1234]), (.badc, [0x3412, 0x7856]),
      (.dcba, [0x7856, 0x3412]),
    ] as [(WordOrder, [UInt16])])
  func orders(order: WordOrder, words: [UInt16]) {
    let (decoded, _, _) = decode(words) {
      $0.type = .u32
      $0.order = order
    }
    #expect(decoded.raw == 0x1234_5678)
  }

  @Test(
    "the four word orders of 64 bits",
    arguments: [
      (WordOrder.abcd, [0x0102, 0x0304, 0x0506, 0x0708]), (.cdab, [0x0708, 0x0506, 0x0304, 0x0102]),
      (.badc, [0x0201, 0x0403, 0x0605, 0x0807]), (.dcba, [0x0807, 0x0605, 0x0403, 0x0201]),
    ] as [(WordOrder, [UInt16])])
  func wideOrders(order: WordOrder, words: [UInt16]) {
    let (decoded, _, _) = decode(words) {
      $0.type = .i64
      $0.order = order
    }
    #expect(decoded.raw == 0x0102_0304_0506_0708)
  }

  @Test("signs, widths, BCD and bit fields")
  func numbers() {
    #expect(decode([0xFFFE], { $0.type = .i16 }).0.raw == -2)
    #expect(decode([0xFFFE], { $0.type = .u16 }).0.raw == 65_534)
    #expect(decode([0xFFFF, 0xFFFF], { $0.type = .i32 }).0.raw == -1)
    #expect(decode([0xFFFF, 0xFFFF], { $0.type = .u32 }).0.raw == 4_294_967_295)
    #expect(decode([0x9999], { $0.type = .bcd16 }).0.raw == 9_999)
    #expect(decode([0x1234, 0x5678], { $0.type = .bcd32 }).0.raw == 12_345_678)
    #expect(decode([0x123A], { $0.type = .bcd16 }).0.quality == .bad)
    #expect(decode([0b1011_0000], { $0.bits = 4...7 }).0.raw == 0b1011)
    #expect(decode([0x8000], { $0.bits = 15...15 }).0.raw == 1)
    #expect(decode([0xFFFF], { $0.type = .i16; $0.bits = 0...15 }).0.raw == 65_535)
    #expect(decode([0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF], { $0.type = .u64 }).0.raw == -1)
    #expect(decode([1], { $0.type = .bool }).0.raw == 1)
  }

  @Test("floats keep their bits")
  func floats() {
    let bits = Float(-12.75).bitPattern
    let single = decode([UInt16(bits >> 16), UInt16(bits & 0xFFFF)], { $0.type = .f32 }).0
    #expect(Encoding.float.value(raw: single.raw, scale: 1, offset: 0) == -12.75)
    let wide = Double.pi.bitPattern
    let words = [48, 32, 16, 0].map { UInt16(truncatingIfNeeded: wide >> UInt64($0)) }
    let double = decode(words, { $0.type = .f64 }).0
    #expect(Encoding.double.value(raw: double.raw, scale: 1, offset: 0) == .pi)
  }

  @Test("sentinels are no value")
  func sentinels() {
    #expect(decode([0x7FFF], { $0.type = .i16 }, sentinels: [1, 0x7FFF]).0.quality == .bad)
    #expect(decode([0x7FFE], { $0.type = .i16 }, sentinels: [1, 0x7FFF]).0.quality == .good)
  }

  @Test("texts end at a NUL, lose trailing blanks, and must be printable")
  func texts() {
    #expect(decode([0x4142, 0x4320, 0x2000, 0x5858], { $0.type = .text(characters: 8) }).1 == Array("ABC".utf8))
    #expect(decode([0x4241], { $0.type = .text(characters: 2); $0.order = .badc }).1 == Array("AB".utf8))
    #expect(decode([0x4101], { $0.type = .text(characters: 2) }).0.quality == .bad)
    #expect(decode([0xE4BA, 0x9500], { $0.type = .text(characters: 4) }).1 == Array("井".utf8))
    #expect(decode([0xE4BA, 0x0000], { $0.type = .text(characters: 4) }).0.quality == .bad)
  }

  @Test("a card has one pseudonym, as text or as a number; nothing of it stays in the registers; no card, no pseudonym")
  func pseudonyms() {
    let text = decode([0x3132, 0x3334, 0x3500], {
      $0.type = .text(characters: 6)
      $0.personal = true
    })
    let number = decode([0, 12_345], {
      $0.type = .u32
      $0.personal = true
    })
    #expect(text.1.count == 16)
    #expect(text.1 == number.1)
    #expect(text.0.raw == 0 && number.0.raw == 0)
    #expect(text.2 == [0, 0, 0])
    #expect(number.2 == [0, 0])
    // HMAC-SHA-256 under 00…1f of "12345", first 16 bytes (checked with another implementation).
    #expect(text.1 == [
      0x36, 0xe2, 0x95, 0x17, 0x4c, 0x29, 0x47, 0xfb, 0xba, 0x5f, 0xf2, 0xd2, 0x80, 0xb6, 0x35, 0xa4,
    ])
    let none = decode([0, 0], {
      $0.type = .u32
      $0.personal = true
    }, sentinels: [0])
    #expect(none.0.quality == .bad && none.1.isEmpty)
  }
}
