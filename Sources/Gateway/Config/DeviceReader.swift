// The `[[device]]` tables: a place on a bus, a profile, and points and alarms of its own.

import FieldBus
import Store
import StreamCore

/// A device as far as it is known.
struct DeviceEntry {
  var spec: DeviceSpec
  /// Nil: it names no bus that exists.
  var busIndex: Int?
  /// Points that were reported as wrong.
  var brokenPoints: Set<String> = []
  /// Its profile was found: nothing but the broken points is unknown of it.
  var isComplete = true
  /// Alarms that are switched off, by name.
  var alarmsOff: Set<String> = []

  func hasPoint(_ name: String) -> Bool {
    brokenPoints.contains(name) || spec.points.contains { $0.name == name }
  }
}

extension ConfigurationReader {
  mutating func readDevices(_ root: TableReader) {
    var names = UniqueNames()
    /// By bus: the addresses taken, and where.
    var addresses: [Int: [String: SourcePlace]] = [:]
    for reader in root.tables("device") {
      let name = reader.name()
      if let name { names.claim(name, in: reader) }
      let busIndex = bus(reader)
      let busProtocol = busIndex.flatMap { buses[$0].busProtocol }
      let profile = profile(reader, busProtocol)
      let meterAddress = meterAddress(reader, busProtocol, profile)
      let address = busProtocol?.isMeter == true ? nil : address(reader, busProtocol, profile)
      let text = meterAddress?.text ?? address.map { "\($0)" }
      if let busIndex, let text, busProtocol != .serial || reader.has("address") {
        claim(text, on: busIndex, reader, &addresses)
      }
      if let busIndex, busProtocol == .serial || meterAddress != nil {
        claimWholeBus(busIndex, reader, profile, meterAddress)
      }
      let spec = DeviceSpec(
        name: name ?? "", place: reader.table.place, bus: busIndex ?? 0, address: address ?? 0,
        profile: profile?.id ?? "", kind: kind(reader, profile))
      var entry = DeviceEntry(spec: spec, busIndex: busIndex)
      entry.spec.meterAddress = meterAddress
      entry.isComplete = profile != nil || !reader.has("profile")
      entry.spec.labels = labels(reader)
      let classes = KeepClass.allCases.map { (word: "\($0)", value: $0) }
      if let keep = reader.choice("keep", among: classes) { configuration.keep[spec.name] = keep }
      points(&entry, reader, profile, busProtocol)
      entry.alarmsOff = alarmsOff(
        reader, known: entry.spec.alarms.map(\.name) + [BuiltInAlarm.deviceOffline.rawValue])
      reader.finish()
      devices.append(entry)
    }
  }

  // MARK: Where it is

  private func bus(_ reader: TableReader) -> Int? {
    guard let name = reader.requiredString("bus") else { return nil }
    if let index = buses.firstIndex(where: { $0.spec.name == name }) { return index }
    guard isWhole else { return nil }
    let known = buses.map(\.spec.name).filter { !$0.isEmpty }
    var message = "there is no bus \"\(name)\""
    if let near = nearestMatch(to: name, among: known) {
      message += "; did you mean \"\(near)\"?"
    } else {
      message += known.isEmpty ? ": add it as [[bus]]" : "; known are \(known.joined(separator: ", "))"
    }
    reader.report("bus", message)
    return nil
  }

  private func address(_ reader: TableReader, _ busProtocol: BusProtocol?, _ profile: Profile?) -> Int? {
    switch busProtocol {
    case .modbusRTU, .modbusRTUTCP:
      reader.require("address")
      return reader.integer("address", in: Limits.rtuUnits)
    case .modbusTCP:
      reader.require("address")
      return reader.integer("address", in: Limits.tcpUnits)
    case .serial:
      guard let profile else {
        return reader.has("address") ? reader.integer("address", in: Limits.tcpUnits) : nil
      }
      if profile.asksForAddress {
        reader.require("address")
        return reader.integer("address", in: Limits.tcpUnits)
      }
      reader.reject(["address"], because: "has no meaning here: the profile asks for no {address}")
      return 0
    case .dlt645, .cjt188: return nil
    case nil:
      // Of a meter, perhaps.
      if case .string = reader.item("address")?.value { return nil }
      return reader.integer("address", in: Limits.tcpUnits)
    }
  }

