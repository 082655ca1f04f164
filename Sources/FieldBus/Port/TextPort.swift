// A serial line of bytes, listened to, or asked. Used on the bus's thread.

import CLinux
import Glibc
import StreamCore

package struct TextPort: ~Copyable {
  private let path: String
  private var format: LineFormat
  private let writes: Bool
  private let rs485: RS485Mode
  private var door: SerialDoor?
  /// The door's; -1: not open.
  private(set) var descriptor: Int32 = -1

  /// `writes`: something is asked on it.
  package init(path: String, format: LineFormat, writes: Bool = false, rs485: RS485Mode = .off) {
    self.path = path
    self.format = format
    self.writes = writes
    self.rs485 = rs485
  }

  package var now: Instant { Instant(nanoseconds: kerb_monotonic_ns()) }

  package mutating func open() throws(PortFailure) {
    close()
    let door = try SerialDoor(path: path, format: format, writes: writes)
    descriptor = door.descriptor
    self.door = consume door
    guard rs485 != .off else { return }
    let switched = kerb_tty_rs485(descriptor, rs485 == .kernelInverted ? 1 : 0)
    // Adapters that switch by themselves, and ptys, have no such mode: that is fine.
    if switched == 0 || switched == -ENOTTY { return }
    close()
    throw .failed(-switched)
  }

  /// The same line at another speed or parity.
  package mutating func reopen(as format: LineFormat) throws(PortFailure) {
    self.format = format
    try open()
  }

  package mutating func close() {
    door = nil
    descriptor = -1
  }

  /// Waits until something comes, at most until `deadline`; the answer is how many bytes are in `bytes` now.
  package mutating func read(
    into bytes: UnsafeMutablePointer<UInt8>, capacity: Int, until deadline: Instant
  ) throws(ReadFailure) -> Int {
    let ready = kerb_fd_wait_readable(descriptor, deadline - now)
    if ready == 0 || ready == -EINTR { return 0 }
    if ready < 0 { throw .portLost(-ready) }
    let count = Glibc.read(descriptor, bytes, capacity)
    if count > 0 { return count }
    let code = errno
    if count < 0, code == EAGAIN || code == EINTR { return 0 }
    throw .portLost(count == 0 ? ECONNRESET : code)
  }

  /// Hands all bytes to the port; they leave at the line's own pace.
  package mutating func send(_ bytes: UnsafePointer<UInt8>, count: Int) throws(ReadFailure) {
    var sent = 0
    while sent < count {
      let written = Glibc.write(descriptor, bytes + sent, count - sent)
      let code = errno
      if written > 0 {
        sent += written
      } else if written < 0, code == EAGAIN {
        var waited = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        // A buffer that takes nothing for so long belongs to a port that is held back for good.
        if poll(&waited, 1, Self.sendMs) == 0 { throw .portLost(EAGAIN) }
      } else if written == 0 || code != EINTR {
        throw .portLost(written == 0 ? EIO : code)
      }
    }
  }

  private static let sendMs: Int32 = 1_000
}

extension TextPort: FramePort {}

extension PortFailure {
  /// By errno.
  package init(_ code: Int32) {
    switch code {
    case EBUSY, EWOULDBLOCK: self = .busy(code)
    case EACCES, EPERM: self = .forbidden(code)
    case ENOENT, ENODEV, ENXIO, ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT, EINPROGRESS: self = .missing(code)
    default: self = .failed(code)
    }
  }
}
