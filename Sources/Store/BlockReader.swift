// Unpacks a block. Pure. Whatever the bytes are, it answers with a batch or with a `BlockDamage`, never with a trap:
// the checksum keeps accidents out, the checks here keep out what was forged with a right checksum.

import StreamCore

package struct BlockReader {
  private var table: SeriesTable

  package init(seriesCount: Int) { table = SeriesTable(seriesCount: seriesCount) }

  package mutating func read(_ block: UnsafeRawBufferPointer) throws(BlockDamage) -> (BlockInfo, StoredBatch) {
    let info = try BlockInfo(of: block)
    var start = BlockLayout.headerBytes
    var columns: [UnsafeRawBufferPointer] = []
    columns.reserveCapacity(BlockLayout.columns)
    for column in 0..<BlockLayout.columns {
      let length = Int(block.number(UInt16.self, at: BlockLayout.columnLengths + 2 * column))
      guard length <= block.count - start else { throw .contents }
      columns.append(UnsafeRawBufferPointer(rebasing: block[start..<(start + length)]))
      start += length
    }
    defer { table.clear() }
    var batch = StoredBatch(
      firstSequence: info.firstSequence, epoch: info.epoch, catalogueVersion: info.catalogueVersion, samples: [],
      texts: [UInt8](columns[4]))
    try readSamples(info.count, columns, into: &batch)
    return (info, batch)
  }

  private mutating func readSamples(
    _ count: Int, _ columns: [UnsafeRawBufferPointer], into batch: inout StoredBatch
  ) throws(BlockDamage) {
    var times = TokenReader(columns[0])
    var series = TokenReader(columns[1])
    var values = TokenReader(columns[2])
    var marks = TokenReader(columns[3])
    var ms: Int64 = 0
    var step: Int64 = 0
    var mark: UInt64 = 0
    var textPlace = 0
    batch.samples.reserveCapacity(count)
    for index in 0..<count {
      let change = unzigzag(try times.next())
      if index == 0 {
        ms = change
      } else {
        step = step &+ change
        ms = ms &+ step
      }
      let (nanoseconds, isTooFar) = ms.multipliedReportingOverflow(by: 1_000_000)
      guard !isTooFar else { throw .contents }

      let (number, isTooLarge) = Int64(table.expected).addingReportingOverflow(unzigzag(try series.next()))
      guard !isTooLarge, let place = UInt16(exactly: number) else { throw .contents }
      table.pass(to: place)

      mark ^= try marks.next()
      guard mark < 8, let quality = Quality(rawValue: UInt8(mark & 3)) else { throw .contents }
      let token = try values.next()
      let hasText = mark & 4 != 0
      let raw: Int64
      if hasText {
        guard token <= UInt64(batch.texts.count - textPlace) else { throw .contents }
        let length = Int(token)
        raw = Sample.textPlace(offset: textPlace, length: length)
        textPlace += length
      } else {
        raw = table[place] &+ unzigzag(token)
        table[place] = raw
      }
      batch.samples.append(
        Sample(at: Instant(nanoseconds: nanoseconds), raw: raw, series: place, quality: quality, hasText: hasText))
    }
    guard times.isAtEnd, series.isAtEnd, values.isAtEnd, marks.isAtEnd, textPlace == batch.texts.count else {
      throw .contents
    }
  }
}
