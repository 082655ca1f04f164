// What the numbers in a bus's batches mean now: a bus that goes on through a reload gives those that it began with.
// Values only.

import StreamCore

/// The numbers in force, by the numbers that a bus gives. One that a bus never gives is `none`.
package struct FeedNumbers: Sendable, Equatable {
  package var bus: UInt16
  package var series: [UInt16]
  package var alarms: [UInt16]

  package static let none = UInt16.max

  package init(bus: UInt16, series: [UInt16], alarms: [UInt16]) {
    self.bus = bus
    self.series = series
    self.alarms = alarms
  }

  /// Nil: nothing has that number.
  func series(_ number: UInt16) -> UInt16? { Self.look(up: number, in: series) }
  func alarm(_ number: UInt16) -> UInt16? { Self.look(up: number, in: alarms) }

  private static func look(up number: UInt16, in table: [UInt16]) -> UInt16? {
    guard Int(number) < table.count, table[Int(number)] != none else { return nil }
    return table[Int(number)]
  }

  func renumbered(_ event: AlarmEvent) -> AlarmEvent? {
    guard let alarm = alarm(event.alarm) else { return nil }
    var event = event
    event.alarm = alarm
    event.causes = (
      renumbered(event.causes.0), renumbered(event.causes.1), renumbered(event.causes.2), renumbered(event.causes.3)
    )
    return event
  }

  private func renumbered(_ cause: AlarmCause) -> AlarmCause {
    var cause = cause
    cause.series = series(cause.series) ?? cause.series
    return cause
  }
}
