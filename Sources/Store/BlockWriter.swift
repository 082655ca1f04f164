// Packs samples into one block. Pure: no clock, no file; all memory is taken at init.
//
// Invariants:
//  1. What was appended fits: a sample that might not is refused before anything changes.
//  2. Sequence numbers are given when the block is sealed, so what is lost meanwhile can still be counted in front of
//     it.

import StreamCore

package struct BlockWriter {
  private var times = TokenColumn()
  private var series = TokenColumn()
  private var values = TokenColumn()
  private var marks = TokenColumn()
  private var texts = [UInt8](repeating: 0, count: Limits.blockBytes)
  private var textBytes = 0
  private var table: SeriesTable
  package private(set) var sampleCount = 0
  package private(set) var loss: Loss?
  private var earliestMs = Int64.max
  private var latestMs = Int64.min
  private var previousMs: Int64 = 0
  private var previousStep: Int64 = 0
  private var previousMark: UInt64 = 0

  package init(seriesCount: Int) { table = SeriesTable(seriesCount: seriesCount) }

  package var isEmpty: Bool { sampleCount == 0 && loss == nil }

  private var countMax: Int {
    BlockLayout.headerBytes + times.countMax + series.countMax + values.countMax + marks.countMax + textBytes
  }

  /// False: full, seal first. `text`: the bytes of a sample that has a text; its `raw` is then not kept.
  package mutating func append(_ sample: Sample, text: UnsafeBufferPointer<UInt8>) -> Bool {
    let textCount = sample.hasText ? text.count : 0
    guard sampleCount < Limits.samplesPerBlockMax,
      countMax + 4 * TokenColumn.growthMax + textCount <= Limits.blockBytes
    else { return false }

    let ms = sample.at.milliseconds
    let step = sampleCount == 0 ? ms : ms &- previousMs
    times.append(zigzag(sampleCount == 0 ? step : step &- previousStep))
    previousStep = sampleCount == 0 ? 0 : step
    previousMs = ms
    earliestMs = min(earliestMs, ms)
    latestMs = max(latestMs, ms)

    let guess = table.expected
    series.append(zigzag(Int64(sample.series) - Int64(guess)))
    table.pass(to: sample.series)

    if sample.hasText {
      values.append(UInt64(textCount))
      for byte in text {
        texts[textBytes] = byte
        textBytes += 1
      }
    } else {
      values.append(zigzag(sample.raw &- table[sample.series]))
      table[sample.series] = sample.raw
    }

    let mark = UInt64(sample.quality.rawValue) | (sample.hasText ? 4 : 0)
    marks.append(mark ^ previousMark)
    previousMark = mark
    sampleCount += 1
    return true
  }

  /// Counts samples that take their sequences and are not here. Losses of one block become one.
  package mutating func addLoss(_ more: Loss) {
    guard more.count > 0 else { return }
    guard let before = loss else {
      loss = more
      return
    }
    loss = Loss(
      count: before.count &+ more.count, fromMs: min(before.fromMs, more.fromMs), toMs: max(before.toMs, more.toMs),
      reason: before.reason)
  }

  /// Writes the block and begins anew. `place` says number, `firstSequence` of what is lost or stored first, ordinal,
  /// epoch, catalogue and mark; the rest is filled in here. Returns the block's header.
  package mutating func seal(
    as place: BlockInfo, into block: UnsafeMutableRawBufferPointer
  ) -> BlockInfo {
    precondition(block.count == Limits.blockBytes, "a block is sealed into memory of another size")
    var info = place
    info.count = sampleCount
    info.loss = loss
    info.firstSequence = place.firstSequence + (loss?.count ?? 0)
    info.earliestMs = sampleCount > 0 ? earliestMs : loss?.fromMs ?? 0
    info.latestMs = sampleCount > 0 ? latestMs : loss?.toMs ?? 0
    block.initializeMemory(as: UInt8.self, repeating: 0)
    info.write(to: block)
    var end = BlockLayout.headerBytes
    end += take(&times, column: 0, into: block, at: end)
    end += take(&series, column: 1, into: block, at: end)
    end += take(&values, column: 2, into: block, at: end)
    end += take(&marks, column: 3, into: block, at: end)
    block.put(UInt16(textBytes), at: BlockLayout.columnLengths + 8)
    texts.withUnsafeBytes { bytes in
      UnsafeMutableRawBufferPointer(rebasing: block[end...]).copyMemory(
        from: UnsafeRawBufferPointer(rebasing: bytes[..<textBytes]))
    }
    BlockInfo.close(block)
    clear()
    return info
  }

  private func take(
    _ column: inout TokenColumn, column index: Int, into block: UnsafeMutableRawBufferPointer, at offset: Int
  ) -> Int {
    let length = column.take(into: block, at: offset)
    block.put(UInt16(length), at: BlockLayout.columnLengths + 2 * index)
    return length
  }

  private mutating func clear() {
    textBytes = 0
    table.clear()
    sampleCount = 0
    loss = nil
    earliestMs = .max
    latestMs = .min
    previousMs = 0
    previousStep = 0
    previousMark = 0
  }
}
