// Takes the good blocks out of a damaged telemetry.db. SQLite is not asked: each block fills one page, and says by
// magic, checksum and mark that it is one, and one of this ring. So any page that is whole comes back, whatever
// became of the tree around it.
//
//   pages of the file and of its WAL  ->  where each of the newest numbers stands  ->  a new ring, in order
//
// Invariants:
//  1. What is taken is bit for bit what was committed; of one number there is one block.
//  2. The quarantined file is only read.
//  3. It ends within `Limits.salvageNs`; what it did not come to is a gap.
//  4. What is missing is counted as damaged if there is a hole, and for the reasons that alarm.db remembers if there is
//     none; either way all that was given out is stored or counted.

import CLinux
import Glibc
import StreamCore

struct RingSalvage {
  private let mark: UInt32
  private let slots: Int64
  private let isReserve: Bool
  /// Where block n stands, at n mod count: the newest of those that share a place.
  private var numbers: [Int64]
  private var places: [Place]
  private var newest: Int64 = -1

  private struct Place {
    var offset: Int64 = 0
    /// The newest block is written again while it fills: the log has it several times.
    var epoch: UInt32 = 0
    var last: Int64 = 0
    var removed: Int64 = 0
    var count: UInt16 = 0
    var isInLog = false

    /// Blocks grow, and later what is too old is taken out of them.
    func isOlder(than info: BlockInfo) -> Bool { (epoch, last, removed) <= (info.epoch, info.last, info.removed) }
  }

  private init(mark: UInt32, slots: Int64, isReserve: Bool) {
    self.mark = mark
    self.slots = slots
    self.isReserve = isReserve
    let count = Int(min(slots, Int64(Limits.salvageBlocksMax)))
    numbers = [Int64](repeating: -1, count: count)
    places = [Place](repeating: Place(), count: count)
  }

  /// A ring in `folder` from what is good in `set`. Without a good block, or without room for them, there is none
  /// afterwards.
  static func restore(
    from set: String, into folder: borrowing StateFolder, mark: UInt32, configuration: StoreConfiguration,
    account: RingAccount?
  ) throws(StoreFailure) {
    let layout = RingLayout(configuration)
    let path = set + "/" + StateFolder.telemetry
    var ring = RingSalvage(mark: mark, slots: layout.slots, isReserve: false)
    var reserve = RingSalvage(mark: mark, slots: max(1, layout.reserveSlots), isReserve: true)
    let deadline = kerb_monotonic_ns() + Limits.salvageNs
    guard let pages = PageScan(path) else { return }
    pages.forEach(until: deadline) { page, isInLog, offset in
      ring.look(page, isInLog, offset)
      if layout.reserveSlots > 0 { reserve.look(page, isInLog, offset) }
    }
    guard ring.newest >= 0 else { return }
    RingDraft.discard(folder)
    let draft = RingDraft(
      path: RingDraft.path(in: folder), vfs: configuration.vfs, layout: layout, bytes: configuration.telemetryBytes,
      mark: mark, notes: book(ring, reserve, pages, account, layout).notes)
    func source(_ salvage: RingSalvage) -> RingDraft.Source {
      guard salvage.newest >= 0 else { return .nothing }
      return RingDraft.Source(numbers: salvage.range) { (number) throws(StoreFailure) in
        guard kerb_monotonic_ns() < deadline + Limits.salvageNs else { return nil }
        return salvage.block(number, in: pages)
      }
    }
    do throws(StoreFailure) {
      try draft.write(ring: source(ring), reserve: source(reserve))
    } catch {
      RingDraft.discard(folder)
      // Service goes before the past.
      guard error.isFull else { throw error }
      return
    }
    try RingDraft.conclude(folder)
  }

  private mutating func look(_ page: UnsafeRawBufferPointer, _ isInLog: Bool, _ offset: Int64) {
    guard let at = Self.offset(of: page) else { return }
    let block = UnsafeRawBufferPointer(rebasing: page[at..<(at + Limits.blockBytes)])
    guard let info = try? BlockInfo(of: block), info.mark == mark, info.isReserve == isReserve else { return }
    let index = Int(info.number % Int64(numbers.count))
    let known = places[index]
    guard info.number > numbers[index] || (info.number == numbers[index] && known.isOlder(than: info)) else { return }
    numbers[index] = info.number
    places[index] = Place(
      offset: offset + Int64(at), epoch: info.epoch, last: info.last, removed: info.removed,
      count: UInt16(info.count), isInLog: isInLog)
    newest = max(newest, info.number)
  }

