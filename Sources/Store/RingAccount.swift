// What alarm.db remembers of telemetry.db, for the case that it is lost or damaged: what had gone by then and why, and
// up to where. So what a sick disk takes is told from what had made room. On the store thread.
//
// Invariant: what is lost with a ring is counted as damaged, and only that: sequences that were given out = stored +
// gone, reason by reason.

import StreamCore

struct RingAccount: Equatable {
  /// The last sequence in front of what was served.
  var border: Int64 = 0
  var losses = StoreLosses()
  /// Samples that were in the reserve.
  var reserved: Int64 = 0
  var front = DamagedRanges()

  private static let names = [
    "gone:border", "gone:reserved", "gone:evicted", "gone:thinned", "gone:overflow", "gone:unsaved", "gone:damaged",
    "gone:retention",
  ]

  private var values: [Int64] {
    [
      border, reserved, losses.evicted, losses.thinned, losses.overflow, losses.unsaved, losses.damaged,
      losses.retention,
    ]
  }

  /// What went for reasons of its own.
  var gone: Int64 { losses.evicted + losses.thinned + losses.overflow + losses.unsaved + losses.retention }

  /// Nil: the ring has nothing, and what is remembered of the one before stays.
  init?(of ring: TelemetryRing) throws(StoreFailure) {
    guard let oldest = try ring.oldest() else { return nil }
    border = oldest.from - 1
    losses = try ring.account()
    reserved = ring.losses.reserved
    front = ring.losses.front
  }

  /// Nil: it was never written.
  init?(in log: AlarmLog) throws(StoreFailure) {
    var found: [Int64] = []
    for name in Self.names {
      guard let value = try log.number(name) else { return nil }
      found.append(min(max(0, value), Int64.max / 16))
    }
    (border, reserved, losses.evicted, losses.thinned) = (found[0], found[1], found[2], found[3])
    (losses.overflow, losses.unsaved, losses.damaged, losses.retention) = (found[4], found[5], found[6], found[7])
    front = try DamagedRanges(log.connection)
  }

  /// In the caller's transaction.
  func keep(in log: AlarmLog) throws(StoreFailure) {
    for (name, value) in zip(Self.names, values) { try log.set(name, value) }
    try front.keep(in: log.connection)
  }
}

extension TelemetryRing {
  /// What went and why, with what the ring wrote over by itself.
  func account() throws(StoreFailure) -> StoreLosses {
    var account = StoreLosses(losses)
    if let served = try oldestOfRing() { account.evicted += max(0, served.ordinal - losses.passed) }
    return account
  }

  /// The ring that had the sequences up to `known` is lost with all of its blocks.
  func begin(behind known: Int64, _ before: RingAccount?) {
    guard newest == nil, known > 0 else { return }
    losses = LossBook(before?.losses ?? StoreLosses())
    losses.damaged = max(losses.damaged, known - (before?.gone ?? 0))
    losses.front = before?.front ?? DamagedRanges()
    losses.front.add(min(before?.border ?? 0, known) + 1, known)
  }

  /// Sequences that were given out and are in no block.
  func count(vanished: Int64, _ reason: GapReason) {
    if reason == .overflow { losses.unsaved += vanished } else { losses.damaged += vanished }
  }

  /// Counts what can't be read in front of the oldest block that can, if nobody has yet. Of the sequences up to
  /// `border` it is known why they went. Goes along with the next commit.
  func findDamage(above border: Int64) throws(StoreFailure) {
    if let reserve, let newest = reserve.newest, let numbers = reserve.numbers, let first = try reserve.oldest(),
      first.number > numbers.lowerBound
    {
      let there = newest.ordinal + Int64(newest.count) - first.ordinal
      losses.passReserveDamage(max(0, losses.reserved + losses.damagedInReserve - there))
      losses.front.add(max(border, losses.front.last) + 1, first.from - 1)
    }
    guard let lowest = numbers?.lowerBound, let first = try oldestOfRing(), first.number > lowest else { return }
    let from = max(border, settledLast, losses.front.last) + 1
    guard from < first.from else { return }
    losses.passDamage(max(0, min(first.from - from, first.ordinal - losses.passed)))
    losses.front.add(from, first.from - 1)
  }

  /// A block of the ring is about to go, and with it what can't be read behind it.
  func depart(_ info: BlockInfo, _ book: inout LossBook) throws(StoreFailure) {
    book.removed -= info.removed
    book.removedBefore += info.removed
    if let loss = info.loss, loss.reason == .damaged { book.front.add(info.from, info.firstSequence - 1) }
    guard let hole = try ring.hole(behind: info) else { return }
    book.passDamage(hole.samples)
    book.front.add(info.last + 1, hole.next.from - 1)
  }

  /// A block of the reserve goes, its samples evicted.
  func departReserve(_ info: BlockInfo, _ book: inout LossBook) throws(StoreFailure) {
    book.evicted += Int64(info.count)
    book.reserved -= Int64(info.count)
    guard let reserve else { return }
    let missing = try reserve.block(info.number, &reader)?.missing ?? []
    for gap in missing where gap.reason == .damaged { book.front.add(gap.range.lowerBound, gap.range.upperBound) }
    guard let hole = try reserve.hole(behind: info) else { return }
    book.passReserveDamage(hole.samples)
    book.front.add(info.last + 1, hole.next.from - 1)
  }
}

extension BlockTable {
  /// The oldest that can be read.
  func oldest() throws(StoreFailure) -> BlockInfo? {
    guard let numbers else { return nil }
    for number in numbers {
      if case .block(let info) = try info(number) { return info }
    }
    return nil
  }

  /// The next block that can be read, and the samples of those between; nil: there are none between.
  func hole(behind info: BlockInfo) throws(StoreFailure) -> (next: BlockInfo, samples: Int64)? {
    guard let newest else { return nil }
    var number = info.number + 1
    while number <= newest.number {
      if case .block(let next) = try self.info(number) {
        return number == info.number + 1 ? nil : (next, max(0, next.ordinal - info.end))
      }
      number += 1
    }
    return nil
  }
}

extension BlockInfo {
  /// The ordinal behind its last sample, whatever was taken out of it since; a reserve's blocks count what they hold.
  var end: Int64 { ordinal + (isReserve ? Int64(count) : span ?? Int64(count)) }
}
