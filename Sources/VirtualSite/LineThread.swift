// A POSIX thread with a name that can be waited for, and a pipe that wakes it from poll().

import CLinux
import Glibc

package final class LineThread: Sendable {
  private let handle: pthread_t

  package init(name: String, _ body: sending @escaping () -> Void) throws(SiteFailure) {
    let box = Unmanaged.passRetained(ThreadBody(name: name, run: body))
    var made = pthread_t()
    let code = pthread_create(
      &made, nil,
      { raw in
        guard let raw else { return nil }
        let body = Unmanaged<ThreadBody>.fromOpaque(raw).takeRetainedValue()
        kerb_thread_name(body.name)
        kerb_block_signals()
        body.run()
        return nil
      }, box.toOpaque())
    if code != 0 {
      box.release()
      throw .noThread(code: code)
    }
    handle = made
  }

  /// Once only.
  package func join() { pthread_join(handle, nil) }
}

private final class ThreadBody {
  let name: String
  let run: () -> Void
  init(name: String, run: @escaping () -> Void) {
    self.name = name
    self.run = run
  }
}

/// Ends a wait in poll() from another thread.
final class WakePipe: Sendable {
  let readEnd: Int32
  private let writeEnd: Int32

  init() throws(SiteFailure) {
    var ends: (Int32, Int32) = (-1, -1)
    let code = withUnsafeMutableBytes(of: &ends) {
      pipe($0.baseAddress?.assumingMemoryBound(to: Int32.self)) < 0 ? errno : 0
    }
    guard code == 0 else { throw .noPty(code: code) }
    (readEnd, writeEnd) = ends
    for end in [readEnd, writeEnd] {
      _ = kerb_fd_nonblocking(end)
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
    }
  }

  deinit {
    close(readEnd)
    close(writeEnd)
  }

  func wake() {
    var byte: UInt8 = 1
    _ = write(writeEnd, &byte, 1)
  }

  func clear() {
    var buffer: (UInt64, UInt64) = (0, 0)
    while withUnsafeMutableBytes(of: &buffer, { read(readEnd, $0.baseAddress, $0.count) }) > 0 {}
  }
}

/// Waits until the monotonic clock shows `until`, or one of the descriptors has input. Answers which have.
package func waitForInput(_ descriptors: [Int32], until: Int64) -> [Bool] {
  var polled = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
  let count = polled.withUnsafeMutableBufferPointer { kerb_poll_until($0.baseAddress, $0.count, until) }
  return polled.map { count > 0 && $0.revents != 0 }
}
