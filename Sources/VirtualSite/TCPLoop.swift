// The thread of a line that listens on TCP: up to eight masters, each frame answered in order of arrival. Made by
// `VirtualLine.start`, then handed to its thread for good.

import CLinux
import CModbus
import FieldBus
import Glibc

final class TCPLoop {
  private let line: VirtualLine
  private let listener: Int32
  private var clients: [Client] = []
  let port: Int

  static let clientsMax = 8
  /// A Modbus TCP frame: 7 bytes of header and 253 of data unit.
  static let frameBytesMax = 260

  private struct Client {
    let fd: Int32
    var received: [UInt8] = []
    var outbox: [(at: Int64, bytes: [UInt8])] = []
  }

  init(_ line: VirtualLine, host: String, port: Int) throws(SiteFailure) {
    self.line = line
    guard let context = modbus_new_tcp(host, Int32(port)) else {
      throw .cannotListen(host: host, port: port, code: errno)
    }
    defer { modbus_free(context) }
    let fd = modbus_tcp_listen(context, 8)
    if fd < 0 { throw .cannotListen(host: host, port: port, code: errno) }
    _ = kerb_fd_nonblocking(fd)
    _ = fcntl(fd, F_SETFD, FD_CLOEXEC)
    listener = fd
    var address = sockaddr_in()
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(fd, $0, &size) }
    }
    self.port = Int(UInt16(bigEndian: address.sin_port))
  }

  deinit {
    for client in clients { close(client.fd) }
    close(listener)
  }

  func run() {
    while true {
      let (stopping, plugged) = line.control.withLock { ($0.stopping, $0.plugged) }
      if stopping { return }
      if !plugged { dropAll() }
      flush()
      let soonest = clients.flatMap(\.outbox).map(\.at).min() ?? .max
      let ready = waitForInput([line.wake.readEnd, plugged ? listener : -1] + clients.map(\.fd), until: soonest)
      if ready[0] { line.wake.clear() }
      for index in clients.indices.reversed() where ready[2 + index] {
        if !receive(index) {
          close(clients[index].fd)
          clients.remove(at: index)
        }
      }
      if ready[1] { accept() }
    }
  }

  private func accept() {
    let fd = Glibc.accept(listener, nil, nil)
    guard fd >= 0 else { return }
    guard clients.count < TCPLoop.clientsMax else {
      close(fd)
      return
    }
    _ = kerb_fd_nonblocking(fd)
    _ = fcntl(fd, F_SETFD, FD_CLOEXEC)
    clients.append(Client(fd: fd))
  }

  private func dropAll() {
    for client in clients { close(client.fd) }
    clients = []
  }

  /// False: the client has gone, or talks nonsense.
  private func receive(_ index: Int) -> Bool {
    var buffer = [UInt8](repeating: 0, count: 1_024)
    let count = buffer.withUnsafeMutableBytes { read(clients[index].fd, $0.baseAddress, $0.count) }
    if count < 0 { return errno == EAGAIN || errno == EINTR }
    if count == 0 { return false }
    clients[index].received += buffer.prefix(count)
    line.devices.withLock { $0.counts.bytesIn += count }
    while let length = RequestFrame.expectedLength(clients[index].received, framing: .tcp) {
      guard length <= TCPLoop.frameBytesMax else { return false }
      guard clients[index].received.count >= length else { break }
      let frame = Array(clients[index].received.prefix(length))
      clients[index].received.removeFirst(length)
      let now = kerb_monotonic_ns()
      let emissions = line.devices.withLock { $0.answer(frame, atNs: now - line.startedAt) }
      for emission in emissions { plan(emission, for: index, from: now + line.spec.turnaroundNs) }
    }
    return true
  }

  private func plan(_ emission: Emission, for index: Int, from start: Int64) {
    guard emission.gapNs > 0 else {
      clients[index].outbox.append((start + emission.delayNs, emission.bytes))
      return
    }
    for (place, byte) in emission.bytes.enumerated() {
      clients[index].outbox.append((start + emission.delayNs + Int64(place + 1) * emission.gapNs, [byte]))
    }
  }

  private func flush() {
    let now = kerb_monotonic_ns()
    for index in clients.indices {
      for (at, bytes) in clients[index].outbox where at <= now {
        _ = bytes.withUnsafeBytes { send(clients[index].fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        line.devices.withLock {
          $0.counts.bytesOut += bytes.count
          $0.counts.replies += 1
        }
      }
      clients[index].outbox.removeAll { $0.at <= now }
    }
  }
}
