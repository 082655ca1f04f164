// Owns telemetry.db: a ring of slots of one page each, written in place. On the store thread.
//
// Block number n stands in slot (n - origin) mod `slots`. Slots are made in ascending order (`filled` of them exist),
// by the first lap or by the preparation that runs ahead of it; none is ever deleted.
//
//      origin                       newest
//        |  …  | this lap … this lap | lap before … lap before |      once it has come round
//        | this lap … this lap | empty … empty | not yet made  |      before
//
// Invariants:
//  1. The newest block may be written again while it fills, and then begins as it did; any other is written over
//     only by the block `slots` numbers later.
//  2. `newest` is durable: it moves after the commit.
//  3. What is read is a whole block with the right checksum, mark and number, or it is damage.

import CSQLite
import StreamCore

final class TelemetryRing {
  let connection: Connection
  private let writing: Statement
  private let reading: Statement
  private let filling: Statement
  private var reader: BlockReader
  let slots: Int64
  let origin: Int64
  let mark: UInt32
  private(set) var newest: BlockInfo?
  /// Slots behind the newest block that may have held newer ones, at opening.
  private(set) var doubtful: Int64 = 0
  private(set) var filled: Int64
  private var oldestKnown: BlockInfo?
  private var isHome = false
  /// The block that was unpacked last: whoever asks for little at a time asks for it again. Never the newest one, which
  /// still fills.
  private var unpacked: (info: BlockInfo, batches: [StoredBatch])?

  static func slots(bytes: Int) -> Int64 {
    // Less the schema, the meta table, and one page of the tree for 128 leaves (a full one holds 370, a split one
    // half).
    let pages = Int64(bytes / Limits.pageBytes)
    return pages - 6 - pages / 128
  }

  /// `bytes`: of a new file; a file that exists has its own number of slots. One that is read only is read as it is.
  init(
    path: String, vfs: String? = nil, bytes: Int, seriesCount: Int, interruption: Interruption? = nil,
    isReadOnly: Bool = false
  ) throws(StoreFailure) {
    let pagesMax = Int64(bytes / Limits.pageBytes)
    if isReadOnly {
      connection = try Connection.open(reading: path, vfs: vfs, cacheKiB: Limits.telemetryCacheKiB)
    } else {
      connection = try Connection.open(
        path: path, vfs: vfs, pagesMax: pagesMax, cacheKiB: Limits.telemetryCacheKiB)
    }
    try Schema.telemetry.apply(to: connection)
    if let interruption { try connection.quickCheck(interruption, budgetNs: Limits.quickCheckNs) }
    let wanted = Self.slots(bytes: bytes)
    if !isReadOnly, try connection.integer(of: "SELECT value FROM meta WHERE name = 'slots'") == nil {
      let fresh = UInt32.random(in: 1 ... .max)
      // One statement, so one transaction.
      try connection.execute("INSERT INTO meta VALUES ('slots', \(wanted)), ('mark', \(fresh)), ('origin', 0)")
    }
    guard let slots = try connection.integer(of: "SELECT value FROM meta WHERE name = 'slots'"),
      let mark = try connection.integer(of: "SELECT value FROM meta WHERE name = 'mark'"),
      let origin = try connection.integer(of: "SELECT value FROM meta WHERE name = 'origin'"), origin >= 0,
      slots > 0, slots <= Int64(Limits.telemetryBytesMax / Limits.pageBytes)
    else { throw .corrupt(code: SQLITE_CORRUPT) }
    self.slots = slots
    self.origin = origin
    self.mark = UInt32(truncatingIfNeeded: mark)
    // A ring made under a larger quota keeps its slots until it is laid out anew.
    try connection.execute("PRAGMA max_page_count = \(max(pagesMax, slots + 6 + slots / 120))")
    writing = try Statement(
      "INSERT INTO ring(slot, block) VALUES (?, ?) ON CONFLICT(slot) DO UPDATE SET block = excluded.block",
      on: connection)
    reading = try Statement("SELECT block FROM ring WHERE slot = ?", on: connection)
    filling = try Statement("INSERT INTO ring(slot, block) VALUES (?, ?)", on: connection)
    reader = BlockReader(seriesCount: seriesCount)
    filled = try connection.integer(of: "SELECT max(slot) + 1 FROM ring") ?? 0
    isHome = filled >= slots
    try findNewest()
  }

  private func findNewest() throws(StoreFailure) {
    let found = try RotatedSearch.newest(slots: slots) { (slot) throws(StoreFailure) in try look(slot) }
    doubtful = found.doubtful
    guard let index = found.number, case .block(let info) = try info(origin + index) else { return }
    newest = info
  }

