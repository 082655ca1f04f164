// What happened to the connections of all boxes, counted at their doors. Any thread.

import Gateway
import Synchronization

final class Tally: Sendable {
  struct Sum {
    var opened = 0
    /// Connections that were shut by the other side, or failed after they stood.
    var lost = 0
    /// Attempts without a connection.
    var refused = 0
    /// Bodies.
    var delivered = 0
  }

  private let sum = Mutex(Sum())

  var now: Sum { sum.withLock { $0 } }

  func count(_ change: (inout Sum) -> Void) { sum.withLock { change(&$0) } }
}

/// Passes everything on to the door behind it, and counts.
final class CountedDoor: PushDoor {
  private let door: any PushDoor
  private let tally: Tally
  private let isOpen = Mutex(false)

  init(_ door: any PushDoor, _ tally: Tally) {
    self.door = door
    self.tally = tally
  }

  func open(_ hear: @escaping @Sendable (DoorEvent) -> Void) {
    door.open { event in
      self.count(event)
      hear(event)
    }
  }

  private func count(_ event: DoorEvent) {
    let wasOpen = isOpen.withLock { isOpen in
      defer {
        switch event {
        case .opened: isOpen = true
        case .failed, .closed: isOpen = false
        case .answered, .unheard: break
        }
      }
      return isOpen
    }
    tally.count {
      switch event {
      case .opened: $0.opened += 1
      case .failed, .closed: if wasOpen { $0.lost += 1 } else { $0.refused += 1 }
      case .answered(_, nil), .unheard: $0.delivered += 1
      case .answered: break
      }
    }
  }

  func send(_ parcel: PushParcel) { door.send(parcel) }
  func shut() { door.shut() }
  func leave(_ completion: @escaping @Sendable () -> Void) { door.leave(completion) }
}
