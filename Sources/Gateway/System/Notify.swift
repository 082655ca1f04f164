// Tells systemd how the agent is: one datagram a message to the socket that NOTIFY_SOCKET names (sd_notify(3);
// the protocol is the API). Without the variable nobody waits, and nothing is sent. Main thread.

import Glibc

package struct Notify {
  private let path: String?
  /// Half of what systemd waits; nil: it doesn't watch.
  package let watchdogNs: Int64?

  package init() {
    path = getenv("NOTIFY_SOCKET").map { String(cString: $0) }
    let wanted = getenv("WATCHDOG_USEC").flatMap { Int64(String(cString: $0)) }
    let forUs = getenv("WATCHDOG_PID").map { Int32(String(cString: $0)) == getpid() } ?? true
    watchdogNs = forUs ? wanted.map { $0 * 1_000 / 2 } : nil
  }

  package func ready() { send("READY=1") }
  package func stopping() { send("STOPPING=1") }
  package func watchdog() { send("WATCHDOG=1") }
  /// One line, shown by `systemctl status`.
  package func status(_ text: String) { send("STATUS=\(text)") }

  private func send(_ message: String) {
    guard let path, let first = path.utf8.first, first == 0x2F || first == 0x40 else { return }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return }
    withUnsafeMutableBytes(of: &address.sun_path) { room in
      for (index, byte) in bytes.enumerated() { room[index] = byte }
      // An abstract socket's name begins with a zero.
      if first == 0x40 { room[0] = 0 }
    }
    let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
    let text = Array(message.utf8)
    _ = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        sendto(descriptor, text, text.count, Int32(MSG_NOSIGNAL), $0, length)
      }
    }
  }
}
