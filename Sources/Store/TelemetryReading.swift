// Reads the ring from a sequence on: batches, and gaps for everything that will never come.
//
// Invariant: batches and gaps of an answer cover `after + 1 ... next` without a hole and without an overlap.

import StreamCore

struct TelemetryAnswer {
  var gaps: [Gap] = []
  var batches: [StoredBatch] = []
  var next: Int64
  var records = 0
  var endsWhole = false
}

extension TelemetryRing {
  /// `after` is at most the newest sequence. `isExpired`: not served any more.
  func read(
    after: Int64, recordsMax: Int, wholeBlocks: Bool = false, place: inout ReadingPlace?,
    isExpired: ((Sample, StoredBatch) -> Bool)? = nil
  ) throws(StoreFailure) -> TelemetryAnswer {
    var reading = TelemetryReading(
      after: after, recordsMax: recordsMax, wholeBlocks: wholeBlocks, isExpired: isExpired)
    guard let newest, after < newest.last else { return reading.answer }
    var looks = 0
    if let reserve, let stored = reserve.numbers, after < settledLast {
      try read(reserve, stored, &reading, &looks, &place)
      if reading.answer.next < settledLast || reading.isFull { return reading.answer }
    }
    guard let numbers else { return reading.answer }
    try read(ring, numbers, &reading, &looks, &place)
    return reading.answer
  }

  private func read(
    _ table: BlockTable, _ numbers: ClosedRange<Int64>, _ reading: inout TelemetryReading, _ looks: inout Int,
    _ place: inout ReadingPlace?
  ) throws(StoreFailure) {
    guard let newest = table.newest else { return }
    let sequence = reading.answer.next + 1
    var number: Int64
    if let place, place.sequence == sequence, place.isReserve == table.isReserve, numbers.contains(place.block) {
      number = place.block
    } else {
      number = try table.first(from: sequence, in: numbers)
    }
    let isWhole = reserve?.doubtful ?? 0 == 0
    // In front of all that this table has: written over, if nothing else is known.
    var isFront = number == numbers.lowerBound
    let others: GapReason = isWhole && (number > 0 || !losses.front.all.isEmpty) ? .evicted : .damaged
    while number <= numbers.upperBound, !reading.isFull, looks < Limits.blocksPerReadMax {
      if let block = try block(number, of: table) {
        looks += 1
        if isFront { reading.takeFront(before: block.info, losses.front, others) }
        isFront = false
        reading.take(block)
        if reading.answer.next < block.info.last { break }
      } else {
        // Runs of damage end at the next good block, or here; they are not counted, so that reading gets past them.
        reading.damageSeen = true
      }
      number += 1
    }
    if number > numbers.upperBound { reading.takeRest(to: newest) }
    place = ReadingPlace(
      sequence: reading.answer.next + 1, block: min(number, numbers.upperBound), isReserve: table.isReserve)
  }
}

/// The pure part: puts blocks and what is missing between them together.
private struct TelemetryReading {
  var answer: TelemetryAnswer
  var damageSeen = false
  private let recordsMax: Int
  private let wholeBlocks: Bool
  private let isExpired: ((Sample, StoredBatch) -> Bool)?
  private var before: BlockInfo?

  init(after: Int64, recordsMax: Int, wholeBlocks: Bool, isExpired: ((Sample, StoredBatch) -> Bool)?) {
    answer = TelemetryAnswer(next: after)
    self.recordsMax = recordsMax
    self.wholeBlocks = wholeBlocks
    self.isExpired = isExpired
  }

  var isFull: Bool { answer.records >= recordsMax || hasManyGaps }
  private var hasManyGaps: Bool { answer.gaps.count >= Limits.gapsPerReadMax }
  /// No more of a block that has been begun.
  private var isDone: Bool { wholeBlocks ? hasManyGaps : isFull }

  private mutating func addGap(to: Int64, epoch: UInt32, start: Instant?, end: Instant?, reason: GapReason) {
    answer.gaps.append(
      Gap(from: answer.next + 1, to: to, epoch: epoch, start: start, end: end, reason: reason))
    answer.next = to
    answer.records += 1
  }

