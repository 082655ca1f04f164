// One line: opened, asked, drained, closed. Real implementations: libmodbus (RTU and TCP); tests have a scripted one
// that carries its own clock.

import StreamCore

extension Port where Self: ~Copyable {
  package var hasEcho: Bool { false }
  package mutating func wipe() {}
}

/// What the caller does next.
package enum ReadFailure: Error, Equatable {
  /// Nothing came in time: retry, then back the device off.
  case noReply
  /// Something came that was not the reply: retry; count line noise.
  case corruptReply(Corruption)
  /// The device's exception code.
  case refused(UInt8)
  /// The line itself is gone: close, reopen on the bus's schedule.
  case portLost(Int32)
}

package enum Corruption: UInt8, Sendable {
  /// `echo`: the request itself came back.
  case checksum, wrongUnit, wrongShape, echo
}

package enum PortFailure: Error, Equatable {
  /// There is no such port, or nobody listens there.
  case missing(Int32)
  /// Somebody else has it.
  case busy(Int32)
  /// No right to open it.
  case forbidden(Int32)
  case failed(Int32)

  package var code: Int32 {
    switch self {
    case .missing(let code), .busy(let code), .forbidden(let code), .failed(let code): return code
    }
  }
}

package protocol Port: ~Copyable, SendableMetatype {
  /// The clock that the line lives by.
  var now: Instant { get }

  /// The line gives back what is sent on it (an adapter whose receiver stays on), and the port has got used to it.
  var hasEcho: Bool { get }

  mutating func open() throws(PortFailure)
  mutating func close()

  /// Sends one request and waits for its reply. `words`: room for `count` registers, or bits (one a word).
  /// Blocks at most `timeoutNs`.
  mutating func read(
    unit: Int, table: RegisterTable, address: Int, count: Int, timeoutNs: Int64,
    into words: UnsafeMutablePointer<UInt16>
  ) throws(ReadFailure)

  /// Sends a frame (unit, function, data; the CRC is put on here) and waits for what answers it, checked. `reply`:
  /// room for `CommandFrame.bytesMax`; the result is its length without the CRC.
  mutating func exchange(
    _ request: UnsafeBufferPointer<UInt8>, timeoutNs: Int64, into reply: UnsafeMutablePointer<UInt8>
  ) throws(ReadFailure) -> Int

  /// Throws away what has come in unasked; the answer is how many bytes.
  mutating func drain() throws(ReadFailure) -> Int

  /// What came in last, to the read, the exchange or the drain before: as on the line, with its CRC. Empty where the
  /// door shows no bytes. Good until the next call.
  var frame: UnsafeBufferPointer<UInt8> { get }

  /// Leaves nothing of what came in, in its buffers or on the stack: it may hold a card number.
  mutating func wipe()

  /// Opens the same line again with other settings. Not on a bus that is being polled.
  mutating func reopen(as format: LineFormat) throws(PortFailure)
}
