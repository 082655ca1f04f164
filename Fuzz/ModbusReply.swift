// A Modbus RTU reply as libmodbus hands it out: any bytes, against any read request.

import StreamCore

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzModbusReply(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  guard let data, size > 4 else { return 0 }
  guard let table = RegisterTable(rawValue: data[0] & 3) else { return 0 }
  let most = table.isBits ? Limits.bitsPerReadMax : Limits.registersPerReadMax
  let count = 1 + (Int(data[1]) << 8 | Int(data[2])) % most
  let words = UnsafeMutablePointer<UInt16>.allocate(capacity: count)
  defer { words.deallocate() }
  words.initialize(repeating: 0, count: count)
  let frame = UnsafeBufferPointer(start: data + 4, count: size - 4)
  do throws(ReadFailure) {
    try ReplyFrame.read(frame, unit: Int(data[3]), table: table, count: count, into: words)
  } catch {
    return 0
  }
  withFuzzDecoder { decoder in
    // The plan never cuts a value off.
    for (binding, needed) in zip(fuzzBindings, fuzzRegisters) where needed <= count {
      withExact(UnsafeBufferPointer(start: UnsafePointer(words), count: needed)) { exact in
        guard let registers = exact.baseAddress else { return }
        require(decoder.decode(binding, registers).textLength <= Limits.textBytesMax)
      }
    }
  }
  return 0
}
