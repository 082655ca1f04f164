// The values that caused an alarm stay with it: its later events carry those of its raise until it is over, whatever
// the values are by then. On the store thread.
//
// Invariants:
//  1. A raise, and an event of an alarm that was over before, keep the values that they were made with.
//  2. A value goes over to another version of the catalogue only where its series means the same in both.

import StreamCore

extension AlarmLog {
  /// `event` with the causes of the occurrence that it belongs to. `name`: of its alarm, whose last event is the state.
  func withCausesOfItsRaise(_ event: AlarmEvent, _ name: String, version: UInt32) throws(StoreFailure) -> AlarmEvent {
    guard event.change != .raised, let last = try state(of: name), last.event.process != .normal else { return event }
    var numbers = (0..<Int(last.event.causeCount)).map { Optional(last.event.cause($0).series) }
    if last.catalogueVersion != version, !numbers.isEmpty {
      guard let catalogue = try catalogue(last.catalogueVersion) else { return event }
      numbers = seriesNow(catalogue, numbers.compactMap(\.self))
    }
    var whole = event
    whole.causeCount = 0
    for (index, number) in numbers.enumerated() {
      guard let number else { continue }
      let cause = last.event.cause(index)
      whole.add(AlarmCause(series: number, quality: cause.quality, raw: cause.raw))
    }
    return whole.causeCount > 0 ? whole : event
  }
}
