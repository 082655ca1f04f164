// Conversions to 64 bits. On 32-bit machines the Embedded standard library's own go through an array of words, which
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

extension Int64 {
  /// The nearest Double; by parts on 32-bit machines, for the same reason.
  @inlinable
  package var double: Double {
    #if _pointerBitWidth(_64)
      return Double(self)
    #else
      let high = Int(truncatingIfNeeded: self &>> 32)
      let middle = Int(truncatingIfNeeded: self &>> 16 & 0xFFFF)
      let low = Int(truncatingIfNeeded: self & 0xFFFF)
      // Both terms are exact: one rounding.
      return Double(high) * 4_294_967_296 + (Double(middle) * 65_536 + Double(low))
    #endif
  }
}
