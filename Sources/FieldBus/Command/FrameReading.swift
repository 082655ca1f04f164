// One point out of the reply to a question, as the polls decode it. For commands: allocates.

import StreamCore

package enum FrameReading {
  /// Where a whole frame holds its data, readable; nil: it is no answer to the question.
  package static func data(of reply: [UInt8], asked question: [UInt8], _ rule: FrameRule) -> [UInt8]? {
    let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: reply.count + question.count)
    defer { bytes.deallocate() }
    for (index, byte) in (reply + question).enumerated() { bytes[index] = byte }
    let asked = UnsafeBufferPointer(start: UnsafePointer(bytes) + reply.count, count: question.count)
    guard case .data(let first, let count) = rule.reply(bytes, count: reply.count, asked: asked, numbered: false) else {
      return nil
    }
    rule.clear(bytes, first: first, count: count)
    return (first..<(first + count)).map { bytes[$0] }
  }

  /// Of a device that speaks when it likes; nil: such a frame does not hold the point.
  package static func point(_ point: PointSpec, unasked frame: [UInt8], _ spec: FrameSpec) -> PointReading? {
    if let text = spec.textFrame {
      guard frame.count > text.end.count, Array(frame.suffix(text.end.count)) == text.end else { return nil }
      return field(point, in: LineReply(frame: Array(frame.dropLast(text.end.count)), tookNs: 0), spec)
    }
    guard case .byte(let place) = point.source else { return nil }
    return decode(point, bytes: Array(frame.dropFirst(place).prefix(point.type.bytes)), tookNs: 0) { decoder, binding in
      frame.withUnsafeBufferPointer { decoder.decode(binding, data: $0) }
    }
  }

  /// Nil: the reply is no answer to the question.
  static func point(
    _ point: PointSpec, in reply: LineReply, to request: AskRequest, _ spec: FrameSpec
  ) -> PointReading? {
    guard let rule = spec.rule else { return field(point, in: reply, spec) }
    let asked = Array(request.bytes.dropFirst(request.preamble))
    guard let data = data(of: reply.frame, asked: asked, rule) else { return nil }
    var offset = 0
    switch point.source {
    case .byte(let place), .identifier(_, let place, _): offset = place
    case .register, .field, .column, .key, .computed: return nil
    }
    let own = data.dropFirst(offset).prefix(point.type.bytes)
    return decode(point, bytes: Array(own), tookNs: reply.tookNs) { decoder, binding in
      data.withUnsafeBufferPointer { decoder.decode(binding, data: $0) }
    }
  }

  private static func field(_ point: PointSpec, in reply: LineReply, _ spec: FrameSpec) -> PointReading? {
    guard let text = spec.textFrame else { return nil }
    let room = LineSplitter.bytes + FramePlaces.bytes([point])
    let memory = UnsafeMutableRawPointer.allocate(byteCount: room, alignment: Arena.alignment)
    defer { memory.deallocate() }
    var arena = Arena(memory: memory, capacityBytes: room)
    var lines = LineSplitter(frame: text, arena: &arena)
    let places = FramePlaces([point], arena: &arena)
    var isWhole = false
    for byte in reply.frame + text.end { isWhole = lines.take(byte) }
    guard isWhole else { return nil }
    guard let part = places.part(of: lines, point: 0) else {
      return decode(point, bytes: [], tookNs: reply.tookNs) { _, _ in
        var nothing = Decoded()
        nothing.quality = .bad
        return nothing
      }
    }
    return decode(point, bytes: Array(part), tookNs: reply.tookNs) { $0.decode($1, field: part) }
  }

  private static func decode(
    _ point: PointSpec, bytes: [UInt8], tookNs: Int64, _ body: (borrowing Decoder, Binding) -> Decoded
  ) -> PointReading {
    let room = Decoder.bytes(sentinels: point.invalid.count)
    let memory = UnsafeMutableRawPointer.allocate(byteCount: room, alignment: Arena.alignment)
    defer { memory.deallocate() }
    var arena = Arena(memory: memory, capacityBytes: room)
    let decoder = Decoder(
      sentinels: point.invalid, pseudonymKey: Array(repeating: 0, count: Decoder.keyBytes), arena: &arena)
    var binding = Binding(framePoint: point, point: 0)
    binding.setSentinels(first: 0, count: point.invalid.count)
    let decoded = body(decoder, binding)
    return PointReading(bytes: bytes, decoded, decoder.text, of: point, tookNs: tookNs)
  }
}