  /// The digits on the meter, as a string: a number would lose its zeros in front.
  private func meterAddress(
    _ reader: TableReader, _ busProtocol: BusProtocol?, _ profile: Profile?
  ) -> MeterAddress? {
    guard let busProtocol, busProtocol.isMeter else { return nil }
    let bytes = busProtocol == .dlt645 ? MeterAddress.dlt645Bytes : MeterAddress.cjt188Bytes
    reader.require("address")
    if case .integer = reader.item("address")?.value {
      reader.report("address", "write a meter's digits in quotation marks: a number would lose its zeros in front")
      return nil
    }
    guard let text = reader.string("address") else { return nil }
    guard let address = MeterAddress(text, bytes: bytes) else {
      reader.report(
        "address",
        "\"\(text)\" is not a meter's address: write its \(2 * bytes) digits, or AA for two that may be any")
      return nil
    }
    return address
  }

  private func claim(
    _ address: String, on bus: Int, _ reader: TableReader, _ addresses: inout [Int: [String: SourcePlace]]
  ) {
    if let first = addresses[bus]?[address] {
      reader.report(
        "address", "\(address) on bus \"\(buses[bus].spec.name)\" is taken already, by the device at \(first.text)")
    } else {
      addresses[bus, default: [:]][address] = reader.valuePlace("address")
    }
  }

  /// Devices share a line only if each is asked by its address.
  private func claimWholeBus(_ bus: Int, _ reader: TableReader, _ profile: Profile?, _ address: MeterAddress?) {
    guard let first = devices.first(where: { $0.busIndex == bus }) else { return }
    let name = buses[bus].spec.name
    if let address {
      let other = devices.first { entry in
        guard entry.busIndex == bus, let taken = entry.spec.meterAddress, taken.matches(address) else { return false }
        return taken != address && (taken.hasWildcard || address.hasWildcard)
      }
      guard let other else { return }
      reader.report(
        "address",
        "\(address.text) is also the device at \(other.spec.place.text): an address with AA is for a meter "
          + "that is alone")
      return
    }
    let isShared = profile?.asksForAddress ?? false
    if isShared, first.spec.frame != nil, first.spec.isAsked { return }
    reader.report(
      "bus",
      "\"\(name)\" is a serial bus and has its device already, at \(first.spec.place.text): "
        + "it carries one, or several whose profiles ask with {address}")
  }

  // MARK: What it is

  private func profile(_ reader: TableReader, _ busProtocol: BusProtocol?) -> Profile? {
    guard let id = reader.string("profile") else {
      if busProtocol == .serial, !reader.has("profile") {
        reader.report("profile", "is missing: a device on a serial bus needs a profile with a [frame]")
      }
      return nil
    }
    guard
      let profile = library.load(
        id, place: reader.valuePlace("profile"), key: reader.keyPath("profile"), into: diagnostics)
    else { return nil }
    if let busProtocol, !busProtocol.isModbus, profile.frame == nil {
      let what = busProtocol == .serial ? "one" : "one with format = \"\(busProtocol.rawValue)\""
      reader.report("profile", "\"\(id)\" has no [frame]: a device on a \(busProtocol.rawValue) bus needs \(what)")
    } else if let busProtocol, let frame = profile.frame, frame.busProtocol != busProtocol {
      reader.report(
        "profile", "\"\(id)\" has a [frame]: it belongs on a bus with protocol \"\(frame.busProtocol.rawValue)\"")
    }
    return profile
  }

  private func kind(_ reader: TableReader, _ profile: Profile?) -> String {
    if let profile {
      reader.reject(["kind"], because: "comes from the profile, and is \"\(profile.kind)\": leave it out")
      return profile.kind
    }
    guard let kind = reader.string("kind") else { return "other" }
    if let problem = nameProblem(kind) { reader.report("kind", problem) }
    return kind
  }

