// A line that this process opens itself, where no agent has it: the same port and the same locks as the agent's,
// without its plan. Owned and used by one thread.
//
// Invariants: as BusMachine's first two, for one request after the other: the silence t3.5 before each; and after a
// failure the same unit is not asked again before another timeout has passed and the line is drained.

import CLinux
import StreamCore

package final class LineSession: AskableLine {
  private var port: ModbusPort
  package private(set) var format: LineFormat
  private let turnaroundNs: Int64
  private let isNumbered: Bool
  private var silenceUntil = Instant.zero
  private var suspect = -1
  private var suspectUntil = Instant.zero
  private var isOpen = true

  /// Opens it; fails if somebody else has it.
  package init(_ spec: BusSpec) throws(PortFailure) {
    port = ModbusPort(spec)
    format = spec.format
    turnaroundNs = spec.turnaroundNs
    isNumbered = spec.busProtocol == .modbusTCP
    try port.open()
    rest()
  }

  /// The same line at another speed or parity.
  package func reopen(as format: LineFormat) throws(PortFailure) {
    isOpen = false
    try port.reopen(as: format)
    self.format = format
    isOpen = true
    suspect = -1
    rest()
  }

  private func rest() {
    silenceUntil = port.now + (isNumbered ? 0 : format.silenceNs) + turnaroundNs
  }

  private func wait(until deadline: Instant) {
    while port.now < deadline { _ = kerb_poll_until(nil, 0, deadline.nanoseconds) }
  }

  package func ask(_ request: LineRequest) throws(LineFailure) -> LineReply {
    guard isOpen else { throw .lineLost }
    guard (2...CommandFrame.bytesMax).contains(request.frame.count) else { throw .notPossible }
    if suspect == Int(request.frame[0]) { wait(until: suspectUntil) }
    wait(until: silenceUntil)
    var reply = [UInt8](repeating: 0, count: CommandFrame.bytesMax)
    do throws(ReadFailure) {
      _ = try port.drain()
      let started = port.now
      let count = try exchange(request, &reply)
      let ended = port.now
      rest()
      suspect = -1
      return LineReply(frame: Array(reply[..<count]), tookNs: ended - started)
    } catch {
      rest()
      switch error {
      case .refused: suspect = -1
      case .portLost: isOpen = false
      case .noReply, .corruptReply:
        suspect = isNumbered ? -1 : Int(request.frame[0])
        suspectUntil = port.now + request.timeoutNs
      }
      throw LineFailure(error)
    }
  }

  private func exchange(_ request: LineRequest, _ reply: inout [UInt8]) throws(ReadFailure) -> Int {
    // Typed errors don't pass the closures of the standard library.
    let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: request.frame.count + reply.count)
    defer { bytes.deallocate() }
    for (index, byte) in request.frame.enumerated() { bytes[index] = byte }
    let count = try port.exchange(
      UnsafeBufferPointer(start: UnsafePointer(bytes), count: request.frame.count), timeoutNs: request.timeoutNs,
      into: bytes + request.frame.count)
    for index in 0..<count { reply[index] = bytes[request.frame.count + index] }
    return count
  }
}
