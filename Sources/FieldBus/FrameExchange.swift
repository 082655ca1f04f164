// One question on a line of frames, and the reply to it: sends, listens, and tells the reply from what else
// comes. Takes its memory from an arena when it is made; allocates nothing after. Used by a bus's loop and by a
// line of one's own, on their thread.
//
// Invariants:
//  1. A reply counts only if it is whole, its checksum holds, and it names what was asked: device and item, as
//     far as the protocol says them. What else comes is noted and passed over; the right reply may still
//     follow.
//  2. A question takes at most its own wire time, the timeout, and the wire time of the longest frame: a drip
//     of bytes can't hold the line.
//  3. An open question (its address has wildcards) is answered only if one device alone answers, listened for
//     to the end.
//  4. Nothing of a frame stays in memory behind `clear()`: it may hold a card number.

import StreamCore

/// What is asked. The bytes are the caller's.
package struct FrameQuestion: BitwiseCopyable {
  package var bytes: UnsafePointer<UInt8>
  package var count: Int
  /// Bytes of it that only wake the device.
  package var preamble: Int
  package var timeoutNs: Int64
  /// The device is known to repeat serial numbers.
  package var isProven = false
  package var isOpen = false

  package init(_ bytes: UnsafePointer<UInt8>, count: Int, preamble: Int, timeoutNs: Int64) {
    self.bytes = bytes
    self.count = count
    self.preamble = preamble
    self.timeoutNs = timeoutNs
  }

  /// As a command says it.
  init(_ bytes: UnsafePointer<UInt8>, count: Int, to spec: FrameSpec, timeoutNs: Int64) {
    self.init(bytes, count: count, preamble: 0, timeoutNs: timeoutNs)
    while spec.isMeter, preamble < count, bytes[preamble] == MeterAddress.preambleByte { preamble += 1 }
    isOpen = spec.isMeter && MeterAddress.isOpen(bare, spec)
  }

  /// FNV-1a of what is asked, without what differs from one time to the next: preamble, serial number, sum.
  func fingerprint(_ spec: FrameSpec) -> UInt64 {
    let all = bare
    var end = all.count
    if case .cjt188 = spec.format { end = Swift.min(end, CJT188.serialAt) }
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for index in 0..<end { hash = (hash ^ UInt64(all[index])) &* 0x100_0000_01B3 }
    return hash
  }

  /// Without what wakes the device.
  var bare: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: bytes + preamble, count: count - preamble) }
}

/// Where frames are noted, and on whose account; nil box: nowhere.
package struct FrameNotes {
  package var blackBox: BlackBox?
  package var origin = FrameOrigin.ask
}

