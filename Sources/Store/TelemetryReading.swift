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
  /// `after` is at most the newest sequence.
  func read(
    after: Int64, recordsMax: Int, wholeBlocks: Bool = false, place: inout ReadingPlace?
  ) throws(StoreFailure) -> TelemetryAnswer {
    var reading = TelemetryReading(after: after, recordsMax: recordsMax, wholeBlocks: wholeBlocks)
    guard let numbers, let newest, after < newest.last else { return reading.answer }
    var number: Int64
    if let place, place.sequence == after + 1, numbers.contains(place.block) {
      number = place.block
    } else {
      number = try firstBlock(from: after + 1, in: numbers)
    }
    var looks = 0
    while number <= numbers.upperBound, !reading.isFull, looks < Limits.blocksPerReadMax {
      if let (info, batches) = try batches(number) {
        looks += 1
        let isFirst = number == numbers.lowerBound
        reading.take(info, batches, missing: isFirst && number > 0 ? .evicted : .damaged)
        if reading.answer.next < info.last { break }
      } else {
        // Runs of damage end at the next good block, or here; they are not counted, so that reading gets past them.
        reading.damageSeen = true
      }
      number += 1
    }
    if number > numbers.upperBound { reading.takeRest(to: newest) }
    place = ReadingPlace(sequence: reading.answer.next + 1, block: min(number, numbers.upperBound))
    return reading.answer
  }

  /// The first block that may hold `sequence`; damaged ones in front of it are not passed over.
  private func firstBlock(from sequence: Int64, in numbers: ClosedRange<Int64>) throws(StoreFailure) -> Int64 {
    var low = numbers.lowerBound
    var high = numbers.upperBound
    while low < high {
      let middle = low + (high - low) / 2
      var probe = middle
      var found: BlockInfo?
      while probe < high, found == nil {
        if case .block(let info) = try info(probe) { found = info } else { probe += 1 }
      }
      if let found, found.last < sequence { low = probe + 1 } else { high = middle }
    }
    return low
  }
}

/// The pure part: puts blocks and what is missing between them together.
private struct TelemetryReading {
  var answer: TelemetryAnswer
  var damageSeen = false
  private let recordsMax: Int
  private let wholeBlocks: Bool
  private var before: BlockInfo?

  init(after: Int64, recordsMax: Int, wholeBlocks: Bool) {
    answer = TelemetryAnswer(next: after)
    self.recordsMax = recordsMax
    self.wholeBlocks = wholeBlocks
  }

  var isFull: Bool { answer.records >= recordsMax }

  private mutating func addGap(to: Int64, epoch: UInt32, start: Instant?, end: Instant?, reason: GapReason) {
    answer.gaps.append(
      Gap(from: answer.next + 1, to: to, epoch: epoch, start: start, end: end, reason: reason))
    answer.next = to
    answer.records += 1
  }

  mutating func take(_ info: BlockInfo, _ batches: [StoredBatch], missing: GapReason) {
    if answer.next + 1 < info.from {
      let start = before?.epoch == info.epoch ? before?.latest : nil
      addGap(
        to: info.from - 1, epoch: info.epoch, start: start, end: info.earliest, reason: damageSeen ? .damaged : missing)
    }
    damageSeen = false
    before = info
    if let loss = info.loss, answer.next + 1 < info.firstSequence {
      addGap(
        to: info.firstSequence - 1, epoch: info.epoch, start: Instant(milliseconds: loss.fromMs),
        end: Instant(milliseconds: loss.toMs), reason: loss.reason)
    }
    for batch in batches { take(batch) }
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
