// Unpacks a block. Pure. Whatever the bytes are, it answers with batches or with a `BlockDamage`, never
// with a trap: the checksum keeps accidents out, the checks here keep out what was forged with a right
// checksum.

import StreamCore

package struct BlockReader {
  private let model: BlockModel
  /// Made when the first block of that version comes.
  private var tokens: TokenBlock?
  private let seriesCount: Int

  package init(seriesCount: Int) {
    self.seriesCount = seriesCount
    model = BlockModel(seriesCount: seriesCount)
  }

  /// The samples as they were committed: a batch for each commit that filled the block.
  package mutating func read(_ block: UnsafeRawBufferPointer) throws(BlockDamage) -> (BlockInfo, [StoredBatch]) {
    let info = try BlockInfo(of: block)
    if block.number(UInt8.self, at: BlockLayout.versionAt) == BlockLayout.tokenVersion {
      var reader = tokens ?? TokenBlock(seriesCount: seriesCount)
      tokens = nil
      defer { tokens = reader }
      return (info, [try reader.read(block, info)])
    }
    return (info, try readStream(block, info))
  }

  private func readStream(
    _ block: UnsafeRawBufferPointer, _ info: BlockInfo
  ) throws(BlockDamage) -> [StoredBatch] {
    let length = Int(block.number(UInt16.self, at: BlockLayout.streamLength))
    guard length <= block.count - BlockLayout.headerBytes else { throw .contents }
    let from = BlockLayout.headerBytes
    var decoder = RangeDecoder(UnsafeRawBufferPointer(rebasing: block[from..<(from + length)]))
    defer { model.clear() }
    var batches: [StoredBatch] = []
    var samples: [Sample] = []
    samples.reserveCapacity(info.count)
    var texts: [UInt8] = []
    func close() {
      guard !samples.isEmpty else { return }
      let end = batches.last.map { $0.firstSequence + Int64($0.samples.count) } ?? info.firstSequence
      batches.append(
        StoredBatch(
          firstSequence: end, epoch: info.epoch, catalogueVersion: info.catalogueVersion, samples: samples,
          texts: texts))
      samples = []
      texts = []
    }
    var packed = PackedSample()
    for _ in 0..<info.count {
      model.pass(&packed, &decoder)
      if packed.isCut { close() }
      if packed.mark & 4 != 0 { try readText(&packed, into: &texts, &decoder) }
      let (nanoseconds, isTooFar) = packed.ms.multipliedReportingOverflow(by: 1_000_000)
      guard !isTooFar, !model.isImpossible, !decoder.isImpossible,
        let quality = Quality(rawValue: packed.mark & 3)
      else { throw .contents }
      samples.append(
        Sample(
          at: Instant(nanoseconds: nanoseconds), raw: packed.raw, series: packed.series, quality: quality,
          hasText: packed.mark & 4 != 0))
    }
    guard decoder.isAtEnd else { throw .contents }
    close()
    return batches
  }

  private func readText(
    _ packed: inout PackedSample, into texts: inout [UInt8], _ decoder: inout RangeDecoder
  ) throws(BlockDamage) {
    guard packed.raw >= 0, packed.raw <= Int64(Limits.textBytesMax) else { throw .contents }
    let length = Int(packed.raw)
    packed.raw = Sample.textPlace(offset: texts.count, length: length)
    for _ in 0..<length { texts.append(UInt8(truncatingIfNeeded: decoder.plain(0, count: 8))) }
  }
}
