// Frames out of the bytes that two others exchange on a line that is listened to. Pure: bytes and times in, frames
// out. Silence ends a frame; where an adapter hands over several at once, their checksums tell them apart.

import StreamCore

package struct FrameSplitter {
  private let silenceNs: Int64
  private let personalUnits: Set<UInt8>
  private var bytes: [UInt8] = []
  private var firstAt: Int64 = 0
  private var lastAt: Int64 = 0
  private var number: Int64 = 0
  /// Unit and function of the request that waits for its reply.
  private var asked: (unit: UInt8, function: UInt8)?

  /// Adapters hand bytes over in lumps of up to a latency timer's 16 ms.
  private static let lumpNs: Int64 = 20_000_000

  package init(format: LineFormat, personalUnits: Set<UInt8>) {
    silenceNs = Swift.max(format.silenceNs, Self.lumpNs)
    self.personalUnits = personalUnits
  }

  /// When what is in hand counts as whole; nil: nothing is.
  package var deadline: Int64? { bytes.isEmpty ? nil : lastAt + silenceNs }

  package mutating func take(_ more: UnsafeBufferPointer<UInt8>, at now: Int64) {
    if more.isEmpty { return }
    if bytes.isEmpty { firstAt = now }
    lastAt = now
    bytes += more
  }

  package mutating func frames(at now: Int64) -> [LineFrame] {
    var frames: [LineFrame] = []
    while let length = checkedLength() {
      frames.append(frame(Array(bytes[..<length])))
      bytes.removeSubrange(..<length)
      firstAt = lastAt
    }
    let isOver = !bytes.isEmpty && now >= lastAt + silenceNs
    if isOver || bytes.count >= Limits.frameBytesMax {
      let kept = Array(bytes.prefix(Limits.frameBytesMax))
      let mask = !personalUnits.isEmpty
      number += 1
      frames.append(
        LineFrame(
          number: number, at: Instant(nanoseconds: firstAt), kind: .broken, cause: .checksum, isMasked: mask,
          bytes: mask ? Array(repeating: 0, count: kept.count) : kept))
      bytes = []
      asked = nil
    }
    return frames
  }

  /// The shortest beginning whose checksum is right.
  private func checkedLength() -> Int? {
    guard bytes.count >= 4 else { return nil }
    // Over a frame with its own checksum behind it the sum is zero.
    for length in 4...Swift.min(bytes.count, Limits.frameBytesMax) where modbusChecksum(bytes[..<length]) == 0 {
      return length
    }
    return nil
  }

  private mutating func frame(_ whole: [UInt8]) -> LineFrame {
    number += 1
    let isReply = asked.map { $0.unit == whole[0] && $0.function == whole[1] & 0x7F } ?? (whole[1] & 0x80 != 0)
    asked = isReply ? nil : (whole[0], whole[1])
    var shown = whole
    let mask = isReply && personalUnits.contains(whole[0]) && whole[1] <= 4 && whole.count > 5
    if mask {
      for index in 3..<whole.count - 2 { shown[index] = 0 }
      let sum = modbusChecksum(shown.dropLast(2))
      shown[whole.count - 2] = UInt8(truncatingIfNeeded: sum)
      shown[whole.count - 1] = UInt8(truncatingIfNeeded: sum >> 8)
    }
    return LineFrame(
      number: number, at: Instant(nanoseconds: firstAt), kind: isReply ? .reply : .request, isMasked: mask, bytes: shown
    )
  }
}