  /// A block stands at the end of its cell, and the cell somewhere in what the page's headers leave.
  private static func offset(of page: UnsafeRawBufferPointer) -> Int? {
    for at in 0...(Limits.pageBytes - Limits.blockBytes)
    where page.number(UInt32.self, at: at) == BlockLayout.magic {
      return at
    }
    return nil
  }

  /// From the oldest that was found; what was in front of it the book says.
  private var range: ClosedRange<Int64> {
    let lowest = max(0, newest - Int64(numbers.count) + 1)
    return (numbers.filter { $0 >= lowest }.min() ?? newest)...newest
  }

  private func block(_ number: Int64, in pages: PageScan) -> [UInt8]? {
    let index = Int(number % Int64(numbers.count))
    guard numbers[index] == number else { return nil }
    let bytes = pages.bytes(Limits.blockBytes, at: places[index].offset, isInLog: places[index].isInLog)
    let isGood = bytes?.withUnsafeBytes { block in
      (try? BlockInfo(of: block)).map { $0.number == number && $0.mark == mark } ?? false
    }
    return isGood == true ? bytes : nil
  }
}

// MARK: The account

extension RingSalvage {
  /// What there is of the blocks that end above a sequence.
  private struct Survey {
    var first: BlockInfo?
    var last: BlockInfo?
    var samples: Int64 = 0
    /// Of those that can be read: taken out by retention.
    var removed: Int64 = 0
    /// Samples in those between that can't be read.
    var holes: Int64 = 0
  }

  private func survey(above sequence: Int64, _ pages: PageScan) -> Survey {
    var survey = Survey()
    guard newest >= 0 else { return survey }
    for number in range {
      let info = block(number, in: pages).flatMap { bytes in bytes.withUnsafeBytes { try? BlockInfo(of: $0) } }
      guard let info, info.last > sequence else { continue }
      if let last = survey.last { survey.holes += max(0, info.ordinal - last.end) }
      survey.first = survey.first ?? info
      survey.last = info
      survey.samples += Int64(info.count)
      survey.removed += isReserve ? 0 : info.removed
    }
    return survey
  }

  /// The lowest number that could be there.
  private var lowest: Int64 { max(0, newest - slots + 1) }

  /// What the new file begins with. `account`: of the old one; nil: nobody knows.
  private static func book(
    _ ring: RingSalvage, _ reserve: RingSalvage, _ pages: PageScan, _ account: RingAccount?, _ layout: RingLayout
  ) -> LossBook {
    let kept = reserve.survey(above: 0, pages)
    let settledLast = kept.last?.last ?? 0
    let served = ring.survey(above: settledLast, pages)
    var book = LossBook(account?.losses ?? StoreLosses())
    book.front = account?.front ?? DamagedRanges()
    book.reserved = kept.samples
    book.damagedInReserve = kept.holes
    guard let first = served.first, let last = served.last else { return book }
    book.settled = first.ordinal
    book.removed = served.removed
    book.damagedInRing = served.holes
    var isWhole = kept.holes + served.holes == 0
    let border = account?.border ?? 0
    if let oldest = kept.first, oldest.number > reserve.lowest {
      isWhole = false
      book.front.add(border + 1, oldest.from - 1)
    }
    let wasReserve = settledLast > 0 || (layout.reserveSlots > 0 && account?.reserved ?? 0 > 0)
    if wasReserve ? first.from > settledLast + 1 : first.number > ring.lowest {
      isWhole = false
      book.front.add(max(border, settledLast) + 1, first.from - 1)
    }
    // All sequences are stored or gone; what is not accounted for went with the damage, or, without any, after the
    // account was written.
    let stored = last.end - first.ordinal - served.removed - served.holes + kept.samples
    let rest = last.last - stored - (account?.gone ?? 0) - book.damaged
    if let account, !isWhole, rest > 0 {
      book.damaged = account.losses.damaged + rest
    } else if account != nil {
      book.evicted = max(0, book.evicted + rest)
    } else {
      book.damaged = min(max(0, rest), kept.holes + served.holes)
      book.evicted = max(0, rest - book.damaged)
    }
    return book
  }
}
