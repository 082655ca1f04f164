// What the targets share: memory with the sanitizer around it, bindings of every type, and the reader of frames.

import StreamCore

let fuzzKey = [UInt8](repeating: 7, count: Decoder.keyBytes)

/// A false condition is a finding.
func require(_ condition: Bool) { precondition(condition) }

private let fuzzTypes: [ValueType] =
  ValueType.words.map(\.value) + [
    .text(characters: 32), .text(characters: 1), .bcd(bytes: 7, signed: false), .bcd(bytes: 3, signed: true),
  ]

/// By binding: how many registers it reads, its offset included.
let fuzzRegisters = fuzzTypes.enumerated().map { $0 % 3 + $1.registers }

/// One of each type, at the start of what is decoded.
let fuzzBindings: [Binding] = {
  var bindings: [Binding] = []
  for (index, type) in fuzzTypes.enumerated() {
    var spec = PointSpec(
      name: "", place: SourcePlace(file: "", line: 0, column: 0), source: .identifier(0, offset: index % 3, unit: nil))
    spec.type = type
    spec.personal = index % 4 == 3 && (type.isInteger || type.isText)
    if type.isInteger, index % 3 == 0 { spec.bits = 1...3 }
    var binding = Binding(spec, point: index, offset: index % 3)
    binding.setSentinels(first: 0, count: 2)
    bindings.append(binding)
  }
  return bindings
}()

/// As large as it has to be and no larger, so that the sanitizer sees what passes its end.
func withFuzzArena(bytes: Int, _ body: (inout Arena) -> Void) {
  let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: Arena.alignment)
  defer { memory.deallocate() }
  var arena = Arena(memory: memory, capacityBytes: bytes)
  body(&arena)
}

func withFuzzDecoder(_ body: (borrowing Decoder) -> Void) {
  withFuzzArena(bytes: Decoder.bytes(sentinels: 2)) { arena in
    body(Decoder(sentinels: [0, -1], pseudonymKey: fuzzKey, arena: &arena))
  }
}

/// The same bytes with the sanitizer right behind them.
func withExact<Element: BitwiseCopyable>(
  _ bytes: UnsafeBufferPointer<Element>, _ body: (UnsafeMutableBufferPointer<Element>) -> Void
) {
  let copy = UnsafeMutableBufferPointer<Element>.allocate(capacity: bytes.count)
  defer { copy.deallocate() }
  for index in 0..<bytes.count { copy[index] = bytes[index] }
  body(copy)
}

/// The first bytes are the question, each of the rest goes in one by one; every frame that is found is judged
/// and decoded.
func fuzzReader(_ rule: FrameRule, _ data: UnsafePointer<UInt8>, _ size: Int, askedBytes: Int) {
  guard size > askedBytes else { return }
  let asked = UnsafeBufferPointer(start: data, count: askedBytes)
  withFuzzArena(bytes: FrameReader.memoryBytes) { arena in
    var reader = FrameReader(arena: &arena)
    withFuzzDecoder { decoder in
      for index in askedBytes..<size {
        if reader.take(data[index], rule) { look(&reader, rule, decoder, asked) }
        require(reader.pendingBytes <= FrameReader.capacity)
      }
      while reader.giveUp(rule) { look(&reader, rule, decoder, asked) }
      require(reader.pendingBytes == 0)
    }
  }
}

private func look(
  _ reader: inout FrameReader, _ rule: FrameRule, _ decoder: borrowing Decoder, _ asked: UnsafeBufferPointer<UInt8>
) {
  repeat {
    let count = reader.frameLength
    require(count > 0 && count <= FrameReader.capacity)
    for numbered in [false, true] {
      let reply = rule.reply(UnsafePointer(reader.bytes), count: count, asked: asked, numbered: numbered)
      guard case .data(let first, let length) = reply else { continue }
      require(first >= 0 && length >= 0 && first + length <= count)
      if numbered { rule.clear(reader.bytes, first: first, count: length) }
      withExact(UnsafeBufferPointer(start: UnsafePointer(reader.bytes) + first, count: length)) { found in
        let data = UnsafeBufferPointer(found)
        for binding in fuzzBindings { require(decoder.decode(binding, data: data).textLength <= Limits.textBytesMax) }
      }
    }
  } while reader.next(rule)
}
