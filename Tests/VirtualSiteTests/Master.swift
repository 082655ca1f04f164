// A libmodbus master for the tests: what an agent would be, in a few lines.

import CLinux
import CModbus
import FieldBus
import Glibc
import StreamCore
import VirtualSite

final class Master {
  let context: OpaquePointer

  private init?(_ made: OpaquePointer?) {
    guard let made else { return nil }
    modbus_set_response_timeout(made, UInt32(Patience.ms / 1_000), 0)
    modbus_set_byte_timeout(made, 0, 0)
    guard modbus_connect(made) == 0 else {
      modbus_free(made)
      return nil
    }
    context = made
  }

  convenience init?(link: String) { self.init(modbus_new_rtu(link, 9600, 78, 8, 1)) }
  convenience init?(port: Int) { self.init(modbus_new_tcp("127.0.0.1", Int32(port))) }

  deinit {
    modbus_close(context)
    modbus_free(context)
  }

  func setTimeout(ms: UInt32) { modbus_set_response_timeout(context, ms / 1000, ms % 1000 * 1000) }

  /// Nil: no good reply; the reason is in errno.
  func read(_ unit: Int, _ table: RegisterTable, _ address: Int, _ count: Int) -> [UInt16]? {
    modbus_set_slave(context, Int32(unit))
    if table.isBits {
      var bits = [UInt8](repeating: 0, count: count)
      let got =
        table == .coil
        ? modbus_read_bits(context, Int32(address), Int32(count), &bits)
        : modbus_read_input_bits(context, Int32(address), Int32(count), &bits)
      return got == count ? bits.map(UInt16.init) : nil
    }
    var words = [UInt16](repeating: 0, count: count)
    let got =
      table == .holding
      ? modbus_read_registers(context, Int32(address), Int32(count), &words)
      : modbus_read_input_registers(context, Int32(address), Int32(count), &words)
    return got == count ? words : nil
  }

  func write(_ unit: Int, register address: Int, _ value: UInt16) -> Bool {
    modbus_set_slave(context, Int32(unit))
    return modbus_write_register(context, Int32(address), value) == 1
  }

  func flush() { modbus_flush(context) }

  /// Bytes as they come, until the deadline or `count` are there.
  func bytes(_ count: Int, withinMs: Int64 = Patience.ms) -> [UInt8] {
    let fd = modbus_get_socket(context)
    let deadline = kerb_monotonic_ns() + withinMs * 1_000_000
    var result: [UInt8] = []
    while result.count < count, kerb_fd_wait_readable(fd, deadline - kerb_monotonic_ns()) == 1 {
      var buffer = [UInt8](repeating: 0, count: count - result.count)
      let got = Glibc.read(fd, &buffer, buffer.count)
      guard got > 0 else { break }
      result += buffer.prefix(got)
    }
    return result
  }

  /// With its end.
  func line() -> [UInt8] {
    var line: [UInt8] = []
    while line.last != 0x0A, case let byte = bytes(1), !byte.isEmpty { line += byte }
    return line
  }

  func send(_ bytes: [UInt8]) { _ = Glibc.write(modbus_get_socket(context), bytes, bytes.count) }
}

func point(
  _ name: String, _ table: RegisterTable, _ address: Int, _ type: ValueType = .u16, _ order: WordOrder = .abcd,
  scale: Double = 1, offset: Double = 0, bits: ClosedRange<Int>? = nil, unit: String? = nil
) -> PointSpec {
  var made = PointSpec(name: name, place: .inCode, source: .register(table, address: address))
  made.type = type
  made.order = order
  made.scale = scale
  made.offset = offset
  made.bits = bits
  made.unit = unit
  return made
}

func profile(_ points: [PointSpec], kind: String = "hydrant") -> Profile {
  var made = Profile(id: "\(kind)/test", kind: kind)
  made.points = points
  return made
}

func temporaryFolder() -> String {
  var template = Array("/tmp/kerb-site-XXXXXX".utf8CString)
  return template.withUnsafeMutableBufferPointer { buffer in
    guard let start = buffer.baseAddress, mkdtemp(start) != nil else { return "/tmp" }
    return String(cString: start)
  }
}

/// A site of one pty line with these devices, running until `end`.
struct RunningLine {
  let site: VirtualSite
  let folder: String
  var link: String { folder + "/line" }

  init(
    _ devices: [SiteDevice], format: LineFormat = LineFormat(), paced: Bool = false, strict: Bool? = nil,
    turnaroundNs: Int64 = 0, busProtocol: BusProtocol = .modbusRTU, events: [SiteEvent] = [],
    report: @escaping @Sendable (SiteHappening) -> Void = { _ in }
  ) throws {
    folder = temporaryFolder()
    let line = SiteLine(
      name: "line", busProtocol: busProtocol, end: .link(path: folder + "/line"), format: format, paced: paced,
      strict: strict, turnaroundNs: turnaroundNs)
    site = try VirtualSite(SiteSpec(lines: [line], devices: devices, events: events), report: report)
    try site.start()
  }

  func end() {
    site.stop()
    rmdir(folder)
  }
}
