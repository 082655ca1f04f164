// A serial bus at work: a device that speaks when it likes, lines of text or binary frames, such as a card
// reader. Every frame is an occurrence of its own: its fields are reported even if they are the same as before. All
// that comes goes into the black box, too. Runs on the bus's thread; `step()` allocates nothing.

import StreamCore

package struct ListenLoop: ~Copyable {
  private var port: TextPort
  private var splitter: LineSplitter
  private var frames: FrameReader
  /// Nil: lines of text.
  private let rule: FrameRule?
  private let decoder: Decoder
  private var pipeline: Pipeline
  private let links: LinkTable
  private var lineAlarms: LineAlarms
  private let bindings: UnsafeMutablePointer<Binding>
  private let places: FramePlaces
  private let bytes: UnsafeMutablePointer<UInt8>
  private var heard: HeardBytes
  private var toldFaults: Int64 = 0
  private let board: BusBoard
  private let pointCount: Int
  private let alarmCount: Int
  private var isOpen = false
  private var lastByteAt = Instant.zero
  private var reopenAt = Instant.zero
  private var reopenNs = Limits.reopenNsMin

  private static let chunkBytes = 256
  /// A frame doesn't pause so long within itself.
  private static let pauseNs: Int64 = 100_000_000
  /// Within a line of text it may; what has come by then is shown, and again with the whole line if that follows.
  private static let textPauseNs: Int64 = 1_000_000_000

  package static func bytes(_ layout: BusLayout) -> Int {
    LineSplitter.bytes + FrameReader.memoryBytes + Decoder.bytes(sentinels: layout.sentinels.count)
      + Arena.bytes(of: Binding.self, count: layout.size.points) + FramePlaces.bytes(layout)
      + Arena.bytes(of: UInt8.self, count: chunkBytes) + HeardBytes.bytes
  }

  package init(
    layout: BusLayout, path: String, board: BusBoard, boards: [PointBoard] = [], channel: BatchChannel,
    pseudonymKey: [UInt8], alarmsLeft: [AlarmEvent?], arena: inout Arena
  ) {
    let frame = layout.devices.first?.frame ?? .text(end: [0x0D, 0x0A], split: nil)
    rule = frame.rule
    port = TextPort(path: path, format: layout.spec.format)
    self.board = board
    splitter = LineSplitter(frame: frame.textFrame ?? TextFrame(end: [0x0A], split: nil), arena: &arena)
    frames = FrameReader(arena: &arena)
    decoder = Decoder(sentinels: layout.sentinels, pseudonymKey: pseudonymKey, arena: &arena)
    pipeline = Pipeline(size: layout.size, arena: &arena, channel: channel)
    lineAlarms = LineAlarms(layout, arena: &arena)
    layout.fill(&pipeline, left: alarmsLeft, at: self.port.now)
    pointCount = layout.size.points
    alarmCount = layout.size.alarms
    bindings = arena.take(Binding.self, count: pointCount, first: Binding.none)
    links = LinkTable(layout, boards: boards, own: board.points, arena: &arena)
    places = FramePlaces(layout, arena: &arena)
    bytes = arena.take(UInt8.self, count: Self.chunkBytes, first: 0)
    heard = HeardBytes(
      isPersonal: layout.devices.contains { $0.points.contains(where: \.personal) }, arena: &arena)
    var invalid = 0
    for (index, spec) in layout.devices.flatMap(\.points).enumerated() {
      bindings[index] = Binding(framePoint: spec, point: index)
      bindings[index].setSentinels(first: invalid, count: spec.invalid.count)
      invalid += spec.invalid.count
    }
  }

  private mutating func take() {
    let now = port.now
    board.bus.add(.transactions)
    board.bus.add(.good)
    board.device(0).add(.transactions)
    board.device(0).add(.good)
    board.device(0).set(.lastSeenNs, now.nanoseconds)
    board.device(0).set(.state, BusBoard.online)
    for point in 0..<pointCount where !pipeline.isComputed(point) {
      var decoded = Decoded()
      if rule != nil {
        let data = UnsafeBufferPointer(start: UnsafePointer(frames.bytes), count: frames.frameLength)
        decoded = decoder.decode(bindings[point], data: data)
      } else if let field = places.part(of: splitter, point: point) {
        decoded = decoder.decode(bindings[point], field: field)
      } else {
        decoded.quality = .bad
      }
      let text = UnsafeBufferPointer(start: UnsafePointer(decoder.text), count: decoded.textLength)
      pipeline.accept(point: point, raw: decoded.raw, quality: decoded.quality, text: text, at: now)
      board.show(point, of: pipeline, text: text, at: now)
    }
    board.compute(&pipeline, points: 0..<pointCount, at: now)
    pipeline.evaluate(alarms: 0..<alarmCount, at: now)
    splitter.clear()
  }

  private mutating func take(_ byte: UInt8) {
    heard.take(byte)
    guard let rule else { return takeText(byte) }
    if frames.take(byte, rule) {
      takeFrames(rule)
    } else if heard.count - frames.pendingBytes >= Limits.frameBytesMax {
      noteNoise()
    }
  }

  private mutating func takeText(_ byte: UInt8) {
    let dropped = splitter.droppedBytes
    if splitter.take(byte) {
      note(.reply, splitter.whole)
      heard.restart()
      take()
    } else if splitter.pendingBytes == 0 || splitter.droppedBytes > dropped {
      noteNoise()
    }
  }

  private mutating func takeFrames(_ rule: FrameRule) {
    repeat {
      let whole = UnsafeBufferPointer(start: UnsafePointer(frames.bytes), count: frames.pendingBytes)
      noteNoise()
      note(.reply, UnsafeBufferPointer(rebasing: whole[..<frames.frameLength]))
      heard.restart(with: UnsafeBufferPointer(rebasing: whole[frames.frameLength...]))
      take()
    } while frames.next(rule)
  }

  /// When what has begun is given up, or shown as it is; never: nothing has.
  private var pauseEnd: Instant {
    guard heard.count > 0 || (rule != nil && frames.pendingBytes > 0) else { return .distantFuture }
    return lastByteAt + (rule == nil ? Self.textPauseNs : Self.pauseNs)
  }

  /// The device has fallen silent within a frame: it won't go on with it.
  private mutating func pause(at now: Instant) {
    guard pauseEnd <= now else { return }
    if let rule {
      while frames.giveUp(rule) { takeFrames(rule) }
      frames.clear()
    }
    noteNoise()
  }

  // MARK: Black box

  private func note(
    _ kind: FrameKind, _ bytes: UnsafeBufferPointer<UInt8>, length: Int? = nil, cause: Corruption? = nil
  ) {
    board.blackBox.note(kind, .line, bytes, length: length, hasChecksum: true, cause: cause, at: port.now)
  }

  /// What has come and is part of no frame, nor of what may become one.
  private mutating func noteNoise() {
    let pending = rule == nil ? 0 : frames.pendingBytes
    let count = heard.count - pending
    guard count > 0 else { return }
    let isFault = frames.checksumFaults > toldFaults
    toldFaults = frames.checksumFaults
    note(isFault ? .broken : .stray, heard.first(count), length: count, cause: isFault ? .checksum : nil)
    heard.restart(with: UnsafeBufferPointer(start: UnsafePointer(frames.bytes), count: pending))
  }

  private mutating func openPort(at now: Instant) -> Instant {
    guard now >= reopenAt else { return reopenAt }
    do {
      try port.open()
      isOpen = true
      reopenNs = Limits.reopenNsMin
      // Nothing is known of the device until it speaks.
      board.device(0).set(.state, BusBoard.starting)
      board.bus.set(.state, BusBoard.running)
      note(.opened, UnsafeBufferPointer(start: nil, count: 0))
      lineAlarms.listens(&pipeline, at: now)
      board.bus.set(.problem, 0)
      return now
    } catch {
      lost(error.code, at: now)
      return reopenAt
    }
  }

  private mutating func lost(_ code: Int32, at now: Instant) {
    port.close()
    splitter.clear()
    frames.clear()
    noteNoise()
    if isOpen { note(.lost, UnsafeBufferPointer(start: nil, count: 0)) }
    isOpen = false
    reopenAt = now + reopenNs
    reopenNs = Swift.min(reopenNs * 2, Limits.reopenNsMax)
    board.bus.set(.state, BusBoard.lost)
    lineAlarms.lost(&pipeline, at: now)
    board.bus.set(.problem, Int64(code))
    guard board.device(0)[.state] != BusBoard.offline else { return }
    board.device(0).set(.state, BusBoard.offline)
    pipeline.silence(points: 0..<pointCount, at: now)
    for point in 0..<pointCount { board.points.putStale(point) }
    board.compute(&pipeline, points: 0..<pointCount, at: now)
  }
}

extension ListenLoop: BusWork {
  package mutating func start() {}

  package mutating func step() -> Instant {
    let now = port.now
    board.tick(&pipeline, links, at: now)
    board.inbox.serveAlarms(&pipeline, at: now)
    defer {
      board.show(pipeline)
    }
    guard isOpen else { return Swift.min(openPort(at: now), pipeline.nextDeadline) }
    do {
      // Only what is there: it is the thread that waits.
      let count = try port.read(into: bytes, capacity: Self.chunkBytes, until: now)
      for index in 0..<count {
        take(bytes[index])
        bytes[index] = 0
      }
      if count > 0 { lastByteAt = now } else { pause(at: now) }
      board.bus.set(.strayBytes, splitter.droppedBytes + frames.droppedBytes)
      board.bus.set(.crcErrors, frames.checksumFaults)
      if count == Self.chunkBytes { return now }
    } catch {
      if case .portLost(let code) = error {
        board.bus.add(.reopened)
        lost(code, at: now)
      }
      return now
    }
    return Swift.min(pauseEnd, pipeline.nextDeadline)
  }

  package var listensOn: Int32 { port.descriptor }

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
