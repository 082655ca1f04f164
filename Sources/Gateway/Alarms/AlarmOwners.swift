// Who owns an alarm, and takes orders for it: a bus's thread, or the box's own list.

import CLinux
import FieldBus
import Store
import StreamCore

package protocol AlarmOwners: Sendable {
  /// Blocks until it is carried out; not on an event loop. `alarm`: its number in the catalogue.
  func order(
    _ request: AlarmRequest, alarm: Int, until deadline: Instant
  ) throws(LineFailure) -> Pipeline.OrderOutcome
}

extension Field: AlarmOwners {}

/// The buses' alarms and the box's own.
package struct SiteAlarms: AlarmOwners {
  let field: Field
  let house: HouseAlarms
  let store: any BatchSource

  package func order(
    _ request: AlarmRequest, alarm: Int, until deadline: Instant
  ) throws(LineFailure) -> Pipeline.OrderOutcome {
    guard house.owns(alarm) else { return try field.order(request, alarm: alarm, until: deadline) }
    let outcome = house.order(request, alarm: alarm, at: Instant(nanoseconds: kerb_monotonic_ns()))
    house.handOver(to: store)
    return outcome
  }
}
