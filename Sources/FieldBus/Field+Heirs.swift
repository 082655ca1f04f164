// What of a field goes on in the one that follows it: the buses that are asked the same of the same devices.
//
// Invariants:
//  1. A bus whose expressions name a point of a bus that does not go on does not go on: it would read from memory that
//     is gone.
//  2. The number of a point or an alarm on its bus is the same before and after; those of the site may differ.

import StreamCore

/// What the numbers mean now that a bus gives its batches.
package struct BatchNumbering: Sendable, Equatable {
  package var bus: UInt16
  /// By the number that the bus gives; `none` where it gives no such number.
  package var series: [UInt16]
  package var alarms: [UInt16]

  package static let none = UInt16.max
}

extension Field {
  /// By bus of the new configuration: the one at work that goes on as it.
  func heirs(buses: [BusSpec], devices: [DeviceSpec]) -> [Int: LiveBus] {
    let layouts = Self.layouts(buses: buses, devices: devices)
    var heirs: [Int: Int] = [:]
    for (bus, layout) in layouts.enumerated() {
      heirs[bus] = self.layouts.firstIndex { $0.spec.name == layout.spec.name && $0.asks(the: layout) }
    }
    while let lost = heirs.keys.first(where: { bus in layouts[bus].links.contains { heirs[$0.bus] == nil } }) {
      heirs[lost] = nil
    }
    return heirs.mapValues { lives[$0] }
  }

  /// Names of the buses that go on in `next`, in its order.
  package func goingOn(in next: Field) -> [String] {
    next.lives.filter { live in lives.contains { $0 === live } }.map(\.layout.spec.name)
  }

  /// Stops the buses that do not go on in `next`; on return they have handed over what they had.
  package func leave(to next: Field) {
    lives.filter { live in !next.lives.contains { $0 === live } }.stop()
  }

  /// What the buses that do not go on in `next` have made and lost.
  package func left(behind next: Field) -> (produced: Int64, lost: Int64) {
    var sum: (produced: Int64, lost: Int64) = (0, 0)
    for (bus, live) in lives.enumerated() where !next.lives.contains(where: { $0 === live }) {
      let report = self.bus(bus)
      sum.produced += report.produced
      sum.lost += report.lost
    }
    return sum
  }

  /// Nil: it gives the numbers that are in force.
  package func numbering(_ bus: Int) -> BatchNumbering? {
    let (then, now) = (lives[bus].layout, layouts[bus])
    var series: [UInt16] = []
    func map(_ old: UInt16, to new: UInt16, count: Int = 1) {
      let end = Int(old) + count
      if series.count < end { series += Array(repeating: BatchNumbering.none, count: end - series.count) }
      for step in 0..<count { series[Int(old) + step] = new + UInt16(step) }
    }
    for (old, new) in zip(then.points.places, now.points.places) { map(old.series, to: new.series) }
    for (old, new) in zip(then.points.windows, now.points.windows) {
      map(old.firstSeries, to: new.firstSeries, count: Int(then.points.windowRules[Int(old.rule)].statisticCount))
    }
    var alarms: [UInt16] = []
    for (old, new) in zip(then.alarms.places, now.alarms.places) {
      let number = Int(old.alarm)
      if alarms.count <= number { alarms += Array(repeating: BatchNumbering.none, count: number + 1 - alarms.count) }
      alarms[number] = new.alarm
    }
    let isSame =
      series.enumerated().allSatisfy { $1 == BatchNumbering.none || Int($1) == $0 }
      && alarms.enumerated().allSatisfy { $1 == BatchNumbering.none || Int($1) == $0 }
    // The bus of a batch only keeps apart what came from one line and from another.
    return isSame && lives[bus].number == bus
      ? nil : BatchNumbering(bus: UInt16(truncatingIfNeeded: bus), series: series, alarms: alarms)
  }
}

extension BusLayout {
  /// The other one asks the same of the same line and devices, and makes the same of it.
  fileprivate func asks(the other: BusLayout) -> Bool {
    spec.wordless == other.spec.wordless && devices.count == other.devices.count
      && zip(devices, other.devices).allSatisfy { $0.wordless == $1.wordless }
  }
}

// Labels and messages are the catalogue's: no bus's thread ever looks at them.

extension BusSpec {
  fileprivate var wordless: BusSpec {
    var wordless = unplaced
    for index in wordless.alarms.indices { wordless.alarms[index].message = [:] }
    return wordless
  }
}

extension DeviceSpec {
  fileprivate var wordless: DeviceSpec {
    var wordless = unplaced
    wordless.labels = [:]
    for index in wordless.alarms.indices { wordless.alarms[index].message = [:] }
    return wordless
  }
}
