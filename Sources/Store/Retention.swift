// Takes personal samples out of blocks once they are older than they may be kept. On the store thread, between commits.
//
//   blocks whose newest sample is too old  ->  the same without what is personal, in their places: one commit a step
//
// Invariants:
//  1. A block is rewritten once, when all of it is too old; what is too old in a younger one is not served meanwhile.
//  2. It keeps its number, its sequences and everything else that it holds.
//  3. The ring's newest block is left alone: it is still being filled, or was by the start before.

import StreamCore

extension TelemetryRing {
  /// One step. True: there is more to do.
  func sweep(_ rules: StrideRules) throws(StoreFailure) -> Bool {
    guard let age = rules.age else { return false }
    forgetUnpacked()
    var book = losses
    var rewritten: [(table: BlockTable, bytes: [UInt8])] = []
    var hasMore = false
    for table in [ring, reserve].compactMap({ $0 }) {
      guard let numbers = table.numbers else { continue }
      var number = max(numbers.lowerBound, table.isReserve ? book.sweptReserve : book.swept)
      var looks = 0
      while number < numbers.upperBound || (table.isReserve && number == numbers.upperBound) {
        guard looks < Limits.blocksPerReadMax, rewritten.count < Limits.blocksPerSweepMax else {
          hasMore = true
          break
        }
        looks += 1
        if case .block(let info) = try table.info(number) {
          guard age.isExpired(info.latest, epoch: info.epoch) else { break }
          if let block = try table.block(number, &reader), let bytes = without(block, rules, table, &book) {
            rewritten.append((table, bytes))
          }
        }
        number += 1
      }
      // The reserve's newest block is filled on.
      let done = min(number, numbers.upperBound)
      if table.isReserve { book.sweptReserve = done } else { book.swept = done }
    }
    guard !rewritten.isEmpty else {
      losses = book
      return hasMore
    }
    try connection.transaction { () throws(StoreFailure) in
      for (table, bytes) in rewritten {
        let outcome = bytes.withUnsafeBytes { block -> Result<Void, StoreFailure> in
          do throws(StoreFailure) { return .success(try table.write(block)) } catch { return .failure(error) }
        }
        try outcome.get()
      }
      try book.keep(in: connection)
    }
    losses = book
    losses.kept()
    try reserve?.refresh()
    return hasMore
  }

  /// Nil: there is nothing personal in it.
  private func without(
    _ block: StoredBlock, _ rules: StrideRules, _ table: BlockTable, _ book: inout LossBook
  ) -> [UInt8]? {
    guard block.batches.contains(where: { batch in batch.samples.contains { rules.isExpired($0, batch) } }) else {
      return nil
    }
    let info = block.info
    let writer = SparseBlockWriter(seriesCount: 0)
    writer.begin(at: info.firstSequence)
    writer.cover(info)
    var missing = block.missing[...]
    var isFull = false
    let known = rules.rules(info.catalogueVersion)
    for batch in block.batches {
      while let gap = missing.first, gap.range.upperBound < batch.firstSequence {
        writer.skip(to: gap.range.upperBound, gap.reason)
        missing = missing.dropFirst()
      }
      for (index, sample) in batch.samples.enumerated() {
        // With less to learn from, what is left might take more room than before; hardly, and then it goes, too.
        if !rules.isExpired(sample, batch), !isFull {
          isFull = !writer.append(sample, of: batch, source: known[sample.series].source)
          if !isFull { continue }
        }
        writer.skip(to: batch.firstSequence + Int64(index), .retention)
      }
      writer.endBatch()
    }
    for gap in missing { writer.skip(to: gap.range.upperBound, gap.reason) }
    let gone = Int64(info.count - writer.count)
    if table.isReserve { book.reserved -= gone } else if info.number >= firstServed { book.removed += gone }
    if table.isReserve || info.number >= firstServed { book.retention += gone }
    var bytes = [UInt8](repeating: 0, count: Limits.blockBytes)
    _ = bytes.withUnsafeMutableBytes { writer.write(as: info, into: $0) }
    return bytes
  }
}
