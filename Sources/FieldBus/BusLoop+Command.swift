// Commands between two polls, and what the black box is told.

import StreamCore

extension BusLoop where Line: ~Copyable {
  /// Called with what the machine would do next, before it is done. Nil: go on with it. Else a command was carried
  /// out in its place, or the line must rest until then before one can be.
  mutating func serveInbox(before action: BusAction, at now: Instant) -> Instant? {
    guard state.inbox.hasPosts, let command = state.inbox.first() else { return nil }
    if let device = command.forgets {
      forget(device, for: command)
      return port.now
    }
    switch action {
    case .open, .drain: return nil
    case .transact where state.inbox.servedLast, .fence where state.inbox.servedLast:
      state.inbox.servedLast = false
      return nil
    case .transact, .fence, .wait: break
    }
    guard machine.portIsOpen else {
      state.inbox.failAll(.lineLost)
      return nil
    }
    if command.isPatient, now - command.postedAt < Limits.patienceNs, !fits(command, before: action, at: now) {
      return nil
    }
    let debt = command.shape.map { machine.debt(unit: command.unit, $0, at: now) } ?? (isOwed: false, isFenced: false)
    // The unit has answered since, but a bridge on the way may still hold its late reply: only time helps.
    if debt.isOwed, debt.isFenced { return nil }
    if machine.silenceUntil > now { return machine.silenceUntil }
    guard drain() else { return nil }
    if debt.isOwed { fence(for: command) } else { carryOut(command) }
    state.inbox.servedLast = true
    return port.now
  }

  private mutating func forget(_ device: Int, for command: Inbox.Waiting) {
    guard state.inbox.take(command.index) else { return }
    machine.forget(device, at: port.now)
    for node in machine.nodes(of: device) { state.clearSplit(node) }
    publish(learnedOf: device)
    state.device(device).set(.forgotten, 1)
    state.inbox.answer(command.index, count: 0, tookNs: 0)
  }

  private func fits(_ command: Inbox.Waiting, before action: BusAction, at now: Instant) -> Bool {
    guard case .wait(let until) = action else { return false }
    return until - now > command.timeoutNs + 2 * machine.timing.silenceNs
  }

  private mutating func carryOut(_ command: Inbox.Waiting) {
    guard state.inbox.take(command.index) else { return }
    let (outcome, count, tookNs) = exchange(
      state.inbox.requestBytes(command.index), .command, into: state.inbox.replyBytes(command.index), command,
      command.shape)
    switch outcome {
    case .good: state.inbox.answer(command.index, count: count, tookNs: tookNs)
    case .failed(let failure): state.inbox.fail(command.index, LineFailure(failure))
    }
  }

