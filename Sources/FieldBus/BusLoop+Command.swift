// Commands between two polls, and what the black box is told.

import StreamCore

extension BusLoop where Line: ~Copyable {
  /// Called with what the machine would do next, before it is done. Nil: go on with it. Else a command was carried out in its
  /// place, or the line must rest until then before one can be.
  mutating func serveInbox(before action: BusAction, at now: Instant) -> Instant? {
    guard state.inbox.hasPosts, let command = state.inbox.first() else { return nil }
    switch action {
    case .open, .drain: return nil
    case .transact where state.inbox.servedLast:
      state.inbox.servedLast = false
      return nil
    case .transact, .wait: break
    }
    guard machine.portIsOpen else {
      state.inbox.failAll(.lineLost)
      return nil
    }
    if command.isPatient, now - command.postedAt < Limits.patienceNs, !fits(command, before: action, at: now) { return nil }
    if machine.silenceUntil > now { return machine.silenceUntil }
    guard state.inbox.take(command.index) else { return nil }
    carryOut(command)
    state.inbox.servedLast = true
    return port.now
  }

  private func fits(_ command: Inbox.Waiting, before action: BusAction, at now: Instant) -> Bool {
    guard case .wait(let until) = action else { return false }
    // A failure's drain takes as long again.
    return until - now > 2 * command.timeoutNs
  }

  private mutating func carryOut(_ command: Inbox.Waiting) {
    drain(late: false)
    guard machine.portIsOpen else { return state.inbox.fail(command.index, .lineLost) }
    // A late reply to a poll may still be on its way: the first reply to a read of this unit is not to be believed. A write is
    // never sent twice; its reply can be mistaken for no poll's.
    let discards = !command.writes && machine.suspects(unit: command.unit)
    let request = state.inbox.requestBytes(command.index)
    let started = port.now
    let origin = discards ? FrameOrigin.discarded : .command
    state.blackBox.note(.request, origin, request, hasChecksum: false, at: started)
    var count = 0
    var outcome = Outcome.good
    do {
      count = try port.exchange(request, timeoutNs: command.timeoutNs, into: state.inbox.replyBytes(command.index))
    } catch {
      outcome = .failed(error)
    }
    let ended = port.now
    let reply = UnsafeBufferPointer(start: UnsafePointer(state.inbox.replyBytes(command.index)), count: count)
    noteReply(outcome, origin, unchecked: reply, at: ended)
    if case .failed(.portLost(let code)) = outcome {
      state.inbox.fail(command.index, .lineLost)
      return closeLost(.portLost(code))
    }
    machine.noteForeignTransaction(
      unit: command.unit, ended: ended, outcome: outcome, timeoutNs: command.timeoutNs, discarded: discards)
    switch outcome {
    case .good where discards: state.inbox.putBack(command.index)
    case .good: state.inbox.answer(command.index, count: count, tookNs: ended - started)
    case .failed(let failure): state.inbox.fail(command.index, LineFailure(failure))
    }
  }

  // MARK: Black box

  /// A poll and what came of it. `words`: the registers, or bits, where the port shows no bytes.
  func note(
    _ request: RequestSlot, unit: UInt8, _ outcome: Outcome, discarded: Bool, words: UnsafeMutablePointer<UInt16>,
    from started: Instant, to ended: Instant
  ) {
    let origin = discarded ? FrameOrigin.discarded : .poll
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Limits.frameBytesMax) { buffer in
      guard let bytes = buffer.baseAddress else { return }
      ReplyFrame.request(
        unit: Int(unit), table: request.table, address: Int(request.address), count: Int(request.count), into: bytes)
      state.blackBox.note(
        .request, origin, UnsafeBufferPointer(rebasing: buffer[..<ReplyFrame.requestBytes]), hasChecksum: false, at: started)
      var made = 0
      if outcome == .good, port.frame.isEmpty {
        made = 3 + request.table.dataBytes(count: Int(request.count))
        bytes[2] = UInt8(truncatingIfNeeded: made - 3)
        for index in 3..<made { bytes[index] = 0 }
        for index in 0..<Int(request.count) {
          if request.table.isBits {
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
      noteReply(outcome, origin, unchecked: UnsafeBufferPointer(rebasing: buffer[..<made]), at: ended)
    }
  }

  /// `made`: the reply without its CRC, for where the port shows no bytes.
  private func noteReply(_ outcome: Outcome, _ origin: FrameOrigin, unchecked made: UnsafeBufferPointer<UInt8>, at ended: Instant) {
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
