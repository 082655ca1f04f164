// Owns telemetry.db: the ring of blocks, and behind it the reserve, where what outlives the ring stands. On the store
// thread.
//
//   newest  <-- ring --  first served | given to the reserve, yet to be written over
//                        reserve, newest  <--  oldest
//
// Invariants:
//  1. The reserve covers the sequences up to `settledLast`, the ring those above: each is served from one of them.
//  2. What the ring writes over was given to the reserve before, in an earlier commit (Eviction).
//  3. `newest` is durable: it moves after the commit.

import CLinux
import CSQLite
import StreamCore

/// How many blocks a file of a given size has room for, and how many of them are the reserve's.
struct RingLayout: Equatable {
  var slots: Int64
  var reserveSlots: Int64

  init(bytes: Int, reserveBytes: Int) {
    slots = TelemetryRing.slots(bytes: bytes - reserveBytes)
    let pages = Int64(reserveBytes / Limits.pageBytes)
    reserveSlots = max(0, pages - 2 - pages / 128)
  }

  init(_ configuration: StoreConfiguration) {
    self.init(bytes: configuration.telemetryBytes, reserveBytes: configuration.reserveBytes)
  }
}

final class TelemetryRing {
  let connection: Connection
  let ring: BlockTable
  /// Nil: there is none.
  let reserve: BlockTable?
  var reader: BlockReader
  /// Blocks below this one have been given to the reserve.
  var firstServed: Int64
  private var oldestKnown: BlockInfo?
  private var isHome = false
  /// The block that was unpacked last: whoever asks for little at a time asks for it again. Never the newest one, which
  /// still fills.
  private var unpacked: StoredBlock?
  var losses: LossBook
  var flash: FlashBook

  static func slots(bytes: Int) -> Int64 {
    // Less the schema, the meta table, the other table's root, and one page of the tree for 128 leaves (a full one
    // holds 370, a split one half).
    let pages = Int64(bytes / Limits.pageBytes)
    return pages - 6 - pages / 128
  }

  var slots: Int64 { ring.slots }
  var origin: Int64 { ring.origin }
  var mark: UInt32 { ring.mark }
  var newest: BlockInfo? { ring.newest }
  var doubtful: Int64 { ring.doubtful }
  var layout: RingLayout {
    var layout = RingLayout(bytes: 0, reserveBytes: 0)
    (layout.slots, layout.reserveSlots) = (ring.slots, reserve?.slots ?? 0)
    return layout
  }

  /// `bytes`, `reserveBytes`: of a new file; one that exists has its own numbers of slots. One that is read only is
  /// read as it is.
  init(
    path: String, vfs: String? = nil, bytes: Int, reserveBytes: Int = 0, seriesCount: Int,
    interruption: Interruption? = nil, isReadOnly: Bool = false
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
    let wanted = RingLayout(bytes: bytes, reserveBytes: reserveBytes)
    if !isReadOnly, try connection.integer(of: "SELECT value FROM meta WHERE name = 'slots'") == nil {
      let fresh = UInt32.random(in: 1 ... .max)
      try connection.transaction(
        """
        INSERT INTO meta VALUES ('slots', \(wanted.slots)), ('mark', \(fresh)), ('origin', 0),
          ('reserve_slots', \(wanted.reserveSlots)), ('reserve_origin', 0)
        """)
    }
    let reserveSlots = try Self.number("reserve_slots", connection) ?? 0
    let reserveOrigin = try Self.number("reserve_origin", connection) ?? 0
    let slotsMax = Int64(Limits.telemetryBytesMax / Limits.pageBytes)
    guard let slots = try Self.number("slots", connection), let mark = try Self.number("mark", connection),
      let origin = try Self.number("origin", connection), origin >= 0, reserveOrigin >= 0, slots > 0,
      slots <= slotsMax, (0...slotsMax).contains(reserveSlots)
    else { throw .corrupt(code: SQLITE_CORRUPT) }
    // A ring made under a larger quota keeps its slots until it is laid out anew.
    let all = slots + reserveSlots
    try connection.execute("PRAGMA max_page_count = \(max(pagesMax, all + 8 + all / 120))")
    ring = try BlockTable(
      BlockTable.ring, on: connection, slots: slots, origin: origin, mark: UInt32(truncatingIfNeeded: mark))
    reserve =
      reserveSlots > 0
      ? try BlockTable(
        BlockTable.reserve, on: connection, slots: reserveSlots, origin: reserveOrigin,
        mark: UInt32(truncatingIfNeeded: mark)) : nil
    reader = BlockReader(seriesCount: seriesCount)
    losses = try LossBook(connection)
    flash = try FlashBook(connection)
    isHome = ring.isFilled && reserve?.isFilled ?? true
    firstServed = ring.numbers?.lowerBound ?? origin
    if settledLast > 0, let numbers = ring.numbers {
      firstServed = try ring.first(from: settledLast + 1, in: numbers)
    }
  }