  /// A reply that looks like the command's is owed by this unit: a read of another shape shows whether the unit
  /// answers at all, and that it has nothing left to say.
  private mutating func fence(for command: Inbox.Waiting) {
    let now = port.now
    var count = 1
    let step = command.table.isBits ? 8 : 1
    while count <= 4 * step, machine.debt(unit: command.unit, Shape(table: command.table, count: count), at: now).isOwed
    {
      count += step
    }
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: CommandFrame.bytesMax + ReplyFrame.requestBytes) { buffer in
      guard let reply = buffer.baseAddress else { return }
      let request = reply + CommandFrame.bytesMax
      ReplyFrame.request(
        unit: command.unit, table: command.table, address: Swift.min(command.address, Limits.registersPerTable - count),
        count: count, into: request)
      let other = Shape(table: command.table, count: count)
      let (outcome, _, _) = exchange(
        UnsafeBufferPointer(start: UnsafePointer(request), count: ReplyFrame.requestBytes), .fence, into: reply,
        command, other)
      if case .failed(.refused) = outcome { return }
      if outcome != .good { failWaiting(command) }
    }
  }

  private func failWaiting(_ command: Inbox.Waiting) {
    if state.inbox.take(command.index) { state.inbox.fail(command.index, .noReply) }
  }

  private mutating func exchange(
    _ request: UnsafeBufferPointer<UInt8>, _ origin: FrameOrigin, into reply: UnsafeMutablePointer<UInt8>,
    _ command: Inbox.Waiting, _ shape: Shape?
  ) -> (Outcome, count: Int, tookNs: Int64) {
    let started = port.now
    state.blackBox.note(.request, origin, request, hasChecksum: false, at: started)
    var count = 0
    var outcome = Outcome.good
    do {
      count = try port.exchange(request, timeoutNs: command.timeoutNs, into: reply)
    } catch {
      outcome = .failed(error)
    }
    let ended = port.now
    noteReply(outcome, origin, made: UnsafeBufferPointer(start: UnsafePointer(reply), count: count), at: ended)
    wipeIfPersonal()
    if case .failed(.portLost(let code)) = outcome {
      closeLost(.portLost(code))
    } else {
      machine.noteForeignTransaction(
        unit: command.unit, shape: shape, outcome,
        replyNs: Int64(5 + (shape.map { Int($0.dataBytes) } ?? 32)) * machine.timing.characterNs, ended: ended)
    }
    return (outcome, count, ended - started)
  }

  // MARK: Black box

  /// A poll and what came of it. `words`: the registers, or bits, where the port shows no bytes.
  func note(
    _ unit: Int, _ table: RegisterTable, address: Int, count: Int, _ outcome: Outcome, _ origin: FrameOrigin,
    words: UnsafeMutablePointer<UInt16>, from started: Instant
  ) {
    let ended = port.now
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Limits.frameBytesMax) { buffer in
      guard let bytes = buffer.baseAddress else { return }
      ReplyFrame.request(
        unit: Int(machine.units[unit].address), table: table, address: address, count: count, into: bytes)
      state.blackBox.note(
        .request, origin, UnsafeBufferPointer(rebasing: buffer[..<ReplyFrame.requestBytes]), hasChecksum: false,
        at: started)
      var made = 0
      if outcome == .good, port.frame.isEmpty {
        made = 3 + table.dataBytes(count: count)
        bytes[2] = UInt8(truncatingIfNeeded: made - 3)
        for index in 3..<made { bytes[index] = 0 }
        for index in 0..<count {
          if table.isBits {
            bytes[3 + index / 8] |= (words[index] == 0 ? 0 : 1) << UInt8(index % 8)
          } else {
            bytes[3 + 2 * index] = UInt8(truncatingIfNeeded: words[index] >> 8)
            bytes[4 + 2 * index] = UInt8(truncatingIfNeeded: words[index])
          }
        }
      } else if case .failed(.refused(let code)) = outcome, port.frame.isEmpty {
        made = 3
        bytes[1] |= 0x80
        bytes[2] = code
      }
      noteReply(outcome, origin, made: UnsafeBufferPointer(rebasing: buffer[..<made]), at: ended)
    }
  }

  /// `made`: the reply without its CRC, for where the port shows no bytes.
  private func noteReply(_ outcome: Outcome, _ origin: FrameOrigin, made: UnsafeBufferPointer<UInt8>, at ended: Instant)
  {
    let shown = port.frame
    switch outcome {
    case .good, .failed(.refused):
      state.blackBox.note(.reply, origin, shown.isEmpty ? made : shown, hasChecksum: !shown.isEmpty, at: ended)
    case .failed(.noReply): state.blackBox.note(.silence, origin, made, hasChecksum: false, at: ended)
    case .failed(.corruptReply(let cause)):
      state.blackBox.note(.broken, origin, shown, hasChecksum: true, cause: cause, at: ended)
    case .failed(.portLost): break
    }
  }

  func noteStray(_ length: Int) {
    state.blackBox.note(.stray, .line, port.frame, length: length, hasChecksum: true, at: port.now)
  }

  func noteLine(_ kind: FrameKind) {
    state.blackBox.note(kind, .line, UnsafeBufferPointer(start: nil, count: 0), hasChecksum: false, at: port.now)
  }
}
