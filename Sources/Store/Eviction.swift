// Gives the oldest blocks of the ring to the reserve, a stride of them at a time, before anything writes over them:
// what is to be kept is written there, and what is not is counted. On the store thread.
//
//   stride of blocks -> fates (Thinning) -> blocks of the reserve: one commit -> served from there
//
// Invariants:
//  1. The reserve's blocks cover the lane's sequences without a hole, from its oldest to `settledLast`.
//  2. A stride is settled by one commit: a cut leaves all of it in the ring or all of it in the reserve.
//  3. Every sample of a stride is kept, or counted under one reason.

import StreamCore

/// What a stride must know to decide.
struct StrideRules {
  var rules: (UInt32) -> SeriesRules
  var offsetNs: (UInt32) -> Int64
  /// Samples above this have yet to be read by somebody.
  var heldByAll: Int64
  var isThinning: Bool
  var age: AgeRule?
  var seriesCount: Int
}

extension TelemetryRing {
  /// Block `number` can only be written when this has been false.
  func mustSettle(before number: Int64) -> Bool {
    guard reserve != nil, let newest else { return false }
    return number - slots >= firstServed && firstServed < newest.number
  }

  func settle(_ rules: StrideRules) throws(StoreFailure) {
    guard let reserve, let numbers, let newest, numbers.lowerBound < newest.number else { return }
    forgetUnpacked()
    let most = min(Int64(Limits.blocksPerStrideMax), max(1, slots / 8))
    var end = numbers.lowerBound - 1
    var samples = 0
    while end + 1 < newest.number, end - numbers.lowerBound + 1 < most {
      if case .block(let info) = try info(end + 1) {
        guard samples + info.count <= Limits.samplesPerStrideMax else { break }
        samples += info.count
      }
      end += 1
    }
    let stride = numbers.lowerBound...max(numbers.lowerBound, end)
    let thinning = try fates(of: stride, rules)
    var book = losses
    var writer = ReserveWriter(self, reserve, rules)
    try writer.begin(&book)
    if case .block(let first) = try info(numbers.lowerBound) {
      // What is missing between the reserve and the ring was damaged, or found no room when the file was laid out anew.
      writer.pass(to: first.from - 1, book.front, others: .evicted)
      let evicted = max(0, first.ordinal - book.passed)
      book.evicted += evicted
      book.settled += evicted
    }
    var place = 0
    var due = 0
    var ordinal = book.passed
    for number in stride {
      guard let block = try block(number) else { continue }
      writer.passDamage(to: block.info, ordinal, &book)
      ordinal = block.info.end
      if let loss = block.info.loss { writer.pass(to: block.info.firstSequence - 1, loss.reason) }
      writer.cover(block.info)
      for batch in block.batches {
        var sequence = batch.firstSequence
        for sample in batch.samples {
          defer { (place, sequence) = (place + 1, sequence + 1) }
          // What was taken out before was counted then.
          if sequence > writer.last + 1 { writer.pass(to: sequence - 1, .retention) }
          if rules.isExpired(sample, batch) {
            writer.miss(to: sequence, .retention, &book)
            continue
          }
          var kept = sample
          switch thinning.fates[place] {
          case .evicted: writer.miss(to: sequence, .evicted, &book)
          case .thinned: writer.miss(to: sequence, .thinned, &book)
          case .kept: try writer.put(kept, batch, isMerged: false, &book)
          case .merged:
            while due < thinning.merged.count, thinning.merged[due].place < place { due += 1 }
            (kept.raw, kept.quality) = (thinning.merged[due].raw, thinning.merged[due].quality)
            try writer.put(kept, batch, isMerged: true, &book)
          }
        }
        writer.endBatch()
      }
      if block.info.last > writer.last { writer.pass(to: block.info.last, .retention) }
      book.settled += block.info.span ?? Int64(block.info.count)
      book.removed -= block.info.removed
    }
    // What can't be read up to the next good block is gone with the stride.
    if let next = try firstGood(behind: stride.upperBound) { writer.passDamage(to: next, ordinal, &book) }
    try commit(&writer, &book)
    losses = book
    losses.kept()
    firstServed = stride.upperBound + 1
  }

