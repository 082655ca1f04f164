// Lines of text from a device: any bytes, under any end, split and sign; every field, column and name of what
// comes out, decoded.

import StreamCore

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzSerialText(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  guard let data, size > 6 else { return 0 }
  let end = (0..<(1 + Int(data[0] & 3))).map { data[1 + $0] }
  var frame = TextFrame(end: end, split: data[5] & 1 == 0 ? nil : data[5])
  frame.assign = data[5] &* 31
  withFuzzArena(bytes: LineSplitter.bytes) { arena in
    var lines = LineSplitter(frame: frame, arena: &arena)
    let name = UnsafeBufferPointer(start: data + 1, count: 2)
    withFuzzDecoder { decoder in
      for index in 6..<size where lines.take(data[index]) {
        for number in 0..<4 {
          check(decoder, lines.field(number + 1))
          check(decoder, lines.column(first: 1 + number * 3, last: 3 + number * 5))
        }
        check(decoder, lines.value(of: name))
        lines.clear()
      }
    }
  }
  return 0
}

private func check(_ decoder: borrowing Decoder, _ part: UnsafeBufferPointer<UInt8>?) {
  guard let part else { return }
  withExact(part) { exact in
    let field = UnsafeBufferPointer(exact)
    for binding in fuzzBindings { require(decoder.decode(binding, field: field).textLength <= Limits.textBytesMax) }
  }
}
