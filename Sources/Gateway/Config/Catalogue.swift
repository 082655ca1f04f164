// The names behind the numbers: what each series, alarm and device number means. Built from the configuration,
// stored once for each version beside the data, so that old blocks keep their meaning after a change of the
// configuration.

import FieldBus
import StreamCore

package struct CatalogueDevice: Sendable, Equatable {
  package var name: String
  package var kind: String
  package var bus: String
  package var address: Int
  /// Of a meter: its digits.
  package var meterAddress: String?
  package var profile: String
  package var labels: [String: String]
}

/// What has a name upstream: a point, or one statistic of one of its windows.
package struct CatalogueSeries: Sendable, Equatable {
  /// Index in `devices`.
  package var device: Int
  package var point: String
  package var encoding: Encoding
  /// A `bool` point, or one bit: true or false upstream.
  package var isBool: Bool
  package var scale: Double
  package var offset: Double
  package var unit: String?
  package var personal: Bool
  /// Names of an enumeration's values.
  package var values: [Int64: String]
  /// Nil: the point itself.
  package var statistic: Statistic?
  package var windowNs: Int64
}

/// Whose alarm it is.
package enum AlarmOwner: Sendable, Equatable {
  /// Index in `devices`.
  case device(Int)
  /// A bus, by its name.
  case bus(String)
  case gateway
}

package struct CatalogueAlarm: Sendable, Equatable {
  package var owner: AlarmOwner
  package var name: String
  package var severity: Severity
  package var message: [String: String]
}

package struct Catalogue: Sendable, Equatable {
  package var gatewayID = ""
  package var devices: [CatalogueDevice] = []
  /// A sample's `series` is its index here. The first `pointCount` are the points, in the configuration's order.
  package var series: [CatalogueSeries] = []
  package var pointCount = 0
  package var alarms: [CatalogueAlarm] = []

  package init() {}
}

extension Catalogue {
  package init(_ configuration: Configuration) {
    gatewayID = configuration.gatewayID
    for (index, device) in configuration.devices.enumerated() {
      devices.append(
        CatalogueDevice(
          name: device.name, kind: device.kind, bus: configuration.buses[device.bus].name, address: device.address,
          meterAddress: device.meterAddress?.text, profile: device.profile, labels: device.labels))
      for point in device.points {
        series.append(CatalogueSeries(device: index, point: point, statistic: nil, windowNs: 0))
      }
      alarms += device.alarms.map { CatalogueAlarm($0, owner: .device(index)) }
    }
    for bus in configuration.buses { alarms += bus.alarms.map { CatalogueAlarm($0, owner: .bus(bus.name)) } }
    alarms += configuration.alarms.map { CatalogueAlarm($0, owner: .gateway) }
    // Behind all others: nobody watches these.
    for (index, device) in configuration.devices.enumerated() where device.takesCommands {
      alarms.append(
        CatalogueAlarm(
          owner: .device(index), name: BuiltInAlarm.command, severity: .notice, message: BuiltInAlarm.commandMessage))
    }
    pointCount = series.count
    for (index, device) in configuration.devices.enumerated() {
      for point in device.points {
        for window in point.windows {
          for statistic in window.statistics {
            series.append(
              CatalogueSeries(device: index, point: point, statistic: statistic, windowNs: window.everyNs))
          }
        }
      }
    }
  }

  /// "manhole-17/tilt"
  package func pointName(_ series: CatalogueSeries) -> String { "\(devices[series.device].name)/\(series.point)" }
  /// "manhole-17/cover-open", "rs485-1/bus-lost", "clock-wrong"
  package func alarmName(_ alarm: CatalogueAlarm) -> String {
    switch alarm.owner {
    case .device(let device): return "\(devices[device].name)/\(alarm.name)"
    case .bus(let bus): return "\(bus)/\(alarm.name)"
    case .gateway: return alarm.name
    }
  }
}

extension CatalogueAlarm {
  fileprivate init(_ alarm: AlarmSpec, owner: AlarmOwner) {
    self.init(owner: owner, name: alarm.name, severity: alarm.severity, message: alarm.message)
  }
}

extension CatalogueSeries {
  fileprivate init(device: Int, point: PointSpec, statistic: Statistic?, windowNs: Int64) {
    self.device = device
    self.point = point.name
    encoding = statistic?.encoding(of: point.encoding) ?? point.encoding
    let isReading = statistic == nil || statistic == .last || statistic == .first
    let keepsScale = isReading || statistic == .min || statistic == .max
    isBool = point.isBool && isReading
    scale = keepsScale ? point.scale : 1
    offset = keepsScale ? point.offset : 0
    unit = statistic.map { $0.unit(of: point.unit) } ?? point.unit
    personal = point.personal
    values = isReading ? point.values : [:]
    self.statistic = statistic
    self.windowNs = windowNs
  }
}
