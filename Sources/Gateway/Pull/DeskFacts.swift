// What /metrics and /v1/status need of the store and the server, gathered once. Lives on the event loop.

import NIOCore
import Store
import StreamCore

struct DeskFacts {
  var report: StoreReport
  var alarms: [StoredAlarm]
  /// Of the catalogues that the alarms are of.
  var views: [UInt32: CatalogueView]
  var counts: PullCounts
  var timeline: Timeline

  func isShown(_ alarm: StoredAlarm, to consumer: Consumer, desk: PullDesk) -> Bool {
    guard consumer.spec.lanes.contains(.alarms), let view = views[alarm.catalogueVersion] else { return false }
    return view.scope(of: consumer).allows(alarm.event)
      && alarm.event.severity >= consumer.spec.severityMin
  }
}

extension PullDesk {
  /// Not while the store is silent: then it is as if the storage failed.
  func facts(_ completion: @escaping (DeskFacts) -> Void) {
    let bound = NIOLoopBound(completion, eventLoop: loop)
    source.report { report in
      self.source.alarms { alarms in
        let epochs = Set(alarms.map(\.epoch) + [report.epoch, report.oldestEpoch])
        self.source.clocks(of: epochs.sorted()) { clocks in
          self.loop.execute {
            self.shelf.views(Set(alarms.map(\.catalogueVersion))) { views in
              bound.value(
                DeskFacts(
                  report: report, alarms: alarms, views: views, counts: self.counts(),
                  timeline: Timeline(epoch: self.epoch, now: self.now(), clocks: clocks)))
            }
          }
        }
      }
    }
  }
}

/// GET /v1/status: the box in short, as far as this consumer sees it.
struct StatusPage {
  let desk: PullDesk
  let consumer: Consumer

  func write(_ request: PullRequest, _ reply: @escaping (PullAnswer) -> Void) throws(PullRefusal) {
    _ = try request.arguments()
    let bound = NIOLoopBound(reply, eventLoop: desk.loop)
    desk.facts { facts in bound.value(.json(self.status(facts))) }
  }

  private func status(_ facts: DeskFacts) -> [UInt8] {
    let catalogue = desk.shelf.present.catalogue
    let scope = desk.shelf.present.scope(of: consumer)
    let devices = (0..<min(catalogue.devices.count, desk.field.deviceCount)).filter(scope.allows(device:))
      .map(desk.field.device)
    let alarms = facts.alarms.filter { facts.isShown($0, to: consumer, desk: desk) }
    var qualities = [Int](repeating: 0, count: 4)
    for number in 0..<min(catalogue.pointCount, desk.field.pointCount) where scope.allows(series: number) {
      qualities[Int(desk.field.point(number).quality.rawValue)] += 1
    }
    let report = facts.report
    var writer = JSONWriter()
    writer.object { root in
      root.member("gateway", desk.gatewayID)
      root.member("store", desk.storeID)
      root.member("version", Version.text)
      root.key("uptime_s")
      root.seconds(milliseconds: (desk.now() - desk.startedAt) / 1_000_000)
      root.member("clock_synchronised", desk.wallClock.isBelieved)
      root.counts(of: devices, qualities: qualities)
      root.key("alarms")
      root.object {
        $0.member("active", alarms.count { AlarmFilter.active.admits($0.event) })
        $0.member("unacknowledged", alarms.count { AlarmFilter.unacknowledged.admits($0.event) })
      }
      root.key("buffer")
      root.object {
        $0.member("state", report.state.rawValue)
        $0.member("capacity_bytes", report.capacityBytes)
        $0.member("used_bytes", report.bytes)
        $0.key("oldest")
        if let at = report.oldestAt, let ms = facts.timeline.unixMs(at, epoch: report.oldestEpoch) {
          $0.seconds(milliseconds: ms)
        } else {
          $0.null()
        }
      }
      root.key("you")
      root.object {
        let own = report.consumers.first { $0.name == consumer.name }
        $0.member("name", consumer.name)
        $0.member("lag_records", own?.lagRecords ?? 0)
        $0.member("gaps", own?.gapRecords ?? 0)
      }
    }
    return writer.bytes
  }
}