  private static func number(_ name: String, _ connection: borrowing Connection) throws(StoreFailure) -> Int64? {
    try connection.integer(of: "SELECT value FROM meta WHERE name = '\(name)'")
  }

  /// The last sequence that the reserve covers; 0: none.
  var settledLast: Int64 { reserve?.newest?.last ?? 0 }

  // MARK: Another size

  var hasNotComeRound: Bool { ring.hasNotComeRound }

  func set(slots: Int64) throws(StoreFailure) {
    try connection.transaction("UPDATE meta SET value = \(slots) WHERE name = 'slots'")
  }

  // MARK: Writing

  /// Commits sealed blocks, in order, all or none. What they write over has been given to the reserve, if there is one.
  func append(_ blocks: UnsafeRawBufferPointer) throws(StoreFailure) {
    let size = Limits.blockBytes
    forgetUnpacked()
    var last: BlockInfo?
    var book = losses
    let now = kerb_monotonic_ns()
    let isFlashDue = flash.isDue(now)
    try connection.transaction { () throws(StoreFailure) in
      for index in 0..<(blocks.count / size) {
        let block = UnsafeRawBufferPointer(rebasing: blocks[(index * size)..<((index + 1) * size)])
        try leave(block.number(Int64.self, at: BlockLayout.number) - slots, &book)
        try ring.write(block)
        last = try? BlockInfo(of: block)
      }
      try book.keep(in: connection)
      if isFlashDue { try flash.keep(in: connection) }
    }
    if isFlashDue { flash.kept(now) }
    guard let last else { return }
    ring.wrote(last)
    losses = book
    losses.kept()
    if let lowest = ring.numbers?.lowerBound { firstServed = max(firstServed, lowest) }
  }

  /// At the end: what no commit has taken along yet.
  func keepBooks() throws(StoreFailure) {
    guard !connection.isReadOnly else { return }
    try connection.transaction { () throws(StoreFailure) in
      try losses.keep(in: connection)
      try flash.keep(in: connection)
    }
    losses.kept()
    flash.kept(kerb_monotonic_ns())
  }

  /// Block `number` is about to be written over. One that can't be read has gone with the one before it.
  private func leave(_ number: Int64, _ book: inout LossBook) throws(StoreFailure) {
    guard number >= firstServed, case .block(let info) = try ring.info(number) else { return }
    try depart(info, &book)
  }

  var isPrepared: Bool { ring.isFilled && reserve?.isFilled ?? true && isHome }

  /// Makes the next slots of the file, empty.
  func prepare(_ count: Int) throws(StoreFailure) {
    let table = ring.isFilled ? reserve ?? ring : ring
    var end: Int64 = 0
    try connection.transaction { () throws(StoreFailure) in end = try table.prepare(count) }
    table.prepared(end)
    guard ring.isFilled, reserve?.isFilled ?? true else { return }
    // Only now the file has its full size: what was in the WAL could still fail for want of room.
    try connection.bringHome()
    isHome = true
  }

  // MARK: Reading

  func info(_ number: Int64) throws(StoreFailure) -> BlockTable.Look { try ring.info(number) }

  func block(_ number: Int64) throws(StoreFailure) -> StoredBlock? { try ring.block(number, &reader) }

  /// For those who read on.
  func block(_ number: Int64, of table: BlockTable) throws(StoreFailure) -> StoredBlock? {
    if let unpacked, unpacked.info.number == number, unpacked.info.isReserve == table.isReserve { return unpacked }
    let found = try table.block(number, &reader)
    unpacked = number == table.newest?.number ? nil : found
    return found
  }

  /// Blocks are about to be written again.
  func forgetUnpacked() { unpacked = nil }

  /// Numbers of the ring's blocks that are served.
  var numbers: ClosedRange<Int64>? {
    guard let numbers = ring.numbers else { return nil }
    return min(max(numbers.lowerBound, firstServed), numbers.upperBound)...numbers.upperBound
  }

  /// The oldest block that can be read, of the reserve if it has one.
  func oldest() throws(StoreFailure) -> BlockInfo? {
    if let oldest = try reserve?.oldest() { return oldest }
    return try oldestOfRing()
  }

  func oldestOfRing() throws(StoreFailure) -> BlockInfo? {
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
  var bytes: Int64 { Int64((numbers?.count ?? 0) + (reserve?.numbers?.count ?? 0)) * Int64(Limits.pageBytes) }
}
