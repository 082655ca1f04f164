// The alarms of one bus: those of its devices, device by device, then its own. Devices of one profile
// share their rules and their programs.

import StreamCore

/// Where the alarms of a bus stand, and what each has in common with others.
package struct AlarmLayout: Sendable {
  package fileprivate(set) var places: [AlarmPlace] = []
  package fileprivate(set) var rules: [AlarmRule] = []
  package fileprivate(set) var suppressors: [Int] = []
  /// By device of the bus: the alarm that says that it does not answer.
  package fileprivate(set) var offline: [Int?] = []
  /// That the whole bus is lost.
  package fileprivate(set) var lost: Int?

  init() {}
}

extension AlarmLayout {
  /// `numbering`: of the site; `members`: the devices of the bus by their numbers there; `when`, `clear`:
  /// by alarm of the devices, empty of those that the bus tells of.
  init(
    bus: Int, spec: BusSpec, devices: [DeviceSpec], members: [Int], numbering: Numbering, when: [Program],
    clear: [Program]
  ) {
    let own = devices.reduce(0) { $0 + $1.alarms.count }
    lost = spec.alarms.firstIndex { $0.source == .busLost }.map { own + $0 }
    for (index, device) in devices.enumerated() {
      let first = places.count
      offline.append(device.alarms.firstIndex { $0.source == .deviceOffline }.map { first + $0 })
      for (number, alarm) in device.alarms.enumerated() {
        add(alarm, number: numbering.firstAlarm[members[index]] + number, when[places.count], clear[places.count])
        explain(alarm, by: device.alarms, first: first)
      }
    }
    let firstOfBus = bus < numbering.firstBusAlarm.count ? numbering.firstBusAlarm[bus] : numbering.alarmCount
    for (number, alarm) in spec.alarms.enumerated() { add(alarm, number: firstOfBus + number, Program(), Program()) }
    for alarm in suppressors { places[alarm].isSuppressor = true }
  }

  private mutating func add(_ alarm: AlarmSpec, number: Int, _ when: Program, _ clear: Program) {
    let rule = AlarmRule(alarm)
    let shared = rules.firstIndex(of: rule) ?? rules.count
    if shared == rules.count { rules.append(rule) }
    var place = AlarmPlace(rule: shared, alarm: number)
    place.when = when
    place.clear = clear
    places.append(place)
  }

  private mutating func explain(_ alarm: AlarmSpec, by others: [AlarmSpec], first: Int) {
    var names = alarm.suppressedBy
    if alarm.source == .deviceOffline { names.append(BuiltInAlarm.busLost.rawValue) }
    let found = names.compactMap { name in
      name == BuiltInAlarm.busLost.rawValue ? lost : others.firstIndex { $0.name == name }.map { first + $0 }
    }
    places[places.count - 1].firstSuppressor = UInt16(suppressors.count)
    places[places.count - 1].suppressorCount = UInt8(found.count)
    suppressors += found
  }

  /// `left`: how they were at the last stop, by alarm of the bus.
  func fill(_ pipeline: inout Pipeline, left: [AlarmEvent?], at now: Instant) {
    for (index, rule) in rules.enumerated() { pipeline.setAlarmRule(index, rule) }
    for (index, alarm) in suppressors.enumerated() { pipeline.setSuppressor(index, alarm: alarm) }
    for (index, place) in places.enumerated() {
      pipeline.setAlarm(index, place, left: index < left.count ? left[index] : nil, at: now)
    }
  }
}

extension AlarmRule {
  package init(_ alarm: AlarmSpec) {
    self.init(severity: alarm.severity)
    forNs = alarm.forNs
    clearForNs = alarm.clearForNs
    remindNs = alarm.remindNs
    escalateNs = alarm.escalateNs
    escalateTo = alarm.escalateTo ?? alarm.severity
    latches = alarm.latches
  }
}
