// The alarms as the last run left them, on the clock of this one: an alarm that was acknowledged is not
// raised anew, a shelf ends when it should.
//
// Within one boot the clock has run on. Across boots wall time joins the two, where both are known. Where
// it is not, spans are kept: a shelf then lasts too long rather than too short, and is corrected once the
// time is known.

import Store
import StreamCore

package struct AlarmsLeft {
  /// A shelf whose end was guessed.
  package struct Shelf: Sendable, Equatable {
    /// Its number in the catalogue.
    package var alarm: Int
    package var endUnixNs: Int64
  }

  /// By alarm of the catalogue.
  package private(set) var events: [AlarmEvent?]
  package private(set) var guessed: [Shelf] = []

  /// `offsetNs`: from the present clock to Unix time, if it is known.
  package init(_ opening: StoreOpening, catalogue: Catalogue, offsetNs: Int64?, at now: Instant) {
    var numbers: [String: Int] = [:]
    for (number, alarm) in catalogue.alarms.enumerated() { numbers[catalogue.alarmName(alarm)] = number }
    events = Array(repeating: nil, count: catalogue.alarms.count)
    for alarm in opening.alarms {
      guard let number = numbers[alarm.name] else { continue }
      let before = opening.clocks.first { $0.epoch == alarm.epoch }?.offsetNs
      var event = alarm.event
      if alarm.epoch >= opening.bootEpoch {
        events[number] = event
      } else if let before, let offsetNs {
        events[number] = event.moved(by: before - offsetNs)
      } else {
        // As if no time had passed since the last event.
        event = event.moved(by: now - event.at)
        events[number] = event
        if event.state == .shelved, let before {
          guessed.append(Shelf(alarm: number, endUnixNs: (alarm.event.until + before).nanoseconds))
        }
      }
    }
  }

  /// Shelves whose end is known now, and when it is.
  package mutating func settle(offsetNs: Int64) -> [(alarm: Int, until: Instant)] {
    defer { guessed = [] }
    return guessed.map { ($0.alarm, Instant(nanoseconds: $0.endUnixNs) + -offsetNs) }
  }
}

extension AlarmEvent {
  fileprivate func moved(by spanNs: Int64) -> AlarmEvent {
    var event = self
    event.at = at + spanNs
    event.since = since + spanNs
    event.raisedAt = raisedAt + spanNs
    if until != .distantFuture { event.until = until + spanNs }
    return event
  }
}
