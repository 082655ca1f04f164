// What can be judged only when the whole is known: conditions against a device's points, intervals against the wire,
// counts against the limits.

import FieldBus
import StreamCore

extension ConfigurationReader {
  /// The conditions of a device's alarms, over its merged points. A profile's condition is reported once, however many
  /// devices use it.
  func checkConditions(of entry: DeviceEntry) {
    for alarm in entry.spec.alarms {
      if isBlank(alarm.when) {
        diagnostics.report(alarm.whenPlace, "alarm.\(alarm.name).when", Self.emptyCondition)
      }
      if let clear = alarm.clear, isBlank(clear) {
        diagnostics.report(
          alarm.clearPlace ?? alarm.place, "alarm.\(alarm.name).clear", "\(Self.emptyCondition), or leave it out")
      }
    }
  }

  private static let emptyCondition = "is empty: write a condition, for example \"tilt > 15\""

  private func isBlank(_ text: String) -> Bool { text.allSatisfy(\.isWhitespace) }

  /// Intervals that the wire of a bus can't carry. Points that were reported are left out: what is impossible without
  /// them is impossible with them.
  func checkTimetable(of busIndex: Int) {
    let bus = buses[busIndex].spec
    guard case .serialPort = bus.endpoint, bus.busProtocol == .modbusRTU else { return }
    for device in devices where device.busIndex == busIndex {
      for point in device.spec.points where point.everyNs > 0 {
        let needed = bus.readingNs(of: point)
        if point.everyNs < needed {
          let milliseconds = needed / 1_000_000 + 1
          diagnostics.report(
            point.everyPlace ?? point.place, "point.\(point.name).every",
            "\(durationText(point.everyNs)) is impossible on bus \"\(bus.name)\": one reading alone takes \(milliseconds) ms "
              + "at \(bus.format.baud) baud; allow more, or write \"0s\" for as often as the line allows")
        }
      }
    }
  }

  mutating func checkLimits() {
    let numbering = Numbering(devices: devices.map(\.spec))
    check(buses.map(\.spec.place), Limits.busesMax, "bus", "buses")
    check(devices.map(\.spec.place), Limits.devicesMax, "device", "devices")
    check(configuration.consumers.map(\.place), Limits.consumersMax, "consumer", "consumers")
    checkSum("points", Limits.pointsMax, numbering.pointCount) { $0.points.count }
    checkSum("alarms", Limits.alarmsMax, numbering.alarmCount) { $0.alarms.count }
    checkSum("series (points and their windows' statistics)", Limits.seriesMax, numbering.seriesCount) {
      $0.points.reduce($0.points.count) { sum, point in sum + point.windows.reduce(0) { $0 + $1.statistics.count } }
    }
  }

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
          device.spec.place, "device.\(device.spec.name)", "with this device there are \(sum) \(plural), with all \(count): "
            + "a box has at most \(most); give some devices to another box")
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
}
