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
  /// Where block n stands, at n mod count: the newest of those that share a place.
  private var numbers: [Int64]
  private var places: [Place]
  private var newest: Int64 = -1

  private struct Place {
    var offset: Int64 = 0
    /// The newest block is written again while it fills: the log has it several times.
    var epoch: UInt32 = 0
    var count: UInt16 = 0
    var isInLog = false
  }

  private init(mark: UInt32, slots: Int64) {
    self.mark = mark
    self.slots = slots
    let count = Int(min(slots, Int64(Limits.salvageBlocksMax)))
    numbers = [Int64](repeating: -1, count: count)
    places = [Place](repeating: Place(), count: count)
  }

  /// A ring in `folder` from what is good in `set`. Without a good block, or without room for them, there is none
  /// afterwards.
  static func restore(
    from set: String, into folder: borrowing StateFolder, mark: UInt32, configuration: StoreConfiguration
  ) throws(StoreFailure) {
    let slots = TelemetryRing.slots(bytes: configuration.telemetryBytes)
    let path = set + "/" + StateFolder.telemetry
    var salvage = RingSalvage(mark: mark, slots: slots)
    let deadline = kerb_monotonic_ns() + Limits.salvageNs
    guard let pages = PageScan(path), salvage.find(in: pages, until: deadline) else { return }
    RingDraft.discard(folder)
    let draft = RingDraft(
      path: RingDraft.path(in: folder), vfs: configuration.vfs, slots: slots, bytes: configuration.telemetryBytes,
      mark: mark)
    do throws(StoreFailure) {
      try draft.write(salvage.range) { (number) throws(StoreFailure) in
        guard kerb_monotonic_ns() < deadline + Limits.salvageNs else { return nil }
        return salvage.block(number, in: pages)
      }
    } catch {
      RingDraft.discard(folder)
      // Service goes before the past.
      guard error.isFull else { throw error }
      return
    }
    try RingDraft.conclude(folder)
  }

  private mutating func find(in pages: borrowing PageScan, until deadline: Int64) -> Bool {
    pages.forEach(until: deadline) { page, isInLog, offset in
      guard let at = Self.offset(of: page) else { return }
      let block = UnsafeRawBufferPointer(rebasing: page[at..<(at + Limits.blockBytes)])
      guard let info = try? BlockInfo(of: block), info.mark == mark else { return }
      let index = Int(info.number % Int64(numbers.count))
      let known = places[index]
      guard info.number > numbers[index]
        || (info.number == numbers[index] && (info.epoch, info.count) >= (known.epoch, Int(known.count)))
      else { return }
      numbers[index] = info.number
      places[index] = Place(
        offset: offset + Int64(at), epoch: info.epoch, count: UInt16(info.count), isInLog: isInLog)
      newest = max(newest, info.number)
    }
    return newest >= 0
  }

  /// A block stands at the end of its cell, and the cell somewhere in what the page's headers leave.
  private static func offset(of page: UnsafeRawBufferPointer) -> Int? {
    for at in 0...(Limits.pageBytes - Limits.blockBytes)
    where page.number(UInt32.self, at: at) == BlockLayout.magic {
      return at
    }
    return nil
  }

  private var range: ClosedRange<Int64> {
    let lowest = max(0, newest - Int64(numbers.count) + 1)
    let found = numbers.filter { $0 >= lowest }.min() ?? newest
    // A hole in front says that what was there is damaged, and not evicted.
    return (found > max(0, newest - slots + 1) ? found - 1 : found)...newest
  }

  private func block(_ number: Int64, in pages: borrowing PageScan) -> [UInt8]? {
    let index = Int(number % Int64(numbers.count))
    guard numbers[index] == number else { return nil }
    let bytes = pages.bytes(Limits.blockBytes, at: places[index].offset, isInLog: places[index].isInLog)
    let isGood = bytes?.withUnsafeBytes { block in
      (try? BlockInfo(of: block)).map { $0.number == number && $0.mark == mark } ?? false
    }
    return isGood == true ? bytes : nil
  }
}
