// Bytes to a descriptor, all of them: what write() leaves over is written again, what a signal broke off too, and a
// descriptor that does not wait is waited for.

import Glibc

package enum WholeWrite {
  /// 0: all of them are out; else errno, and some may be.
  package static func bytes(_ bytes: [UInt8], to descriptor: Int32) -> Int32 {
    var written = 0
    while written < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.write(descriptor, $0.baseAddress.map { $0 + written }, bytes.count - written)
      }
      if count > 0 {
        written += count
        continue
      }
      // Nothing taken and nothing said is a medium that takes no more.
      let code = count == 0 ? EIO : errno
      switch code {
      case EINTR: continue
      case EAGAIN:
        var waited = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        if poll(&waited, 1, -1) < 0, errno != EINTR { return errno }
      default: return code
      }
    }
    return 0
  }
}