package struct FrameExchange: ~Copyable {
  /// Where the reply's data is, in `reply`, as it was on the line; of a text the line itself is the reply.
  package struct Found: BitwiseCopyable {
    package var first = 0
    package var count = 0
  }

  package var frames: FrameReader
  package var lines: LineSplitter
  package var characterNs: Int64
  private let chunk: UnsafeMutablePointer<UInt8>
  /// What has come since the last frame was told.
  private let heard: UnsafeMutablePointer<UInt8>
  private var heardCount = 0
  /// The one reply to an open question.
  private let kept: UnsafeMutablePointer<UInt8>
  private var keptCount = 0
  /// From the question's last byte on the line to the first that came back.
  package private(set) var thoughtNs: Int64 = 0
  /// Frames of others, and of older questions.
  package private(set) var foreignFrames: Int64 = 0
  package private(set) var foreignBytes: Int64 = 0

  private static var chunkBytes: Int { 64 }
  /// The longest reply to an open question, with its preamble, and room for a slow beginning.
  private static var openReplyBytes: Int64 { 64 }

  private static var glitchBytes: Int { 2 }

  package static var bytes: Int {
    FrameReader.memoryBytes + LineSplitter.bytes + Arena.bytes(of: UInt8.self, count: chunkBytes)
      + Arena.bytes(of: UInt8.self, count: Limits.frameBytesMax)
      + Arena.bytes(of: UInt8.self, count: FrameReader.capacity)
  }

  package init(format: LineFormat, arena: inout Arena) {
    characterNs = format.characterNs
    frames = FrameReader(arena: &arena)
    lines = LineSplitter(frame: TextFrame(end: [0x0A], split: nil), arena: &arena)
    chunk = arena.take(UInt8.self, count: Self.chunkBytes, first: 0)
    heard = arena.take(UInt8.self, count: Limits.frameBytesMax, first: 0)
    kept = arena.take(UInt8.self, count: FrameReader.capacity, first: 0)
  }

  /// The whole reply, until `clear()`; of a text the line without its end.
  package func reply(_ spec: FrameSpec) -> UnsafeMutableBufferPointer<UInt8> {
    if spec.textFrame != nil { return lines.line }
    if keptCount > 0 { return UnsafeMutableBufferPointer(start: kept, count: keptCount) }
    return UnsafeMutableBufferPointer(start: frames.bytes, count: frames.frameLength)
  }

  package mutating func clear() {
    frames.clear()
    lines.clear()
    for index in 0..<keptCount { kept[index] = 0 }
    keptCount = 0
    forget()
  }

  package mutating func ask<Line: FramePort & ~Copyable>(
    _ question: FrameQuestion, to spec: FrameSpec, on port: inout Line, notes: FrameNotes
  ) throws(ReadFailure) -> Found {
    clear()
    if let text = spec.textFrame { lines.frame = text }
    thoughtNs = 0
    let checksumFaults = frames.checksumFaults
    let sent = UnsafeBufferPointer(start: question.bytes, count: question.count)
    notes.blackBox?.note(.request, notes.origin, sent, hasChecksum: true, at: port.now)
    try port.send(question.bytes, count: question.count)
    // Handed to the port, not yet through the wire.
    let sentAt = port.now + Int64(question.count) * characterNs
    let firstBy = sentAt + question.timeoutNs
    let mostBytes = question.isOpen ? Self.openReplyBytes : Int64(Limits.serialFrameBytesMax)
    let wholeBy = firstBy + mostBytes * characterNs
    var deadline = firstBy
    var seen = 0
    var open = Found()
    var foreign: FrameFault?
    while true {
      let count = try port.read(into: chunk, capacity: Self.chunkBytes, until: deadline)
      let now = port.now
      if count == 0, now < deadline { continue }
      if count == 0 { break }
      if seen == 0 { thoughtNs = Swift.max(0, now - sentAt) }
      seen += count
      // What has begun in time may come to its end.
      deadline = wholeBy
      for place in 0..<count {
        let byte = chunk[place]
        chunk[place] = 0
        hear(byte, spec)
        guard take(byte, spec), let found = try judge(question, spec, notes, now, &foreign) else { continue }
        guard question.isOpen else { return found }
        try keep(found, &open)
      }
      if now >= wholeBy { break }
    }
    // A false beginning may have swallowed the frame.
    if let rule = spec.rule {
      while frames.giveUp(rule) {
        guard let found = try judge(question, spec, notes, port.now, &foreign) else { continue }
        guard question.isOpen else { return found }
        try keep(found, &open)
      }
    }
    // A driver that lets go of the line may leave a byte or two behind.
    if keptCount > 0, heardCount <= Self.glitchBytes { return open }
    return try fail(seen, frames.checksumFaults > checksumFaults, foreign, notes, at: port.now)
  }

  private mutating func fail(
    _ seen: Int, _ hasChecksumFault: Bool, _ foreign: FrameFault?, _ notes: FrameNotes, at now: Instant
  ) throws(ReadFailure) -> Found {
    guard seen > 0 else {
      notes.blackBox?.note(
        .silence, notes.origin, UnsafeBufferPointer(start: nil, count: 0), hasChecksum: false, at: now)
      throw .noReply
    }
    let cause: Corruption =
      hasChecksumFault ? .checksum : foreign == .otherDevice || keptCount > 0 ? .wrongUnit : .wrongShape
    if heardCount > 0 {
      notes.blackBox?.note(.broken, notes.origin, whatWasHeard, hasChecksum: true, cause: cause, at: now)
    }
    if foreign == .ownEcho, heardCount == 0 { throw .noReply }
    throw .corruptReply(cause)
  }

  /// The first reply to an open question; with a second one nobody knows who is there.
  private mutating func keep(_ found: Found, _ open: inout Found) throws(ReadFailure) {
    if keptCount > 0 { throw .corruptReply(.wrongUnit) }
    open = found
    keptCount = frames.frameLength
    for index in 0..<keptCount { kept[index] = frames.bytes[index] }
  }

  /// True if the byte completes a frame or a line.
  private mutating func take(_ byte: UInt8, _ spec: FrameSpec) -> Bool {
    if let rule = spec.rule { return frames.take(byte, rule) }
    return lines.take(byte)
  }

  /// Looks at the frames that stand whole; nil: none of them answers the question.
  private mutating func judge(
    _ question: FrameQuestion, _ spec: FrameSpec, _ notes: FrameNotes, _ now: Instant, _ foreign: inout FrameFault?
  ) throws(ReadFailure) -> Found? {
    guard let rule = spec.rule else {
      guard isOwnEcho(question.bare) else {
        tell(.reply, whatWasHeard, nil, notes, at: now)
        return Found()
      }
      foreign = .ownEcho
      tell(.broken, whatWasHeard, .echo, notes, at: now)
      lines.clear()
      return nil
    }
    repeat {
      let frame = UnsafeBufferPointer(start: UnsafePointer(frames.bytes), count: frames.frameLength)
      let reply = rule.reply(
        UnsafePointer(frames.bytes), count: frames.frameLength, asked: question.bare, numbered: question.isProven)
      switch reply {
      case .data(let first, let count):
        tell(.reply, frame, nil, notes, at: now)
        return Found(first: first, count: count)
      case .refused(let code):
        tell(.reply, frame, nil, notes, at: now)
        throw .refused(code)
      case .foreign(let fault):
        foreign = fault
        if fault != .ownEcho {
          foreignFrames += 1
          foreignBytes += Int64(frames.frameLength)
        }
        let cause: Corruption = fault == .ownEcho ? .echo : fault == .otherDevice ? .wrongUnit : .wrongShape
        tell(.broken, frame, cause, notes, at: now)
      }
    } while frames.next(rule)
    return nil
  }

  /// The question without its end, as an adapter gives it back whose receiver stays on.
  private func isOwnEcho(_ asked: UnsafeBufferPointer<UInt8>) -> Bool {
    guard asked.count >= lines.frame.end.count else { return false }
    return lines.isLine(UnsafeBufferPointer(rebasing: asked.dropLast(lines.frame.end.count)))
  }

  // MARK: What was heard

  private var whatWasHeard: UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(start: UnsafePointer(heard), count: heardCount)
  }

  /// Preambles between frames are no sign of anything.
  private mutating func hear(_ byte: UInt8, _ spec: FrameSpec) {
    if heardCount == 0, spec.rule?.isPreamble(byte) == true { return }
    guard heardCount < Limits.frameBytesMax else { return }
    heard[heardCount] = byte
    heardCount += 1
  }

  private mutating func tell(
    _ kind: FrameKind, _ frame: UnsafeBufferPointer<UInt8>, _ cause: Corruption?, _ notes: FrameNotes, at now: Instant
  ) {
    notes.blackBox?.note(kind, notes.origin, frame, hasChecksum: true, cause: cause, at: now)
    forget()
  }

  private mutating func forget() {
    for index in 0..<heardCount { heard[index] = 0 }
    heardCount = 0
  }
}
