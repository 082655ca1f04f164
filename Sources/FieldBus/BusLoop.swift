// One bus at work: asks the machine what to do, does it on the port, and sends what was read down the data's
// way: Decoder → Pipeline → Batch. Runs on the bus's thread (or, with a scripted port, in a test that moves the
// clock). Takes all memory from the arena when it is made; `step()` allocates nothing.

import StreamCore

package struct BusLoop<Line: Port & ~Copyable>: ~Copyable {
  package var port: Line
  var machine: BusMachine
  private let decoder: Decoder
  package internal(set) var pipeline: Pipeline
  private let links: LinkTable
  var lineAlarms: LineAlarms
  let bindings: UnsafeMutablePointer<Binding>
  private let words: UnsafeMutablePointer<UInt16>
  private let hasPersonal: Bool
  let state: BusBoard
  /// Wire use of the last seconds, one slot a second.
  private var meter = UtilisationMeter()
  private var cycleStart = Instant.zero
  private var cycleLeft = 0
  private let cycleLength: Int

  package init(
    layout: BusLayout, port: consuming Line, board: BusBoard, boards: [PointBoard] = [], channel: BatchChannel,
    pseudonymKey: [UInt8], alarmsLeft: [AlarmEvent?], arena: inout Arena
  ) {
    self.port = port
    state = board
    pipeline = Pipeline(size: layout.size, arena: &arena, channel: channel)
    links = LinkTable(layout, boards: boards, own: board.points, arena: &arena)
    machine = BusMachine(
      timing: BusTiming(layout.spec), requests: layout.nodes.count, units: layout.devices.count, arena: &arena)
    decoder = Decoder(sentinels: layout.sentinels, pseudonymKey: pseudonymKey, arena: &arena)
    cycleLength = layout.plan.requests.count
    let bindingCount = layout.nodes.reduce(0) { $0 + $1.reads.count }
    bindings = arena.take(Binding.self, count: bindingCount, first: Binding.none)
    words = arena.take(UInt16.self, count: BusLayout.wordCount, first: 0)
    hasPersonal = layout.devices.contains { $0.points.contains(where: \.personal) }
    lineAlarms = LineAlarms(layout, arena: &arena)
    layout.fill(&pipeline, left: alarmsLeft, at: self.port.now)
    fill(layout)
  }

  // MARK: At work

  package mutating func start() {
    machine.start(at: port.now)
    cycleStart = port.now
    cycleLeft = cycleLength
    for unit in 0..<machine.unitCount { publish(learnedOf: unit) }
  }

  /// Does one thing, and says until when there is nothing to do. Blocks on the line for one transaction at most.
  package mutating func step() -> Instant {
    let now = port.now
    state.tick(&pipeline, links, at: now)
    state.inbox.serveAlarms(&pipeline, at: now)
    var until = now
    let action = machine.next(at: now)
    if let later = serveInbox(before: action, at: now) { return Swift.min(later, pipeline.nextDeadline) }
    switch action {
    case .open: openPort()
    case .wait(let deadline): until = deadline
    case .drain(let deadline):
      until = Swift.min(deadline, now + 20_000_000)
      drain()
    case .transact(let request): transact(request)
    case .fence(let unit, let table, let address, let count):
      fence(unit, table: table, address: address, count: count)
    }
    state.show(pipeline)
    return Swift.min(until, pipeline.nextDeadline)
  }

  /// Hands over what is in hand: before a stop, or when somebody waits for it.
  package mutating func handOver() {
    pipeline.handOver()
    state.show(pipeline)
  }

  /// True once after a batch went to the store.
  package mutating func takeHandedOver() -> Bool { pipeline.takeHandedOver() }

  package mutating func stop() {
    port.close()
    handOver()
    state.bus.set(.state, BusBoard.stopped)
  }

  private mutating func openPort() {
    do {
      try port.open()
      machine.opened(at: port.now)
      lineAlarms.opened(&pipeline, at: port.now)
      _ = try? port.drain()
      state.bus.set(.state, BusBoard.running)
      noteLine(.opened)
      state.bus.set(.problem, 0)
    } catch {
      machine.openFailed(at: port.now)
      lineAlarms.lost(&pipeline, at: port.now)
      state.bus.set(.state, BusBoard.lost)
      state.bus.set(.problem, Int64(error.code))
      silenceAll()
    }
  }

  /// True: the line was silent, or has to be used all the same.
  @discardableResult
  mutating func drain() -> Bool {
    do {
      let bytes = try port.drain()
      guard bytes > 0 else { return true }
      noteStray(bytes)
      wipeIfPersonal()
      let now = port.now
      state.bus.add(.strayBytes, Int64(bytes))
      if machine.isOwed(at: now) { state.bus.add(.lateReplies) }
      machine.heard(at: now)
      return !machine.isQuietNeeded(at: now)
    } catch {
      closeLost(error)
      return false
    }
  }

  mutating func closeLost(_ failure: ReadFailure) {
    port.close()
    noteLine(.lost)
    if machine.portIsOpen { machine.lost(at: port.now) }
    lineAlarms.lost(&pipeline, at: port.now)
    state.bus.set(.state, BusBoard.lost)
    if case .portLost(let code) = failure { state.bus.set(.problem, Int64(code)) }
    state.bus.add(.reopened)
    silenceAll()
  }

  private mutating func transact(_ index: Int) {
    guard drain() else { return }
    let request = machine.requests[index]
    let unit = Int(request.unit)
    let started = port.now
    let readySince = Swift.max(request.dueAt, machine.silenceUntil)
    let outcome = ask(
      unit, table: request.table, address: Int(request.address), count: Int(request.count), wireNs: request.wireNs)
    let ended = port.now
    count(outcome, unit: unit)
    if case .failed(.portLost(let code)) = outcome { return closeLost(.portLost(code)) }
    let wasOffline = machine.units[unit].state == .offline
    let change = machine.completed(index, outcome, started: started, ended: ended)
    note(change, unit: unit, at: ended)
    tellAlarms(outcome, unit: unit, wasOffline: wasOffline, at: ended)
    if case .failed(.refused) = outcome { refuse(index, at: ended) }
    if outcome == .good {
      state.device(unit).set(.lastSeenNs, ended.nanoseconds)
      take(request, at: ended)
      account(request, readySince: Swift.min(readySince, started), started: started, ended: ended)
    } else {
      meter.add(ended - started, at: ended)
    }
    state.bus.set(.utilisationPpm, meter.ppm(at: ended))
    state.bus.set(.stretchPercent, machine.stretchPercent)
    state.bus.set(.echo, port.hasEcho ? 1 : 0)
    publish(learnedOf: unit)
    countCycle(ended)
  }

  /// Asks for what is not wanted, to learn that nothing is owed any more.
  private mutating func fence(_ unit: Int, table: RegisterTable, address: Int, count: Int) {
    guard drain() else { return }
    let started = port.now
    let wireNs =
      Int64(8 + 5 + table.dataBytes(count: count)) * machine.timing.characterNs + 2 * machine.timing.silenceNs
    let outcome = ask(unit, table: table, address: address, count: count, wireNs: wireNs, .fence)
    let ended = port.now
    self.count(outcome, unit: unit)
    // Nobody reads them, so nobody wipes them.
    if hasPersonal { for index in 0..<BusLayout.wordCount { words[index] = 0 } }
    state.bus.add(.fences)
    if case .failed(.portLost(let code)) = outcome { return closeLost(.portLost(code)) }
    let wasOffline = machine.units[unit].state == .offline
    let change = machine.completedFence(
      unit: unit, table: table, count: count, outcome, started: started, ended: ended)
    note(change, unit: unit, at: ended)
    tellAlarms(outcome, unit: unit, wasOffline: wasOffline, at: ended)
    meter.add(ended - started, at: ended)
  }

  private mutating func ask(
    _ unit: Int, table: RegisterTable, address: Int, count: Int, wireNs: Int64, _ origin: FrameOrigin = .poll
  ) -> Outcome {
    let started = port.now
    var outcome = Outcome.good
    do {
      try port.read(
        unit: Int(machine.units[unit].address), table: table, address: address, count: count,
        timeoutNs: machine.timeoutNs(unit: unit, wireNs: wireNs), into: words)
    } catch {
      outcome = .failed(error)
    }
    note(unit, table, address: address, count: count, outcome, origin, words: words, from: started)
    wipeIfPersonal()
    return outcome
  }

  /// The black box has what it may have, the words are read: the line's bytes go.
  mutating func wipeIfPersonal() { if hasPersonal { port.wipe() } }

  private mutating func note(_ change: UnitChange, unit: Int, at now: Instant) {
    switch change {
    case .none: break
    case .cameOnline: state.device(unit).set(.state, BusBoard.online)
    case .wentOffline: silence(unit, at: now)
    }
  }

  private mutating func tellAlarms(_ outcome: Outcome, unit: Int, wasOffline: Bool, at now: Instant) {
    lineAlarms.told(
      outcome, of: unit, wasOffline: wasOffline, isOffline: machine.units[unit].state == .offline, &pipeline, at: now)
  }

  func publish(learnedOf unit: Int) {
    let device = state.device(unit)
    let latency = machine.units[unit].latency
    device.set(.latencyMeanNs, latency.meanNs)
    device.set(.latencySpreadNs, latency.spreadNs)
    device.set(.latencyWorstNs, latency.worstNs)
    device.set(.latencyCount, Int64(latency.count))
    let tolerance = machine.units[unit].tolerance
    device.set(.silenceStep, Int64(tolerance.step))
    device.set(.silenceLimit, Int64(tolerance.limit))
    device.set(.silenceBlames, Int64(tolerance.blames))
  }

  private mutating func take(_ request: RequestSlot, at now: Instant) {
    let first = Int(request.firstBinding)
    for index in first..<(first + Int(request.bindingCount)) {
      let binding = bindings[index]
      let decoded = decoder.decode(binding, words)
      accept(Int(binding.point), decoded, at: now)
    }
    compute(Int(request.unit), at: now)
    let unit = machine.units[Int(request.unit)]
    let firstAlarm = Int(unit.firstAlarm)
    pipeline.evaluate(alarms: firstAlarm..<(firstAlarm + Int(unit.alarmCount)), at: now)
  }

  private mutating func compute(_ unit: Int, at now: Instant) {
    let first = Int(machine.units[unit].firstPoint)
    state.compute(&pipeline, points: first..<(first + Int(machine.units[unit].pointCount)), at: now)
  }

  private mutating func accept(_ point: Int, _ decoded: Decoded, at now: Instant) {
    let text = UnsafeBufferPointer(start: UnsafePointer(decoder.text), count: decoded.textLength)
    pipeline.accept(point: point, raw: decoded.raw, quality: decoded.quality, text: text, at: now)
    state.show(point, of: pipeline, text: text, at: now)
  }

  /// The device is there but refuses these registers: no value, and it says so, once there is nothing smaller
  /// to ask for.
  private mutating func refuse(_ index: Int, at now: Instant) {
    let request = machine.requests[index]
    if request.isSplit {
      state.setSplit(index)
      return
    }
    guard request.refusals >= 2 || !request.wasGood else { return }  // of what was good, the first may be noise
    var nothing = Decoded()
    nothing.quality = .bad
    let first = Int(request.firstBinding)
    for index in first..<(first + Int(request.bindingCount)) { accept(Int(bindings[index].point), nothing, at: now) }
    compute(Int(request.unit), at: now)
  }

  private mutating func silence(_ unit: Int, at now: Instant) {
    let first = Int(machine.units[unit].firstPoint)
    let range = first..<(first + Int(machine.units[unit].pointCount))
    pipeline.silence(points: range, at: now)
    for point in range { state.points.putStale(point) }
    compute(unit, at: now)
    state.device(unit).set(.state, BusBoard.offline)
  }

  /// Without a line no device answers.
  private mutating func silenceAll() {
    for unit in 0..<machine.unitCount where state.device(unit)[.state] != BusBoard.offline {
      silence(unit, at: port.now)
      machine.units[unit].state = .unknown
    }
  }

  // MARK: Accounts

  private func count(_ outcome: Outcome, unit: Int) {
    let device = state.device(unit)
    state.bus.add(.transactions)
    device.add(.transactions)
    switch outcome {
    case .good:
      state.bus.add(.good)
      device.add(.good)
    case .failed(.noReply):
      state.bus.add(.timeouts)
      device.add(.timeouts)
    case .failed(.corruptReply(.checksum)):
      state.bus.add(.crcErrors)
      device.add(.crcErrors)
    case .failed(.corruptReply):
      state.bus.add(.otherErrors)
      device.add(.otherErrors)
    case .failed(.refused):
      state.bus.add(.exceptions)
      device.add(.exceptions)
    case .failed(.portLost): break
    }
  }

  /// What it took: from when it could have started to the end of the silence behind it.
  private mutating func account(_ request: RequestSlot, readySince: Instant, started: Instant, ended: Instant) {
    let taken = ended + machine.timing.silenceNs - readySince
    meter.add(ended - started + machine.timing.silenceNs, at: ended)
    guard request.wireNs > 0 else { return }
    state.bus.add(.idealNs, request.wireNs)
    state.bus.add(.takenNs, taken)
  }

  private mutating func countCycle(_ now: Instant) {
    cycleLeft -= 1
    guard cycleLeft <= 0 else { return }
    state.bus.set(.cycleNs, now - cycleStart)
    cycleStart = now
    cycleLeft = cycleLength
  }
}
