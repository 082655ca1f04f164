// The rest of AskLoop: its tables at the start, the line that comes and goes, and the accounts.

import StreamCore

extension AskLoop where Line: ~Copyable {
  // MARK: At the start

  func fill(_ layout: BusLayout) {
    var invalid = 0
    var point = 0
    var alarm = 0
    for (unit, device) in layout.devices.enumerated() {
      machine.units[unit].firstPoint = UInt16(point)
      machine.units[unit].pointCount = UInt16(device.points.count)
      machine.units[unit].firstAlarm = UInt16(alarm)
      machine.units[unit].alarmCount = UInt16(device.alarms.count)
      machine.units[unit].latency = layout.latencies[unit]
      machine.units[unit].firstAsk = UInt16(layout.asks.requestsOfDevice[unit].lowerBound)
      machine.units[unit].askCount = UInt16(layout.asks.requestsOfDevice[unit].count)
      for spec in device.points {
        bindings[point] = Binding(framePoint: spec, point: point)
        bindings[point].setSentinels(first: invalid, count: spec.invalid.count)
        invalid += spec.invalid.count
        point += 1
      }
      alarm += device.alarms.count
    }
    var read = 0
    var byte = 0
    for (index, request) in layout.asks.requests.enumerated() {
      var slot = AskSlot()
      slot.unit = UInt16(request.device)
      slot.firstRead = UInt16(read)
      slot.readCount = UInt16(request.points.count)
      slot.firstByte = UInt32(byte)
      slot.byteCount = UInt16(request.bytes.count)
      slot.preamble = UInt8(request.preamble)
      slot.isNumbered = request.isNumbered
      slot.isTold = request.isTold
      slot.intervalNs = request.intervalNs
      slot.wireNs = request.wireNs
      machine.asks[index] = slot
      for point in request.points {
        reads[read] = UInt16(point)
        read += 1
      }
      for value in request.bytes {
        questions[byte] = value
        byte += 1
      }
    }
  }

  // MARK: Devices

  mutating func silence(_ unit: Int, at now: Instant) {
    let first = Int(machine.units[unit].firstPoint)
    let range = first..<(first + Int(machine.units[unit].pointCount))
    pipeline.silence(points: range, at: now)
    for point in range { board.points.putStale(point) }
    compute(unit, at: now)
    board.device(unit).set(.state, BusBoard.offline)
  }

  // MARK: The line

  mutating func openPort() {
    do {
      try port.open()
      machine.opened(at: port.now)
      lineAlarms.opened(&pipeline, at: port.now)
      board.bus.set(.state, BusBoard.running)
      note(.opened)
      board.bus.set(.problem, 0)
    } catch {
      machine.openFailed(at: port.now)
      lineAlarms.lost(&pipeline, at: port.now)
      board.bus.set(.state, BusBoard.lost)
      board.bus.set(.problem, Int64(error.code))
      silenceAll()
    }
  }

  mutating func closeLost(_ failure: ReadFailure) {
    port.close()
    note(.lost)
    if machine.isOpen { machine.lost(at: port.now) }
    lineAlarms.lost(&pipeline, at: port.now)
    board.bus.set(.state, BusBoard.lost)
    if case .portLost(let code) = failure { board.bus.set(.problem, Int64(code)) }
    board.bus.add(.reopened)
    exchange.clear()
    silenceAll()
  }

  /// Without a line no device answers.
  mutating func silenceAll() {
    for unit in 0..<machine.unitCount where board.device(unit)[.state] != BusBoard.offline {
      silence(unit, at: port.now)
    }
  }

  /// Throws away what has come in unasked. Bounded: a babbling line can't keep the loop here. True: the line
  /// was silent, or has to be used all the same.
  @discardableResult
  mutating func drain() -> Bool {
    do {
      var total = 0
      while total < Limits.serialFrameBytesMax {
        let count = try port.read(into: chunk, capacity: Self.chunkBytes, until: port.now)
        noteStray(count)
        for place in 0..<count { chunk[place] = 0 }
        if count == 0 { break }
        total += count
      }
      guard total > 0 else { return true }
      let now = port.now
      board.bus.add(.strayBytes, Int64(total))
      if machine.isOwed(at: now) { board.bus.add(.lateReplies) }
      machine.heard(at: now)
      return !machine.isQuietNeeded(at: now)
    } catch {
      closeLost(error)
      return false
    }
  }

  func note(_ kind: FrameKind) {
    let nothing = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
    board.blackBox.note(kind, .line, nothing, hasChecksum: false, at: port.now)
  }

  private func noteStray(_ count: Int) {
    guard count > 0 else { return }
    let bytes = UnsafeBufferPointer(start: UnsafePointer(chunk), count: count)
    board.blackBox.note(.stray, .line, bytes, hasChecksum: true, at: port.now)
  }

  // MARK: Accounts

  func count(_ outcome: Outcome, unit: Int) {
    let device = board.device(unit)
    board.bus.add(.transactions)
    device.add(.transactions)
    switch outcome {
    case .good:
      board.bus.add(.good)
      device.add(.good)
    case .failed(.noReply):
      board.bus.add(.timeouts)
      device.add(.timeouts)
    case .failed(.corruptReply(.checksum)):
      board.bus.add(.crcErrors)
      device.add(.crcErrors)
    case .failed(.corruptReply):
      board.bus.add(.otherErrors)
      device.add(.otherErrors)
    case .failed(.refused):
      board.bus.add(.exceptions)
      device.add(.exceptions)
    case .failed(.portLost): break
    }
  }

  func publish(_ unit: Int) {
    let latency = machine.units[unit].latency
    let device = board.device(unit)
    device.set(.latencyMeanNs, latency.meanNs)
    device.set(.latencySpreadNs, latency.spreadNs)
    device.set(.latencyWorstNs, latency.worstNs)
    device.set(.latencyCount, Int64(latency.count))
  }

  mutating func countCycle(_ now: Instant) {
    cycleLeft -= 1
    guard cycleLeft <= 0 else { return }
    board.bus.set(.cycleNs, now - cycleStart)
    cycleStart = now
    cycleLeft = machine.askCount
  }
}
