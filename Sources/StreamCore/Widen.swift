// Int to Int64. On 32-bit machines the Embedded standard library's own widening goes through an array of words, which
// -no-allocations refuses; there the two halves are put together by hand.

extension Int {
  @inlinable
  package var wide: Int64 {
    #if _pointerBitWidth(_64)
      return Int64(self)
    #else
      let low = UInt32(truncatingIfNeeded: self)
      let high: UInt32 = self < 0 ? .max : 0
      #if _endian(little)
        return unsafeBitCast((low, high), to: Int64.self)
      #else
        return unsafeBitCast((high, low), to: Int64.self)
      #endif
    #endif
  }
}
