// How a frame of bytes is told from noise, and a reply from somebody else's: one rule a device, in the bus's arena.
// Pure and allocation-free; whatever the bytes, the answer is one of the cases.

import StreamCore

/// What the bytes so far are, looked at from the first.
package enum FrameVerdict: Equatable {
  /// They could become a frame.
  case more
  /// The first so many are one.
  case whole(Int)
  /// No frame begins with the first of them.
  case none(FrameFault)
}

package enum FrameFault: UInt8, Error, BitwiseCopyable, Sendable {
  /// A byte that is the same in every frame is another one.
  case marker
  case length
  case checksum
  /// A whole frame, but what we sent came back.
  case ownEcho
  /// Of another device.
  case otherDevice
  /// Not what was asked for: an older question's reply, say.
  case otherItem
}

/// What a whole frame says to the one who asked.
package enum FrameReply: Equatable {
  /// So many bytes of data, from this place.
  case data(first: Int, count: Int)
  /// The device's own error code.
  case refused(UInt8)
  /// No answer to this question; the answer may still come.
  case foreign(FrameFault)
}

package enum FrameRule: BitwiseCopyable, Sendable {
  case binary(BinaryFrame)
  case dlt645
  case cjt188

  package func judge(_ bytes: UnsafePointer<UInt8>, count: Int) -> FrameVerdict {
    switch self {
    case .binary(let frame): return frame.judge(bytes, count: count)
    case .dlt645: return DLT645.judge(bytes, count: count)
    case .cjt188: return CJT188.judge(bytes, count: count)
    }
  }

  /// `frame` is whole. `asked`: the question without its preamble. `numbered`: the device is known to repeat
  /// serial numbers.
  package func reply(
    _ frame: UnsafePointer<UInt8>, count: Int, asked: UnsafeBufferPointer<UInt8>, numbered: Bool
  ) -> FrameReply {
    switch self {
    case .binary(let rule): return rule.reply(frame, count: count, asked: asked)
    case .dlt645: return DLT645.reply(frame, count: count, asked: asked)
    case .cjt188: return CJT188.reply(frame, count: count, asked: asked, numbered: numbered)
    }
  }

  /// Makes a reply's data readable where it travels disguised (DL/T 645 adds 0x33).
  package func clear(_ frame: UnsafeMutablePointer<UInt8>, first: Int, count: Int) {
    if case .dlt645 = self { DLT645.clear(frame, first: first, count: count) }
  }

  /// Bytes that stand in front of a frame by right.
  package func isPreamble(_ byte: UInt8) -> Bool {
    if case .binary = self { return false }
    return byte == MeterAddress.preambleByte
  }
}

/// Up to four bytes.
package struct ShortBytes: BitwiseCopyable, Sendable, Hashable {
  private var packed: UInt32 = 0
  package private(set) var count = 0

  package init() {}
  /// Takes the first four.
  package init(_ bytes: [UInt8]) {
    for byte in bytes.prefix(4) {
      packed |= UInt32(byte) << UInt32(8 * count)
      count += 1
    }
  }
  package subscript(index: Int) -> UInt8 { UInt8(truncatingIfNeeded: packed >> UInt32(8 * index)) }
  package var bytes: [UInt8] { (0..<count).map { self[$0] } }
}

/// A frame of a profile with format = "binary": start · … · checksum · end.
package struct BinaryFrame: BitwiseCopyable, Sendable, Hashable {
  package var start = ShortBytes()
  package var end = ShortBytes()
  /// Of the whole frame; 0: a length field says it.
  package var size: Int = 0
  package var lengthAt: Int = 0
  package var lengthBytes: Int = 1
  package var lengthIsHighFirst = true
  /// The whole frame is so much longer than its length field says.
  package var lengthAdds: Int = 0
  package var checksum: FrameChecksum?
  /// The first byte that the checksum covers; the last is the one before it.
  package var checksumFrom: Int = 0
  package var checksumIsSwapped = false
  /// Where a reply repeats the question, a bit for each of the first 64 bytes.
  package var echo: UInt64 = 0

  package init() {}

  /// The shortest frame with all its parts.
  package var leastBytes: Int {
    let parts = Swift.max(start.count, checksumFrom) + (checksum?.byteCount ?? 0) + end.count
    return Swift.max(parts, size > 0 ? 1 : lengthAt + lengthBytes)
  }

  package func judge(_ bytes: UnsafePointer<UInt8>, count: Int) -> FrameVerdict {
    for index in 0..<Swift.min(start.count, count) where bytes[index] != start[index] { return .none(.marker) }
    var whole = size
    if size == 0 {
      guard count >= lengthAt + lengthBytes else { return .more }
      var stated = Int(bytes[lengthAt])
      if lengthBytes == 2 {
        let next = Int(bytes[lengthAt + 1])
        stated = lengthIsHighFirst ? stated << 8 | next : next << 8 | stated
      }
      whole = stated + lengthAdds
    }
    guard whole >= leastBytes, whole <= Limits.serialFrameBytesMax else { return .none(.length) }
    guard count >= whole else { return .more }
    let tail = whole - end.count
    for index in 0..<end.count where bytes[tail + index] != end[index] { return .none(.marker) }
    if let checksum {
      let place = tail - checksum.byteCount
      guard checksum.holds(bytes, checksumFrom..<place, at: place, swapped: checksumIsSwapped) else {
        return .none(.checksum)
      }
    }
    return .whole(whole)
  }

  package func reply(
    _ frame: UnsafePointer<UInt8>, count: Int, asked: UnsafeBufferPointer<UInt8>
  ) -> FrameReply {
    if asked.count == count, isSame(frame, asked) { return .foreign(.ownEcho) }
    var left = echo
    while left != 0 {
      let index = left.trailingZeroBitCount
      left &= left - 1
      guard index < asked.count else { continue }
      if index >= count || frame[index] != asked[index] { return .foreign(.otherItem) }
    }
    return .data(first: 0, count: count)
  }

  private func isSame(_ frame: UnsafePointer<UInt8>, _ asked: UnsafeBufferPointer<UInt8>) -> Bool {
    for index in 0..<asked.count where frame[index] != asked[index] { return false }
    return true
  }

  /// Makes length field and checksum right: `bytes` has the frame's full length.
  package func seal(_ bytes: inout [UInt8]) {
    for index in 0..<start.count where index < bytes.count { bytes[index] = start[index] }
    guard bytes.count >= leastBytes else { return }
    if size == 0 {
      let stated = Swift.max(0, bytes.count - lengthAdds)
      if lengthBytes == 2 {
        bytes[lengthAt] = UInt8(truncatingIfNeeded: lengthIsHighFirst ? stated >> 8 : stated)
        bytes[lengthAt + 1] = UInt8(truncatingIfNeeded: lengthIsHighFirst ? stated : stated >> 8)
      } else {
        bytes[lengthAt] = UInt8(truncatingIfNeeded: stated)
      }
    }
    let tail = bytes.count - end.count
    for index in 0..<end.count { bytes[tail + index] = end[index] }
    guard let checksum else { return }
    bytes.withUnsafeMutableBufferPointer { all in
      guard let base = all.baseAddress else { return }
      let place = tail - checksum.byteCount
      checksum.put(base, checksumFrom..<place, at: place, swapped: checksumIsSwapped)
    }
  }
}