  private func fates(of stride: ClosedRange<Int64>, _ rules: StrideRules) throws(StoreFailure) -> Thinning {
    var thinning = Thinning(seriesCount: rules.seriesCount)
    var last: SeriesRules?
    for number in stride {
      guard let block = try block(number) else { continue }
      let known = rules.rules(block.info.catalogueVersion)
      // A series' number means something else under another catalogue.
      if let last, last.version != known.version { thinning.end(last) }
      last = known
      let offsetNs = rules.offsetNs(block.info.epoch)
      for batch in block.batches {
        for (index, sample) in batch.samples.enumerated() {
          if rules.isExpired(sample, batch) { thinning.pass() } else {
            let isWanted = rules.isThinning && batch.firstSequence + Int64(index) > rules.heldByAll
            thinning.take(sample, known[sample.series], isWanted: isWanted, offsetNs: offsetNs)
          }
        }
      }
    }
    if let last { thinning.end(last) }
    return thinning
  }

  private func firstGood(behind number: Int64) throws(StoreFailure) -> BlockInfo? {
    guard let newest, number < newest.number else { return nil }
    for next in (number + 1)...newest.number {
      if case .block(let info) = try info(next) { return info }
    }
    return newest
  }

  private func commit(_ writer: inout ReserveWriter, _ book: inout LossBook) throws(StoreFailure) {
    guard let reserve else { return }
    writer.close()
    for number in writer.numbers(above: reserve.newest?.number) {
      // What it writes over is older than anything else that is kept, and may be of this very stride.
      let oldest = number - reserve.slots
      if let own = writer.count(oldest) {
        book.evicted += own
        book.reserved -= own
      } else if oldest >= reserve.origin, case .block(let info) = try reserve.info(oldest) {
        try departReserve(info, &book)
      }
    }
    try connection.transaction { () throws(StoreFailure) in
      for block in writer.blocks {
        let outcome = block.withUnsafeBytes { bytes -> Result<Void, StoreFailure> in
          do throws(StoreFailure) { return .success(try reserve.write(bytes)) } catch { return .failure(error) }
        }
        try outcome.get()
      }
      try book.keep(in: connection)
    }
    if let last = writer.newest { reserve.wrote(last) }
  }
}

extension StrideRules {
  func isExpired(_ sample: Sample, _ batch: StoredBatch) -> Bool {
    guard let age, rules(batch.catalogueVersion).isPersonal(sample.series) else { return false }
    return age.isExpired(sample.at, epoch: batch.epoch)
  }
}

/// Fills the reserve's blocks, the newest of them first.
struct ReserveWriter {
  private let ring: TelemetryRing
  private let reserve: BlockTable
  private let writer: SparseBlockWriter
  private let rules: StrideRules
  private var place = BlockInfo()
  /// Finished blocks, in order.
  private(set) var blocks: [[UInt8]] = []
  private(set) var newest: BlockInfo?

  init(_ ring: TelemetryRing, _ reserve: BlockTable, _ rules: StrideRules) {
    self.rules = rules
    self.ring = ring
    self.reserve = reserve
    writer = SparseBlockWriter(seriesCount: 0)
    place.number = reserve.origin
    place.isReserve = true
    place.mark = reserve.mark
  }

  var last: Int64 { writer.last }

