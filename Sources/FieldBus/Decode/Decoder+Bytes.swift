// Values out of a binary frame: the same types and orders as in registers, and those that only frames have.

import StreamCore

extension Decoder {
  /// `data`: what the frame holds for the one who asked; `binding.offset` counts from its first byte.
  package func decode(_ binding: Binding, data: UnsafeBufferPointer<UInt8>) -> Decoded {
    let (first, count) = (Int(binding.offset), Int(binding.byteCount))
    var decoded = Decoded()
    // A frame that is too short for this value doesn't have it.
    guard count > 0, first + count <= data.count else {
      decoded.quality = .bad
      return decoded
    }
    if binding.unitCode >= 0 {
      let place = first + count
      guard place < data.count, Int16(data[place]) == binding.unitCode else {
        decoded.quality = .bad
        return decoded
      }
    }
    switch binding.kind {
    case .text:
      var length = 0
      while length < count, data[first + length] != 0 {
        text[length] = data[first + length]
        length += 1
      }
      setText(length, &decoded)
    case .bcdBytes, .bcd16, .bcd32:
      decoded.raw = bcd(bits(data, first, count, binding.order), digits: 2 * count, &decoded.quality)
    case .signedBCDBytes:
      let all = bits(data, first, count, binding.order)
      let sign: UInt64 = 1 << UInt64(8 * count - 1)
      decoded.raw = bcd(all & ~sign, digits: 2 * count, &decoded.quality)
      if all & sign != 0 { decoded.raw = -decoded.raw }
    default: decoded.raw = integer(binding.kind, bits(data, first, count, binding.order))
    }
    if binding.kind != .text {
      if binding.bitCount > 0, binding.bitCount < 64 {
        decoded.raw = decoded.raw >> Int64(binding.bitShift) & (1 << Int64(binding.bitCount) - 1)
      }
      markInvalid(binding, &decoded)
    }
    if binding.personal { pseudonymise(binding, &decoded) }
    return decoded
  }

  private func integer(_ kind: Binding.Kind, _ bits: UInt64) -> Int64 {
    switch kind {
    case .signed8: return Int64(Int8(truncatingIfNeeded: bits))
    case .signed16: return Int64(Int16(truncatingIfNeeded: bits))
    case .signed32: return Int64(Int32(truncatingIfNeeded: bits))
    default: return Int64(bitPattern: bits)
    }
  }

  /// The value's bytes, most significant first. Odd counts have no words: they are straight or reversed.
  private func bits(
    _ data: UnsafeBufferPointer<UInt8>, _ first: Int, _ count: Int, _ order: WordOrder
  ) -> UInt64 {
    var value: UInt64 = 0
    for index in 0..<count {
      let place: Int
      switch order {
      case .abcd: place = index
      case .dcba: place = count - 1 - index
      case .badc: place = index ^ 1
      case .cdab: place = (count - 1 - index) ^ 1
      }
      // BADC and CDAB of an odd count are refused with the profile.
      guard place < count else { return 0 }
      value = value << 8 | UInt64(data[first + place])
    }
    return value
  }
}
