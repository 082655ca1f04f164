// A line of asked frames that this process opens itself, where no agent has it: the same port and the same locks as the
// agent's, without its plan. Owned and used by one thread.
//
// Invariants: the silence before each question; after a failure the same question is not asked again, and of devices
// whose replies don't say what they answer none at all, before another timeout has passed and the line is drained.

import CLinux
import StreamCore

package final class FrameSession<Line: FramePort & ~Copyable>: AskableLine {
  package var port: Line
  private var exchange: FrameExchange
  private let memory: UnsafeMutableRawPointer
  private let chunk: UnsafeMutablePointer<UInt8>
  /// By number of the device on its bus.
  private let frames: [FrameSpec?]
  private let meter: FrameSpec?
  private let turnaroundNs: Int64
  package private(set) var format: LineFormat
  private var silenceUntil = Instant.zero
  private var failed: UInt64 = 0
  private var failedUntil = Instant.zero
  private var isOpen = true

  private static var chunkBytes: Int { 64 }

  /// Opens it; fails if somebody else has it. `devices`: those of this bus, in the configuration's order.
  package init(_ spec: BusSpec, devices: [DeviceSpec], port: consuming Line) throws(PortFailure) {
    let bytes = FrameExchange.bytes + Arena.bytes(of: UInt8.self, count: Self.chunkBytes)
    memory = .allocate(byteCount: bytes, alignment: Arena.alignment)
    var arena = Arena(memory: memory, capacityBytes: bytes)
    exchange = FrameExchange(format: spec.format, arena: &arena)
    chunk = arena.take(UInt8.self, count: Self.chunkBytes, first: 0)
    frames = devices.map(\.frame)
    meter = FrameSpec.meter(spec.busProtocol)
    turnaroundNs = spec.turnaroundNs
    format = spec.format
    self.port = port
    try self.port.open()
    rest()
  }

  deinit { memory.deallocate() }

  private func rest() { silenceUntil = port.now + format.silenceNs + turnaroundNs }

  /// Waits, and throws away what comes; a line that never falls silent is used all the same.
  private func drain(until: Instant) throws(ReadFailure) {
    let mostNs = Swift.max(until, port.now) + Limits.babbleNsMax
    var deadline = until
    while true {
      let count = try port.read(into: chunk, capacity: Self.chunkBytes, until: deadline)
      if count > 0 { deadline = Swift.min(Swift.max(deadline, port.now + format.silenceNs), mostNs) }
      if count == 0 ? port.now >= deadline : port.now >= mostNs { return }
    }
  }

  package func ask(_ request: LineRequest) throws(LineFailure) -> LineReply {
    guard isOpen else { throw .lineLost }
    let count = request.frame.count
    guard (2...CommandFrame.bytesMax).contains(count), let spec = spec(of: request) else { throw .notPossible }
    let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: request.frame.count)
    defer { bytes.deallocate() }
    for (index, byte) in request.frame.enumerated() { bytes[index] = byte }
    let question = FrameQuestion(bytes, count: request.frame.count, to: spec, timeoutNs: request.timeoutNs)
    let fingerprint = question.fingerprint(spec)
    do throws(ReadFailure) {
      try drain(until: fingerprint == failed || !spec.isMeter ? Swift.max(silenceUntil, failedUntil) : silenceUntil)
      let started = port.now
      _ = try exchange.ask(question, to: spec, on: &port, notes: FrameNotes())
      let ended = port.now
      rest()
      let reply = Array(exchange.reply(spec))
      exchange.clear()
      return LineReply(frame: reply, tookNs: ended - started)
    } catch {
      exchange.clear()
      rest()
      if case .portLost = error { isOpen = false }
      failed = fingerprint
      failedUntil = port.now + request.timeoutNs
      throw LineFailure(error)
    }
  }

  private func spec(of request: LineRequest) -> FrameSpec? {
    guard let device = request.device else { return meter }
    return frames.indices.contains(device) ? frames[device] : nil
  }
}

extension FrameSession where Line == TextPort {
  package convenience init(_ spec: BusSpec, devices: [DeviceSpec]) throws(PortFailure) {
    guard case .serialPort(let path) = spec.endpoint else { throw .missing(0) }
    let port = TextPort(path: path, format: spec.format, writes: true, rs485: spec.rs485)
    try self.init(spec, devices: devices, port: port)
  }

  /// The same line at another speed or parity.
  package func reopen(as format: LineFormat) throws(PortFailure) {
    isOpen = false
    try port.reopen(as: format)
    self.format = format
    exchange.characterNs = format.characterNs
    isOpen = true
    rest()
  }
}
