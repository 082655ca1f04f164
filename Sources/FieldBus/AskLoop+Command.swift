// Commands between two questions of an asked bus: a point read at once, a data item of any meter, a search.

import StreamCore

extension AskLoop where Line: ~Copyable {
  /// Called with what the machine would do next, before it is done. Nil: go on with it. Else a command was carried out
  /// in its place, or the line must rest until then before one can be.
  mutating func serveInbox(before action: AskAction, at now: Instant) -> Instant? {
    guard board.inbox.hasPosts, let command = board.inbox.first() else { return nil }
    if let device = command.forgets {
      forget(device, for: command)
      return port.now
    }
    var rest = Instant.distantFuture
    switch action {
    case .open, .drain: return nil
    case .ask where board.inbox.servedLast:
      board.inbox.servedLast = false
      return nil
    case .ask: rest = now
    case .wait(let until): rest = until
    }
    guard machine.isOpen else {
      board.inbox.failAll(.lineLost)
      return nil
    }
    if command.isPatient, now - command.postedAt < Limits.patienceNs,
      rest - now <= command.timeoutNs + 2 * machine.silenceNs + Self.searchBytes * exchange.characterNs
    {
      return nil
    }
    guard let rule = rule(of: command) else {
      if board.inbox.take(command.index) { board.inbox.fail(command.index, .notPossible) }
      return now
    }
    let question = question(of: command, rule)
    let twin = twin(of: question, rule, device: command.device)
    // Its own late reply, or that of the same question of ours, could be taken for this one's.
    let barred = barredUntil(question.fingerprint(rule), twin)
    if barred > now { return rest > now ? Swift.min(rest, barred) : nil }
    if machine.silenceUntil > now { return machine.silenceUntil }
    guard drain() else { return nil }
    carryOut(command, question, rule, twin)
    board.inbox.servedLast = true
    return port.now
  }

  /// A question of a search and its reply, with their preambles.
  private static var searchBytes: Int64 { 64 }

  private func rule(of command: Inbox.Waiting) -> FrameSpec? {
    guard let device = command.device else { return meterRule }
    return rules.indices.contains(device) ? rules[device] : nil
  }

  private mutating func forget(_ device: Int, for command: Inbox.Waiting) {
    guard board.inbox.take(command.index) else { return }
    machine.forget(device)
    publish(device)
    board.device(device).set(.forgotten, 1)
    board.inbox.answer(command.index, count: 0, tookNs: 0)
  }

  /// In a copy of ours: the serial number is changed in it.
  private func question(of command: Inbox.Waiting, _ rule: FrameSpec) -> FrameQuestion {
    let request = board.inbox.requestBytes(command.index)
    for index in 0..<request.count { scratch[index] = request[index] }
    return FrameQuestion(scratch, count: request.count, to: rule, timeoutNs: command.timeoutNs)
  }

  private mutating func carryOut(_ command: Inbox.Waiting, _ question: FrameQuestion, _ rule: FrameSpec, _ twin: Int?) {
    let discards = command.device.map { machine.units[$0].isSuspect } ?? false
    guard discards || board.inbox.take(command.index) else { return }
    if case .cjt188 = rule.format, question.count >= question.preamble + CJT188.requestBytes {
      number(scratch + question.preamble)
    }
    let started = port.now
    let (outcome, _) = ask(question, rule, .command)
    let ended = port.now
    if case .failed(.portLost(let code)) = outcome {
      closeLost(.portLost(code))
    } else {
      machine.noteForeign(
        unit: command.device, ask: twin, outcome, discarded: discards, started: started, ended: ended)
      if outcome != .good, !discards {
        failedCommand = question.fingerprint(rule)
        failedUntil = ended + AskMachine.barTimeouts * machine.timeoutNs
      }
    }
    // The first reply behind an error is not believed: the command's turn comes again.
    if discards, outcome == .good { return exchange.clear() }
    if discards, !board.inbox.take(command.index) { return exchange.clear() }
    answer(command, rule, outcome, tookNs: ended - started)
    exchange.clear()
  }

  private func answer(_ command: Inbox.Waiting, _ rule: FrameSpec, _ outcome: Outcome, tookNs: Int64) {
    switch outcome {
    case .failed(let failure): board.inbox.fail(command.index, LineFailure(failure))
    case .good:
      let reply = exchange.reply(rule)
      let room = board.inbox.replyBytes(command.index)
      let count = Swift.min(reply.count, Inbox.replyBytesMax)
      for index in 0..<count { room[index] = reply[index] }
      board.inbox.answer(command.index, count: count, tookNs: tookNs)
    }
  }

  // MARK: The same question again

  /// The plan's own question in the same words.
  private func twin(of question: FrameQuestion, _ rule: FrameSpec, device: Int?) -> Int? {
    guard let device else { return nil }
    let wanted = question.fingerprint(rule)
    for index in machine.asks(of: device) {
      let slot = machine.asks[index]
      let own = FrameQuestion(questions + Int(slot.firstByte), count: Int(slot.byteCount), to: rule, timeoutNs: 0)
      if own.fingerprint(rule) == wanted { return index }
    }
    return nil
  }

  private func barredUntil(_ fingerprint: UInt64, _ twin: Int?) -> Instant {
    let own = fingerprint == failedCommand ? failedUntil : .zero
    return twin.map { Swift.max(own, machine.asks[$0].barredUntil) } ?? own
  }
}
