// A bus of asked frames at work: meters (DL/T 645, CJ/T 188) and devices described in a profile. Sends a
// question, waits for its reply, and sends what was read down the data's way: Decoder → Pipeline → Batch. Runs
// on the bus's thread (or, with a scripted port, in a test that moves the clock). Takes all memory from the
// arena when it is made; `step()` allocates nothing.

import StreamCore

package struct AskLoop<Line: FramePort & ~Copyable>: ~Copyable {
  package var port: Line
  var machine: AskMachine
  var exchange: FrameExchange
  private let decoder: Decoder
  package internal(set) var pipeline: Pipeline
  private let links: LinkTable
  private let places: FramePlaces
  var lineAlarms: LineAlarms
  let bindings: UnsafeMutablePointer<Binding>
  /// By reading of an ask: the point.
  let reads: UnsafeMutablePointer<UInt16>
  let questions: UnsafeMutablePointer<UInt8>
  let chunk: UnsafeMutablePointer<UInt8>
  /// A command's question.
  let scratch: UnsafeMutablePointer<UInt8>
  /// By unit.
  let rules: [FrameSpec]
  /// Of the bus's meters, also of those that are not configured; nil: no bus of meters.
  let meterRule: FrameSpec?
  let board: BusBoard
  private let characterNs: Int64
  private var meter = UtilisationMeter()
  /// Of the last question that had one.
  package var serial: UInt8 = 0
  var cycleStart = Instant.zero
  var cycleLeft = 0
  /// The last command that got no reply: not carried out again before its late one is over.
  var failedCommand: UInt64 = 0
  var failedUntil = Instant.zero

  static var chunkBytes: Int { 64 }
  /// While the line is kept quiet it is looked at so often, and commands are seen.
  private static var drainNs: Int64 { 20_000_000 }

  package static func bytes(_ layout: BusLayout) -> Int {
    let asks = layout.asks.requests
    let questionBytes = asks.reduce(0) { $0 + $1.bytes.count }
    let readings = asks.reduce(0) { $0 + $1.points.count }
    return AskMachine.bytes(asks: asks.count, units: layout.devices.count) + FrameExchange.bytes
      + Decoder.bytes(sentinels: layout.sentinels.count) + FramePlaces.bytes(layout)
      + Arena.bytes(of: Binding.self, count: layout.size.points) + Arena.bytes(of: UInt16.self, count: readings)
      + Arena.bytes(of: UInt8.self, count: questionBytes) + Arena.bytes(of: UInt8.self, count: chunkBytes)
      + Arena.bytes(of: UInt8.self, count: CommandFrame.bytesMax)
  }

  package init(
    layout: BusLayout, port: consuming Line, board: BusBoard, boards: [PointBoard] = [], channel: BatchChannel,
    pseudonymKey: [UInt8], alarmsLeft: [AlarmEvent?], arena: inout Arena
  ) {
    self.port = port
    self.board = board
    characterNs = layout.spec.format.characterNs
    let asks = layout.asks.requests
    machine = AskMachine(bus: layout.spec, asks: asks.count, units: layout.devices.count, arena: &arena)
    exchange = FrameExchange(format: layout.spec.format, arena: &arena)
    decoder = Decoder(sentinels: layout.sentinels, pseudonymKey: pseudonymKey, arena: &arena)
    pipeline = Pipeline(size: layout.size, arena: &arena, channel: channel)
    links = LinkTable(layout, boards: boards, own: board.points, arena: &arena)
    places = FramePlaces(layout, arena: &arena)
    bindings = arena.take(Binding.self, count: layout.size.points, first: Binding.none)
    reads = arena.take(UInt16.self, count: asks.reduce(0) { $0 + $1.points.count }, first: 0)
    questions = arena.take(UInt8.self, count: asks.reduce(0) { $0 + $1.bytes.count }, first: 0)
    chunk = arena.take(UInt8.self, count: Self.chunkBytes, first: 0)
    scratch = arena.take(UInt8.self, count: CommandFrame.bytesMax, first: 0)
    rules = layout.devices.map { $0.frame ?? .dlt645 }
    meterRule = FrameSpec.meter(layout.spec.busProtocol)
    lineAlarms = LineAlarms(layout, arena: &arena)
    layout.fill(&pipeline, left: alarmsLeft, at: self.port.now)
    fill(layout)
  }

  // MARK: A question and its reply

  private mutating func transact(_ index: Int, discard: Bool) {
    guard drain() else { return }
    let slot = machine.asks[index]
    let unit = Int(slot.unit)
    let started = port.now
    let readySince = Swift.min(Swift.max(slot.dueAt, machine.silenceUntil), started)
    var question = FrameQuestion(
      questions + Int(slot.firstByte), count: Int(slot.byteCount), preamble: Int(slot.preamble),
      timeoutNs: machine.timeoutNs(unit: unit))
    if slot.isNumbered {
      number(questions + Int(slot.firstByte) + Int(slot.preamble))
      question.isProven = machine.units[unit].repeatedSerials >= 2
    }
    let (outcome, found) = ask(question, rules[unit], .ask)
    let ended = port.now
    count(outcome, unit: unit)
    if case .failed(.portLost(let code)) = outcome { return closeLost(.portLost(code)) }
    let wasOffline = machine.units[unit].state == .offline
    let change = machine.completed(
      index, outcome, discarded: discard, started: started, ended: ended, thoughtNs: exchange.thoughtNs)
    if change == .wentOffline { silence(unit, at: ended) }
    lineAlarms.told(
      outcome, of: unit, wasOffline: wasOffline, isOffline: machine.units[unit].state == .offline, &pipeline, at: ended)
    if case .failed(.refused) = outcome, machine.asks[index].refusals > 1 { refuse(slot, at: ended) }
    if outcome == .good {
      if slot.isNumbered { notice(serialOf: unit) }
      if !discard {
        board.device(unit).set(.lastSeenNs, ended.nanoseconds)
        publish(unit)
        take(slot, found, at: ended)
      }
    }
    exchange.clear()
    if change == .cameOnline { board.device(unit).set(.state, BusBoard.online) }
    meter.add(ended - started, at: ended)
    if outcome == .good, slot.wireNs > 0 {
      board.bus.add(.idealNs, slot.wireNs)
      board.bus.add(.takenNs, ended + machine.silenceNs - readySince)
    }
    board.bus.set(.utilisationPpm, meter.ppm(at: ended))
    countCycle(ended)
  }

  /// The reply stays in `exchange` until it is cleared.
  mutating func ask(_ question: FrameQuestion, _ rule: FrameSpec, _ origin: FrameOrigin) -> (
    Outcome, FrameExchange.Found
  ) {
    let (frames, bytes) = (exchange.foreignFrames, exchange.foreignBytes)
    let notes = FrameNotes(blackBox: board.blackBox, origin: origin)
    var found = FrameExchange.Found()
    var outcome = Outcome.good
    do {
      found = try exchange.ask(question, to: rule, on: &port, notes: notes)
    } catch {
      outcome = .failed(error)
    }
    if exchange.foreignFrames > frames {
      board.bus.add(.strayBytes, exchange.foreignBytes - bytes)
      if machine.isOwed(at: port.now) { board.bus.add(.lateReplies, exchange.foreignFrames - frames) }
    }
    return (outcome, found)
  }

  /// Each question has another serial number.
  mutating func number(_ question: UnsafeMutablePointer<UInt8>) {
    serial &+= 1
    CJT188.renumber(question, serial: serial)
  }

  private mutating func notice(serialOf unit: Int) {
    let repeated = machine.units[unit].repeatedSerials
    if exchange.frames.bytes[CJT188.serialAt] == serial {
      machine.units[unit].repeatedSerials = Swift.min(repeated + 1, 2)
    } else {
      machine.units[unit].repeatedSerials = 0
    }
  }

  // MARK: What was read

  private mutating func take(_ slot: AskSlot, _ found: FrameExchange.Found, at now: Instant) {
    let isText = rules[Int(slot.unit)].textFrame != nil
    rules[Int(slot.unit)].rule?.clear(exchange.frames.bytes, first: found.first, count: found.count)
    let data = UnsafeBufferPointer(start: UnsafePointer(exchange.frames.bytes) + found.first, count: found.count)
    for read in Int(slot.firstRead)..<(Int(slot.firstRead) + Int(slot.readCount)) {
      let point = Int(reads[read])
      var decoded = Decoded()
      if !isText {
        decoded = decoder.decode(bindings[point], data: data)
      } else if let part = places.part(of: exchange.lines, point: point) {
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
    for unit in 0..<machine.unitCount { publish(unit) }
    cycleStart = port.now
    cycleLeft = machine.askCount
  }

  /// Does one thing, and says until when there is nothing to do. Blocks on the line for one question at most.
  package mutating func step() -> Instant {
    let now = port.now
    board.tick(&pipeline, links, at: now)
    board.inbox.serveAlarms(&pipeline, at: now)
    var until = now
    let action = machine.next(at: now)
    if let later = serveInbox(before: action, at: now) { return Swift.min(later, pipeline.nextDeadline) }
    switch action {
    case .open: openPort()
    case .wait(let deadline): until = deadline
    case .drain(let deadline):
      until = Swift.min(deadline, now + Self.drainNs)
      drain()
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
