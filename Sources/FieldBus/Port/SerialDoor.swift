// The one door to a serial port that is read and written as bytes (frames of meters, sensors, readers). A UART that
// the system knows is opened by libserialport; what has no entry in sysfs, such as a pty, with termios:
// libserialport looks every port up by its name there and can't open such a one. Modbus RTU has libmodbus's own
// door (docs/decisions/010).
//
// Invariants:
//  1. The port is ours before any setting of it is changed: the lock is taken on a descriptor of our own. That
//     descriptor is also where a failure shows before libserialport is asked, which leaks its own on some of its
//     failing paths.
//  2. Whatever opened it, reads and writes go through `descriptor`, behind poll(): on a hang-up libserialport's
//     blocking read spins and returns nothing.

import CLinux
import CSerialPort
import Glibc
import StreamCore

struct SerialDoor: ~Copyable {
  enum Way: Equatable {
    /// A UART, an adapter: by this name, links followed.
    case library(path: String)
    /// No entry in sysfs.
    case termios(path: String)
  }

  let descriptor: Int32
  /// Holds the lock; of a port that termios opened, the same.
  private let lock: Int32
  /// libserialport's, open.
  private let port: OpaquePointer?

  static let classes = "/sys/class/tty"

  /// `classes`: where the system lists its ttys, those that are devices with a link to the device.
  static func way(to path: String, classes: String = Self.classes) -> Way {
    let real = TextFile.resolved(path) ?? path
    guard real.hasPrefix("/dev/"), let name = real.split(separator: "/").last,
      access("\(classes)/\(name)/device", F_OK) == 0
    else { return .termios(path: path) }
    return .library(path: real)
  }

  init(path: String, format: LineFormat, writes: Bool) throws(PortFailure) {
    let opened = Glibc.open(path, (writes ? O_RDWR : O_RDONLY) | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
    if opened < 0 { throw PortFailure(errno) }
    var port: OpaquePointer?
    do throws(PortFailure) {
      let locked = kerb_fd_flock(opened)
      if locked != 0 { throw .busy(-locked) }
      if case .library(let real) = Self.way(to: path) {
        // Negative: no tty at all.
        let baud = kerb_tty_baud(opened)
        if baud < 0 { throw .failed(-baud) }
        port = try Self.open(real, format, writes: writes)
      }
      let descriptor = try Self.descriptor(of: port) ?? opened
      // Also behind libserialport: how a byte with wrong parity is read, it leaves as it was.
      let raw = kerb_tty_raw(descriptor, Int32(format.baud), format.parity.letter, Int32(format.stopBits))
      if raw != 0 { throw .failed(-raw) }
      self.descriptor = descriptor
      self.port = port
      lock = opened
    } catch {
      Self.free(port)
      Glibc.close(opened)
      throw error
    }
    // Root passes it by, and a pty's other side ignores it; whoever asks properly is kept away.
    _ = kerb_tty_exclusive(descriptor)
    // An adapter that can't be hurried is used as it is.
    _ = kerb_tty_low_latency(descriptor)
  }

  deinit {
    Self.free(port)
    Glibc.close(lock)
  }

  // MARK: libserialport

  private static func open(_ path: String, _ format: LineFormat, writes: Bool) throws(PortFailure) -> OpaquePointer {
    var made: OpaquePointer?
    guard sp_get_port_by_name(path, &made) == SP_OK, let port = made else { throw failure() }
    guard sp_open(port, writes ? SP_MODE_READ_WRITE : SP_MODE_READ) == SP_OK else {
      let failure = failure()
      sp_free_port(port)
      throw failure
    }
    let parity =
      switch format.parity {
      case .none: SP_PARITY_NONE
      case .even: SP_PARITY_EVEN
      case .odd: SP_PARITY_ODD
      }
    let settings = [
      sp_set_baudrate(port, Int32(format.baud)), sp_set_bits(port, 8), sp_set_parity(port, parity),
      sp_set_stopbits(port, Int32(format.stopBits)), sp_set_flowcontrol(port, SP_FLOWCONTROL_NONE),
    ]
    guard settings.allSatisfy({ $0 == SP_OK }) else {
      let failure = failure()
      free(port)
      throw failure
    }
    return port
  }

  private static func descriptor(of port: OpaquePointer?) throws(PortFailure) -> Int32? {
    guard let port else { return nil }
    var descriptor: Int32 = -1
    guard sp_get_port_handle(port, &descriptor) == SP_OK, descriptor >= 0 else { throw .failed(EBADF) }
    return descriptor
  }

  private static func free(_ port: OpaquePointer?) {
    guard let port else { return }
    sp_close(port)
    sp_free_port(port)
  }

  /// Of the call before, in this thread.
  private static func failure() -> PortFailure { PortFailure(sp_last_error_code()) }
}

extension Parity {
  /// As termios and libmodbus have it: N, E, O.
  var letter: CChar {
    switch self {
    case .none: 0x4E
    case .even: 0x45
    case .odd: 0x4F
    }
  }
}
