// Finds the newest entry of a ring of slots without reading them all. Entry number n stands in slot n mod `slots`, so
// the slots hold an ascending sequence that was rotated: those of the present lap, then those of the lap before, or
// none.

import StreamCore

enum SlotContent: Equatable {
  case empty
  case number(Int64)
  case damaged
}

struct NewestEntry: Equatable {
  /// Nil: the ring was never written.
  var number: Int64?
  /// Slots right behind the newest that can't be read: each may have held a newer entry.
  var doubtful: Int64 = 0
}

enum RotatedSearch {
  /// At most log2(slots) + 2 looks; every slot once if something does not fit.
  static func newest(
    slots: Int64, _ look: (Int64) throws(StoreFailure) -> SlotContent
  ) throws(StoreFailure) -> NewestEntry {
    switch try look(0) {
    case .damaged: return try scan(slots: slots, look)
    case .empty:
      // A beginning that was wiped out is told from a new ring by the slots on both sides of it.
      guard try look(min(1, slots - 1)) == .empty, try look(slots - 1) == .empty else {
        return try scan(slots: slots, look)
      }
      return NewestEntry(number: nil)
    case .number(let first):
      guard first % slots == 0 else { return try scan(slots: slots, look) }
      var low: Int64 = 0
      var high = slots
      while high - low > 1 {
        let middle = low + (high - low) / 2
        switch try look(middle) {
        case .number(first + middle): low = middle
        case .number(first + middle - slots): high = middle
        case .empty where first == 0: high = middle
        default: return try scan(slots: slots, look)
        }
      }
      return NewestEntry(number: first + low)
    }
  }

  private static func scan(
    slots: Int64, _ look: (Int64) throws(StoreFailure) -> SlotContent
  ) throws(StoreFailure) -> NewestEntry {
    var newest: Int64?
    for slot in 0..<slots {
      guard case .number(let number) = try look(slot), number % slots == slot else { continue }
      newest = max(newest ?? number, number)
    }
    var doubtful: Int64 = 0
    let start = newest.map { $0 + 1 } ?? 0
    while doubtful < slots, try look((start + doubtful) % slots) == .damaged { doubtful += 1 }
    return NewestEntry(number: newest, doubtful: doubtful)
  }
}