  private func slot(of number: Int64) -> Int64 { (number - origin) % slots }

  // MARK: Another size

  /// The first lap is not over: slots can be added behind it.
  var hasNotComeRound: Bool { newest.map { $0.number - origin < slots } ?? true }

  func set(slots: Int64) throws(StoreFailure) {
    try connection.execute("UPDATE meta SET value = \(slots) WHERE name = 'slots'")
  }

  /// The bytes of block `number`, right or wrong; nil where there are none to be had.
  func raw(_ number: Int64) throws(StoreFailure) -> [UInt8]? {
    try withSlot(slot(of: number)) { (bytes) -> [UInt8]? in
      bytes.count == Limits.blockBytes ? [UInt8](bytes) : nil
    } ?? nil
  }

  // MARK: Writing

  /// Commits sealed blocks, in order, all or none.
  func append(_ blocks: UnsafeRawBufferPointer) throws(StoreFailure) {
    let size = Limits.blockBytes
    unpacked = nil
    var last: BlockInfo?
    try connection.transaction { () throws(StoreFailure) in
      for index in 0..<(blocks.count / size) {
        let block = UnsafeRawBufferPointer(rebasing: blocks[(index * size)..<((index + 1) * size)])
        let number = block.number(Int64.self, at: BlockLayout.number)
        writing.bind(1, slot(of: number))
        writing.bind(2, bytes: block)
        try writing.run()
        last = try? BlockInfo(of: block)
      }
    }
    guard let last else { return }
    newest = last
    filled = max(filled, min(last.number - origin + 1, slots))
    doubtful = 0
  }

  var isPrepared: Bool { filled >= slots && isHome }

  /// Makes the next slots of the file, empty.
  func prepare(_ count: Int) throws(StoreFailure) {
    let end = min(slots, filled + Int64(count))
    try connection.transaction { () throws(StoreFailure) in
      for slot in filled..<end {
        filling.bind(1, slot)
        filling.bind(2, zeros: Limits.blockBytes)
        try filling.run()
      }
    }
    filled = end
    guard filled >= slots else { return }
    // Only now the file has its full size: what was in the WAL could still fail for want of room.
    try connection.bringHome()
    isHome = true
  }

  // MARK: Reading

  enum Look {
    case block(BlockInfo)
    case damaged(BlockDamage)
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
        return info.mark == mark && info.number >= origin ? .number(info.number - origin) : .damaged
      } catch {
        return error == .empty ? .empty : .damaged
      }
    }
    return content ?? .damaged
  }

  /// The header of block `number`.
  func info(_ number: Int64) throws(StoreFailure) -> Look {
    let mark = self.mark
    let found = try withSlot(slot(of: number)) { (bytes) -> Look in
      do throws(BlockDamage) {
        let info = try BlockInfo(of: bytes)
        return info.number == number && info.mark == mark ? .block(info) : .damaged(.contents)
      } catch {
        return .damaged(error)
      }
    }
    return found ?? .damaged(.empty)
  }

  /// Block `number`, decoded, a batch for each commit that filled it; nil if it is damaged.
  func batches(_ number: Int64) throws(StoreFailure) -> (BlockInfo, [StoredBatch])? {
    if let unpacked, unpacked.info.number == number { return unpacked }
    let found = try withSlot(slot(of: number)) { (bytes) -> (BlockInfo, [StoredBatch])? in
      guard let (info, batches) = try? reader.read(bytes), info.number == number, info.mark == mark else { return nil }
      return (info, batches)
    }
    unpacked = number == newest?.number ? nil : found ?? nil
    return found ?? nil
  }

  /// Numbers of the blocks that should be there.
  var numbers: ClosedRange<Int64>? {
    guard let newest else { return nil }
    return max(origin, newest.number - slots + 1)...newest.number
  }

  /// The oldest block that can be read.
  func oldest() throws(StoreFailure) -> BlockInfo? {
    guard let numbers else { return nil }
    if let oldestKnown, oldestKnown.number == numbers.lowerBound { return oldestKnown }
    for number in max(numbers.lowerBound, oldestKnown?.number ?? 0)...numbers.upperBound {
      guard case .block(let info) = try info(number) else { continue }
      oldestKnown = info
      return info
    }
    return nil
  }

  /// Of the file on disk.
  var fileBytes: Int64 {
    get throws(StoreFailure) {
      (try connection.integer(of: "PRAGMA page_count") ?? 0) * Int64(Limits.pageBytes)
    }
  }

  /// What the stored blocks take; the file has its full size from the start.
  var bytes: Int64 { Int64(numbers?.count ?? 0) * Int64(Limits.pageBytes) }
}
