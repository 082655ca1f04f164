// One table of slots in telemetry.db, a block in each, written in place: the ring, and the reserve behind it. On the
// store thread.
//
// Block number n stands in slot (n - origin) mod `slots`. Slots are made in ascending order (`filled` of them exist),
// by the first lap or by the preparation that runs ahead of it; none is ever deleted.
//
//      origin                       newest
//        |  …  | this lap … this lap | lap before … lap before |      once it has come round
//        | this lap … this lap | empty … empty | not yet made  |      before
//
// Invariants:
//  1. The newest block may be written again while it fills; any other is written over by the block `slots` numbers
//     later, or by itself with less in it.
//  2. `newest` is durable: it moves after the commit.
//  3. What is read is a whole block with the right checksum, mark and number, or it is damage.

import CSQLite
import StreamCore

final class BlockTable {
  private let writing: Statement
  private let reading: Statement
  private let filling: Statement
  let slots: Int64
  let origin: Int64
  let mark: UInt32
  let isReserve: Bool
  private(set) var newest: BlockInfo?
  /// Slots behind the newest block that may have held newer ones, at opening.
  private(set) var doubtful: Int64 = 0
  private(set) var filled: Int64

  init(
    _ name: String, on connection: borrowing Connection, slots: Int64, origin: Int64, mark: UInt32
  ) throws(StoreFailure) {
    self.slots = slots
    self.origin = origin
    self.mark = mark
    isReserve = name == Self.reserve
    writing = try Statement(
      "INSERT INTO \(name)(slot, block) VALUES (?, ?) ON CONFLICT(slot) DO UPDATE SET block = excluded.block",
      on: connection)
    reading = try Statement("SELECT block FROM \(name) WHERE slot = ?", on: connection)
    filling = try Statement("INSERT INTO \(name)(slot, block) VALUES (?, ?)", on: connection)
    filled = try connection.integer(of: "SELECT max(slot) + 1 FROM \(name)") ?? 0
    try findNewest()
  }

  static let ring = "ring"
  static let reserve = "reserve"

  private func findNewest() throws(StoreFailure) {
    let found = try RotatedSearch.newest(slots: slots) { (slot) throws(StoreFailure) in try look(slot) }
    doubtful = found.doubtful
    guard let index = found.number, case .block(let info) = try info(origin + index) else { return }
    newest = info
  }

  private func slot(of number: Int64) -> Int64 { (number - origin) % slots }

  /// The first lap is not over: slots can be added behind it.
  var hasNotComeRound: Bool { newest.map { $0.number - origin < slots } ?? true }
  var isFilled: Bool { filled >= slots }

  /// Numbers of the blocks that should be there.
  var numbers: ClosedRange<Int64>? {
    guard let newest else { return nil }
    return max(origin, newest.number - slots + 1)...newest.number
  }

  // MARK: Writing, in the caller's transaction

  func write(_ block: UnsafeRawBufferPointer) throws(StoreFailure) {
    writing.bind(1, slot(of: block.number(Int64.self, at: BlockLayout.number)))
    writing.bind(2, bytes: block)
    try writing.run()
  }

  /// Blocks up to this one are durable.
  func wrote(_ last: BlockInfo) {
    newest = last
    filled = max(filled, min(last.number - origin + 1, slots))
    doubtful = 0
  }

  /// The newest block was written again.
  func refresh() throws(StoreFailure) {
    if let newest, case .block(let info) = try info(newest.number) { self.newest = info }
  }

  /// Makes the next slots, empty. The answer: how many there are then, once they are durable.
  func prepare(_ count: Int) throws(StoreFailure) -> Int64 {
    let end = min(slots, filled + Int64(count))
    for slot in filled..<end {
      filling.bind(1, slot)
      filling.bind(2, zeros: Limits.blockBytes)
      try filling.run()
    }
    return end
  }

  func prepared(_ end: Int64) { filled = end }

  // MARK: Reading

  enum Look {
    case block(BlockInfo)
    case damaged(BlockDamage)
  }

  func withBlock<Answer>(
    _ number: Int64, _ body: (UnsafeRawBufferPointer) -> Answer
  ) throws(StoreFailure) -> Answer? {
    try withSlot(slot(of: number), body)
  }

  private func withSlot<Answer>(
    _ slot: Int64, _ body: (UnsafeRawBufferPointer) -> Answer
  ) throws(StoreFailure) -> Answer? {
    reading.bind(1, slot)
    do throws(StoreFailure) {
      return try reading.first { (row) throws(StoreFailure) in body(row.bytes(0)) }
    } catch {
      // One bad page of the tree takes its block with it, not the ring.
      if error.isCorrupt { return nil }
      throw error
    }
  }

  private func look(_ slot: Int64) throws(StoreFailure) -> SlotContent {
    guard slot < filled else { return .empty }
    let content = try withSlot(slot) { (bytes) -> SlotContent in
      do throws(BlockDamage) {
        let info = try BlockInfo(of: bytes)
        return isOurs(info) && info.number >= origin ? .number(info.number - origin) : .damaged
      } catch {
        return error == .empty ? .empty : .damaged
      }
    }
    return content ?? .damaged
  }

  func isOurs(_ info: BlockInfo) -> Bool { info.mark == mark && info.isReserve == isReserve }

  /// The header of block `number`.
  func info(_ number: Int64) throws(StoreFailure) -> Look {
    let found = try withBlock(number) { (bytes) -> Look in
      do throws(BlockDamage) {
        let info = try BlockInfo(of: bytes)
        return info.number == number && isOurs(info) ? .block(info) : .damaged(.contents)
      } catch {
        return .damaged(error)
      }
    }
    return found ?? .damaged(.empty)
  }

  /// Block `number`, decoded, a batch for each commit that filled it; nil if it is damaged.
  func block(_ number: Int64, _ reader: inout BlockReader) throws(StoreFailure) -> StoredBlock? {
    let found = try withBlock(number) { (bytes) -> StoredBlock? in
      guard let (info, batches) = try? reader.read(bytes), info.number == number, isOurs(info) else { return nil }
      return try? StoredBlock(bytes, info, batches)
    }
    return found ?? nil
  }

  /// The bytes of block `number`, right or wrong; nil where there are none to be had.
  func raw(_ number: Int64) throws(StoreFailure) -> [UInt8]? {
    try withBlock(number) { (bytes) -> [UInt8]? in
      bytes.count == Limits.blockBytes ? [UInt8](bytes) : nil
    } ?? nil
  }

  /// The first block of `numbers` that may hold `sequence`; damaged ones in front of it are not passed over.
  func first(from sequence: Int64, in numbers: ClosedRange<Int64>) throws(StoreFailure) -> Int64 {
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
