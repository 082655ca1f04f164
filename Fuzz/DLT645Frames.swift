// DL/T 645 from a line: any bytes.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzDLT645(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  guard let data else { return 0 }
  fuzzReader(.dlt645, data, size, askedBytes: 16)
  return 0
}
