// A bus of asked frames at work: meters (DL/T 645, CJ/T 188) and devices described in a profile. Sends a
// question, waits for its reply, and sends what was read down the data's way: Decoder → Pipeline → Batch. Runs
// on the bus's thread (or, with a scripted port, in a test that moves the clock). Takes all memory from the
// arena when it is made; `step()` allocates nothing.
//
// Invariants:
//  1. A reply counts only if it is whole, its checksum holds, and it names what was asked: device and item,
//     as far as the protocol says them. What else comes is counted and passed over; the right reply may
//     still follow.
//  2. A question takes at most its own wire time, the response timeout, and the wire time of the longest
//     frame: a drip of bytes can't hold the line.
//  3. Nothing of a frame stays in memory once it was read: it may hold a card number.

import StreamCore

package struct AskLoop<Line: FramePort & ~Copyable>: ~Copyable {
  package var port: Line
  var machine: AskMachine
  var frames: FrameReader
  var lines: LineSplitter
  private let decoder: Decoder
  package internal(set) var pipeline: Pipeline
  private let links: LinkTable
  private let places: FramePlaces
  let bindings: UnsafeMutablePointer<Binding>
  /// By reading of an ask: the point.
  let reads: UnsafeMutablePointer<UInt16>
  let questions: UnsafeMutablePointer<UInt8>
  let chunk: UnsafeMutablePointer<UInt8>
  /// By unit.
  private let rules: [FrameSpec]
  let board: BusBoard
  private let characterNs: Int64
  /// No personal value gets into the black box: where there is one, nothing does.
  let keepsFrames: Bool
  private var meter = UtilisationMeter()
  /// Of the last question that had one.
  package var serial: UInt8 = 0
  var cycleStart = Instant.zero
  var cycleLeft = 0

  static var chunkBytes: Int { 64 }
  /// While the line is kept quiet it is looked at so often, and commands are seen.
  private static var drainNs: Int64 { 20_000_000 }

  package static func bytes(_ layout: BusLayout) -> Int {
    let asks = layout.asks.requests
    let questionBytes = asks.reduce(0) { $0 + $1.bytes.count }
    let readings = asks.reduce(0) { $0 + $1.points.count }
    return AskMachine.bytes(asks: asks.count, units: layout.devices.count) + FrameReader.memoryBytes
      + LineSplitter.bytes
      + Decoder.bytes(sentinels: layout.sentinels.count) + FramePlaces.bytes(layout)
      + Arena.bytes(of: Binding.self, count: layout.size.points) + Arena.bytes(of: UInt16.self, count: readings)
      + Arena.bytes(of: UInt8.self, count: questionBytes) + Arena.bytes(of: UInt8.self, count: chunkBytes)
  }

  package init(
    layout: BusLayout, port: consuming Line, board: BusBoard, boards: [PointBoard] = [], channel: BatchChannel,
    pseudonymKey: [UInt8], alarmStates: [AlarmState], arena: inout Arena
  ) {
    self.port = port
    self.board = board
    characterNs = layout.spec.format.characterNs
    let asks = layout.asks.requests
    machine = AskMachine(bus: layout.spec, asks: asks.count, units: layout.devices.count, arena: &arena)
    frames = FrameReader(arena: &arena)
    lines = LineSplitter(frame: TextFrame(end: [0x0A], split: nil), arena: &arena)
    decoder = Decoder(sentinels: layout.sentinels, pseudonymKey: pseudonymKey, arena: &arena)
    pipeline = Pipeline(size: layout.size, arena: &arena, channel: channel)
    links = LinkTable(layout, boards: boards, own: board.points, arena: &arena)
    places = FramePlaces(layout, arena: &arena)
    bindings = arena.take(Binding.self, count: layout.size.points, first: Binding.none)
    reads = arena.take(UInt16.self, count: asks.reduce(0) { $0 + $1.points.count }, first: 0)
    questions = arena.take(UInt8.self, count: asks.reduce(0) { $0 + $1.bytes.count }, first: 0)
    chunk = arena.take(UInt8.self, count: Self.chunkBytes, first: 0)
    keepsFrames = !layout.devices.contains { $0.points.contains(where: \.personal) }
    rules = layout.devices.map { $0.frame ?? .dlt645 }
    layout.fill(&pipeline, alarmStates)
    fill(layout)
  }

  // MARK: A question and its reply

  /// What a good reply left behind: where the data is.
  private struct Found {
    var first = 0
    var count = 0
  }

  private mutating func transact(_ index: Int, discard: Bool) {
    drain(late: discard)
    guard machine.isOpen else { return }
    let slot = machine.asks[index]
    let unit = Int(slot.unit)
    let started = port.now
    let readySince = Swift.min(Swift.max(slot.dueAt, machine.silenceUntil), started)
    var found = Found()
    var outcome = Outcome.good
    do {
      found = try exchange(slot)
    } catch {
      outcome = .failed(error)
    }
    let ended = port.now
    count(outcome, unit: unit)
    if case .failed(.portLost(let code)) = outcome { return closeLost(.portLost(code)) }
    let change = machine.completed(index, outcome, discarded: discard, ended: ended)
    if change == .wentOffline { silence(unit, at: ended) }
    if case .failed(.refused) = outcome, machine.asks[index].refusals > 1 { refuse(slot, at: ended) }
    if outcome == .good, !discard {
      board.device(unit).set(.lastSeenNs, ended.nanoseconds)
      take(slot, found, at: ended)
    }
    frames.clear()
    lines.clear()
    if change == .cameOnline { board.device(unit).set(.state, BusBoard.online) }
    meter.add(ended - started, at: ended)
    if outcome == .good, slot.wireNs > 0 {
      board.bus.add(.idealNs, slot.wireNs)
      board.bus.add(.takenNs, ended + machine.silenceNs - readySince)
    }
    board.bus.set(.utilisationPpm, meter.ppm(at: ended))
    countCycle(ended)
  }

  private mutating func exchange(_ slot: AskSlot) throws(ReadFailure) -> Found {
    let unit = Int(slot.unit)
    let question = questions + Int(slot.firstByte)
    let preamble = Int(slot.preamble)
    if slot.isNumbered {
      serial &+= 1
      CJT188.renumber(question + preamble, serial: serial)
    }
    frames.clear()
    if let text = rules[unit].textFrame {
      lines.clear()
      lines.frame = text
    }
    let checksumFaults = frames.checksumFaults
    if keepsFrames {
      let sent = UnsafeBufferPointer(start: UnsafePointer(question), count: Int(slot.byteCount))
      board.blackBox.note(.request, .ask, sent, hasChecksum: true, at: port.now)
    }
    try port.send(question, count: Int(slot.byteCount))
    // Handed to the port, not yet through the wire.
    let sentAt = port.now + Int64(slot.byteCount) * characterNs
    let firstBy = sentAt + machine.timeoutNs
    let wholeBy = firstBy + Int64(Limits.serialFrameBytesMax) * characterNs
    var deadline = firstBy
    var seen = 0
    var foreign: FrameFault?
    let asked = UnsafeBufferPointer(start: UnsafePointer(question) + preamble, count: Int(slot.byteCount) - preamble)
    while true {
      let count = try port.read(into: chunk, capacity: Self.chunkBytes, until: deadline)
      if count == 0, port.now < deadline { continue }
      if count == 0 { break }
      seen += count
      // What has begun in time may come to its end.
      deadline = wholeBy
      for place in 0..<count {
        let byte = chunk[place]
        chunk[place] = 0
        guard take(byte, unit) else { continue }
        if let found = try judge(slot, asked, &foreign) { return found }
      }
      if port.now >= wholeBy { break }
    }
    // A false beginning may have swallowed the frame.
    if let rule = rules[unit].rule {
      while frames.giveUp(rule) {
        if let found = try judge(slot, asked, &foreign) { return found }
      }
    }
    if seen == 0 {
      note(.silence)
      throw .noReply
    }
    if frames.checksumFaults > checksumFaults { throw .corruptReply(.checksum) }
    switch foreign {
    case .ownEcho: throw .noReply
    case .otherDevice: throw .corruptReply(.wrongUnit)
    default: throw .corruptReply(.wrongShape)
    }
  }

  /// True if the byte completes a frame or a line.
  private mutating func take(_ byte: UInt8, _ unit: Int) -> Bool {
    if let rule = rules[unit].rule { return frames.take(byte, rule) }
    return lines.take(byte)
  }

  /// Looks at the frames that stand whole; nil: none of them answers the question.
  private mutating func judge(
    _ slot: AskSlot, _ asked: UnsafeBufferPointer<UInt8>, _ foreign: inout FrameFault?
  ) throws(ReadFailure) -> Found? {
    let unit = Int(slot.unit)
    guard let rule = rules[unit].rule else {
      guard isOwnEcho(asked, unit) else { return Found() }
      foreign = .ownEcho
      lines.clear()
      return nil
    }
    repeat {
      let isProven = slot.isNumbered && machine.units[unit].repeatedSerials >= 2
      let reply = rule.reply(UnsafePointer(frames.bytes), count: frames.frameLength, asked: asked, numbered: isProven)
      note(reply)
      switch reply {
      case .data(let first, let count):
        if slot.isNumbered { notice(serialOf: unit) }
        rule.clear(frames.bytes, first: first, count: count)
        return Found(first: first, count: count)
      case .refused(let code): throw .refused(code)
      case .foreign(let fault):
        foreign = fault
        board.bus.add(.strayBytes, Int64(frames.frameLength))
      }
    } while frames.next(rule)
    return nil
  }

  private mutating func notice(serialOf unit: Int) {
    let repeated = machine.units[unit].repeatedSerials
    if frames.bytes[CJT188.serialAt] == serial {
      machine.units[unit].repeatedSerials = Swift.min(repeated + 1, 2)
    } else {
      machine.units[unit].repeatedSerials = 0
    }
  }

  private func note(_ reply: FrameReply) {
    guard keepsFrames else { return }
    let frame = UnsafeBufferPointer(start: UnsafePointer(frames.bytes), count: frames.frameLength)
    var kind = FrameKind.reply
    var cause: Corruption?
    if case .foreign(let fault) = reply {
      kind = .broken
      cause = fault == .otherDevice ? .wrongUnit : .wrongShape
    }
    board.blackBox.note(kind, .ask, frame, hasChecksum: true, cause: cause, at: port.now)
  }

  func note(_ kind: FrameKind) {
    let nothing = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
    board.blackBox.note(kind, .line, nothing, hasChecksum: false, at: port.now)
  }

  /// The question without its end, as an adapter gives it back whose receiver stays on.
  private func isOwnEcho(_ asked: UnsafeBufferPointer<UInt8>, _ unit: Int) -> Bool {
    guard let end = rules[unit].textFrame?.end, asked.count >= end.count else { return false }
    return lines.isLine(UnsafeBufferPointer(rebasing: asked.dropLast(end.count)))
  }

  // MARK: What was read

  private mutating func take(_ slot: AskSlot, _ found: Found, at now: Instant) {
    let isText = rules[Int(slot.unit)].textFrame != nil
    let data = UnsafeBufferPointer(start: UnsafePointer(frames.bytes) + found.first, count: found.count)
    for read in Int(slot.firstRead)..<(Int(slot.firstRead) + Int(slot.readCount)) {
      let point = Int(reads[read])
      var decoded = Decoded()
      if !isText {
        decoded = decoder.decode(bindings[point], data: data)
      } else if let part = places.part(of: lines, point: point) {
        decoded = decoder.decode(bindings[point], field: part)
      } else {
        decoded.quality = .bad
      }
      accept(point, decoded, at: now)
    }
    compute(Int(slot.unit), at: now)
    let unit = machine.units[Int(slot.unit)]
    pipeline.evaluate(alarms: Int(unit.firstAlarm)..<(Int(unit.firstAlarm) + Int(unit.alarmCount)), at: now)
  }

  mutating func compute(_ unit: Int, at now: Instant) {
    let first = Int(machine.units[unit].firstPoint)
    board.compute(&pipeline, points: first..<(first + Int(machine.units[unit].pointCount)), at: now)
  }

  private mutating func accept(_ point: Int, _ decoded: Decoded, at now: Instant) {
    let text = UnsafeBufferPointer(start: UnsafePointer(decoder.text), count: decoded.textLength)
    pipeline.accept(point: point, raw: decoded.raw, quality: decoded.quality, text: text, at: now)
    board.show(point, of: pipeline, text: text, at: now)
  }

  /// The device is there but doesn't have this: no value, and it says so.
  private mutating func refuse(_ slot: AskSlot, at now: Instant) {
    var nothing = Decoded()
    nothing.quality = .bad
    for read in Int(slot.firstRead)..<(Int(slot.firstRead) + Int(slot.readCount)) {
      accept(Int(reads[read]), nothing, at: now)
    }
    compute(Int(slot.unit), at: now)
  }
}

extension AskLoop: BusWork where Line: ~Copyable {
  package mutating func start() {
    machine.start(at: port.now)
    cycleStart = port.now
    cycleLeft = machine.askCount
  }

  /// Does one thing, and says until when there is nothing to do. Blocks on the line for one question at most.
  package mutating func step() -> Instant {
    let now = port.now
    board.tick(&pipeline, links, at: now)
    var until = now
    switch machine.next(at: now) {
    case .open: openPort()
    case .wait(let deadline): until = deadline
    case .drain(let deadline):
      until = Swift.min(deadline, now + Self.drainNs)
      drain(late: true)
    case .ask(let index, let discard): transact(index, discard: discard)
    }
    board.show(pipeline)
    return Swift.min(until, pipeline.nextDeadline)
  }

  package mutating func handOver() {
    pipeline.handOver()
    board.show(pipeline)
  }
  package mutating func takeHandedOver() -> Bool { pipeline.takeHandedOver() }
  package mutating func stop() {
    port.close()
    handOver()
    board.bus.set(.state, BusBoard.stopped)
  }
}
