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
  /// About log2(slots) looks, and one for every damaged slot on the way; every slot once if something does not fit.
  static func newest(
    slots: Int64, _ look: (Int64) throws(StoreFailure) -> SlotContent
  ) throws(StoreFailure) -> NewestEntry {
    var first: Int64 = 0
    var content = try look(0)
    if content == .empty {
      // A beginning that was wiped out is told from a new ring by the slots on both sides of it.
      guard try look(min(1, slots - 1)) == .empty, try look(slots - 1) == .empty else {
        return try scan(slots: slots, look)
      }
      return NewestEntry(number: nil)
    }
    while content == .damaged, first + 1 < slots {
      first += 1
      content = try look(first)
    }
    guard case .number(let number) = content, (number - first) % slots == 0 else {
      return try scan(slots: slots, look)
    }
    // Its lap goes up to some slot; behind that stands the lap before, or nothing yet.
    let lap = number - first
    var low = first
    var high = slots
    while high - low > 1 {
      let middle = low + (high - low) / 2
      var probe = middle
      content = try look(probe)
      while content == .damaged, probe + 1 < high {
        probe += 1
        content = try look(probe)
      }
      switch content {
      case .number(lap + probe): low = probe
      case .number(lap + probe - slots), .damaged: high = middle
      case .empty where lap == 0: high = middle
      default: return try scan(slots: slots, look)
      }
    }
    var doubtful: Int64 = 0
    while doubtful < slots, try look((low + 1 + doubtful) % slots) == .damaged { doubtful += 1 }
    return NewestEntry(number: lap + low, doubtful: doubtful)
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
