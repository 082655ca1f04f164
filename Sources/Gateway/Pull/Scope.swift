// What one consumer may see of one catalogue: a yes or no for every device, series and alarm, worked out once.
// Immutable.

import StreamCore

package struct Scope: Sendable {
  private let devices: [Bool]
  private let series: [Bool]
  private let alarms: [Bool]

  package init(_ consumer: ConsumerSpec, of catalogue: Catalogue) {
    let devices = catalogue.devices.map { device in
      (consumer.devices.isEmpty || consumer.devices.contains(device.name))
        && (consumer.kinds.isEmpty || consumer.kinds.contains(device.kind))
        && consumer.labels.allSatisfy { device.labels[$0.key] == $0.value }
    }
    let points = Set(consumer.points)
    series = catalogue.series.map { entry in
      devices[entry.device] && (consumer.personal == .pseudonym || !entry.personal)
        && (points.isEmpty || points.contains(entry.point) || points.contains(catalogue.pointName(entry)))
    }
    let buses = Set(catalogue.devices.indices.filter { devices[$0] }.map { catalogue.devices[$0].bus })
    // `points` chooses values; an alarm belongs to its device. A bus's alarm explains those of its devices; the box's
    // own concern whoever gets data from it.
    alarms = catalogue.alarms.map { alarm in
      switch alarm.owner {
      case .device(let device): devices[device]
      case .bus(let bus): buses.contains(bus)
      case .gateway: true
      }
    }
    self.devices = devices
  }

  package func allows(device: Int) -> Bool { devices.indices.contains(device) && devices[device] }
  package func allows(series number: Int) -> Bool { series.indices.contains(number) && series[number] }
  package func allows(alarm number: Int) -> Bool { alarms.indices.contains(number) && alarms[number] }

  /// A command is told to whoever may see the point that was written; its note names value and point.
  package func allows(_ event: AlarmEvent) -> Bool {
    guard allows(alarm: Int(event.alarm)) else { return false }
    return event.change != .commanded || allows(series: Int(event.cause(0).series))
  }
}

extension ConsumerSpec {
  /// Sees every device: to such a one it may be said that a device does not exist.
  package var seesAllDevices: Bool { devices.isEmpty && kinds.isEmpty && labels.isEmpty && points.isEmpty }
}
