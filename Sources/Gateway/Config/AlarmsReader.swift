// `[alarms]`, and what devices and buses switch off: the alarms that every box has, as this box wants them.

import FieldBus
import StreamCore

extension ConfigurationReader {
  /// After buses and devices.
  mutating func readAlarms(_ reader: TableReader?, place: SourcePlace) {
    var specs: [BuiltInAlarm: AlarmSpec] = [:]
    for alarm in BuiltInAlarm.allCases {
      specs[alarm] = spec(of: alarm, reader, place)
    }
    reader?.finish()
    configuration.alarms = BuiltInAlarm.allCases.filter { $0.source == .gateway }.compactMap { specs[$0] }
    if configuration.certificate == nil {
      configuration.alarms.removeAll { $0.name == BuiltInAlarm.certificateExpiring.rawValue }
    }
    for index in buses.indices {
      let isOff = buses[index].alarmsOff.contains(BuiltInAlarm.busLost.rawValue)
      if let lost = specs[.busLost], !isOff { buses[index].spec.alarms = [lost] }
    }
    for index in devices.indices {
      let off = devices[index].alarmsOff
      // What speaks when it likes may be silent for days.
      if let offline = specs[.deviceOffline], devices[index].spec.isAsked {
        devices[index].spec.alarms.append(offline)
      }
      devices[index].spec.alarms.removeAll { off.contains($0.name) }
      checkSuppression(of: devices[index])
    }
  }

  /// Nil: switched off.
  private func spec(of alarm: BuiltInAlarm, _ reader: TableReader?, _ place: SourcePlace) -> AlarmSpec? {
    guard let reader, let item = reader.item(alarm.rawValue) else { return alarm.spec(at: place) }
    if case .bool(let isOn) = item.value { return isOn ? alarm.spec(at: item.place) : nil }
    var spec = alarm.spec(at: item.place)
    guard let table = reader.table(alarm.rawValue) else { return spec }
    AlarmParser.behaviour(of: &spec, table)
    table.finish()
    return spec
  }

  /// `disable_alarms = [ … ]`: of those that the device or the bus has.
  func alarmsOff(_ reader: TableReader, known: [String]) -> Set<String> {
    var off: Set<String> = []
    for (name, place) in reader.placedStrings("disable_alarms") ?? [] {
      if !known.contains(name) {
        let near = nearestMatch(to: name, among: known).map { "; did you mean \"\($0)\"?" }
        diagnostics.report(
          place, reader.keyPath("disable_alarms"),
          "there is no alarm \"\(name)\" here" + (near ?? "; known are \(known.joined(separator: ", "))"))
      }
      off.insert(name)
    }
    return off
  }

  private func checkSuppression(of entry: DeviceEntry) {
    let known = entry.spec.alarms.map(\.name) + [BuiltInAlarm.busLost.rawValue]
    for alarm in entry.spec.alarms {
      for name in alarm.suppressedBy where !known.contains(name) || name == alarm.name {
        // One that was switched off suppresses nothing, and needs no correction.
        if entry.alarmsOff.contains(name) { continue }
        let near = nearestMatch(to: name, among: known).map { "; did you mean \"\($0)\"?" } ?? ""
        diagnostics.report(
          alarm.suppressedByPlace ?? alarm.place, "alarm.\(alarm.name).suppressed_by",
          name == alarm.name
            ? "an alarm can't suppress itself" : "there is no alarm \"\(name)\" on this device\(near)")
      }
    }
  }
}
