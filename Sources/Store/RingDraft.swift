// Makes a ring beside the one in use, from blocks that are somewhere else, and puts it in its place: after a change of
// the quota, and after damage.
//
// Invariants:
//  1. Under the ring's name there is one complete file or none, never a part of one.
//  2. Blocks keep their numbers and sequences; one that can't be had is a hole, and its neighbours tell what is
//     missing.

import CSQLite
import Glibc
import StreamCore

struct RingDraft {
  var path: String
  var vfs: String?
  var layout: RingLayout
  var bytes: Int
  var mark: UInt32
  /// Nil: it will be given one.
  var storeID: String?
  /// What else the old ring's `meta` holds.
  var notes: [(name: String, value: Int64)] = []

  private static let name = "telemetry.new"

  static func path(in folder: borrowing StateFolder) -> String { folder.file(name) }

  /// Blocks of one of the two tables, in order, and where they come from.
  struct Source {
    var numbers: ClosedRange<Int64>?
    var block: (Int64) throws(StoreFailure) -> [UInt8]?

    static var nothing: Source { Source(numbers: nil, block: { (_) throws(StoreFailure) in nil }) }
  }

  /// Writes the blocks (at most as many as there are slots) and closes the file, all of it durable.
  func write(ring: Source, reserve: Source) throws(StoreFailure) {
    let pages = Int64(bytes / Limits.pageBytes)
    let connection = try Connection.open(path: path, vfs: vfs, pagesMax: pages, cacheKiB: Limits.telemetryCacheKiB)
    try Schema.telemetry.apply(to: connection)
    let meta = try Statement("INSERT OR REPLACE INTO meta VALUES (?, ?)", on: connection)
    let places: [(name: String, value: Int64)] = [
      ("slots", layout.slots), ("mark", Int64(mark)), ("origin", ring.numbers?.lowerBound ?? 0),
      ("reserve_slots", layout.reserveSlots), ("reserve_origin", reserve.numbers?.lowerBound ?? 0),
    ]
    try connection.transaction { () throws(StoreFailure) in
      for note in places + notes {
        meta.bind(1, note.name)
        meta.bind(2, note.value)
        try meta.run()
      }
      guard let storeID else { return }
      meta.bind(1, "store")
      meta.bind(2, storeID)
      try meta.run()
    }
    try Self.write(ring, to: BlockTable.ring, connection)
    try Self.write(reserve, to: BlockTable.reserve, connection)
    // What is not in the database goes away with the WAL.
    try connection.bringHome()
  }

  private static func write(
    _ source: Source, to table: String, _ connection: borrowing Connection
  ) throws(StoreFailure) {
    guard let numbers = source.numbers else { return }
    let insert = try Statement("INSERT INTO \(table)(slot, block) VALUES (?, ?)", on: connection)
    var next = numbers.lowerBound
    while next <= numbers.upperBound {
      let end = min(numbers.upperBound, next + Int64(Limits.draftSlotsPerStep) - 1)
      try connection.transaction { () throws(StoreFailure) in
        for number in next...end {
          insert.bind(1, number - numbers.lowerBound)
          try insert.run(2, bytes: try source.block(number) ?? [UInt8](repeating: 0, count: Limits.blockBytes))
        }
      }
      next = end + 1
    }
  }

  /// Puts the draft, if one was made, in the ring's place; both are closed. The WAL goes first: the database has all of
  /// it, and the new one must never meet it.
  static func conclude(_ folder: borrowing StateFolder) throws(StoreFailure) {
    let ring = folder.file(StateFolder.telemetry)
    let draft = path(in: folder)
    guard access(draft, F_OK) == 0 else { return }
    for log in [draft + "-wal", ring + "-wal"] {
      guard unlink(log) == 0 || errno == ENOENT else { throw StateFolder.failure(log, errno) }
    }
    StateFolder.sync(folder.path)
    guard rename(draft, ring) == 0 else { throw StateFolder.failure(ring, errno) }
    StateFolder.sync(folder.path)
  }

  /// One that a cut or a failure left unfinished.
  static func discard(_ folder: borrowing StateFolder) {
    for suffix in ["-wal", "-shm", ""] { unlink(path(in: folder) + suffix) }
  }
}
