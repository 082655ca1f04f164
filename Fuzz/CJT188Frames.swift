// CJ/T 188 from a line: any bytes.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzCJT188(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  guard let data else { return 0 }
  fuzzReader(.cjt188, data, size, askedBytes: 16)
  return 0
}
