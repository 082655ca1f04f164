// What has come on a line that is listened to and was not told yet: noise, and what may still become a frame. In the
// bus's arena, on the bus's thread; allocates nothing after the start.
//
// Invariant: on a line with personal points no byte is kept, only how many there were.

import StreamCore

struct HeardBytes: ~Copyable {
  private static let capacity = Limits.frameBytesMax
  private let buffer: UnsafeMutablePointer<UInt8>
  private let keeps: Bool
  /// All of them, of which the first are kept.
  private(set) var count = 0

  static var bytes: Int { Arena.bytes(of: UInt8.self, count: capacity) }

  init(isPersonal: Bool, arena: inout Arena) {
    keeps = !isPersonal
    buffer = arena.take(UInt8.self, count: Self.capacity, first: 0)
  }

  mutating func take(_ byte: UInt8) {
    if keeps, count < Self.capacity { buffer[count] = byte }
    count += 1
  }

  /// The first `count`, as far as they are kept.
  func first(_ count: Int) -> UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(start: UnsafePointer(buffer), count: Swift.min(count, Self.capacity))
  }

  /// Forgets all, and begins with these.
  mutating func restart(with rest: UnsafeBufferPointer<UInt8> = UnsafeBufferPointer(start: nil, count: 0)) {
    for index in 0..<Swift.min(count, Self.capacity) { buffer[index] = 0 }
    count = 0
    for byte in rest { take(byte) }
  }
}
