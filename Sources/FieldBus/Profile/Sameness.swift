// When two buses, two devices are the same, wherever in the files they stand. Values only.

extension BusSpec {
  package func isSame(as other: BusSpec) -> Bool { unplaced == other.unplaced }

  var unplaced: BusSpec {
    var unplaced = self
    unplaced.place = .nowhere
    unplaced.alarms = alarms.map(\.unplaced)
    return unplaced
  }
}

extension DeviceSpec {
  /// Whatever number its bus has.
  package func isSame(as other: DeviceSpec) -> Bool { unplaced == other.unplaced }

  var unplaced: DeviceSpec {
    var unplaced = self
    unplaced.place = .nowhere
    unplaced.bus = 0
    unplaced.points = points.map(\.unplaced)
    unplaced.alarms = alarms.map(\.unplaced)
    return unplaced
  }
}

extension PointSpec {
  fileprivate var unplaced: PointSpec {
    var unplaced = self
    unplaced.place = .nowhere
    unplaced.everyPlace = nil
    unplaced.computePlace = nil
    return unplaced
  }
}

extension AlarmSpec {
  package func isSame(as other: AlarmSpec) -> Bool { unplaced == other.unplaced }

  var unplaced: AlarmSpec {
    var unplaced = self
    unplaced.place = .nowhere
    unplaced.whenPlace = .nowhere
    unplaced.clearPlace = nil
    unplaced.suppressedByPlace = nil
    return unplaced
  }
}

extension SourcePlace {
  fileprivate static let nowhere = SourcePlace(file: "", line: 0, column: 0)
}
