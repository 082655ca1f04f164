// Everything that the house has to do with alarms besides the buses' own: brings them over from the last
// run, watches the box, takes orders. On the main thread, but for `owners`.

import CLinux
import FieldBus
import Glibc
import Logging
import Store
import StreamCore
import Synchronization

package final class AlarmRoom {
  package let house: HouseAlarms
  package let owners: SiteAlarms
  private let store: StoreThread
  private let keyPath: String
  private var left: AlarmsLeft
  private var watch: HouseWatch
  private var news = StoreNews()
  /// What the store said last; nil: nothing yet.
  private(set) var lastReport: StoreReport?
  /// What the store said last, and nobody has looked at yet.
  private let heard = Heard()

  /// `offsetNs`: from the monotonic clock to Unix time, if it is known. `isKeyNew`: `box.key` was made at this start.
  package init(
    _ configuration: Configuration, catalogue: Catalogue, opening: StoreOpening, offsetNs: Int64?, isKeyNew: Bool,
    field: Field, store: StoreThread
  ) {
    let now = Instant(nanoseconds: kerb_monotonic_ns())
    let numbering = Numbering(devices: configuration.devices, buses: configuration.buses)
    left = AlarmsLeft(opening, catalogue: catalogue, offsetNs: offsetNs, at: now)
    house = HouseAlarms(configuration.alarms, first: numbering.firstGatewayAlarm, left: left.events, at: now)
    owners = SiteAlarms(field: field, house: house, store: store)
    // At the very first start there is nothing whose pseudonyms could change.
    watch = HouseWatch(isKeyNew: isKeyNew && opening.epoch > 1, startedAt: now)
    self.store = store
    keyPath = BoxKey.path(statePath: configuration.statePath)
  }

  /// As the last run left them, by alarm of the catalogue.
  package var events: [AlarmEvent?] { left.events }

  /// Once a second.
  package func look(isClockBelieved: Bool, certificateExpires: Int64?, isPushFailing: Bool, logger: Logger) {
    let sight = HouseWatch.Sight(
      now: Instant(nanoseconds: kerb_monotonic_ns()), wallNs: kerb_realtime_ns(), isClockBelieved: isClockBelieved,
      certificateExpires: certificateExpires, hasKey: access(keyPath, F_OK) == 0,
      isPushFailing: isPushFailing)
    let report = heard.take()
    if let text = report.flatMap({ news.hear($0) }) { logger.error("store: \(text)") }
    if let report { lastReport = report }
    house.look(watch.look(sight, report), at: sight.now)
    house.handOver(to: store)
    store.report { [heard] in heard.set($0) }
  }

  /// Shelves that were set in an earlier boot end when their wall time says, now that it is known.
  package func settleShelves(offsetNs: Int64, logger: Logger) {
    for (alarm, until) in left.settle(offsetNs: offsetNs) {
      var request = AlarmRequest(.shelve, by: "kerb", note: "the time is known again")
      request.until = until
      let deadline = Instant(nanoseconds: kerb_monotonic_ns()) + Limits.alarmOrderNs
      do throws(LineFailure) {
        _ = try owners.order(request, alarm: alarm, until: deadline)
      } catch {
        logger.warning("the end of a shelf can't be corrected", metadata: ["alarm": "\(alarm)", "why": "\(error)"])
      }
    }
  }

  /// The store's report.
  private final class Heard: Sendable {
    private let report = Mutex<StoreReport?>(nil)
    func set(_ new: StoreReport) { report.withLock { $0 = new } }
    func take() -> StoreReport? {
      report.withLock { report in
        defer { report = nil }
        return report
      }
    }
  }
}
