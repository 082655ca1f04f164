import CLinux
import FieldBus
import Glibc
import StreamCore
import Testing
import VirtualSite

/// `modbus-rtu-tcp`: the real port against a serial device server in front of a virtual line.
@Suite("A serial device server", .serialized)
struct DeviceServerTests {
  /// Passes bytes between one TCP client at a time and the line, as such servers do.
  private final class Relay: @unchecked Sendable {
    // Unchecked: the descriptors are set before the thread starts; `stop` is a pipe.
    let port: Int
    private let listener: Int32
    private let path: String
    private var ends: [Int32] = [-1, -1]
    private var thread = pthread_t()

    init(path: String) throws {
      self.path = path
      let made = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
      var length = socklen_t(MemoryLayout<sockaddr_in>.size)
      withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          _ = bind(made, $0, length)
          _ = listen(made, 1)
          _ = getsockname(made, $0, &length)
        }
      }
      listener = made
      port = Int(UInt16(bigEndian: address.sin_port))
      pipe(&ends)
      pthread_create(
        &thread, nil,
        { context in
          guard let context else { return nil }
          Unmanaged<Relay>.fromOpaque(context).takeRetainedValue().run()
          return nil
        }, Unmanaged.passRetained(self).toOpaque())
    }

    func stop() {
      close(ends[1])
      pthread_join(thread, nil)
      close(ends[0])
      close(listener)
    }

    private func run() {
      let line = open(path, O_RDWR | O_NOCTTY)
      _ = kerb_tty_raw(line, 9_600, 0x4E, 1)
      var client: Int32 = -1
      var bytes = [UInt8](repeating: 0, count: 512)
      while true {
        var polled = [
          pollfd(fd: ends[0], events: Int16(POLLIN), revents: 0),
          pollfd(fd: listener, events: Int16(POLLIN), revents: 0),
          pollfd(fd: line, events: Int16(POLLIN), revents: 0), pollfd(fd: client, events: Int16(POLLIN), revents: 0),
        ]
        _ = poll(&polled, 4, -1)
        if polled[0].revents != 0 { break }
        if polled[1].revents != 0 {
          if client >= 0 { close(client) }
          client = accept(listener, nil, nil)
        }
        if polled[2].revents != 0 {
          let count = read(line, &bytes, bytes.count)
          if count > 0, client >= 0 { _ = send(client, bytes, count, Int32(MSG_NOSIGNAL)) }
        }
        if client >= 0, polled[3].revents != 0 {
          let count = read(client, &bytes, bytes.count)
          if count <= 0 {
            close(client)
            client = -1
          } else {
            _ = write(line, bytes, count)
          }
        }
      }
      if client >= 0 { close(client) }
      close(line)
    }
  }

  @Test("is read through, lost when it goes away, and found again")
  func reads() throws {
    let line = try RunningLine([
      SiteDevice(
        name: "d", address: 7, profile: profile([point("a", .holding, 3), point("b", .coil, 2, .bool)]),
        signals: ["a": Signal(.constant(.number(4_711))), "b": Signal(.constant(.flag(true)))])
    ])
    defer { line.end() }
    var relay = try Relay(path: line.link)
    var spec = BusSpec(
      name: "b", place: .inCode, busProtocol: .modbusRTUTCP, endpoint: .tcp(host: "127.0.0.1", port: relay.port))
    spec.format.baud = 9_600
    var port = ModbusPort(spec)
    try port.open()
    let words = UnsafeMutablePointer<UInt16>.allocate(capacity: 8)
    defer { words.deallocate() }
    try port.read(unit: 7, table: .holding, address: 3, count: 1, timeoutNs: Patience.ns, into: words)
    #expect(words[0] == 4_711)
    try port.read(unit: 7, table: .coil, address: 2, count: 1, timeoutNs: Patience.ns, into: words)
    #expect(words[0] == 1)
    relay.stop()
    var failure: ReadFailure?
    do {
      try port.read(unit: 7, table: .holding, address: 3, count: 1, timeoutNs: Patience.ns, into: words)
    } catch { failure = error }
    guard case .portLost = failure else {
      Issue.record("\(String(describing: failure)) instead of a lost port")
      return
    }
    port.close()
    var refused: PortFailure?
    do { try port.open() } catch { refused = error }
    #expect(refused == .missing(ECONNREFUSED))
    relay = try Relay(path: line.link)
    defer { relay.stop() }
    spec.endpoint = .tcp(host: "127.0.0.1", port: relay.port)
    var again = ModbusPort(spec)
    try again.open()
    try again.read(unit: 7, table: .holding, address: 3, count: 1, timeoutNs: Patience.ns, into: words)
    #expect(words[0] == 4_711)
  }

  @Test("a port that somebody else holds is refused without touching its settings")
  func busy() throws {
    let line = try RunningLine([SiteDevice(name: "d", address: 7, profile: profile([point("a", .holding, 3)]))])
    defer { line.end() }
    let holder = open(line.link, O_RDWR | O_NOCTTY)
    defer { close(holder) }
    #expect(kerb_fd_flock(holder) == 0)
    #expect(kerb_tty_raw(holder, 2_400, 0x45, 1) == 0)
    var spec = BusSpec(name: "b", place: .inCode, busProtocol: .modbusRTU, endpoint: .serialPort(path: line.link))
    spec.format.baud = 115_200
    var port = ModbusPort(spec)
    var failure: PortFailure?
    do { try port.open() } catch { failure = error }
    guard case .busy = failure else {
      Issue.record("\(String(describing: failure)) instead of a busy port")
      return
    }
    var settings = termios()
    tcgetattr(holder, &settings)
    #expect(cfgetospeed(&settings) == speed_t(B2400))
  }
}
