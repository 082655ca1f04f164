// What has been taken over from the buses and is not yet durable: the block being filled, blocks that are full, alarm
// events. On the store thread; its memory is taken at init.
//
//   samples -> open block --full--> sealed blocks -> committed
//                   \--due: written as it is, and filled on-->/
//
// Invariants:
//  1. A sample that was taken over is in a block here, or stored, or counted as lost in front of one.
//  2. What is durable of the open block never changes: a loss behind it begins another block.
//  3. Events are never dropped: without room for them the batch stays with its bus.

import StreamCore

struct Intake {
  private let writer: BlockWriter
  private let seriesCount: Int
  /// The sealed blocks, and behind them the open one while it is committed.
  private var blocks = [UInt8](repeating: 0, count: (Limits.blocksPendingMax + 1) * Limits.blockBytes)
  private(set) var sealed: [BlockInfo] = []
  private(set) var events: [NewEvent] = []
  private var flood = FloodMeter()
  /// Place of the open block: number, sequence and ordinal go on from the sealed ones.
  private var place: BlockInfo
  /// The open block as it was last written.
  private var written: BlockInfo?
  /// Samples of the first sealed block that are durable since it was open.
  private var sealedDurable = 0
  /// Lost behind the open block.
  private var behind: Loss?
  private(set) var acceptedSamples: Int64 = 0
  private(set) var acceptedEvents: Int64 = 0
  private(set) var lostSamples: Int64 = 0
  /// When the oldest sample came that is not durable.
  private(set) var openedNs: Int64?

  init(seriesCount: Int, place: BlockInfo, samplesPerBlock: Int = Limits.samplesPerBlockMax) {
    writer = BlockWriter(seriesCount: seriesCount, samplesMax: samplesPerBlock)
    self.seriesCount = seriesCount
    self.place = place
    sealed.reserveCapacity(Limits.blocksPendingMax)
    events.reserveCapacity(Limits.eventsPendingMax)
  }

  var pendingSamples: Int64 {
    Int64(sealed.reduce(writer.sampleCount - writer.durableCount - sealedDurable) { $0 + $1.count })
  }
  var isEmpty: Bool { writer.isDurable && behind == nil && sealed.isEmpty && events.isEmpty }
  /// Some of it can't wait until it is due.
  var isCrowded: Bool { sealed.count >= Limits.blocksPendingMax / 2 }
  private var hasRoom: Bool { sealed.count < Limits.blocksPendingMax }

  /// Takes a batch over; `numbers`: what those in it mean now, nil: what they say. False: no room for its events.
  mutating func take(_ batch: Batch, numbers: FeedNumbers? = nil, nowNs: Int64) -> Bool {
    guard events.count + batch.eventCount <= Limits.eventsPendingMax else { return false }
    for index in 0..<batch.eventCount {
      var event = batch.event(index)
      let (by, note) = batch.texts(of: event)
      if let numbers {
        guard let renumbered = numbers.renumbered(event) else {
          lose(1, from: event.at, to: event.at, nowNs: nowNs)
          continue
        }
        event = renumbered
      }
      add(NewEvent(event: event, by: Array(by), note: Array(note)))
    }
    let header = batch.info
    let source = Int(numbers?.bus ?? header.bus)
    lose(header.lostCount, from: header.lostFrom, to: header.lostTo, nowNs: nowNs)
    for index in 0..<batch.sampleCount {
      var sample = batch.sample(index)
      let text = batch.text(of: sample)
      if let numbers {
        guard let series = numbers.series(sample.series) else {
          lose(1, from: sample.at, to: sample.at, nowNs: nowNs)
          continue
        }
        sample.series = series
      }
      take(sample, text: text, source: source, nowNs: nowNs)
    }
    return true
  }

  /// An event that no bus made. False: no room.
  mutating func take(_ event: NewEvent) -> Bool {
    guard events.count < Limits.eventsPendingMax else { return false }
    add(event)
    return true
  }

  private mutating func add(_ new: NewEvent) {
    var new = new
    let event = new.event
    if event.change.asks, event.state == .unacknowledged, !event.isSuppressed {
      // What is critical calls in a flood, too.
      new.event.isFlood = flood.note(at: event.at) && event.severity < .critical
    } else if event.change == .reminded {
      new.event.isFlood = isFlood(at: event.at) && event.severity < .critical
    }
    events.append(new)
    acceptedEvents += 1
  }

  mutating func isFlood(at now: Instant) -> Bool {
    flood.settle(at: now)
    return flood.isFlood
  }

  private mutating func take(_ sample: Sample, text: UnsafeBufferPointer<UInt8>, source: Int, nowNs: Int64) {
    // With all blocks full and the disk not taking any, the newest samples are those that are lost.
    if put(sample, text: text, source: source) {
      acceptedSamples += 1
      if openedNs == nil { openedNs = nowNs }
    } else {
      lose(1, from: sample.at, to: sample.at, nowNs: nowNs)
    }
  }

  private mutating func put(_ sample: Sample, text: UnsafeBufferPointer<UInt8>, source: Int) -> Bool {
    if behind == nil, writer.append(sample, text: text, source: source) { return true }
    return seal() && writer.append(sample, text: text, source: source)
  }

  private mutating func lose(_ count: Int64, from: Instant, to: Instant, nowNs: Int64) {
    guard count > 0 else { return }
    lostSamples += count
    add(Loss(count: count, fromMs: from.milliseconds, toMs: to.milliseconds, reason: .overflow))
    if openedNs == nil { openedNs = nowNs }
  }

  private mutating func add(_ loss: Loss) {
    if writer.isBegun { behind = behind?.joined(with: loss) ?? loss } else { writer.addLoss(loss) }
  }

