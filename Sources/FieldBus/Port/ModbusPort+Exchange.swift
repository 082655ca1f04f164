// The port's other half: frames of commands, made by somebody else and sent as they are.

import CLinux
import CModbus
import Glibc
import StreamCore

extension ModbusPort {
  package mutating func exchange(
    _ request: UnsafeBufferPointer<UInt8>, timeoutNs: Int64, into reply: UnsafeMutablePointer<UInt8>
  ) throws(ReadFailure) -> Int {
    guard let context = openContext, let first = request.baseAddress, request.count >= 2 else { throw .portLost(EBADF) }
    do throws(ReadFailure) {
      return try exchange(context, first, request, timeoutNs: timeoutNs, into: reply)
    } catch {
      if isSerial { throw error }
      // Sent as it is, a frame has no transaction number of its own; what comes late dies with the connection.
      if error == .noReply || error.isCorrupt { reconnect() }
      throw error
    }
  }

  private mutating func exchange(
    _ context: OpaquePointer, _ first: UnsafePointer<UInt8>, _ request: UnsafeBufferPointer<UInt8>, timeoutNs: Int64,
    into reply: UnsafeMutablePointer<UInt8>
  ) throws(ReadFailure) -> Int {
    prepare(context, unit: Int(request[0]), timeoutNs: timeoutNs)
    let deadline = now + timeoutNs
    let sent = modbus_send_raw_request(context, first, Int32(request.count))
    guard sent > 0 else { throw Self.readFailure(errno) }
    if isSerial, hasEcho { try skipEcho(of: request, modbus_get_socket(context)) }
    if request[1] == CommandFrame.identify {
      try receiveIdentification(modbus_get_socket(context), until: deadline)
    } else {
      try receive(context)
    }
    // RTU: the CRC behind; TCP: transaction, protocol and length in front, of seven bytes the last is the unit.
    let whole = frame
    let body =
      isSerial ? UnsafeBufferPointer(rebasing: whole.dropLast(2)) : UnsafeBufferPointer(rebasing: whole.dropFirst(6))
    guard body.count >= 2, body.count <= CommandFrame.bytesMax else { throw .corruptReply(.wrongShape) }
    for index in 0..<body.count { reply[index] = body[index] }
    let answer = UnsafeBufferPointer(start: UnsafePointer(reply), count: body.count)
    if !isSerial { hideFrame() }
    try CommandFrame.check(answer, answers: request)
    return answer.count
  }

  /// libmodbus has no length for function 0x2B: it would take the first five bytes for the whole reply.
  private mutating func receiveIdentification(_ descriptor: Int32, until deadline: Instant) throws(ReadFailure) {
    var wanted = isSerial ? 5 : 6
    while frame.count < wanted {
      let ready = kerb_fd_wait_readable(descriptor, deadline - now)
      if ready == -EINTR { continue }
      if ready == 0 { throw .noReply }
      if ready < 0 { throw .portLost(-ready) }
      let count = readMore(descriptor, wanted - frame.count)
      if count <= 0 { throw .portLost(count == 0 ? ECONNRESET : errno) }
      if isSerial {
        wanted = CommandFrame.length(ofIdentification: frame) + 2
      } else if frame.count >= 6 {
        wanted = 6 + (Int(frame[4]) << 8 | Int(frame[5]))
      }
      guard wanted <= Limits.frameBytesMax else { throw .corruptReply(.wrongShape) }
    }
    guard isSerial else { return }
    let sum = modbusChecksum(frame.dropLast(2))
    guard frame[frame.count - 2] == UInt8(sum & 0xFF), frame[frame.count - 1] == UInt8(sum >> 8) else {
      throw .corruptReply(.checksum)
    }
  }

  /// Takes the request's own bytes off the line before the reply.
  private mutating func skipEcho(of request: UnsafeBufferPointer<UInt8>, _ descriptor: Int32) throws(ReadFailure) {
    let wanted = request.count + 2
    let deadline = now + 4 * Int64(wanted) * characterNs + Limits.timeoutSlackNs
    while frame.count < wanted {
      let ready = kerb_fd_wait_readable(descriptor, deadline - now)
      if ready < 0, ready != -EINTR { throw .portLost(-ready) }
      if ready == 0 { throw .corruptReply(.wrongShape) }
      if ready == 1, readMore(descriptor, wanted - frame.count) <= 0 { throw .portLost(ECONNRESET) }
    }
    for index in 0..<request.count where frame[index] != request[index] { throw .corruptReply(.wrongShape) }
    hideFrame()
  }

  private mutating func reconnect() {
    close()
    // If it can't be had again, the next call says that the line is lost.
    _ = try? open()
  }
}

extension ReadFailure {
  var isCorrupt: Bool { if case .corruptReply = self { true } else { false } }
}
