// How many samples went and why, over all starts: stands in telemetry.db's meta and is written along with commits that
// change it. On the store thread.
//
// Invariants:
//  1. Samples that were taken over = those in the ring + in the reserve + evicted + thinned + removed by retention +
//     damaged where a stride found them.
//  2. What a commit makes gone is counted in that commit.

import StreamCore

struct LossBook: Equatable {
  /// Given up by the reserve, or not taken into it.
  var evicted: Int64 = 0
  var thinned: Int64 = 0
  /// Never stored for want of room: while running, and at a stop.
  var overflow: Int64 = 0
  var unsaved: Int64 = 0
  var damaged: Int64 = 0
  var retention: Int64 = 0
  /// Samples that the reserve holds.
  var reserved: Int64 = 0
  /// Samples of the ring's blocks that were given to the reserve, whatever became of them.
  var settled: Int64 = 0
  /// Removed by retention from blocks that the ring serves, and from blocks that it has written over since without
  /// giving them to a reserve.
  var removed: Int64 = 0
  var removedBefore: Int64 = 0
  /// Blocks below these numbers hold nothing that is personal and too old.
  var swept: Int64 = 0
  var sweptReserve: Int64 = 0

  private var stored: [Int64]

  private static let names = [
    "lost:evicted", "lost:thinned", "lost:overflow", "lost:unsaved", "lost:damaged", "lost:retention", "reserved",
    "settled", "removed", "removed_before", "swept", "swept_reserve",
  ]

  private var values: [Int64] {
    [
      evicted, thinned, overflow, unsaved, damaged, retention, reserved, settled, removed, removedBefore, swept,
      sweptReserve,
    ]
  }

  init(_ connection: borrowing Connection) throws(StoreFailure) {
    stored = [Int64](repeating: 0, count: Self.names.count)
    let statement = try Statement("SELECT value FROM meta WHERE name = ?", on: connection)
    for (index, name) in Self.names.enumerated() {
      statement.bind(1, name)
      let value = try statement.first { (row) throws(StoreFailure) in row.integer(0) } ?? 0
      stored[index] = min(max(0, value), Int64.max / 4)
    }
    (evicted, thinned, overflow, unsaved) = (stored[0], stored[1], stored[2], stored[3])
    (damaged, retention, reserved, settled) = (stored[4], stored[5], stored[6], stored[7])
    (removed, removedBefore, swept, sweptReserve) = (stored[8], stored[9], stored[10], stored[11])
  }

  /// What goes along into another file: all but what speaks of the blocks that stay behind.
  var notes: [(name: String, value: Int64)] { Array(zip(Self.names, values).map { (name: $0, value: $1) }) }

  mutating func count(_ samples: Int64, _ reason: GapReason) {
    switch reason {
    case .evicted: evicted += samples
    case .overflow: overflow += samples
    case .damaged: damaged += samples
    case .thinned: thinned += samples
    case .retention: retention += samples
    }
  }

  /// Writes what has changed since it was last kept, in the caller's transaction.
  func keep(in connection: borrowing Connection) throws(StoreFailure) {
    let values = self.values
    guard values != stored else { return }
    let statement = try Statement("INSERT OR REPLACE INTO meta VALUES (?, ?)", on: connection)
    for (index, name) in Self.names.enumerated() where values[index] != stored[index] {
      statement.bind(1, name)
      statement.bind(2, values[index])
      try statement.run()
    }
  }

  /// The transaction stands.
  mutating func kept() { stored = values }

  static func == (a: LossBook, b: LossBook) -> Bool { a.values == b.values }
}