  private func labels(_ reader: TableReader) -> [String: String] {
    let texts = reader.placedTexts("labels") ?? []
    for (label, text, place) in texts {
      let key = reader.keyPath("labels.\(label)")
      if let problem = nameProblem(label) { diagnostics.report(place, key, problem) }
      if text.isEmpty || text.utf8.count > Limits.nameBytesMax {
        diagnostics.report(place, key, "has \(text.utf8.count) bytes: allowed are 1 to \(Limits.nameBytesMax)")
      }
    }
    if texts.count > Limits.labelsPerDeviceMax {
      reader.report("labels", "has \(texts.count) labels: allowed are \(Limits.labelsPerDeviceMax)")
    }
    return Dictionary(texts.map { ($0.key, $0.text) }, uniquingKeysWith: { first, _ in first })
  }

  // MARK: What is read of it

  /// The profile's points, then its own; a point or alarm of its own takes the place of the profile's of that name.
  private func points(
    _ entry: inout DeviceEntry, _ reader: TableReader, _ profile: Profile?, _ busProtocol: BusProtocol?
  ) {
    entry.spec.registersMax = profile?.registersMax ?? Limits.registersPerReadMax
    let form: PointForm
    switch busProtocol {
    case .modbusRTU, .modbusTCP, .modbusRTUTCP: form = .registers(max: entry.spec.registersMax)
    case .serial: form = .frame(profile?.frame ?? .text(end: [0x0D, 0x0A], split: nil))
    case .dlt645: form = .frame(profile?.frame ?? .dlt645)
    case .cjt188: form = .frame(profile?.frame ?? .cjt188)
    case nil: form = .any
    }
    if case .frame(let frame) = form { entry.spec.frame = frame }
    let own = PointParser.points(of: reader, form: form, kind: entry.spec.kind)
    entry.spec.points = profile?.points ?? []
    for point in own.points {
      if let index = entry.spec.points.firstIndex(where: { $0.name == point.name }) {
        entry.spec.points[index] = point
      } else {
        entry.spec.points.append(point)
      }
    }
    entry.brokenPoints = own.broken.union(profile?.brokenPoints ?? [])
    entry.spec.points.removeAll { own.broken.contains($0.name) }
    if entry.isComplete, entry.spec.points.isEmpty, entry.brokenPoints.isEmpty {
      diagnostics.report(
        reader.table.place, reader.path, "has no points: name a profile, or add [[device.point]] tables")
    }

    checkQuestions(entry, reader, busProtocol)

    let ownAlarms = AlarmParser.alarms(
      of: reader, points: entry.spec.points, broken: entry.brokenPoints, isComplete: entry.isComplete)
    entry.spec.alarms = profile?.alarms ?? []
    for alarm in ownAlarms {
      if let index = entry.spec.alarms.firstIndex(where: { $0.name == alarm.name }) {
        entry.spec.alarms[index] = alarm
      } else {
        entry.spec.alarms.append(alarm)
      }
    }
  }

  /// A device either speaks when it likes, or is asked for everything.
  private func checkQuestions(_ entry: DeviceEntry, _ reader: TableReader, _ busProtocol: BusProtocol?) {
    guard busProtocol == .serial, entry.isComplete else { return }
    guard entry.spec.isAsked else {
      guard let bus = entry.busIndex else { return }
      for (key, place) in buses[bus].asking {
        diagnostics.report(
          place, "bus.\(buses[bus].spec.name).\(key)",
          "has no meaning for serial: the device speaks when it likes, and nothing is asked")
      }
      return
    }
    for point in entry.spec.points where point.ask == nil && !point.isComputed {
      diagnostics.report(
        point.place, "point.\(point.name).ask",
        "is missing: other points of the device are asked for; give this one an `ask`, or the [frame] one for all")
    }
  }
}

extension Profile {
  /// Its questions name the device that shall answer.
  package var asksForAddress: Bool {
    let asks = points.compactMap(\.ask)
    return !asks.isEmpty && asks.allSatisfy(\.hasAddress)
  }
}
