// The catalogue as it is stored beside the data: JSON, the same bytes for the same catalogue on every box, defaults
// left out.

import FieldBus
import StreamCore

extension Catalogue {
  package func encoded() -> [UInt8] {
    var writer = JSONWriter(reservingCapacity: 64 * (series.count + devices.count + alarms.count) + 64)
    writer.object { root in
      root.member("gateway", gatewayID)
      root.member("points", pointCount)
      root.key("devices")
      root.array { list in for device in devices { list.device(device) } }
      root.key("series")
      root.array { list in for entry in series { list.series(entry) } }
      root.key("alarms")
      root.array { list in for alarm in alarms { list.alarm(alarm) } }
    }
    return writer.bytes
  }

  package init(decoding bytes: [UInt8]) throws(JSONFailure) {
    let root = try JSONParser.parse(bytes)
    gatewayID = try root.required("gateway") { $0.string }
    pointCount = try root.required("points") { $0.small }
    for entry in try root.required("devices", { $0.array }) { devices.append(try CatalogueDevice(decoding: entry)) }
    for entry in try root.required("series", { $0.array }) {
      series.append(try CatalogueSeries(decoding: entry, devices: devices.count))
    }
    for entry in try root.required("alarms", { $0.array }) {
      alarms.append(try CatalogueAlarm(decoding: entry, devices: devices.count))
    }
    guard (0...series.count).contains(pointCount) else { throw JSONFailure(.missing("points"), offset: 0) }
  }
}

extension JSONWriter {
  /// Sorted: a dictionary has no order of its own.
  fileprivate mutating func member(_ name: String, _ table: [String: String]) {
    if table.isEmpty { return }
    key(name)
    object { for key in table.keys.sorted() { $0.member(key, table[key] ?? "") } }
  }

  fileprivate mutating func device(_ device: CatalogueDevice) {
    object {
      $0.member("name", device.name)
      $0.member("kind", device.kind)
      $0.member("bus", device.bus)
      $0.member("address", device.address)
      if let meter = device.meterAddress { $0.member("meter", meter) }
      $0.member("profile", device.profile)
      $0.member("labels", device.labels)
    }
  }

  fileprivate mutating func series(_ series: CatalogueSeries) {
    object {
      $0.member("d", series.device)
      $0.member("p", series.point)
      $0.member("e", series.encoding.rawValue)
      if series.isBool { $0.member("bool", true) }
      if series.scale != 1 { $0.member("scale", series.scale) }
      if series.offset != 0 { $0.member("offset", series.offset) }
      if let unit = series.unit { $0.member("u", unit) }
      if series.personal { $0.member("personal", true) }
      if !series.values.isEmpty {
        $0.key("values")
        $0.object { for key in series.values.keys.sorted() { $0.member("\(key)", series.values[key] ?? "") } }
      }
      if let statistic = series.statistic { $0.member("stat", statistic.rawValue) }
      if series.windowNs != 0 { $0.member("window", series.windowNs) }
    }
  }

  fileprivate mutating func alarm(_ alarm: CatalogueAlarm) {
    object {
      switch alarm.owner {
      case .device(let device): $0.member("d", device)
      case .bus(let bus): $0.member("bus", bus)
      case .gateway: break
      }
      $0.member("name", alarm.name)
      $0.member("severity", alarm.severity.rawValue)
      $0.member("message", alarm.message)
    }
  }
}

extension CatalogueDevice {
  fileprivate init(decoding value: JSONValue) throws(JSONFailure) {
    self.init(
      name: try value.required("name") { $0.string },
      kind: try value.required("kind") { $0.string },
      bus: try value.required("bus") { $0.string },
      address: try value.required("address") { $0.small },
      meterAddress: try value.optional("meter") { $0.string },
      profile: try value.required("profile") { $0.string },
      labels: try value.stringTable("labels"))
  }
}

extension CatalogueSeries {
  fileprivate init(decoding value: JSONValue, devices: Int) throws(JSONFailure) {
    var values: [Int64: String] = [:]
    for (name, label) in try value.stringTable("values") {
      guard let raw = Int64(name) else { throw JSONFailure(.missing("values"), offset: 0) }
      values[raw] = label
    }
    self.init(
      device: try value.required("d") { $0.index(below: devices) },
      point: try value.required("p") { $0.string },
      encoding: try value.required("e") { $0.byte.flatMap(Encoding.init(rawValue:)) },
      isBool: try value.optional("bool") { $0.bool } ?? false,
      scale: try value.optional("scale") { $0.double } ?? 1,
      offset: try value.optional("offset") { $0.double } ?? 0,
      unit: try value.optional("u") { $0.string },
      personal: try value.optional("personal") { $0.bool } ?? false,
      values: values,
      statistic: try value.optional("stat") { $0.byte.flatMap(Statistic.init(rawValue:)) },
      windowNs: try value.optional("window") { $0.integer } ?? 0)
  }
}

extension CatalogueAlarm {
  fileprivate init(decoding value: JSONValue, devices: Int) throws(JSONFailure) {
    var owner = AlarmOwner.gateway
    if let device = try value.optional("d", { $0.index(below: devices) }) { owner = .device(device) }
    if let bus = try value.optional("bus", { $0.string }) { owner = .bus(bus) }
    self.init(
      owner: owner,
      name: try value.required("name") { $0.string },
      severity: try value.required("severity") { $0.byte.flatMap(Severity.init(rawValue:)) },
      message: try value.stringTable("message"))
  }
}

extension JSONValue {
  fileprivate var small: Int? { integer.flatMap { Int(exactly: $0) } }
  fileprivate var byte: UInt8? { integer.flatMap { UInt8(exactly: $0) } }
  fileprivate func index(below count: Int) -> Int? { small.flatMap { (0..<count).contains($0) ? $0 : nil } }

  fileprivate func required<T>(_ key: String, _ read: (JSONValue) -> T?) throws(JSONFailure) -> T {
    guard let value = self[key], let result = read(value) else { throw JSONFailure(.missing(key), offset: 0) }
    return result
  }

  /// Absent is nil; present, but of another type, is an error.
  fileprivate func optional<T>(_ key: String, _ read: (JSONValue) -> T?) throws(JSONFailure) -> T? {
    guard self[key] != nil else { return nil }
    return try required(key, read)
  }

  fileprivate func stringTable(_ key: String) throws(JSONFailure) -> [String: String] {
    var table: [String: String] = [:]
    for member in try optional(key, { $0.members }) ?? [] {
      guard let text = member.value.string else { throw JSONFailure(.missing(key), offset: 0) }
      table[member.name] = text
    }
    return table
  }
}
