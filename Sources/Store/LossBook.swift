// How many samples went and why, over all starts: stands in telemetry.db's meta and is written along with commits that
// change it. On the store thread.
//
// Every sample that the ring takes has an ordinal, so that what is in unreadable blocks is known by their neighbours:
//
//       passed          |     the ring serves
//   settled, removed,   |  block   ?   block  …  newest
//   damaged: before     |    damaged: in the ring, once somebody has found it
//
// Invariants:
//  1. Samples that were taken over = those in the ring that can be read or are not known to be damaged + in the reserve
//     + evicted + thinned + removed by retention + damaged.
//  2. What a commit makes gone is counted in that commit.
//  3. A sample is counted under one reason, once.

import StreamCore

struct LossBook: Equatable {
  /// Given up by the reserve, or not taken into it, or written over by another ring before this one.
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
  /// Of the damaged ones: those whose place the ring serves no more, and those that are known and whose place ring and
  /// reserve still hold.
  var damagedBefore: Int64 = 0
  var damagedInRing: Int64 = 0
  var damagedInReserve: Int64 = 0
  /// Sequences in front of what is served that went by damage: no block tells of them.
  var front = DamagedRanges()

  private var stored: [Int64]
  private var storedFront = DamagedRanges()

  private static let names = [
    "lost:evicted", "lost:thinned", "lost:overflow", "lost:unsaved", "lost:damaged", "lost:retention", "reserved",
    "settled", "removed", "removed_before", "swept", "swept_reserve", "damaged_before", "damaged_in_ring",
    "damaged_in_reserve",
  ]

  private var values: [Int64] {
    [
      evicted, thinned, overflow, unsaved, damaged, retention, reserved, settled, removed, removedBefore, swept,
      sweptReserve, damagedBefore, damagedInRing, damagedInReserve,
    ]
  }

  /// Nothing went; or what went before, of a file that is new.
  init(_ before: StoreLosses = StoreLosses()) {
    stored = [Int64](repeating: 0, count: Self.names.count)
    (evicted, thinned, overflow) = (before.evicted, before.thinned, before.overflow)
    (unsaved, damaged, retention) = (before.unsaved, before.damaged, before.retention)
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
    (damagedBefore, damagedInRing, damagedInReserve) = (stored[12], stored[13], stored[14])
    front = try DamagedRanges(connection)
    storedFront = front
  }

  /// What goes along into another file: all but what speaks of the blocks that stay behind.
  var notes: [(name: String, value: Int64)] { zip(Self.names, values).map { (name: $0, value: $1) } + front.notes }

  /// Of the samples in front of what the ring serves, those that are accounted for; it wrote over the others.
  var passed: Int64 { settled + removedBefore + damagedBefore }

  mutating func count(_ samples: Int64, _ reason: GapReason) {
    switch reason {
    case .evicted: evicted += samples
    case .overflow: overflow += samples
    case .damaged: damaged += samples
    case .thinned: thinned += samples
    case .retention: retention += samples
    }
  }

  /// The ring serves the place of damaged samples no more. Those that were known are counted already.
  mutating func passDamage(_ samples: Int64) {
    let known = min(samples, damagedInRing)
    damagedInRing -= known
    damagedBefore += samples
    damaged += samples - known
  }

  /// The same of the reserve.
  mutating func passReserveDamage(_ samples: Int64) {
    let known = min(samples, damagedInReserve)
    let found = min(samples - known, reserved)
    damagedInReserve -= known
    damaged += found
    reserved -= found
  }

  /// Writes what has changed since it was last kept, in the caller's transaction.
  func keep(in connection: borrowing Connection) throws(StoreFailure) {
    if front != storedFront { try front.keep(in: connection) }
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
  mutating func kept() { (stored, storedFront) = (values, front) }

  static func == (a: LossBook, b: LossBook) -> Bool { a.values == b.values && a.front == b.front }
}

/// Ranges of sequences, ascending and apart; when they become too many, those that are nearest to each other are one.
struct DamagedRanges: Equatable {
  private(set) var all: [ClosedRange<Int64>] = []

  init() {}

  init(_ connection: borrowing Connection) throws(StoreFailure) {
    let statement = try Statement(
      "SELECT CAST(substr(name, 8) AS INTEGER), value FROM meta WHERE name GLOB 'damage:*'", on: connection)
    var found: [(Int64, Int64)] = []
    try statement.forEach { (row) throws(StoreFailure) in found.append((row.integer(0), row.integer(1))) }
    for (from, to) in found { add(from, to) }
  }

  var last: Int64 { all.last?.upperBound ?? 0 }
  var notes: [(name: String, value: Int64)] { all.map { (name: "damage:\($0.lowerBound)", value: $0.upperBound) } }

  mutating func add(_ from: Int64, _ to: Int64) {
    guard from > 0, from <= to, to < Int64.max / 2 else { return }
    var joined: [ClosedRange<Int64>] = []
    for range in (all + [from...to]).sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let last = joined.last, range.lowerBound <= last.upperBound + 1 {
        joined[joined.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
      } else {
        joined.append(range)
      }
    }
    while joined.count > Limits.damagedRangesMax {
      let distances = zip(joined.dropFirst(), joined).map { $0.lowerBound - $1.upperBound }
      let nearest = distances.enumerated().min { $0.element < $1.element }?.offset ?? 0
      joined[nearest] = joined[nearest].lowerBound...joined[nearest + 1].upperBound
      joined.remove(at: nearest + 1)
    }
    all = joined
  }

  func contains(_ sequence: Int64) -> Bool { all.contains { $0.contains(sequence) } }

  /// Why sequences are missing, piece by piece: by damage, or for the reason of all others.
  func pieces(_ from: Int64, _ to: Int64, others: GapReason) -> [(to: Int64, reason: GapReason)] {
    var pieces: [(to: Int64, reason: GapReason)] = []
    var next = from
    for range in all where range.upperBound >= from && range.lowerBound <= to {
      if range.lowerBound > next { pieces.append((range.lowerBound - 1, others)) }
      pieces.append((min(to, range.upperBound), .damaged))
      next = range.upperBound + 1
    }
    if next <= to { pieces.append((to, others)) }
    return pieces
  }

  func keep(in connection: borrowing Connection) throws(StoreFailure) {
    try connection.execute("DELETE FROM meta WHERE name GLOB 'damage:*'")
    let statement = try Statement("INSERT INTO meta VALUES (?, ?)", on: connection)
    for note in notes {
      statement.bind(1, note.name)
      statement.bind(2, note.value)
      try statement.run()
    }
  }
}