  /// Goes on in the newest block.
  mutating func begin(_ book: inout LossBook) throws(StoreFailure) {
    guard let newest = reserve.newest else {
      writer.begin(at: 1)
      // What went before there was a reserve, or with a ring that is in quarantine.
      guard let first = try ring.oldestOfRing() else { return }
      let isKnown = first.number > 0 || !book.front.all.isEmpty
      pass(to: first.from - 1, book.front, others: isKnown ? .evicted : .damaged)
      return
    }
    place.number = newest.number
    place.ordinal = newest.ordinal
    (place.epoch, place.catalogueVersion) = (newest.epoch, newest.catalogueVersion)
    guard let block = try reserve.block(newest.number, &ring.reader) else {
      place.number += 1
      return writer.begin(at: newest.last + 1)
    }
    writer.begin(at: newest.firstSequence)
    writer.cover(newest)
    book.reserved -= Int64(newest.count)
    var missing = block.missing[...]
    for batch in block.batches {
      while let gap = missing.first, gap.range.upperBound < batch.firstSequence {
        writer.skip(to: gap.range.upperBound, gap.reason)
        missing = missing.dropFirst()
      }
      for sample in batch.samples { try put(sample, batch, isMerged: batch.windows > 1, &book) }
      writer.endBatch()
    }
    for gap in missing { writer.skip(to: gap.range.upperBound, gap.reason) }
  }

  /// Missing, and counted already.
  mutating func pass(to sequence: Int64, _ reason: GapReason) { writer.skip(to: sequence, reason) }

  mutating func pass(to sequence: Int64, _ front: DamagedRanges, others: GapReason) {
    guard sequence > writer.last else { return }
    for piece in front.pieces(writer.last + 1, sequence, others: others) { pass(to: piece.to, piece.reason) }
  }

  /// What can't be read in front of a block, behind `ordinal`.
  mutating func passDamage(to info: BlockInfo, _ ordinal: Int64, _ book: inout LossBook) {
    guard info.from - 1 > writer.last else { return }
    book.passDamage(max(0, min(info.ordinal - ordinal, info.from - 1 - writer.last)))
    writer.skip(to: info.from - 1, .damaged)
  }

  /// Missing from now on.
  mutating func miss(to sequence: Int64, _ reason: GapReason, _ book: inout LossBook) {
    guard sequence > writer.last else { return }
    book.count(sequence - writer.last, reason)
    writer.skip(to: sequence, reason)
  }

  mutating func cover(_ info: BlockInfo) {
    if writer.count == 0 { (place.epoch, place.catalogueVersion) = (info.epoch, info.catalogueVersion) }
    writer.cover(info)
  }

  mutating func endBatch() { writer.endBatch() }

  mutating func put(
    _ sample: Sample, _ batch: StoredBatch, isMerged: Bool, _ book: inout LossBook
  ) throws(StoreFailure) {
    let isOther = batch.epoch != place.epoch || batch.catalogueVersion != place.catalogueVersion
    if isOther, writer.count > 0 { close() }
    (place.epoch, place.catalogueVersion) = (batch.epoch, batch.catalogueVersion)
    var batch = batch
    batch.windows = isMerged ? Limits.windowsMerged : 1
    let source = rules.rules(batch.catalogueVersion)[sample.series].source
    if !writer.append(sample, of: batch, source: source) {
      close()
      _ = writer.append(sample, of: batch, source: source)
    }
    book.reserved += 1
  }

  /// Ends the block; the next one goes on behind it.
  mutating func close() {
    guard !writer.isEmpty else { return }
    var block = [UInt8](repeating: 0, count: Limits.blockBytes)
    let place = self.place
    let info = block.withUnsafeMutableBytes { writer.write(as: place, into: $0) }
    blocks.append(block)
    newest = info
    self.place.number += 1
    self.place.ordinal += Int64(info.count)
    writer.begin(at: info.last + 1)
  }

  /// Samples of a finished block; nil: it is none of these.
  func count(_ number: Int64) -> Int64? {
    guard let newest, number <= newest.number, number > newest.number - Int64(blocks.count) else { return nil }
    let block = blocks[Int(number - newest.number) + blocks.count - 1]
    return block.withUnsafeBytes { Int64($0.number(UInt16.self, at: BlockLayout.count)) }
  }

  /// Of the finished blocks, those that are new.
  func numbers(above known: Int64?) -> [Int64] {
    guard let newest, !blocks.isEmpty else { return [] }
    return (newest.number - Int64(blocks.count) + 1...newest.number).filter { $0 > known ?? -1 }
  }
}
