// Finds frames in a stream of bytes, in a buffer of fixed size. Pure; allocates nothing.
//
// Invariants:
//  1. Bytes that can't begin a frame are left behind one by one and counted: noise in front of a frame costs
//     the noise only.
//  2. A frame is given out once, whole and judged; until `clear` or `next` its bytes stand at `bytes`.
//  3. After `giveUp` nothing is left that waits for more.

import StreamCore

package struct FrameReader: ~Copyable {
  package let bytes: UnsafeMutablePointer<UInt8>
  private var count = 0
  private var frameCount = 0
  /// Bytes left behind, preambles not counted.
  package private(set) var droppedBytes: Int64 = 0
  /// Frames whose checksum was wrong, or what looked like one.
  package private(set) var checksumFaults: Int64 = 0

  package static var capacity: Int { Limits.serialFrameBytesMax }
  package static var memoryBytes: Int { Arena.bytes(of: UInt8.self, count: capacity) }

  package init(arena: inout Arena) { bytes = arena.take(UInt8.self, count: Self.capacity, first: 0) }

  /// The length of the frame that was found; 0: none.
  package var frameLength: Int { frameCount }
  /// Bytes that wait for more.
  package var pendingBytes: Int { count }

  /// Takes one byte; true when it completes a frame.
  package mutating func take(_ byte: UInt8, _ rule: FrameRule) -> Bool {
    if frameCount > 0 { drop(frameCount) }
    if count == Self.capacity { drop(1, counts: true) }
    bytes[count] = byte
    count += 1
    return look(rule)
  }

  /// Looks for another frame behind the one that was found: it was not the right one.
  package mutating func next(_ rule: FrameRule) -> Bool {
    drop(frameCount)
    return look(rule)
  }

  /// The line has fallen silent: what has begun won't go on. True if a frame stands behind the false beginning.
  package mutating func giveUp(_ rule: FrameRule) -> Bool {
    while count > 0 {
      drop(1, counts: !rule.isPreamble(bytes[0]))
      if look(rule) { return true }
    }
    return false
  }

  /// May hold a card number: nothing of it stays.
  package mutating func clear() {
    for index in 0..<Self.capacity { bytes[index] = 0 }
    count = 0
    frameCount = 0
  }

  private mutating func look(_ rule: FrameRule) -> Bool {
    while count > 0 {
      switch rule.judge(UnsafePointer(bytes), count: count) {
      case .more: return false
      case .whole(let length):
        frameCount = length
        return true
      case .none(let fault):
        if fault == .checksum { checksumFaults += 1 }
        drop(1, counts: !rule.isPreamble(bytes[0]))
      }
    }
    return false
  }

  private mutating func drop(_ dropped: Int, counts: Bool = false) {
    if counts { droppedBytes += Int64(dropped) }
    count -= dropped
    for index in 0..<count { bytes[index] = bytes[index + dropped] }
    for index in count..<(count + dropped) { bytes[index] = 0 }
    frameCount = 0
  }
}
