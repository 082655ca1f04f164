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
    from set: String, into folder: borrowing StateFolder, mark: UInt32, configuration: StoreConfiguration
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
      mark: mark, notes: reserve.notes)
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

  /// Why the others went is not known any more: all of them count as evicted.
  private var notes: [(name: String, value: Int64)] {
    guard newest >= 0 else { return [] }
    let count = zip(numbers, places).reduce(Int64(0)) { $0 + ($1.0 >= 0 ? Int64($1.1.count) : 0) }
    return [("reserved", count), ("settled", count)]
  }

  private var range: ClosedRange<Int64> {
    let lowest = max(0, newest - Int64(numbers.count) + 1)
    let found = numbers.filter { $0 >= lowest }.min() ?? newest
    // A hole in front says that what was there is damaged, and not evicted.
    return (found > max(0, newest - slots + 1) ? found - 1 : found)...newest
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
