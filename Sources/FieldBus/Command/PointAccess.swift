// One point read or written at once, on behalf of a person: through whatever line can be asked. Blocks; any thread
// but a bus's.

import StreamCore

/// What stood in a point's registers, or in its part of a frame.
package struct PointReading: Sendable {
  package var words: [UInt16]
  /// Of a frame: the value's own bytes, as the device sent them.
  package var bytes: [UInt8] = []
  package var raw: Int64
  package var quality: Quality
  package var text: [UInt8]
  package var tookNs: Int64
}

extension PointAccess: Sendable where Line: Sendable {}

package enum PointProblem: Error, Sendable, Hashable {
  case line(LineFailure)
  /// Its value is never shown, nor written.
  case personal
  /// It is no register: the device speaks when it likes.
  case noRegister
  /// Its reply holds this point, too, whose value is shown to nobody.
  case personalReply(String)
  /// Of meters and of devices that a profile describes: they are only read.
  case onlyRead
  /// It is made from other points: there is nothing to ask for.
  case computed
  /// Its profile does not allow it, or nothing of such a device may ever be written.
  case notWritable
  /// What is allowed instead.
  case badValue(String)
}

/// What a write did, as far as it is known.
package struct PointChange: Sendable {
  package var before: PointReading
  /// What was to stand there.
  package var asked: PointReading
  /// The device has said so. False: it may have been, or not.
  package var isWritten: Bool
  /// What stands there now; or why that is not known.
  package var after: Result<PointReading, PointProblem>

  /// What stands there is what was asked for.
  package var isGood: Bool {
    guard case .success(let after) = after else { return false }
    return after.raw == asked.raw && after.text == asked.text && after.quality != .bad
  }
}

package struct PointAccess<Line: AskableLine> {
  private let line: Line
  private let device: DeviceSpec
  /// Of the device on its bus.
  private let number: Int
  private let point: PointSpec
  private let timeoutNs: Int64

  package init(_ line: Line, device: DeviceSpec, number: Int, point: PointSpec, timeoutNs: Int64) {
    self.line = line
    self.device = device
    self.number = number
    self.point = point
    self.timeoutNs = timeoutNs
  }

  private func place() throws(PointProblem) -> (table: RegisterTable, address: Int, count: Int) {
    if point.personal { throw .personal }
    guard case .register(let table, let address) = point.source else { throw .noRegister }
    return (table, address, table.isBits ? 1 : point.type.registers)
  }

  package func read() throws(PointProblem) -> PointReading {
    if point.personal { throw .personal }
    if point.isComputed { throw .computed }
    if !point.source.isRegister { return try readFrame() }
    let (table, address, count) = try place()
    let reply = try ask(CommandFrame.read(unit: device.address, table, address: address, count: count))
    return Self.reading(CommandFrame.words(reply.frame, count: count), of: point, tookNs: reply.tookNs)
  }

  private func readFrame() throws(PointProblem) -> PointReading {
    guard device.isAsked, let spec = device.frame, let request = AskPlan.question(to: device, for: point) else {
      throw .noRegister
    }
    for other in device.points where other.personal {
      if AskPlan.question(to: device, for: other)?.bytes == request.bytes { throw .personalReply(other.name) }
    }
    let asked = LineRequest(request.bytes, device: number, timeoutNs: timeoutNs)
    let reply: LineReply
    do throws(LineFailure) { reply = try line.ask(asked) } catch { throw .line(error) }
    guard let reading = FrameReading.point(point, in: reply, to: request, spec) else {
      throw .line(.corrupt(.wrongShape))
    }
    return reading
  }

  /// Reads, writes, and reads back what stands there then.
  package func write(_ value: String) throws(PointProblem) -> (before: PointReading, after: PointReading) {
    let change = try change(value)
    return (change.before, try change.after.get())
  }

  /// The same for who has to know, if it fails, whether anything was written. What is thrown says: nothing was.
  package func change(_ value: String) throws(PointProblem) -> PointChange {
    if point.isComputed { throw .computed }
    guard point.source.isRegister else { throw point.personal ? .personal : .onlyRead }
    let (table, address, _) = try place()
    guard point.write != .no, device.kind != "elevator", table == .holding || table == .coil else { throw .notWritable }
    let before = try read()
    let words = try PointEntry.words(value, for: point, present: before.words)
    let frame =
      table == .coil
      ? CommandFrame.writeCoil(unit: device.address, address: address, words[0] != 0)
      : CommandFrame.writeRegisters(unit: device.address, address: address, words)
    let asked = Self.reading(words, of: point, tookNs: 0)
    do throws(PointProblem) {
      _ = try ask(frame)
    } catch {
      if case .line(let failure) = error, failure.changesNothing { throw error }
      return PointChange(before: before, asked: asked, isWritten: false, after: .failure(error))
    }
    do throws(PointProblem) {
      return PointChange(before: before, asked: asked, isWritten: true, after: .success(try read()))
    } catch {
      return PointChange(before: before, asked: asked, isWritten: true, after: .failure(error))
    }
  }

  private func ask(_ frame: [UInt8]) throws(PointProblem) -> LineReply {
    do throws(LineFailure) {
      return try line.ask(LineRequest(frame, timeoutNs: timeoutNs))
    } catch { throw .line(error) }
  }

  /// Decodes as the polls do; range included.
  package static func reading(_ words: [UInt16], of point: PointSpec, tookNs: Int64) -> PointReading {
    let bytes = Decoder.bytes(sentinels: point.invalid.count) + Arena.bytes(of: UInt16.self, count: words.count)
    let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: Arena.alignment)
    defer { memory.deallocate() }
    var arena = Arena(memory: memory, capacityBytes: bytes)
    let decoder = Decoder(
      sentinels: point.invalid, pseudonymKey: Array(repeating: 0, count: Decoder.keyBytes), arena: &arena)
    let copy = arena.take(UInt16.self, count: words.count, first: 0)
    for (index, word) in words.enumerated() { copy[index] = word }
    var binding = Binding(point, point: 0, offset: 0)
    binding.setSentinels(first: 0, count: point.invalid.count)
    let decoded = decoder.decode(binding, copy)
    return PointReading(words: words, decoded, decoder.text, of: point, tookNs: tookNs)
  }
}

extension PointReading {
  /// Range included.
  init(
    words: [UInt16] = [], bytes: [UInt8] = [], _ decoded: Decoded, _ text: UnsafePointer<UInt8>, of point: PointSpec,
    tookNs: Int64
  ) {
    self.words = words
    self.bytes = bytes
    raw = decoded.raw
    quality = decoded.quality
    let value = point.encoding.value(raw: decoded.raw, scale: point.scale, offset: point.offset)
    if quality == .good, let range = point.range, !range.contains(value) { quality = .uncertain }
    self.text = (0..<decoded.textLength).map { text[$0] }
    self.tookNs = tookNs
  }
}
