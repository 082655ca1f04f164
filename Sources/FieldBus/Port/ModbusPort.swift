// The one door to libmodbus's master side. Owns the context; used on the bus's thread alone.
//
// What libmodbus leaves to us: the silence between frames and the guard against late replies (BusMachine), exclusive
// use of the port (here), recovery (never its own: MODBUS_ERROR_RECOVERY_LINK loops for ever inside send).

import CLinux
import CModbus
import Glibc
import StreamCore

package struct ModbusPort: Port, ~Copyable {
  private let endpoint: BusEndpoint
  private var format: LineFormat
  /// TCP with its own framing and numbers; false: RTU frames, on a serial line or carried over TCP.
  private let isNumbered: Bool
  /// Holds the lock on a serial port. A descriptor of its own: the lock is taken before libmodbus changes any setting
  /// of a port that may be somebody else's.
  private var lock: Int32 = -1
  private let rs485: RS485Mode
  /// Made once, at the first `open`.
  private var context: OpaquePointer?
  private var isOpen = false
  package private(set) var hasEcho = false
  private var echoesInRow = 0
  /// A frame, or what libmodbus makes of bits over TCP: a byte for each.
  private let bytes: UnsafeMutablePointer<UInt8>
  private var frameCount = 0

  /// Bytes that a port takes of the plan: the bit buffer and libmodbus's own context.
  package static let bytes = Limits.bitsPerReadMax + 1_024
  /// A connection over TCP is given up after this long.
  private static let connectSeconds: UInt32 = 3

  package init(_ bus: BusSpec) {
    endpoint = bus.endpoint
    format = bus.format
    isNumbered = bus.busProtocol == .modbusTCP
    rs485 = bus.rs485
    bytes = .allocate(capacity: Limits.bitsPerReadMax)
    bytes.initialize(repeating: 0, count: Limits.bitsPerReadMax)
  }

  deinit {
    if let context {
      if isOpen { modbus_close(context) }
      modbus_free(context)
    }
    if lock >= 0 { Glibc.close(lock) }
    bytes.deallocate()
  }

  /// The bytes on the line are RTU frames.
  var isSerial: Bool { !isNumbered }

  private func makeContext() throws(PortFailure) -> OpaquePointer {
    let made: OpaquePointer?
    switch endpoint {
    case .tcp(let host, let port) where isNumbered: made = modbus_new_tcp_pi(host, String(port))
    case .tcp: made = newRTU("/dev/null")  // never opened: it gets the connection's descriptor
    case .serialPort(let path): made = newRTU(path)
    }
    guard let made else { throw .failed(errno) }
    modbus_set_error_recovery(made, MODBUS_ERROR_RECOVERY_NONE)
    // Zero: the response timeout bounds the whole frame; otherwise each byte of a drip would restart the clock.
    modbus_set_byte_timeout(made, 0, 0)
    return made
  }

  package var now: Instant { Instant(nanoseconds: kerb_monotonic_ns()) }

  package mutating func open() throws(PortFailure) {
    let context: OpaquePointer
    if let made = self.context {
      context = made
    } else {
      context = try makeContext()
      self.context = context
    }
    // For TCP the response timeout bounds the connection's setup as well.
    modbus_set_response_timeout(context, Self.connectSeconds, 0)
    if case .tcp(let host, let port) = endpoint, !isNumbered {
      let descriptor = kerb_tcp_connect(host, String(port), Int64(Self.connectSeconds) * 1_000_000_000)
      guard descriptor >= 0 else { throw PortFailure(-descriptor) }
      modbus_set_socket(context, descriptor)
    } else {
      try takeLock()
      guard modbus_connect(context) == 0 else {
        let code = errno
        releaseLock()
        throw PortFailure(code)
      }
    }
    isOpen = true
    hasEcho = false
    echoesInRow = 0
    if lock >= 0 { try prepare(line: modbus_get_socket(context)) }
  }

  private func newRTU(_ path: String) -> OpaquePointer? {
    modbus_new_rtu(path, Int32(format.baud), format.parity.letter, 8, Int32(format.stopBits))
  }

  private mutating func takeLock() throws(PortFailure) {
    guard case .serialPort(let path) = endpoint else { return }
    let opened = Glibc.open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
    guard opened >= 0 else { throw PortFailure(errno) }
    let locked = kerb_fd_flock(opened)
    if locked != 0 {
      Glibc.close(opened)
      throw .busy(-locked)
    }
    lock = opened
  }

  private mutating func releaseLock() {
    if lock >= 0 { Glibc.close(lock) }
    lock = -1
  }

  private mutating func prepare(line descriptor: Int32) throws(PortFailure) {
    // Root passes it by, and a pty's other side ignores it; whoever asks properly is kept away.
    _ = kerb_tty_exclusive(descriptor)
    // An adapter that can't be hurried is used as it is.
    _ = kerb_tty_low_latency(descriptor)
    guard rs485 != .off else { return }
    let code = kerb_tty_rs485(descriptor, rs485 == .kernelInverted ? 1 : 0)
    // Adapters that switch by themselves, and ptys, have no such mode: that is fine.
    if code == 0 || code == -ENOTTY { return }
    close()
    throw .failed(-code)
  }

  package mutating func close() {
    if isOpen, let context { modbus_close(context) }
    releaseLock()
    isOpen = false
  }

  package mutating func reopen(as format: LineFormat) throws(PortFailure) {
    close()
    // libmodbus keeps the line's settings for a context's life.
    if let context { modbus_free(context) }
    context = nil
    self.format = format
    try open()
  }

  var characterNs: Int64 { format.characterNs }
  var openContext: OpaquePointer? { isOpen ? context : nil }

  /// Reads behind what is in the frame already.
  mutating func readMore(_ descriptor: Int32, _ count: Int) -> Int {
    let got = Glibc.read(descriptor, bytes + frameCount, Swift.min(count, Limits.frameBytesMax - frameCount))
    frameCount += Swift.max(got, 0)
    return got
  }

  /// What stands in the buffer is not in the form of a line.
  mutating func hideFrame() { frameCount = 0 }

  package mutating func wipe() {
    for index in 0..<Limits.bitsPerReadMax { bytes[index] = 0 }
    frameCount = 0
    // Over TCP libmodbus keeps a reply there.
    kerb_wipe_stack()
  }

  package var frame: UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(start: UnsafePointer(bytes), count: frameCount)
  }

  package mutating func read(
    unit: Int, table: RegisterTable, address: Int, count: Int, timeoutNs: Int64,
    into words: UnsafeMutablePointer<UInt16>
  ) throws(ReadFailure) {
    guard let context, isOpen else { throw .portLost(EBADF) }
    prepare(context, unit: unit, timeoutNs: timeoutNs)
    if isSerial {
      try readFramed(context, unit: unit, table: table, address: address, count: count, into: words)
    } else {
      try readNumbered(context, table: table, address: address, count: count, into: words)
    }
  }

  mutating func prepare(_ context: OpaquePointer, unit: Int, timeoutNs: Int64) {
    frameCount = 0
    modbus_set_slave(context, Int32(unit))
    modbus_set_response_timeout(
      context, UInt32(timeoutNs / 1_000_000_000), UInt32(timeoutNs % 1_000_000_000 / 1_000))
  }

  /// RTU: the frame is built and read as bytes, so that what was on the line is known, whatever it was.
  private mutating func readFramed(
    _ context: OpaquePointer, unit: Int, table: RegisterTable, address: Int, count: Int,
    into words: UnsafeMutablePointer<UInt16>
  ) throws(ReadFailure) {
    ReplyFrame.request(unit: unit, table: table, address: address, count: count, into: bytes)
    let (sent, sendCode) = withErrno(modbus_send_raw_request(context, bytes, Int32(ReplyFrame.requestBytes)))
    guard sent > 0 else { throw Self.readFailure(sendCode) }
    if hasEcho { try skipEcho(context, unit: unit, table: table, address: address, count: count) }
    do { try receive(context) } catch {
      if case .corruptReply = error, isEcho(unit: unit, table: table, address: address, count: count) {
        echoesInRow += 1
        hasEcho = echoesInRow >= Self.echoesBelieved
        throw .corruptReply(.echo)
      }
      throw error
    }
    echoesInRow = 0
    try ReplyFrame.read(frame, unit: unit, table: table, count: count, into: words)
  }

  // MARK: Echo

  private static let echoesBelieved = 3

  /// What came begins like the request that was sent.
  private func isEcho(unit: Int, table: RegisterTable, address: Int, count: Int) -> Bool {
    let request = bytes + Limits.frameBytesMax
    ReplyFrame.request(unit: unit, table: table, address: address, count: count, into: request)
    for index in 0..<5 where bytes[index] != request[index] { return false }
    return true
  }

  /// Takes the request's own bytes off the line before the reply.
  private mutating func skipEcho(
    _ context: OpaquePointer, unit: Int, table: RegisterTable, address: Int, count: Int
  ) throws(ReadFailure) {
    let descriptor = modbus_get_socket(context)
    let echoBytes = ReplyFrame.requestBytes + 2
    let deadline = now + 4 * Int64(echoBytes) * format.characterNs + Limits.timeoutSlackNs
    var got = 0
    while got < echoBytes {
      let ready = kerb_fd_wait_readable(descriptor, deadline - now)
      if ready < 0 { throw .portLost(-ready) }
      let part = ready == 0 ? 0 : Glibc.read(descriptor, bytes + got, echoBytes - got)
      if part <= 0 { break }
      got += part
    }
    // The adapter was exchanged, or its jumper set right.
    if got < echoBytes || !isEcho(unit: unit, table: table, address: address, count: count) {
      hasEcho = false
      echoesInRow = 0
      throw .corruptReply(.wrongShape)
    }
  }

  /// A frame, into `bytes`.
  mutating func receive(_ context: OpaquePointer) throws(ReadFailure) {
    // What stood there was the request: nothing of it may pass for something received.
    for index in 0..<ReplyFrame.requestBytes { bytes[index] = 0 }
    let (length, code) = withErrno(modbus_receive_confirmation(context, bytes))
    frameCount = Int(Swift.max(length, 0))
    if length > 0 { return }
    // Zero: a whole frame that another unit's address stands on. It and what fails its CRC are there, as long as they
    // said.
    let isWhole = isSerial && (length == 0 || code == EMBBADCRC)
    if isWhole { frameCount = bytes[1] <= 4 || bytes[1] == CommandFrame.reportUnit ? 5 + Int(bytes[2]) : 5 }
    throw length == 0 ? .corruptReply(.wrongUnit) : Self.readFailure(code)
  }

  /// TCP: libmodbus numbers the transactions, and takes no reply with another number.
  private mutating func readNumbered(
    _ context: OpaquePointer, table: RegisterTable, address: Int, count: Int, into words: UnsafeMutablePointer<UInt16>
  ) throws(ReadFailure) {
    let result: Int32
    let code: Int32
    switch table {
    case .holding:
      (result, code) = withErrno(modbus_read_registers(context, Int32(address), Int32(count), words))
    case .input:
      (result, code) = withErrno(modbus_read_input_registers(context, Int32(address), Int32(count), words))
    case .coil:
      (result, code) = withErrno(modbus_read_bits(context, Int32(address), Int32(count), bytes))
    case .discrete:
      (result, code) = withErrno(modbus_read_input_bits(context, Int32(address), Int32(count), bytes))
    }
    guard result == Int32(count) else { throw Self.readFailure(result < 0 ? code : EMBBADDATA) }
    if table.isBits {
      for index in 0..<count { words[index] = UInt16(bytes[index]) }
    }
  }

  package mutating func drain() throws(ReadFailure) -> Int {
    guard let context, isOpen else { throw .portLost(EBADF) }
    frameCount = 0
    let descriptor = modbus_get_socket(context)
    var total = 0
    while true {
      let waiting = kerb_fd_wait_readable(descriptor, 0)
      if waiting == 0 { return total }
      if waiting < 0 { throw .portLost(-waiting) }
      let count = Glibc.read(descriptor, bytes, Limits.bitsPerReadMax)
      // Readable without a byte is the other side's end.
      if count <= 0 { throw .portLost(count == 0 ? ECONNRESET : errno) }
      total += count
      frameCount = Swift.min(count, Limits.frameBytesMax)
    }
  }

  @inline(__always)
  private func withErrno(_ call: @autoclosure () -> Int32) -> (Int32, Int32) {
    let result = call()
    return (result, errno)
  }

  /// libmodbus's own codes stand above MODBUS_ENOBASE (112345678): exceptions first, then its own complaints.
  static func readFailure(_ code: Int32) -> ReadFailure {
    let base: Int32 = 112_345_678
    switch code {
    case ETIMEDOUT, EAGAIN, EINTR: return .noReply
    case (base + 1)...(base + 11): return .refused(UInt8(code - base))
    case EMBBADCRC: return .corruptReply(.checksum)
    case EMBBADSLAVE: return .corruptReply(.wrongUnit)
    case EMBBADDATA, EMBBADEXC, EMBUNKEXC, EMBMDATA: return .corruptReply(.wrongShape)
    default: return .portLost(code)
    }
  }
}

// Macros with a cast, which Swift's import leaves out.
private let EMBBADCRC: Int32 = 112_345_678 + 12
private let EMBBADDATA: Int32 = 112_345_678 + 13
private let EMBBADEXC: Int32 = 112_345_678 + 14
private let EMBUNKEXC: Int32 = 112_345_678 + 15
private let EMBMDATA: Int32 = 112_345_678 + 16
private let EMBBADSLAVE: Int32 = 112_345_678 + 17
