// The answers that list: points, alarms, devices, the schema. Each shows what is in the consumer's scope, and
// nothing of the rest, not even that it exists. Lives on the event loop, for one request.

import FieldBus
import NIOCore
import Store
import StreamCore

struct Listing {
  let desk: PullDesk
  let consumer: Consumer

  private var catalogue: Catalogue { desk.shelf.present.catalogue }
  private var scope: Scope { desk.shelf.present.scope(of: consumer) }

  /// The device that `?device=` names; nil: all.
  private func device(_ arguments: [String: String]) throws(PullRefusal) -> Int? {
    guard let name = arguments["device"] else { return nil }
    let found = catalogue.devices.firstIndex { $0.name == name }
    if let found, scope.allows(device: found) { return found }
    if found == nil, consumer.spec.seesAllDevices {
      throw PullRefusal(.problem(.notFound, "there is no device \(name.prefix(80)); /v1/devices lists them"))
    }
    throw PullRefusal(
      .problem(
        .forbidden, "device \(name.prefix(80)) is outside the scope of \(consumer.name); /v1/devices lists yours"))
  }

  private func head(_ writer: inout JSONWriter) {
    writer.member("gateway", desk.gatewayID)
    writer.member("store", desk.storeID)
  }

  // MARK: Points

  func points(_ request: PullRequest, _ reply: @escaping (PullAnswer) -> Void) throws(PullRefusal) {
    let only = try device(try request.arguments("device"))
    // The field's instants are of the running epoch.
    desk.timeline(of: [desk.epoch]) { reply(.json(points(of: only, $0))) }
  }

  private func points(of only: Int?, _ timeline: Timeline) -> [UInt8] {
    let record = RecordWriter(
      catalogue: catalogue, timeline: timeline,
      pseudonymKey: consumer.spec.personal == .pseudonym ? consumer.pseudonymKey : nil)
    let count = min(catalogue.pointCount, desk.field.pointCount)
    var writer = JSONWriter(reservingCapacity: 128 * (only == nil ? count : 16))
    writer.object { root in
      head(&root)
      root.key("points")
      root.array { list in
        for number in 0..<count {
          let series = catalogue.series[number]
          guard only == nil || series.device == only, scope.allows(series: number) else { continue }
          list.object { record.write(desk.field.point(number), of: series, into: &$0) }
        }
      }
    }
    return writer.bytes
  }

  // MARK: Devices

  func devices(_ request: PullRequest, _ reply: @escaping (PullAnswer) -> Void) throws(PullRefusal) {
    _ = try request.arguments()
    desk.timeline(of: [desk.epoch]) { reply(.json(devices($0))) }
  }

  private func devices(_ timeline: Timeline) -> [UInt8] {
    var writer = JSONWriter()
    writer.object { root in
      head(&root)
      root.key("devices")
      root.array { list in
        for number in 0..<min(catalogue.devices.count, desk.field.deviceCount) where scope.allows(device: number) {
          list.object { entry in
            entry.write(desk.field.device(number), timeline: timeline)
            entry.labels(catalogue.devices[number].labels)
          }
        }
      }
    }
    return writer.bytes
  }

  // MARK: Schema

  func schema(_ request: PullRequest) throws(PullRefusal) -> [UInt8] {
    _ = try request.arguments()
    var writer = JSONWriter()
    writer.object { root in
      head(&root)
      root.key("points")
      root.array { list in
        for number in 0..<catalogue.series.count where scope.allows(series: number) {
          list.object { entry in
            let series = catalogue.series[number]
            let device = catalogue.devices[series.device]
            entry.member("device", device.name)
            entry.member("kind", device.kind)
            entry.member("point", series.point)
            if let unit = series.unit { entry.member("u", unit) }
            entry.member("type", series.isBool ? "bool" : series.encoding.hasText ? "string" : "number")
            entry.member("scale", series.scale)
            entry.member("offset", series.offset)
            entry.member("personal", series.personal)
            if let statistic = series.statistic {
              entry.member("stat", statistic.word)
              entry.member("window", durationText(series.windowNs))
            }
            if !series.values.isEmpty {
              entry.key("values")
              entry.object {
                for raw in series.values.keys.sorted() { $0.member("\(raw)", series.values[raw] ?? "") }
              }
            }
          }
        }
      }
      root.key("alarms")
      root.array { list in
        for (number, alarm) in catalogue.alarms.enumerated() where scope.allows(alarm: number) {
          list.object { entry in
            switch alarm.owner {
            case .device(let device): entry.member("device", catalogue.devices[device].name)
            case .bus(let bus): entry.member("bus", bus)
            case .gateway: break
            }
            entry.member("alarm", alarm.name)
            entry.member("severity", alarm.severity.word)
          }
        }
      }
    }
    return writer.bytes
  }

  // MARK: Alarms

