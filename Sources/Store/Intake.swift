// What has been taken over from the buses and is not yet durable: the block being filled, blocks that are sealed, alarm
// events. On the store thread; its memory is taken at init.
//
// Invariants:
//  1. A sample that was taken over is in a block here, or stored, or counted as lost in front of one.
//  2. A sealed block changes only its place (number, sequence, epoch, mark), and only while no file can hold it.
//  3. Events are never dropped: without room for them the batch stays with its bus.

import StreamCore

struct Intake {
  private var writer: BlockWriter
  private var blocks = [UInt8](repeating: 0, count: Limits.blocksPendingMax * Limits.blockBytes)
  private(set) var sealed: [BlockInfo] = []
  private(set) var events: [AlarmEvent] = []
  /// Place of the next block: number, sequence and ordinal go on from the sealed ones.
  private var place: BlockInfo
  private(set) var acceptedSamples: Int64 = 0
  private(set) var acceptedEvents: Int64 = 0
  private(set) var lostSamples: Int64 = 0
  /// When the oldest sample of the open block came.
  private(set) var openedNs: Int64?

  init(seriesCount: Int, place: BlockInfo) {
    writer = BlockWriter(seriesCount: seriesCount)
    self.place = place
    sealed.reserveCapacity(Limits.blocksPendingMax)
    events.reserveCapacity(Limits.eventsPendingMax)
  }

  var pendingSamples: Int64 { Int64(sealed.reduce(writer.sampleCount) { $0 + $1.count }) }
  var isEmpty: Bool { writer.isEmpty && sealed.isEmpty && events.isEmpty }
  private var hasRoom: Bool { sealed.count < Limits.blocksPendingMax }

  /// Takes a batch over. False: no room for its events.
  mutating func take(_ batch: Batch, nowNs: Int64) -> Bool {
    guard events.count + batch.eventCount <= Limits.eventsPendingMax else { return false }
    for index in 0..<batch.eventCount { events.append(batch.event(index)) }
    acceptedEvents += Int64(batch.eventCount)
    let header = batch.info
    lose(header.lostCount, from: header.lostFrom, to: header.lostTo, nowNs: nowNs)
    for index in 0..<batch.sampleCount {
      let sample = batch.sample(index)
      take(sample, text: batch.text(of: sample), nowNs: nowNs)
    }
    return true
  }

  private mutating func take(_ sample: Sample, text: UnsafeBufferPointer<UInt8>, nowNs: Int64) {
    // With all blocks full and the disk not taking any, the newest samples are those that are lost.
    if writer.append(sample, text: text) || (seal() && writer.append(sample, text: text)) {
      acceptedSamples += 1
      if openedNs == nil { openedNs = nowNs }
    } else {
      lose(1, from: sample.at, to: sample.at, nowNs: nowNs)
    }
  }

  private mutating func lose(_ count: Int64, from: Instant, to: Instant, nowNs: Int64) {
    guard count > 0 else { return }
    lostSamples += count
    writer.addLoss(Loss(count: count, fromMs: from.milliseconds, toMs: to.milliseconds, reason: .overflow))
    if openedNs == nil { openedNs = nowNs }
  }

  /// Sequences that were given out by a ring whose end is gone.
  mutating func addDamage(count: Int64, at: Instant, reason: GapReason) {
    writer.addLoss(Loss(count: count, fromMs: at.milliseconds, toMs: at.milliseconds, reason: reason))
  }

  /// The last sequence of all that waits, once it has a place.
  var end: Int64 { place.firstSequence - 1 + (writer.loss?.count ?? 0) + Int64(writer.sampleCount) }

  /// Seals the open block. False: it is empty, or no room is left for another sealed one.
  mutating func seal() -> Bool {
    guard !writer.isEmpty, hasRoom else { return false }
    let offset = sealed.count * Limits.blockBytes
    let place = self.place
    let info = blocks.withUnsafeMutableBytes { memory in
      writer.seal(
        as: place, into: UnsafeMutableRawBufferPointer(rebasing: memory[offset..<(offset + Limits.blockBytes)]))
    }
    sealed.append(info)
    openedNs = nil
    go(on: info)
    return true
  }

  private mutating func go(on info: BlockInfo) {
    place.number = info.number + 1
    place.firstSequence = info.last + 1
    place.ordinal = info.ordinal + Int64(info.count)
  }

  /// The sealed blocks, one after the other.
  func withSealed<Answer>(_ body: (UnsafeRawBufferPointer) -> Answer) -> Answer {
    blocks.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[..<(sealed.count * Limits.blockBytes)])) }
  }

  /// The first `count` sealed blocks are durable.
  mutating func blocksCommitted(_ count: Int) {
    let rest = sealed.count - count
    blocks.withUnsafeMutableBytes { memory in
      let from = UnsafeRawBufferPointer(
        rebasing: memory[(count * Limits.blockBytes)..<(sealed.count * Limits.blockBytes)])
      UnsafeMutableRawBufferPointer(rebasing: memory[..<(rest * Limits.blockBytes)]).copyMemory(from: from)
    }
    sealed.removeFirst(count)
  }

  /// The first `count` events are durable.
  mutating func eventsCommitted(_ count: Int) { events.removeFirst(count) }

  /// Gives everything that waits a place in another ring.
  mutating func move(to place: BlockInfo) {
    self.place = place
    for index in sealed.indices {
      var info = sealed[index]
      let lost = info.loss?.count ?? 0
      info.number = self.place.number
      info.firstSequence = self.place.firstSequence + lost
      info.ordinal = self.place.ordinal
      info.epoch = place.epoch
      info.catalogueVersion = place.catalogueVersion
      info.mark = place.mark
      let offset = index * Limits.blockBytes
      blocks.withUnsafeMutableBytes { memory in
        let block = UnsafeMutableRawBufferPointer(rebasing: memory[offset..<(offset + Limits.blockBytes)])
        info.write(to: block)
        BlockInfo.close(block)
      }
      sealed[index] = info
      go(on: info)
    }
  }
}