  /// Sequences that were given out by a ring whose end is gone.
  mutating func addDamage(count: Int64, at: Instant, reason: GapReason) {
    add(Loss(count: count, fromMs: at.milliseconds, toMs: at.milliseconds, reason: reason))
  }

  /// The number that the open block has.
  var openNumber: Int64 { place.number }

  /// The last sequence of all that waits, once it has a place.
  var end: Int64 {
    place.firstSequence - 1 + (writer.loss?.count ?? 0) + Int64(writer.sampleCount) + (behind?.count ?? 0)
  }

  // MARK: Blocks

  /// Ends the open block. False: it is empty, or no room is left for another sealed one.
  mutating func seal() -> Bool {
    guard !writer.isEmpty else { return false }
    if writer.isDurable, let written {
      go(on: written)
    } else {
      guard hasRoom else { return false }
      if sealed.isEmpty { sealedDurable = writer.durableCount }
      let info = writeOpen()
      sealed.append(info)
      go(on: info)
    }
    writer.clear()
    written = nil
    if let behind { writer.addLoss(behind) }
    behind = nil
    return true
  }

  private mutating func writeOpen() -> BlockInfo {
    let offset = sealed.count * Limits.blockBytes
    let (writer, place) = (self.writer, self.place)
    return blocks.withUnsafeMutableBytes { memory in
      writer.write(
        as: place, into: UnsafeMutableRawBufferPointer(rebasing: memory[offset..<(offset + Limits.blockBytes)]))
    }
  }

  private mutating func go(on info: BlockInfo) {
    place.number = info.number + 1
    place.firstSequence = info.last + 1
    place.ordinal = info.ordinal + Int64(info.count)
  }

  /// The sealed blocks and, `withOpen`, the open one as it is; nil: nothing of them waits.
  mutating func withPending<Answer>(withOpen: Bool, _ body: (UnsafeRawBufferPointer) -> Answer) -> Answer? {
    if withOpen, behind != nil { _ = seal() }
    var count = sealed.count
    if withOpen, !writer.isDurable {
      written = writeOpen()
      count += 1
    }
    guard count > 0 else { return nil }
    return blocks.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[..<(count * Limits.blockBytes)])) }
  }

  /// What `withPending` gave out is durable.
  mutating func pendingCommitted(withOpen: Bool) {
    dropSealed(sealed.count)
    guard withOpen else { return }
    writer.committed(writer.sampleCount)
    if behind == nil { openedNs = nil }
  }

  private mutating func dropSealed(_ count: Int) {
    guard count > 0 else { return }
    let rest = sealed.count - count
    blocks.withUnsafeMutableBytes { memory in
      let from = UnsafeRawBufferPointer(
        rebasing: memory[(count * Limits.blockBytes)..<(sealed.count * Limits.blockBytes)])
      UnsafeMutableRawBufferPointer(rebasing: memory[..<(rest * Limits.blockBytes)]).copyMemory(from: from)
    }
    sealed.removeFirst(count)
    sealedDurable = 0
  }

  /// `stored` is the newest block of the file: a commit that was reported as failed may have arrived all the same.
  mutating func drop(stored: BlockInfo) {
    guard stored.epoch == place.epoch else { return }
    dropSealed(sealed.prefix { $0.last <= stored.last }.count)
    if let first = sealed.first, first.number == stored.number { sealedDurable = stored.count }
    guard sealed.isEmpty, stored.number == place.number, stored.count > writer.durableCount else { return }
    writer.committed(stored.count)
    written = stored
  }

  /// The first `count` events are durable.
  mutating func eventsCommitted(_ count: Int) { events.removeFirst(count) }

  /// Gives everything that waits a place in another ring; what was durable in the old one, up to `durable`,
  /// stays there. `vanished`: so many sequences went with the old one.
  mutating func move(to place: BlockInfo, durable: Int64, vanished: Int64, at: Instant) {
    var waiting: [(BlockInfo, [StoredBatch])] = []
    var reader = BlockReader(seriesCount: seriesCount)
    if !writer.isDurable {
      let info = writeOpen()
      sealed.append(info)
    }
    for index in sealed.indices {
      let offset = index * Limits.blockBytes
      let block = blocks.withUnsafeBytes { memory in
        try? reader.read(UnsafeRawBufferPointer(rebasing: memory[offset..<(offset + Limits.blockBytes)]))
      }
      if let block { waiting.append(block) }
    }
    sealed.removeAll(keepingCapacity: true)
    writer.clear()
    written = nil
    sealedDurable = 0
    let later = behind
    behind = nil
    self.place = place
    if vanished > 0 { addDamage(count: vanished, at: at, reason: .damaged) }
    for (info, batches) in waiting {
      if let loss = info.loss, info.firstSequence - 1 > durable { add(loss) }
      for batch in batches { putAgain(batch, after: durable) }
    }
    if let later { add(later) }
  }

  private mutating func putAgain(_ batch: StoredBatch, after durable: Int64) {
    batch.texts.withUnsafeBufferPointer { texts in
      for (index, sample) in batch.samples.enumerated() where batch.firstSequence + Int64(index) > durable {
        let text =
          sample.hasText
          ? UnsafeBufferPointer(rebasing: texts[sample.textOffset..<(sample.textOffset + sample.textLength)])
          : UnsafeBufferPointer(start: nil, count: 0)
        guard !put(sample, text: text, source: 0) else { continue }
        lostSamples += 1
        add(Loss(count: 1, fromMs: sample.at.milliseconds, toMs: sample.at.milliseconds, reason: .overflow))
      }
    }
  }
}
