// A client of the tests: a blocking socket that sends any bytes, and waits for answers with poll() and a deadline.

import CLinux
import Gateway
import Glibc

struct WireFailure: Error { var what: String }

final class WireClient {
  private var fd: Int32
  private var received: [UInt8] = []
  /// The other side has closed.
  private(set) var isEnded = false
  /// Only what fails waits that long: on a busy machine nothing else does.
  static let patienceNs: Int64 = 60_000_000_000

  init(port: Int) throws {
    fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard result == 0 else { throw WireFailure(what: "connect: \(String(cString: strerror(errno)))") }
  }

  init(unix path: String) throws {
    fd = kerb_unix_connect(path, Self.patienceNs)
    guard fd >= 0 else { throw WireFailure(what: "connect: \(String(cString: strerror(-fd)))") }
  }

  deinit { if fd >= 0 { close(fd) } }

  func hangUp() {
    close(fd)
    fd = -1
  }

  func send(_ text: String) { send(Array(text.utf8)) }

  /// What can't be sent is dropped: the other side may have closed.
  func send(_ bytes: [UInt8]) {
    var sent = 0
    while sent < bytes.count {
      let count = bytes[sent...].withUnsafeBytes { Glibc.send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      if count <= 0 { return }
      sent += count
    }
  }

  /// Waits for more bytes; false at the end of the stream.
  @discardableResult
  func more(within spanNs: Int64 = patienceNs) throws -> Bool {
    let ready = kerb_fd_wait_readable(fd, spanNs)
    if ready == 0 { throw WireFailure(what: "nothing came within \(spanNs / 1_000_000) ms") }
    var chunk = [UInt8](repeating: 0, count: 65_536)
    let count = ready < 0 ? 0 : recv(fd, &chunk, chunk.count, 0)
    if count <= 0 {
      isEnded = true
      return false
    }
    received += chunk[..<count]
    return true
  }

  /// True if nothing arrives for that long.
  func staysSilent(forNs span: Int64) -> Bool { received.isEmpty && kerb_fd_wait_readable(fd, span) == 0 }

  func waitForEnd() throws { while try more() {} }

  func line() throws -> String {
    while true {
      if let end = received.firstIndex(of: 0x0A) {
        defer { received.removeSubrange(...end) }
        return String(decoding: received[..<end], as: UTF8.self)
      }
      guard try more() else { throw WireFailure(what: "closed before a whole line") }
    }
  }

  struct Response {
    var status = 0
    var headers: [String: String] = [:]
    var body: [UInt8] = []
    var json: JSONValue { (try? JSONParser.parse(body)) ?? .null }
  }

  /// The head of the next answer, as it comes; what follows it stays.
  func rawHead() throws -> String {
    let separator = Array("\r\n\r\n".utf8)
    while true {
      if let range = received.firstRange(of: separator) {
        defer { received.removeSubrange(..<range.upperBound) }
        return String(decoding: received[..<range.lowerBound], as: UTF8.self)
      }
      guard try more() else { throw WireFailure(what: "closed before a whole head") }
    }
  }

  /// The next answer on the connection.
  func response(isHead: Bool = false) throws -> Response {
    let separator = Array("\r\n\r\n".utf8)
    var end = 0
    while true {
      if let range = received.firstRange(of: separator) {
        end = range.upperBound
        break
      }
      guard try more() else { throw WireFailure(what: "closed before a whole head") }
    }
    let lines = String(decoding: received[..<(end - 4)], as: UTF8.self).split(separator: "\r\n")
    var response = Response()
    response.status = Int(lines[0].split(separator: " ")[1]) ?? 0
    for line in lines.dropFirst() {
      let pair = line.split(separator: ":", maxSplits: 1)
      response.headers[pair[0].lowercased()] = pair[1].trimmingPrefix(" ").description
    }
    if !isHead, response.headers["transfer-encoding"] == "chunked" {
      received.removeSubrange(..<end)
      response.body = try chunks()
      return response
    }
    let length = isHead ? 0 : Int(response.headers["content-length"] ?? "0") ?? 0
    while received.count < end + length {
      guard try more() else { throw WireFailure(what: "closed before a whole body") }
    }
    response.body = Array(received[end..<(end + length)])
    received.removeSubrange(..<(end + length))
    return response
  }

  /// RFC 9112, 7.1, without trailers.
  private func chunks() throws -> [UInt8] {
    var body: [UInt8] = []
    while true {
      let size = Int(try line().dropLast(), radix: 16) ?? 0
      while received.count < size + 2 {
        guard try more() else { throw WireFailure(what: "closed before a whole chunk") }
      }
      body += received[..<size]
      received.removeSubrange(..<(size + 2))
      if size == 0 { return body }
    }
  }

  func get(_ target: String, token: String?, method: String = "GET", headers: String = "") throws -> Response {
    sendRequest(target, token: token, method: method, headers: headers)
    return try response(isHead: method == "HEAD")
  }

  func post(_ target: String, token: String?, body: String, headers: String = "") throws -> Response {
    let bytes = body.utf8.count
    sendRequest(target, token: token, method: "POST", headers: "Content-Length: \(bytes)\r\n" + headers)
    send(body)
    return try response(isHead: false)
  }

  func sendRequest(_ target: String, token: String?, method: String = "GET", headers: String = "") {
    let authorization = token.map { "Authorization: Bearer \($0)\r\n" } ?? ""
    send("\(method) \(target) HTTP/1.1\r\nHost: box\r\n\(authorization)\(headers)\r\n")
  }
}

/// Waits until `condition` holds, looking again whenever the clock's descriptor fires; false after the deadline.
func eventually(withinNs span: Int64 = WireClient.patienceNs, _ condition: () throws -> Bool) rethrows -> Bool {
  let deadline = kerb_monotonic_ns() + span
  while true {
    if try condition() { return true }
    if kerb_monotonic_ns() > deadline { return false }
    poll(nil, 0, 2)
  }
}
