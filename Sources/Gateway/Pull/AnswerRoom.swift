// The memory of the answers with batches that are made or on their way: whoever begins one leases what it may fill, and
// gives back what it did not, and the rest when the answer is with the kernel. Any thread.
//
// Invariant: leases add up to at most `Limits.answersBytesMax` and `answerBytesMin` for each connection: one platform
// alone gets whole answers, many at once shorter ones.

import StreamCore
import Synchronization

final class AnswerRoom: Sendable {
  private let used = Atomic<Int>(0)

  var usedBytes: Int { used.load(ordering: .relaxed) }

  /// Half of what is left: so there is always something left.
  func lease() -> AnswerLease {
    let free = Limits.answersBytesMax - usedBytes
    let bytes = max(Limits.answerBytesMin, min(Limits.answerBytesMax, free / 2))
    used.add(bytes, ordering: .relaxed)
    return AnswerLease(bytes, of: self)
  }

  fileprivate func giveBack(_ bytes: Int) { used.subtract(bytes, ordering: .relaxed) }
}

/// Gives back what it holds when it is let go.
final class AnswerLease: Sendable {
  private let room: AnswerRoom
  private let held: Atomic<Int>

  fileprivate init(_ bytes: Int, of room: AnswerRoom) {
    held = Atomic(bytes)
    self.room = room
  }

  deinit { room.giveBack(bytes) }

  var bytes: Int { held.load(ordering: .relaxed) }

  /// So much was needed.
  func shrink(to bytes: Int) {
    let before = held.exchange(min(bytes, self.bytes), ordering: .relaxed)
    room.giveBack(before - self.bytes)
  }
}
