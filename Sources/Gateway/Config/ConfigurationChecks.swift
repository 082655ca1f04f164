// What can be judged only when the whole is known: intervals against the wire, counts against the limits.

import FieldBus
import StreamCore

extension ConfigurationReader {
  /// Intervals that the wire of a bus can't carry. Points that were reported are left out: what is impossible without
  /// them is impossible with them.
  func checkTimetable(of busIndex: Int) {
    let bus = buses[busIndex].spec
    guard bus.busProtocol != .modbusTCP else { return }
    let reportsBefore = diagnostics.count
    for device in devices where device.busIndex == busIndex {
      for point in device.spec.points where point.everyNs > 0 {
        let needed = bus.busProtocol.isModbus ? bus.readingNs(of: point) : bus.readingNs(of: point, device.spec)
        if point.everyNs < needed {
          let milliseconds = needed / 1_000_000 + 1
          diagnostics.report(
            point.everyPlace ?? point.place, "point.\(point.name).every",
            "\(durationText(point.everyNs)) is impossible on bus \"\(bus.name)\": one reading alone takes "
              + "\(milliseconds) ms at \(bus.format.baud) baud; allow more, or write \"0s\" for as often as the line "
              + "allows")
        }
      }
    }
    if diagnostics.count == reportsBefore { checkUtilisation(of: busIndex) }
  }

  /// Each interval is possible alone; together they may ask for more than the whole line.
  private func checkUtilisation(of busIndex: Int) {
    let bus = buses[busIndex].spec
    let members = devices.filter { $0.busIndex == busIndex }.map(\.spec)
    guard bus.busProtocol.isModbus else { return checkAsking(bus, members) }
    let plan = PollPlan(bus: bus, devices: members)
    guard plan.utilisation > 1 else { return }
    var shares: [(name: String, share: Double)] = []
    for (index, range) in plan.requestsOfDevice.enumerated() {
      let share = plan.requests[range].reduce(0) {
        $0 + ($1.intervalNs > 0 ? Double($1.wireNs) / Double($1.intervalNs) : 0)
      }
      shares.append((members[index].name, share))
    }
    report(overload: plan.utilisation, of: bus, shares)
  }

  private func checkAsking(_ bus: BusSpec, _ members: [DeviceSpec]) {
    let plan = AskPlan(bus: bus, devices: members)
    guard plan.utilisation > 1 else { return }
    var shares: [(name: String, share: Double)] = []
    for (index, range) in plan.requestsOfDevice.enumerated() {
      let share = plan.requests[range].reduce(0) {
        $0 + ($1.intervalNs > 0 ? Double($1.wireNs) / Double($1.intervalNs) : 0)
      }
      shares.append((members[index].name, share))
    }
    report(overload: plan.utilisation, of: bus, shares)
  }

  private func report(overload: Double, of bus: BusSpec, _ shares: [(name: String, share: Double)]) {
    let heaviest = shares.sorted { $0.share > $1.share }.prefix(3).map { "\($0.name) \(percent($0.share))" }
    diagnostics.report(
      bus.place, "bus.\(bus.name)",
      "the intervals of its devices need \(percent(overload)) of the line at \(bus.format.baud) baud; most: "
        + "\(heaviest.joined(separator: ", ")). Read some points more rarely, raise the baud rate, or split the bus")
  }

  private func percent(_ share: Double) -> String { "\(Int((share * 100).rounded(.up))) %" }

  mutating func checkLimits() {
    let numbering = Numbering(devices: devices.map(\.spec), buses: buses.map(\.spec))
    check(buses.map(\.spec.place), Limits.busesMax, "bus", "buses")
    check(devices.map(\.spec.place), Limits.devicesMax, "device", "devices")
    let cursors = configuration.consumers.map(\.place) + configuration.pushes.map(\.consumer.place)
    check(cursors, Limits.consumersMax, "consumer", "consumers and pushes")
    checkSum("points", Limits.pointsMax, numbering.pointCount) { $0.points.count }
    checkSum("alarms", Limits.alarmsMax, numbering.alarmCount) { $0.alarms.count }
    checkSum("series (points and their windows' statistics)", Limits.seriesMax, numbering.seriesCount) {
      $0.points.reduce($0.points.count) { sum, point in sum + point.windows.reduce(0) { $0 + $1.statistics.count } }
    }
  }

  /// What is sized from the configuration must fit before anything runs.
  func checkMemory(_ root: TomlTable) {
    let plan = MemoryPlan(configuration)
    let limit = configuration.memoryLimitBytes
    guard plan.totalBytes > limit else { return }
    let largest = plan.lines.sorted { $0.bytes > $1.bytes }.prefix(3)
      .map { "\($0.holder) \($0.part) \(Self.kibibytes($0.bytes))" }
    var place = root.place
    if case .table(let gateway) = root["gateway"]?.item.value {
      place = gateway["memory_limit"]?.item.place ?? gateway.place
    }
    diagnostics.report(
      place, "gateway.memory_limit",
      "this configuration needs \(Self.kibibytes(plan.totalBytes)), allowed are \(Self.kibibytes(limit)); most: "
        + "\(largest.joined(separator: ", ")). Raise memory_limit (at most \(sizeText(Limits.memoryLimitBytesMax))), "
        + "or give some devices to another box; `kerb plan` shows each part")
  }

  private static func kibibytes(_ bytes: Int) -> String { "\((bytes + 1_023) / 1_024) KiB" }

  /// Reported at the first one too many.
  private func check(_ places: [SourcePlace], _ most: Int, _ key: String, _ plural: String) {
    if places.count > most {
      diagnostics.report(places[most], key, "there are \(places.count) \(plural): a box has at most \(most)")
    }
  }

  private func checkSum(_ plural: String, _ most: Int, _ count: Int, _ share: (DeviceSpec) -> Int) {
    guard count > most else { return }
    var sum = 0
    for device in devices {
      sum += share(device.spec)
      if sum > most {
        diagnostics.report(
          device.spec.place, "device.\(device.spec.name)",
          "with this device there are \(sum) \(plural), with all \(count): a box has at most \(most); "
            + "give some devices to another box")
        return
      }
    }
  }
}

extension BusSpec {
  /// Wire time of the request that reads nothing but this point (Modbus over Serial Line V1.02, 2.5.1).
  fileprivate func readingNs(of point: PointSpec) -> Int64 {
    let (requestBytes, replyHeadBytes) = (8, 5)
    var dataBytes = point.type.registers * 2
    if case .register(let table, _) = point.source, table.isBits { dataBytes = 1 }
    let characters = Int64(requestBytes + replyHeadBytes + dataBytes)
    return characters * format.characterNs + 2 * format.silenceNs + turnaroundNs
  }

  /// The same of a point that is asked for by a frame.
  fileprivate func readingNs(of point: PointSpec, _ device: DeviceSpec) -> Int64 {
    var alone = device
    alone.points = [point]
    return AskPlan(bus: self, devices: [alone]).cycleNs
  }
}
