// A platform of the tests that speaks bytes: each connection is a conversation on a thread of its own, which reads
// requests and answers them, or does something else. Blocking sockets, waits with a deadline.

import CLinux
import Gateway
import Glibc
import Synchronization

final class WireServer: Sendable {
  struct Request: Sendable {
    var line = ""
    var headers: [String: String] = [:]
    /// All of a name.
    var all: [(name: String, value: String)] = []
    var body: [UInt8] = []
    var json: JSONValue { (try? JSONParser.parse(body)) ?? .null }
    var id: String { headers["idempotency-key"] ?? "" }
  }

  let port: Int
  private let listener: Int32
  private let seen = Mutex<[Request]>([])
  private let isEnded = Atomic<Bool>(false)

  /// The requests that came whole, in order.
  var requests: [Request] { seen.withLock { $0 } }

  /// `talk`: what becomes of the connection with this number, from 0.
  init(_ talk: @escaping @Sendable (Talk, Int) -> Void) throws {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, length) == 0 && listen(listener, 64) == 0
          && getsockname(listener, $0, &length) == 0
      }
    }
    guard bound else { throw WireFailure(what: "bind: \(String(cString: strerror(errno)))") }
    self.listener = listener
    port = Int(UInt16(bigEndian: address.sin_port))
    try TestThread.start { [self] in
      // Nobody else closes it: its number would be another test's by the next look at it.
      defer { close(listener) }
      var number = 0
      while true {
        let fd = accept(listener, nil, nil)
        if fd < 0, isEnded.load(ordering: .acquiring) { return }
        if fd < 0 { continue }
        _ = fcntl(fd, F_SETFD, FD_CLOEXEC)
        let (connection, place) = (Talk(fd: fd, server: self), number)
        number += 1
        try? TestThread.start { talk(connection, place) }
      }
    }
  }

  /// Ends the waiting for connections.
  func stop() {
    isEnded.store(true, ordering: .releasing)
    shutdown(listener, Int32(SHUT_RDWR))
  }

  fileprivate func note(_ request: Request) { seen.withLock { $0.append(request) } }

  final class Talk: @unchecked Sendable {
    // Unchecked: of one thread.
    private let fd: Int32
    private let server: WireServer
    private var received: [UInt8] = []

    fileprivate init(fd: Int32, server: WireServer) {
      self.fd = fd
      self.server = server
    }

    deinit { close(fd) }

    private func more() -> Bool {
      guard kerb_fd_wait_readable(fd, WireClient.patienceNs) > 0 else { return false }
      var chunk = [UInt8](repeating: 0, count: 65_536)
      let count = recv(fd, &chunk, chunk.count, 0)
      if count > 0 { received += chunk[..<count] }
      return count > 0
    }

    /// Exactly so many; nil: the other side has closed.
    func bytes(_ count: Int) -> [UInt8]? {
      while received.count < count { if !more() { return nil } }
      defer { received.removeFirst(count) }
      return Array(received[..<count])
    }

    /// Nil: the other side has closed.
    func request() -> Request? {
      let separator = Array("\r\n\r\n".utf8)
      while received.firstRange(of: separator) == nil { if !more() { return nil } }
      guard let end = received.firstRange(of: separator) else { return nil }
      let lines = String(decoding: received[..<end.lowerBound], as: UTF8.self).split(
        separator: "\r\n")
      received.removeSubrange(..<end.upperBound)
      var request = Request()
      request.line = lines.first.map(String.init) ?? ""
      for line in lines.dropFirst() {
        let parts = line.split(separator: ":", maxSplits: 1)
        let (name, value) = (
          parts[0].lowercased(), String(parts.count > 1 ? parts[1].drop { $0 == " " } : "")
        )
        request.headers[name] = value
        request.all.append((name, value))
      }
      let length = request.headers["content-length"].flatMap { Int($0) } ?? 0
      while received.count < length { if !more() { return nil } }
      request.body = Array(received[..<length])
      received.removeSubrange(..<length)
      server.note(request)
      return request
    }

    @discardableResult
    func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    /// False: the other side has closed.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
      var sent = 0
      while sent < bytes.count {
        let count = bytes[sent...].withUnsafeBytes {
          Glibc.send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        if count <= 0 { return false }
        sent += count
      }
      return true
    }

    func answer(_ status: Int, _ headers: String = "", body: String = "") {
      send("HTTP/1.1 \(status) X\r\nContent-Length: \(body.utf8.count)\r\n\(headers)\r\n\(body)")
    }

    /// 200 to whatever comes.
    func takeAll() { while request() != nil { answer(200) } }

    /// Until the other side closes, or patience ends.
    func hold() { while more() {} }
  }
}

/// A port where nobody listens, and that nobody else is given meanwhile.
final class DeafPort {
  let port: Int
  private let fd: Int32

  init() throws {
    fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { [fd] in
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(fd, $0, length) == 0 && getsockname(fd, $0, &length) == 0
      }
    }
    port = Int(UInt16(bigEndian: address.sin_port))
    guard isBound else { throw WireFailure(what: "bind: \(String(cString: strerror(errno)))") }
  }

  deinit { close(fd) }
}

/// A detached thread of the tests.
enum TestThread {
  private final class Body: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  static func start(_ body: @escaping @Sendable () -> Void) throws {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    let held = Unmanaged.passRetained(Body(body))
    var handle = pthread_t()
    let code = pthread_create(
      &handle, &attributes,
      { raw in
        if let raw { Unmanaged<Body>.fromOpaque(raw).takeRetainedValue().run() }
        return nil
      }, held.toOpaque())
    if code != 0 { throw WireFailure(what: "no thread") }
  }
}
