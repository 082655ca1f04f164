import CLinux
@testable import FieldBus
import Glibc
import StreamCore
import TestSupport
import Testing

/// The doors to a line, on real ttys.
@Suite("A port", .serialized)
struct PortTests {
  private final class Pty {
    private(set) var master: Int32 = -1
    let path: String

    init() {
      var name = [CChar](repeating: 0, count: 128)
      #expect(kerb_pty_open(&master, &name, 128) == 0)
      path = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { pull() }

    func pull() {
      if master >= 0 { close(master) }
      master = -1
      Spawning.settle()
    }
  }

  /// Whoever waits it out is far beyond what a busy machine takes for "at once".
  private static let longNs: Int64 = 60_000_000_000

  private static func spec(_ path: String) -> BusSpec {
    BusSpec(name: "b", place: nowhere, busProtocol: .modbusRTU, endpoint: .serialPort(path: path))
  }

  /// How often this process has the file open: other suites run beside this one, and open others.
  private static func descriptors(of path: String) -> Int {
    guard let folder = opendir("/proc/self/fd") else { return -1 }
    defer { closedir(folder) }
    var (file, each, count) = (stat(), stat(), 0)
    guard stat(path, &file) == 0 else { return 0 }
    while let entry = readdir(folder) {
      let number = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { atoi($0) }
      }
      if fstat(number, &each) == 0, each.st_dev == file.st_dev, each.st_ino == file.st_ino { count += 1 }
    }
    return count
  }

  private static func failure(_ body: () throws(PortFailure) -> Void) -> PortFailure? {
    do throws(PortFailure) {
      try body()
      return nil
    } catch { return error }
  }

  private static func loss(_ body: () throws(ReadFailure) -> Void) -> Int32? {
    do throws(ReadFailure) {
      try body()
      return nil
    } catch {
      if case .portLost(let code) = error { return code }
      return 0
    }
  }

  @Test("FAULTS 12: says what is not there, what somebody else has, and what is no line; and keeps nothing open")
  func notOpened() throws {
    let folder = try TemporaryFolder()
    try folder.write("file", "")
    let pty = Pty()
    let holder = open(pty.path, O_RDWR | O_NOCTTY | O_CLOEXEC)
    #expect(flock(holder, LOCK_EX | LOCK_NB) == 0)
    defer { close(holder) }
    let cases: [(String, PortFailure, openElsewhere: Int)] = [
      ("/dev/kerb-no-such-port", .missing(ENOENT), 0), (pty.path, .busy(EWOULDBLOCK), 1),
      ("\(folder.path)/file", .failed(ENOTTY), 0),
    ]
    for (path, wanted, openElsewhere) in cases {
      var modbus = ModbusPort(Self.spec(path))
      var text = TextPort(path: path, format: LineFormat())
      for _ in 0..<3 {
        #expect(Self.failure { () throws(PortFailure) in try modbus.open() } == wanted, "\(path)")
        #expect(Self.failure { () throws(PortFailure) in try text.open() } == wanted, "\(path)")
      }
      #expect(Self.descriptors(of: path) == openElsewhere, "\(path)")
    }
  }

  @Test("FAULTS 13: loses its line, and says so, whatever is done on it after the other side has gone")
  func gone() throws {
    for act in 0..<3 {
      let pty = Pty()
      var modbus = ModbusPort(Self.spec(pty.path))
      try modbus.open()
      pty.pull()
      let began = kerb_monotonic_ns()
      let code = Self.loss { () throws(ReadFailure) in
        let words = UnsafeMutablePointer<UInt16>.allocate(capacity: 4)
        let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: 512)
        defer {
          words.deallocate()
          bytes.deallocate()
        }
        switch act {
        case 0: _ = try modbus.drain()
        case 1:
          try modbus.read(unit: 1, table: .holding, address: 0, count: 1, timeoutNs: Self.longNs, into: words)
        default:
          let frame = CommandFrame.read(unit: 1, .holding, address: 0, count: 1)
          _ = try frame.withUnsafeBufferPointer { (frame) throws(ReadFailure) in
            try modbus.exchange(frame, timeoutNs: Self.longNs, into: bytes)
          }
        }
      }
      #expect(code ?? 0 != 0, "act \(act)")
      #expect(kerb_monotonic_ns() - began < Self.longNs / 2, "act \(act): at once, not after the timeout")
      modbus.close()
    }
    let pty = Pty()
    var text = TextPort(path: pty.path, format: LineFormat(), writes: true)
    try text.open()
    pty.pull()
    let byte = UnsafeMutablePointer<UInt8>.allocate(capacity: 1)
    byte.initialize(to: 0x55)
    defer { byte.deallocate() }
    let deadline = Instant(nanoseconds: kerb_monotonic_ns()) + Self.longNs
    let heard = Self.loss { () throws(ReadFailure) in _ = try text.read(into: byte, capacity: 1, until: deadline) }
    #expect(heard ?? 0 != 0)
    let said = Self.loss { () throws(ReadFailure) in try text.send(byte, count: 1) }
    #expect(said ?? 0 != 0)
    #expect(deadline.nanoseconds - kerb_monotonic_ns() > Self.longNs / 2, "at once, not at the deadline")
  }

  @Test("goes by libserialport to what the system lists as a device, links followed, and by termios to all else")
  func way() throws {
    let pty = Pty()
    let folder = try TemporaryFolder()
    let classes = "\(folder.path)/class"
    // As sysfs has it: a UART with its device, a console without one, and a folder for neither.
    for name in ["", "/ttyS7", "/ttyS7/device", "/tty3"] { #expect(mkdir(classes + name, 0o755) == 0) }
    defer { for name in ["/ttyS7/device", "/ttyS7", "/tty3", ""] { rmdir(classes + name) } }
    let link = "\(folder.path)/by-path"
    defer { unlink(link) }
    func way(_ path: String) -> SerialDoor.Way { SerialDoor.way(to: path, classes: classes) }
    #expect(way("/dev/ttyS7") == .library(path: "/dev/ttyS7"))
    #expect(way("/dev/tty3") == .termios(path: "/dev/tty3"))
    #expect(way("/dev/ttyUSB99") == .termios(path: "/dev/ttyUSB99"))
    #expect(way(pty.path) == .termios(path: pty.path))
    // A link that leads to a pty, and one to a device that has gone.
    #expect(symlink(pty.path, link) == 0)
    #expect(way(link) == .termios(path: link))
    unlink(link)
    #expect(symlink("/dev/null", link) == 0)
    #expect(mkdir("\(classes)/null", 0o755) == 0 && mkdir("\(classes)/null/device", 0o755) == 0)
    defer {
      rmdir("\(classes)/null/device")
      rmdir("\(classes)/null")
    }
    #expect(way(link) == .library(path: "/dev/null"))
    // What the system lists here is found by the true path, too.
    for port in SerialPorts.all() { #expect(SerialDoor.way(to: port.path) == .library(path: port.path)) }
  }
}
