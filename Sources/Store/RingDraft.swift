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
  var slots: Int64
  var bytes: Int
  var mark: UInt32
  /// Nil: it will be given one.
  var storeID: String?
  /// What else the old ring's `meta` holds.
  var notes: [(name: String, value: Int64)] = []

  private static let name = "telemetry.new"

  static func path(in folder: borrowing StateFolder) -> String { folder.file(name) }

  /// Writes the blocks of `numbers` (at most `slots` of them) and closes the file, all of it durable.
  func write(
    _ numbers: ClosedRange<Int64>?, block: (Int64) throws(StoreFailure) -> [UInt8]?
  ) throws(StoreFailure) {
    let pages = Int64(bytes / Limits.pageBytes)
    let connection = try Connection.open(path: path, vfs: vfs, pagesMax: pages, cacheKiB: Limits.telemetryCacheKiB)
    try Schema.telemetry.apply(to: connection)
    let origin = numbers?.lowerBound ?? 0
    let meta = try Statement(
      "INSERT INTO meta VALUES ('slots', ?1), ('mark', ?2), ('origin', ?3)", on: connection)
    meta.bind(1, slots)
    meta.bind(2, Int64(mark))
    meta.bind(3, origin)
    try meta.run()
    if let storeID {
      let own = try Statement("INSERT INTO meta VALUES ('store', ?)", on: connection)
      own.bind(1, storeID)
      try own.run()
    }
    for note in notes {
      let own = try Statement("INSERT INTO meta VALUES (?, ?)", on: connection)
      own.bind(1, note.name)
      own.bind(2, note.value)
      try own.run()
    }
    if let numbers {
      let insert = try Statement("INSERT INTO ring(slot, block) VALUES (?, ?)", on: connection)
      var next = numbers.lowerBound
      while next <= numbers.upperBound {
        let end = min(numbers.upperBound, next + Int64(Limits.draftSlotsPerStep) - 1)
        try connection.transaction { () throws(StoreFailure) in
          for number in next...end {
            insert.bind(1, number - origin)
            try insert.run(2, bytes: try block(number) ?? [UInt8](repeating: 0, count: Limits.blockBytes))
          }
        }
        next = end + 1
      }
    }
    // What is not in the database goes away with the WAL.
    try connection.bringHome()
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