  /// What is missing in front of the first block that can be read, piece by piece.
  mutating func takeFront(before info: BlockInfo, _ front: DamagedRanges, _ others: GapReason) {
    guard answer.next + 1 < info.from else { return }
    let others = damageSeen && !front.contains(info.from - 1) ? .damaged : others
    for piece in front.pieces(answer.next + 1, info.from - 1, others: others) {
      addGap(
        to: piece.to, epoch: info.epoch, start: nil, end: piece.to == info.from - 1 ? info.earliest : nil,
        reason: piece.reason)
    }
  }

  mutating func take(_ block: StoredBlock) {
    let info = block.info
    if answer.next + 1 < info.from {
      let start = before?.epoch == info.epoch ? before?.latest : nil
      addGap(to: info.from - 1, epoch: info.epoch, start: start, end: info.earliest, reason: .damaged)
    }
    damageSeen = false
    before = info
    if let loss = info.loss, answer.next + 1 < info.firstSequence {
      addGap(
        to: info.firstSequence - 1, epoch: info.epoch, start: Instant(milliseconds: loss.fromMs),
        end: Instant(milliseconds: loss.toMs), reason: loss.reason)
    }
    var gaps = block.missing[...]
    for batch in block.batches {
      while let gap = gaps.first, gap.range.upperBound < batch.firstSequence {
        guard takeGap(gap, of: info) else { return }
        gaps = gaps.dropFirst()
      }
      if isDone { return }
      takeServed(batch)
      if answer.next < batch.firstSequence + Int64(batch.samples.count) - 1 { return }
    }
    for gap in gaps { guard takeGap(gap, of: info) else { return } }
  }

  /// What was taken out of a block. False: there is no room for it.
  private mutating func takeGap(_ gap: (range: ClosedRange<Int64>, reason: GapReason), of info: BlockInfo) -> Bool {
    guard answer.next < gap.range.upperBound else { return true }
    if isDone { return false }
    addGap(to: gap.range.upperBound, epoch: info.epoch, start: info.earliest, end: info.latest, reason: gap.reason)
    return true
  }

  /// Without what is too old to be served.
  private mutating func takeServed(_ batch: StoredBatch) {
    guard let isExpired, batch.samples.contains(where: { isExpired($0, batch) }) else { return take(batch) }
    var start = 0
    while start < batch.samples.count, !isDone {
      let isGone = isExpired(batch.samples[start], batch)
      var end = start + 1
      while end < batch.samples.count, isExpired(batch.samples[end], batch) == isGone { end += 1 }
      let first = batch.firstSequence + Int64(start)
      let last = batch.firstSequence + Int64(end) - 1
      if isGone, answer.next < last {
        addGap(
          to: last, epoch: batch.epoch, start: batch.samples[start].at, end: batch.samples[end - 1].at,
          reason: .retention)
      } else if !isGone {
        var part = batch
        part.firstSequence = first
        part.samples = Array(batch.samples[start..<end])
        take(part)
      }
      start = end
    }
  }

  private mutating func take(_ batch: StoredBatch) {
    let skipped = Int(max(0, answer.next + 1 - batch.firstSequence))
    let room = wholeBlocks ? Int.max : max(0, recordsMax - answer.records)
    let taken = min(batch.samples.count - skipped, room)
    guard taken > 0 else { return }
    if taken == batch.samples.count {
      answer.batches.append(batch)
    } else {
      var part = batch
      part.firstSequence += Int64(skipped)
      part.samples = Array(batch.samples[skipped..<(skipped + taken)])
      answer.batches.append(part)
    }
    answer.endsWhole = skipped + taken == batch.samples.count
    answer.next += Int64(taken)
    answer.records += taken
  }

  /// Damaged blocks up to the newest: there is no good one behind them to say where they end.
  mutating func takeRest(to newest: BlockInfo) {
    guard damageSeen, answer.next < newest.last else { return }
    addGap(
      to: newest.last, epoch: newest.epoch, start: before?.epoch == newest.epoch ? before?.latest : nil,
      end: newest.latest, reason: .damaged)
  }
}
