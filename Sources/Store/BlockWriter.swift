// Packs samples into one block, which may be written out several times while it fills. No clock, no file;
// all memory is taken at init.
//
// Invariants:
//  1. What was appended fits: a sample that does not is taken back, and none is taken after it.
//  2. Sequence numbers are given when the block is written, so what is lost meanwhile can still be counted in
//     front of it: until a part of it is durable.
//  3. What was written once stands unchanged at the beginning of everything that is written later of the same block.

import StreamCore

package final class BlockWriter {
  private let model: BlockModel
  private let stream: UnsafeMutablePointer<UInt8>
  private var encoder: RangeEncoder
  package private(set) var sampleCount = 0
  /// Of these, durable.
  package private(set) var durableCount = 0
  package private(set) var loss: Loss?
  private var isLossDurable = false
  private var isCutDue = false
  private var earliestMs = Int64.max
  private var latestMs = Int64.min
  private let samplesMax: Int

  /// A sample did not fit.
  private var isFull = false

  private static let room = Limits.blockBytes - BlockLayout.headerBytes

  package init(seriesCount: Int, samplesMax: Int = Limits.samplesPerBlockMax) {
    self.samplesMax = min(samplesMax, Limits.samplesPerBlockMax)
    model = BlockModel(seriesCount: seriesCount)
    stream = .allocate(capacity: Limits.blockBytes)
    stream.initialize(repeating: 0, count: Limits.blockBytes)
    encoder = RangeEncoder(into: stream, capacity: Limits.blockBytes)
  }

  deinit { stream.deallocate() }

  package var isEmpty: Bool { sampleCount == 0 && loss == nil }
  /// Nothing is in it that is not durable, too.
  package var isDurable: Bool { sampleCount == durableCount && (loss == nil || isLossDurable) }
  package var isBegun: Bool { durableCount > 0 || isLossDurable }

  /// False: full, seal first. `text`: the bytes of a sample that has a text; its `raw` is then not kept. `source`: the
  /// bus that handed it over; samples of one bus come in the order of time, those of several take turns. `reserving`:
  /// bytes at the block's end that are somebody else's.
  package func append(
    _ sample: Sample, text: UnsafeBufferPointer<UInt8>, source: Int = 0, reserving: Int = 0
  ) -> Bool {
    let textCount = sample.hasText ? min(text.count, Limits.textBytesMax) : 0
    guard !isFull, sampleCount < samplesMax, model.hasRoom(for: sample.series) else { return false }
    let ms = sample.at.milliseconds
    var packed = PackedSample()
    packed.ms = ms
    packed.raw = sample.hasText ? Int64(textCount) : sample.raw
    packed.series = sample.series
    packed.source = UInt8(truncatingIfNeeded: source % BlockModel.sourcesMax)
    packed.mark = sample.quality.rawValue | (sample.hasText ? 4 : 0)
    packed.isCut = isCutDue
    encoder.mark()
    let before = encoder
    model.pass(&packed, &encoder)
    for index in 0..<textCount { _ = encoder.plain(UInt64(text[index]), count: 8) }
    if encoder.isOverflown || encoder.endedCount > Self.room - reserving {
      // The model has learned from it; but nothing comes after it.
      encoder.takeBack(to: before)
      isFull = true
      return false
    }
    isCutDue = false
    earliestMs = min(earliestMs, ms)
    latestMs = max(latestMs, ms)
    sampleCount += 1
    return true
  }

  /// Counts samples that take their sequences and are not here. Losses of one block become one. Not after the block has
  /// begun to be durable.
  package func addLoss(_ more: Loss) {
    guard more.count > 0 else { return }
    precondition(!isBegun, "a loss in front of what was given out")
    loss = loss?.joined(with: more) ?? more
  }

  /// What was written last is durable.
  package func committed(_ count: Int) {
    isCutDue = count == sampleCount && count > 0
    durableCount = count
    isLossDurable = loss != nil
  }

  /// Writes the block as it is; it may grow afterwards. `place` says number, `firstSequence` of what is lost or stored
  /// first, ordinal, epoch, catalogue and mark; the rest is filled in here. Returns the block's header.
  package func write(as place: BlockInfo, into block: UnsafeMutableRawBufferPointer) -> BlockInfo {
    precondition(block.count == Limits.blockBytes, "a block is written into memory of another size")
    var info = place
    info.count = sampleCount
    info.loss = loss
    info.firstSequence = place.firstSequence + (loss?.count ?? 0)
    info.earliestMs = sampleCount > 0 ? earliestMs : loss?.fromMs ?? 0
    info.latestMs = sampleCount > 0 ? latestMs : loss?.toMs ?? 0
    block.initializeMemory(as: UInt8.self, repeating: 0)
    info.write(to: block)
    // The end is written behind what is there; the next time there will be more.
    let target = UnsafeMutableRawBufferPointer(rebasing: block[BlockLayout.headerBytes...])
    if let start = target.baseAddress {
      block.put(UInt16(encoder.ended(into: start)), at: BlockLayout.streamLength)
    }
    BlockInfo.close(block)
    return info
  }

  /// Begins anew.
  package func clear() {
    model.clear()
    encoder = RangeEncoder(into: stream, capacity: Limits.blockBytes)
    isFull = false
    sampleCount = 0
    durableCount = 0
    loss = nil
    isLossDurable = false
    isCutDue = false
    earliestMs = .max
    latestMs = .min
  }
}