  func alarms(_ request: PullRequest, _ reply: @escaping (PullAnswer) -> Void) throws(PullRefusal) {
    let word = try request.arguments("state")["state"] ?? AlarmFilter.active.rawValue
    guard let filter = AlarmFilter(rawValue: word) else {
      throw PullRequest.malformed(
        "state", got: word, allowed: AlarmFilter.allCases.map(\.rawValue).joined(separator: ", "))
    }
    guard consumer.spec.lanes.contains(.alarms) else {
      throw PullRefusal(.problem(.forbidden, "alarms are outside the scope of \(consumer.name)"))
    }
    let bound = NIOLoopBound((listing: self, reply: reply), eventLoop: desk.loop)
    let desk = desk
    desk.source.alarms { stored in
      desk.loop.execute {
        let (listing, reply) = bound.value
        let shown = stored.filter { filter.admits($0.event) }
        desk.timeline(of: Set(shown.map(\.epoch))) { timeline in
          desk.shelf.views(Set(shown.map(\.catalogueVersion))) { views in
            reply(.json(listing.alarms(shown, views, timeline)))
          }
        }
      }
    }
  }

  private func alarms(
    _ stored: [StoredAlarm], _ views: [UInt32: CatalogueView], _ timeline: Timeline
  ) -> [UInt8] {
    var writer = JSONWriter()
    writer.object { root in
      head(&root)
      root.key("alarms")
      root.array { list in
        for alarm in stored {
          let number = Int(alarm.event.alarm)
          guard let view = views[alarm.catalogueVersion], view.catalogue.alarms.indices.contains(number),
            view.scope(of: consumer).allows(alarm.event), alarm.event.severity >= consumer.spec.severityMin
          else { continue }
          let scope = view.scope(of: consumer)
          RecordWriter(catalogue: view.catalogue, timeline: timeline, pseudonymKey: nil).write(
            alarm.stored, allows: scope.allows(series:), into: &list)
        }
      }
    }
    return writer.bytes
  }
}

extension RecordWriter {
  /// The members of a point's latest value.
  package func write(_ point: PointReport, of series: CatalogueSeries, into writer: inout JSONWriter) {
    writeName(series, into: &writer)
    writer.member("device", catalogue.devices[series.device].name)
    writer.member("point", series.point)
    if let readAt = point.readAt {
      timeline.write(readAt, epoch: timeline.epoch, into: &writer)
      writer.member("age_ms", max(0, (timeline.now - readAt) / 1_000_000))
      writeValue(series, raw: point.raw, text: point.text, quality: point.quality, into: &writer)
    } else {
      // Never read: whatever the report holds, it is no value.
      writeValue(series, raw: 0, text: [], quality: .bad, into: &writer)
    }
  }
}

extension JSONWriter {
  /// The members of a device's state.
  package mutating func write(_ device: DeviceReport, timeline: Timeline) {
    member("name", device.name)
    member("kind", device.kind)
    member("bus", device.bus)
    if let meter = device.meterAddress { member("address", meter) } else { member("address", device.address) }
    member("state", device.state.rawValue)
    if let seen = device.lastSeen {
      timeline.writeMember("last_seen", seen, epoch: timeline.epoch, into: &self)
      member("age_ms", max(0, (timeline.now - seen) / 1_000_000))
    }
    member("transactions", device.transactions)
    member("good", device.good)
    member("timeouts", device.timeouts)
    member("crc_errors", device.crcErrors)
    member("exceptions", device.exceptions)
    member("latency_ms", device.latencyMs)
    member("timeout_ms", device.timeoutMs)
    if let silenceMs = device.silenceMs { member("silence_ms", silenceMs) }
    member("refused_requests", device.refusedRequests)
  }

  mutating func labels(_ labels: [String: String]) {
    if labels.isEmpty { return }
    key("labels")
    object { for name in labels.keys.sorted() { $0.member(name, labels[name] ?? "") } }
  }
}

extension JSONWriter {
  /// Members `devices` and `points` of a status. `qualities` are numbers of points by `Quality.rawValue`.
  mutating func counts(of devices: [DeviceReport], qualities: [Int]) {
    key("devices")
    object {
      $0.member("online", devices.count { $0.state == .online })
      $0.member("offline", devices.count { $0.state == .offline })
      $0.member("unknown", devices.count { $0.state == .unknown })
    }
    key("points")
    object {
      for quality in [Quality.good, .uncertain, .bad, .stale] {
        $0.member(quality.word, qualities[Int(quality.rawValue)])
      }
    }
  }
}

/// Which states of alarms somebody wants to see.
package enum AlarmFilter: String, CaseIterable, Sendable {
  /// The condition holds, no other alarm explains it, and nobody has put it aside.
  case active
  /// Somebody is called, or was in vain.
  case unacknowledged
  case shelved
  case outOfService = "out-of-service"
  /// It stands, and another one explains it.
  case suppressed
  case all

  package func admits(_ event: AlarmEvent) -> Bool {
    switch self {
    case .active: event.state.isActive && !event.isSuppressed
    case .unacknowledged:
      (event.state == .unacknowledged && !event.isSuppressed) || event.state == .returnedUnacknowledged
    case .suppressed: event.state.isActive && event.isSuppressed
    case .shelved: event.state == .shelved
    case .outOfService: event.state == .outOfService
    case .all: true
    }
  }
}
