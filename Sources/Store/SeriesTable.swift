// What writer and reader of a block know of each series while they pass through it: its last raw value, and which
// series came after it. Polls come round and round, so the series that followed once is the best guess for the next
// time.
//
// Invariant: after `clear` the table is as new; it remembers which places were touched, so that clearing costs what the
// block held and not what the site has.

import StreamCore

struct SeriesTable {
  private var raws: [Int64]
  /// The follower's number + 1; 0: none yet, then the next number is the guess.
  private var followers: [UInt16]
  private var touched: [UInt16] = []
  private var previous = -1

  init(seriesCount: Int) {
    raws = [Int64](repeating: 0, count: seriesCount)
    followers = [UInt16](repeating: 0, count: seriesCount)
    touched.reserveCapacity(Limits.samplesPerBlockMax)
  }

  /// The series that is expected next.
  var expected: UInt16 {
    guard previous >= 0 else { return 0 }
    let follower = followers[previous]
    return follower == 0 ? UInt16(truncatingIfNeeded: previous + 1) : follower - 1
  }

  mutating func pass(to series: UInt16) {
    if previous >= 0 { followers[previous] = series &+ 1 }
    previous = Int(series)
    if previous >= raws.count {
      // Only blocks of an older, larger catalogue come here.
      let missing = previous + 1 - raws.count
      raws.append(contentsOf: repeatElement(0, count: missing))
      followers.append(contentsOf: repeatElement(0, count: missing))
    }
    touched.append(series)
  }

  subscript(series: UInt16) -> Int64 {
    get { raws[Int(series)] }
    set { raws[Int(series)] = newValue }
  }

  mutating func clear() {
    for series in touched {
      raws[Int(series)] = 0
      followers[Int(series)] = 0
    }
    touched.removeAll(keepingCapacity: true)
    previous = -1
  }
}
