// Binary frames of a profile: any rule, any bytes behind it.

import StreamCore

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzSerialBinary(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  guard let data, size > 16 else { return 0 }
  var frame = BinaryFrame()
  frame.start = ShortBytes((0..<Int(data[0] & 3)).map { data[1 + $0] })
  frame.end = ShortBytes((0..<Int(data[0] >> 2 & 3)).map { data[4 + $0] })
  frame.size = data[0] & 0x80 == 0 ? 0 : 1 + Int(data[7])
  frame.lengthAt = Int(data[8])
  frame.lengthBytes = data[0] & 0x40 == 0 ? 1 : 2
  frame.lengthIsHighFirst = data[0] & 0x20 == 0
  frame.lengthAdds = Int(Int8(bitPattern: data[9])) * 2
  frame.checksum = FrameChecksum(rawValue: data[10] & 7)
  frame.checksumFrom = Int(data[11])
  frame.checksumIsSwapped = data[10] & 8 != 0
  frame.echo = UInt64(data[12]) | UInt64(data[13]) << 40
  fuzzReader(.binary(frame), data + 14, size - 14, askedBytes: Int(data[10] >> 4))
  return 0
}
