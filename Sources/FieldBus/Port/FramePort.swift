// A line of bytes that is asked and listened to. Real implementation: a serial port; tests have a scripted one that
// carries its own clock.

import StreamCore

package protocol FramePort: ~Copyable, SendableMetatype {
  /// The clock that the line lives by.
  var now: Instant { get }

  mutating func open() throws(PortFailure)
  mutating func close()
  mutating func send(_ bytes: UnsafePointer<UInt8>, count: Int) throws(ReadFailure)

  /// Waits until something comes, at most until `deadline`; the answer is how many bytes are in `bytes` now.
  mutating func read(
    into bytes: UnsafeMutablePointer<UInt8>, capacity: Int, until deadline: Instant
  ) throws(ReadFailure) -> Int
}
