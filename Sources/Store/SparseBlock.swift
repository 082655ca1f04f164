// A block of which something was taken out, on its way into its page: the samples that are left, and the map of what
// is missing between them. On the store thread.
//
// Invariants:
//  1. Sequences go up; what was not put in before the block's end is missing for the reason given.
//  2. Samples and map fit: a sample that might not is refused before anything changes.
//  3. Where a commit ended when the samples came, a batch ends still.

import StreamCore

final class SparseBlockWriter {
  private let writer: BlockWriter
  private var map = SparseMapWriter()
  private var run = SparseRun()
  private var from: Int64 = 0
  /// The last sequence that is covered.
  private(set) var last: Int64 = 0
  private var earliestMs = Int64.max
  private var latestMs = Int64.min

  init(seriesCount: Int) { writer = BlockWriter(seriesCount: seriesCount) }

  var count: Int { writer.sampleCount }
  var isEmpty: Bool { last < from }

  /// The next block covers sequences from `sequence` on.
  func begin(at sequence: Int64) {
    writer.clear()
    map = SparseMapWriter()
    run = SparseRun()
    from = sequence
    last = sequence - 1
    earliestMs = .max
    latestMs = .min
  }

  /// Everything behind the last one up to `sequence` is missing.
  func skip(to sequence: Int64, _ reason: GapReason) {
    guard sequence > last else { return }
    let isMore = run.samples == 0 && run.missing > 0
    if run.samples > 0 { close() }
    run.missing += sequence - last
    run.reason = isMore ? run.reason.joined(with: reason) : reason
    last = sequence
  }

  private func close() {
    map.append(run)
    run = SparseRun()
  }

  private func append(
    _ sample: Sample, text: UnsafeBufferPointer<UInt8>, source: UInt8, isMerged: Bool
  ) -> Bool {
    let changes = run.samples > 0 && run.isMerged != isMerged
    // Behind the last sample something may be missing up to the end: one run more.
    let mapBytes = map.bytes.count + (changes ? 3 : 2) * SparseMapWriter.growthMax + BlockLayout.trailerBytes
    guard writer.append(sample, text: text, source: Int(source), reserving: mapBytes) else { return false }
    if changes { close() }
    run.isMerged = isMerged
    run.samples += 1
    last += 1
    return true
  }

  /// The next sequence, that of `sample`. `source`: the bus that it came from. False: the block is full, and nothing
  /// more goes in.
  func append(_ sample: Sample, of batch: StoredBatch, source: UInt8) -> Bool {
    batch.texts.withUnsafeBufferPointer { texts in
      let text =
        sample.hasText
        ? UnsafeBufferPointer(rebasing: texts[sample.textOffset..<(sample.textOffset + sample.textLength)])
        : UnsafeBufferPointer(start: nil, count: 0)
      return append(sample, text: text, source: source, isMerged: batch.windows > 1)
    }
  }

  /// A batch ends with the last sample.
  func endBatch() { if writer.sampleCount > writer.durableCount { writer.committed(writer.sampleCount) } }

  /// Times that the block covers, of what is missing too.
  func cover(_ info: BlockInfo) {
    earliestMs = min(earliestMs, info.earliestMs)
    latestMs = max(latestMs, info.latestMs)
  }

  /// `place`: number, ordinal, epoch, catalogue, mark, what was lost in front, and in which ring.
  func write(as place: BlockInfo, into block: UnsafeMutableRawBufferPointer) -> BlockInfo {
    if run.missing > 0 || run.samples > 0 { close() }
    var dense = place
    dense.firstSequence = from
    dense.loss = nil
    var info = writer.write(as: dense, into: block)
    info.loss = place.loss
    info.isReserve = place.isReserve
    info.span = last - from + 1
    if earliestMs <= latestMs { (info.earliestMs, info.latestMs) = (earliestMs, latestMs) }
    info.write(to: block)
    block.put(UInt16(map.bytes.count), at: BlockLayout.mapLength)
    UnsafeMutableRawBufferPointer(rebasing: block[(BlockLayout.mapLength - map.bytes.count)..<BlockLayout.mapLength])
      .copyBytes(from: map.bytes)
    BlockInfo.close(block)
    return info
  }
}

/// What a block holds, and what is missing in it.
struct StoredBlock {
  var info: BlockInfo
  var batches: [StoredBatch]
  /// By sequence; bounds inclusive.
  var missing: [(range: ClosedRange<Int64>, reason: GapReason)] = []

  /// `batches`: as the stream has them, numbered without regard to what is missing.
  init(_ block: UnsafeRawBufferPointer, _ info: BlockInfo, _ batches: [StoredBatch]) throws(BlockDamage) {
    self.info = info
    self.batches = batches
    guard let span = info.span else { return }
    let length = Int(block.number(UInt16.self, at: BlockLayout.mapLength))
    guard length <= BlockLayout.mapLength - BlockLayout.headerBytes else { throw .contents }
    let map = UnsafeRawBufferPointer(rebasing: block[(BlockLayout.mapLength - length)..<BlockLayout.mapLength])
    spread(try SparseMapReader.read(map, span: span, count: info.count))
  }

  /// Gives every sample its own sequence: a batch ends where something is missing behind it.
  private mutating func spread(_ runs: [SparseRun]) {
    let packed = batches
    batches = []
    var next = info.firstSequence
    var (batch, place) = (0, 0)
    for run in runs {
      if run.missing > 0 {
        missing.append((next...(next + run.missing - 1), run.reason))
        next += run.missing
      }
      var left = run.samples
      while left > 0, batch < packed.count {
        let taken = min(left, packed[batch].samples.count - place)
        var part = packed[batch]
        part.firstSequence = next
        part.samples = Array(packed[batch].samples[place..<(place + taken)])
        part.windows = run.isMerged ? Limits.windowsMerged : 1
        batches.append(part)
        next += Int64(taken)
        left -= taken
        place += taken
        if place == packed[batch].samples.count { (batch, place) = (batch + 1, 0) }
      }
    }
  }
}
