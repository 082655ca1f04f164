// The numbers of points, series and alarms: one rule for the stream, the store and the catalogue.
//
// Points are numbered through all devices in the configuration's order; a point's own series has the point's
// number. Then follow the windows' series: point by point, window by window, statistic by statistic. Alarms are
// numbered like points; then follow those of the buses, bus by bus, then the gateway's.

import StreamCore

package struct Numbering: Sendable {
  /// By device: the number of its first point, and of its first alarm.
  package private(set) var firstPoint: [Int] = []
  package private(set) var firstAlarm: [Int] = []
  package private(set) var pointCount = 0
  package private(set) var seriesCount = 0
  /// By bus.
  package private(set) var firstBusAlarm: [Int] = []
  package private(set) var firstGatewayAlarm = 0
  /// Without the gateway's own.
  package var alarmCount: Int { firstGatewayAlarm }
  /// By point: the number of the first series of its windows.
  package private(set) var firstWindowSeries: [Int] = []

  package init(devices: [DeviceSpec], buses: [BusSpec] = []) {
    var alarmCount = 0
    for device in devices {
      firstPoint.append(pointCount)
      firstAlarm.append(alarmCount)
      pointCount += device.points.count
      alarmCount += device.alarms.count
    }
    for bus in buses {
      firstBusAlarm.append(alarmCount)
      alarmCount += bus.alarms.count
    }
    firstGatewayAlarm = alarmCount
    seriesCount = pointCount
    for device in devices {
      for point in device.points {
        firstWindowSeries.append(seriesCount)
        for window in point.windows { seriesCount += window.statistics.count }
      }
    }
  }
}

extension PointSpec {
  /// How the raw value of the point itself travels.
  package var encoding: Encoding {
    if personal { return .pseudonym }
    if bits != nil { return .signed }
    switch type {
    case .bool, .u8, .i8, .u16, .i16, .u32, .i32, .i64, .bcd16, .bcd32, .bcd: return .signed
    case .u64: return .unsigned
    case .f32: return .float
    case .f64: return .double
    case .text: return .text
    }
  }

  /// True or false upstream.
  package var isBool: Bool {
    if personal { return false }
    if let bits { return bits.count == 1 && values.isEmpty }
    return type == .bool
  }
}

extension Statistic {
  /// Minimum, maximum, first and last are values that the device sent and keep its encoding; the others are computed,
  /// or count.
  package func encoding(of point: Encoding) -> Encoding {
    switch self {
    case .min, .max, .first, .last: return point
    case .count, .rises, .falls: return .signed
    default: return .double
    }
  }
}
