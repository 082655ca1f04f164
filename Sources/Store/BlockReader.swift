// Unpacks a block. Pure. Whatever the bytes are, it answers with batches or with a `BlockDamage`, never
// with a trap: the checksum keeps accidents out, the checks here keep out what was forged with a right
// checksum.

import StreamCore

package struct BlockReader {
  private let model: BlockModel
  /// Made when the first block of that version comes.
  private var learned: LearnedBlock?
  private var tokens: TokenBlock?
  private let seriesCount: Int

  package init(seriesCount: Int) {
    self.seriesCount = seriesCount
    model = BlockModel(seriesCount: seriesCount)
  }

  /// The samples as they were committed: a batch for each commit that filled the block.
  package mutating func read(_ block: UnsafeRawBufferPointer) throws(BlockDamage) -> (BlockInfo, [StoredBatch]) {
    let info = try BlockInfo(of: block)
    switch block.number(UInt8.self, at: BlockLayout.versionAt) {
    case BlockLayout.tokenVersion:
      var reader = tokens ?? TokenBlock(seriesCount: seriesCount)
      tokens = nil
      defer { tokens = reader }
      return (info, [try reader.read(block, info)])
    case BlockLayout.learnedVersion:
      let reader = learned ?? LearnedBlock(seriesCount: seriesCount)
      learned = reader
      var decoder = LearnedDecoder(try stream(of: block, from: BlockLayout.oldHeaderBytes))
      defer { reader.clear() }
      var samples = SampleList(info)
      var packed = PackedSample()
      for _ in 0..<info.count {
        reader.read(&packed, &decoder)
        guard !reader.isImpossible, !decoder.isImpossible else { throw .contents }
        try samples.add(packed) { decoder.plain(count: 8) }
      }
      guard decoder.isAtEnd else { throw .contents }
      return (info, samples.batches())
    default:
      return (info, try readStream(block, info))
    }
  }

  private func readStream(
    _ block: UnsafeRawBufferPointer, _ info: BlockInfo
  ) throws(BlockDamage) -> [StoredBatch] {
    var decoder = RangeDecoder(try stream(of: block, from: BlockLayout.headerBytes))
    defer { model.clear() }
    var samples = SampleList(info)
    var packed = PackedSample()
    for _ in 0..<info.count {
      model.pass(&packed, &decoder)
      guard !model.isImpossible, !decoder.isImpossible else { throw .contents }
      try samples.add(packed) { decoder.plain(0, count: 8) }
    }
    guard decoder.isAtEnd else { throw .contents }
    return samples.batches()
  }

  private func stream(of block: UnsafeRawBufferPointer, from: Int) throws(BlockDamage) -> UnsafeRawBufferPointer {
    let length = Int(block.number(UInt16.self, at: BlockLayout.streamLength))
    guard length <= block.count - from else { throw .contents }
    return UnsafeRawBufferPointer(rebasing: block[from..<(from + length)])
  }
}

/// The samples of a block as they are read, commit by commit.
private struct SampleList {
  private let info: BlockInfo
  private var closed: [StoredBatch] = []
  private var samples: [Sample] = []
  private var texts: [UInt8] = []
  private var firstSequence: Int64

  init(_ info: BlockInfo) {
    self.info = info
    firstSequence = info.firstSequence
    samples.reserveCapacity(info.count)
  }

  /// `nextByte`: of its text.
  @inline(__always)
  mutating func add(_ packed: PackedSample, _ nextByte: () -> UInt64) throws(BlockDamage) {
    if packed.isCut { close() }
    let hasText = packed.mark & 4 != 0
    var raw = packed.raw
    if hasText {
      guard raw >= 0, raw <= Int64(Limits.textBytesMax) else { throw .contents }
      let length = Int(raw)
      raw = Sample.textPlace(offset: texts.count, length: length)
      for _ in 0..<length { texts.append(UInt8(truncatingIfNeeded: nextByte())) }
    }
    let (nanoseconds, isTooFar) = packed.ms.multipliedReportingOverflow(by: 1_000_000)
    guard !isTooFar, let quality = Quality(rawValue: packed.mark & 3) else { throw .contents }
    samples.append(
      Sample(
        at: Instant(nanoseconds: nanoseconds), raw: raw, series: packed.series, quality: quality, hasText: hasText))
  }

  private mutating func close() {
    guard !samples.isEmpty else { return }
    let next = firstSequence + Int64(samples.count)
    closed.append(
      StoredBatch(
        firstSequence: firstSequence, epoch: info.epoch, catalogueVersion: info.catalogueVersion, samples: samples,
        texts: texts))
    firstSequence = next
    samples = []
    texts = []
  }

  mutating func batches() -> [StoredBatch] {
    close()
    return closed
  }
}
