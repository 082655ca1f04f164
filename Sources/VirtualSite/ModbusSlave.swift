// Owns one libmodbus context in the slave's role, fed and emptied through a socket pair: a request frame in, the reply
// frame out, at once. When bytes really travel is the line's business. Used by the thread of its line alone.
//
// Invariants:
//  1. Both ends of the pair are empty between two exchanges.
//  2. libmodbus sees only frames whose length, unit and checksum are right: the rest of its slave side has had the
//     CVEs.

import CLinux
import CModbus
import FieldBus
import Glibc

final class ModbusSlave {
  private let context: OpaquePointer
  private let near: Int32
  private let far: Int32
  private let framing: Framing

  init(_ framing: Framing) throws(SiteFailure) {
    self.framing = framing
    let made = framing == .rtu ? modbus_new_rtu("pair", 9600, 78, 8, 1) : modbus_new_tcp("127.0.0.1", 502)
    guard let made else { throw .outOfMemory }
    var pair: (Int32, Int32) = (-1, -1)
    let code = withUnsafeMutableBytes(of: &pair) {
      let ends = $0.baseAddress?.assumingMemoryBound(to: Int32.self)
      return socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, ends) < 0 ? errno : 0
    }
    guard code == 0 else {
      modbus_free(made)
      throw .noPty(code: code)
    }
    context = made
    (near, far) = pair
    _ = kerb_fd_nonblocking(near)
    modbus_set_socket(context, far)
    modbus_set_error_recovery(context, MODBUS_ERROR_RECOVERY_NONE)
    // The whole frame is there before libmodbus looks. The response timeout is what it sleeps for before it refuses.
    modbus_set_indication_timeout(context, 0, 20_000)
    modbus_set_byte_timeout(context, 0, 0)
    modbus_set_response_timeout(context, 0, 1)
  }

  deinit {
    modbus_free(context)
    close(near)
    close(far)
  }

  /// The reply; empty if there is none. `refusal`: an exception to answer with, whatever was asked.
  func reply(
    to frame: [UInt8], from mapping: UnsafeMutablePointer<modbus_mapping_t>, refusal: UInt8? = nil
  ) -> [UInt8] {
    guard frame.count > framing.functionIndex, frame.count <= 260 else { return [] }
    modbus_set_slave(context, Int32(frame[framing.unitIndex]))
    var request = frame + Array(repeating: 0, count: 260 - frame.count)
    if let refusal {
      request.withUnsafeBufferPointer { _ = modbus_reply_exception(context, $0.baseAddress, UInt32(refusal)) }
      return taken()
    }
    guard frame.withUnsafeBytes({ write(near, $0.baseAddress, $0.count) }) == frame.count else { return [] }
    let length = request.withUnsafeMutableBufferPointer { modbus_receive(context, $0.baseAddress) }
    if length > 0 {
      request.withUnsafeBufferPointer { _ = modbus_reply(context, $0.baseAddress, length, mapping) }
    } else {
      modbus_flush(context)
      drainFar()
    }
    return taken()
  }

  private func taken() -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: 512)
    let count = buffer.withUnsafeMutableBytes { read(near, $0.baseAddress, $0.count) }
    return count > 0 ? Array(buffer.prefix(count)) : []
  }

  private func drainFar() {
    var buffer = [UInt8](repeating: 0, count: 512)
    while buffer.withUnsafeMutableBytes({ recv(far, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT)) }) > 0 {}
  }
}
