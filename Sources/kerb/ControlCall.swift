// One question to a running agent over its control socket: a JSON object a line there, one back.

import CLinux
import Gateway
import Glibc
import StreamCore

enum ControlCall {
  /// Nil: nobody answers there within the time.
  static func ask(_ method: String, runtime: String, withinNs: Int64) -> JSONValue? {
    let fd = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard fd >= 0 else { return nil }
    defer { close(fd) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let path = Array("\(runtime)/control.sock".utf8CString)
    guard path.count <= MemoryLayout.size(ofValue: address.sun_path) else { return nil }
    withUnsafeMutableBytes(of: &address.sun_path) { place in path.withUnsafeBytes { place.copyMemory(from: $0) } }
    let connected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
      }
    }
    let question = Array("{\"method\":\"\(method)\"}\n".utf8)
    guard connected, send(fd, question, question.count, Int32(MSG_NOSIGNAL)) == question.count else { return nil }
    return answer(fd, until: kerb_monotonic_ns() + withinNs)
  }

  private static func answer(_ fd: Int32, until deadline: Int64) -> JSONValue? {
    var line: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 16_384)
    while line.count < Limits.controlAnswerBytesMax, kerb_fd_wait_readable(fd, deadline - kerb_monotonic_ns()) == 1 {
      let count = read(fd, &part, part.count)
      guard count > 0 else { return nil }
      line += part.prefix(count)
      if let end = line.firstIndex(of: 0x0A) { return try? JSONParser.parse(Array(line[..<end])) }
    }
    return nil
  }
}
