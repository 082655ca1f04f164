// What the store is told of the configuration: its folder and quotas, and for each version of the catalogue what every
// series is worth. Values only.

import FieldBus
import Store
import StreamCore

extension StoreConfiguration {
  /// `catalogue`: nil of a store at rest, whose own ones are asked.
  package init(_ configuration: Configuration, catalogue: Catalogue?) {
    self.init(
      statePath: configuration.statePath, telemetryBytes: configuration.telemetryBytes,
      alarmBytes: configuration.alarmBytes, commitNs: configuration.commitNs, catalogue: catalogue?.encoded() ?? [],
      seriesCount: catalogue?.series.count ?? 0, alarmNames: catalogue.map { $0.alarms.map($0.alarmName) } ?? [],
      consumers: configuration.cursorOwners)
    reserveBytes = configuration.reserveBytes
    isThinning = configuration.isThinning
    retentionNs = configuration.personalNs
    gateway = configuration.gatewayID
    let keep = configuration.keep
    rules = { bytes in (try? Catalogue(decoding: bytes)).map { $0.rules(keep) } }
    if let catalogue { seriesNow = { catalogue.places(of: $1, in: try? Catalogue(decoding: $0)) } }
  }
}

extension Configuration {
  /// Who has a cursor in the store: who pulls, and what pushes.
  package var cursorOwners: [CursorOwner] {
    (consumers + pushes.map(\.consumer)).map {
      CursorOwner(name: $0.name, alarms: $0.lanes.contains(.alarms), telemetry: $0.lanes.contains(.telemetry))
    }
  }

  /// Of the telemetry's file.
  package var reserveBytes: Int {
    if let reserve { return reserve }
    let isNeeded = isThinning || keep.values.contains(.long)
    return isNeeded ? telemetryBytes / 8 * Limits.reserveEighths / Limits.pageBytes * Limits.pageBytes : 0
  }

  /// Terabytes that the flash bears, if somebody knows.
  package var enduranceTBW: Double? { flashEnduranceTBW ?? board?.storage?.enduranceTBW }
}

extension Catalogue {
  /// Where series of an older one stand here, if their raw numbers mean the same.
  func places(of numbers: [UInt16], in older: Catalogue?) -> [UInt16?] {
    numbers.map { number in
      guard let older, older.series.indices.contains(Int(number)) else { return nil }
      let sought = older.series[Int(number)]
      let device = older.devices[sought.device].name
      let place = series.firstIndex { entry in
        var same = entry
        // The device is known by its name.
        same.device = sought.device
        return same == sought && devices[entry.device].name == device
      }
      return place.map { UInt16($0) }
    }
  }

  /// By series. `keep`: by device; devices that are no more are normal.
  func rules(_ keep: [String: KeepClass]) -> [SeriesRule] {
    var buses: [String] = []
    for device in devices where !buses.contains(device.bus) { buses.append(device.bus) }
    let sources = devices.map { device in UInt8(clamping: buses.firstIndex(of: device.bus) ?? 0) }
    var rules = series.map { entry in
      var rule = SeriesRule()
      rule.keep = keep[devices[entry.device].name] ?? .normal
      rule.isPersonal = entry.personal
      rule.encoding = entry.encoding
      rule.statistic = entry.statistic
      rule.windowNs = entry.windowNs
      rule.source = sources[entry.device]
      return rule
    }
    // The statistics of a window stand side by side.
    for (number, rule) in rules.enumerated() where rule.statistic == .mean {
      let most = Limits.statisticsPerWindowMax
      let near = max(0, number - most)..<min(series.count, number + most)
      let count = near.first {
        series[$0].statistic == .count && series[$0].windowNs == rule.windowNs
          && series[$0].device == series[number].device && series[$0].point == series[number].point
      }
      guard let count, rules[count].partner == nil else { continue }
      rules[number].partner = UInt16(count)
      rules[count].partner = UInt16(number)
    }
    return rules
  }
}
