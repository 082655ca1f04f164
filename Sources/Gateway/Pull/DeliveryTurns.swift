// Whose answer is being made: a few at once, the others in the order in which they came. So sixteen platforms behind a
// backlog keep neither the store nor the loop from an alarm, and the memory of answers in the making stays small. Lives
// on the event loop.
//
// Invariants:
//  1. At most `Limits.deliveriesAtWorkMax` are at work: one is read while another is written down.
//  2. Who has a turn, or waits for one, is asked to leave before it is let go.

import StreamCore

struct DeliveryTurns {
  private var atWork: Set<ObjectIdentifier> = []
  private var queue: [Delivery] = []

  var atWorkCount: Int { atWork.count }

  /// True: it is its turn now. Else it will be told by `next`.
  mutating func ask(_ delivery: Delivery) -> Bool {
    guard atWork.count >= Limits.deliveriesAtWorkMax else {
      atWork.insert(ObjectIdentifier(delivery))
      return true
    }
    queue.append(delivery)
    return false
  }

  /// It is done, or does not want to any more. The answer: whose turn it is now.
  mutating func leave(_ delivery: Delivery) -> Delivery? {
    guard atWork.remove(ObjectIdentifier(delivery)) != nil else {
      queue.removeAll { $0 === delivery }
      return nil
    }
    guard !queue.isEmpty else { return nil }
    let next = queue.removeFirst()
    atWork.insert(ObjectIdentifier(next))
    return next
  }
}
