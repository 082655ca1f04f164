import FieldBus
import StreamCore
import Testing

/// Nothing runs here: who goes on is decided by what is written.
@Suite("A field that follows another")
struct FieldHeirsTests {
  /// A site in words: buses, and devices with their bus's name.
  private struct Plan {
    var buses: [BusSpec]
    var devices: [DeviceSpec] = []

    init(_ names: String...) { buses = names.map { name in bus { $0.name = name } } }

    mutating func add(_ name: String, on bus: String, _ address: Int, _ change: (inout DeviceSpec) -> Void = { _ in })
    {
      var spec = device(address, registers: [0, 7])
      spec.name = name
      spec.bus = buses.firstIndex { $0.name == bus } ?? 0
      spec.points[1].windows = [WindowSpec(everyNs: 60 * second, statistics: [.min, .max])]
      spec.alarms = [AlarmSpec(name: "high", place: nowhere, when: "p0 > 5", whenPlace: nowhere)]
      change(&spec)
      devices.append(spec)
    }

    /// Leaves a bus and its devices out.
    func without(_ name: String) -> Plan {
      var left = self
      left.buses.removeAll { $0.name == name }
      left.devices.removeAll { buses[$0.bus].name == name }
      for index in left.devices.indices {
        let bus = buses[left.devices[index].bus].name
        left.devices[index].bus = left.buses.firstIndex { $0.name == bus } ?? 0
      }
      return left
    }

    func field(after before: Field? = nil) -> Field { Field(buses: buses, devices: devices, after: before) }

    /// By the site's number of a series, of an alarm: whose it is.
    var names: (series: [String], alarms: [String]) {
      var series = devices.flatMap { device in device.points.map { "\(device.name)/\($0.name)" } }
      for device in devices {
        for point in device.points {
          for window in point.windows { series += window.statistics.map { "\(device.name)/\(point.name):\($0)" } }
        }
      }
      let alarms = devices.flatMap { device in device.alarms.map { "\(device.name)/\($0.name)" } }
      return (series, alarms + buses.flatMap { bus in bus.alarms.map { "\(bus.name)/\($0.name)" } })
    }
  }

  private func plan() -> Plan {
    var plan = Plan("a", "b", "c")
    for bus in ["a", "b", "c"] {
      for address in 1...2 { plan.add("\(bus)\(address)", on: bus, address) }
    }
    var lost = AlarmSpec(name: "bus-lost", place: nowhere, when: "", whenPlace: nowhere)
    lost.source = .busLost
    for index in plan.buses.indices { plan.buses[index].alarms = [lost] }
    return plan
  }

  private func goingOn(_ old: Plan, _ new: Plan) -> [String] {
    let before = old.field()
    return before.goingOn(in: new.field(after: before))
  }

  /// Each number that the buses of `before` give means the same series, the same alarm in `after`.
  private func check(_ old: Plan, _ before: Field, _ new: Plan, _ after: Field) {
    let (then, now) = (old.names, new.names)
    for name in before.goingOn(in: after) {
      guard let bus = new.buses.firstIndex(where: { $0.name == name }) else { continue }
      let mine = Set(new.devices.filter { $0.bus == bus }.map(\.name) + [name])
      func isMine(_ entry: String) -> Bool { mine.contains { entry.hasPrefix("\($0)/") } }
      let numbering = after.numbering(bus)
      for (number, entry) in then.series.enumerated() where isMine(entry) {
        let means = numbering.map { Int($0.series[number]) } ?? number
        #expect(means < now.series.count && now.series[means] == entry, "\(name): \(number)")
      }
      for (number, entry) in then.alarms.enumerated() where isMine(entry) {
        let means = numbering.map { Int($0.alarms[number]) } ?? number
        #expect(means < now.alarms.count && now.alarms[means] == entry, "\(name): \(number)")
      }
      #expect(numbering == nil || numbering?.bus == UInt16(bus))
    }
  }

  @Test("goes on with all buses where nothing was changed but places, labels and messages")
  func unchanged() {
    let old = plan()
    var new = old
    for index in new.devices.indices {
      new.devices[index].place = SourcePlace(file: "elsewhere", line: 99, column: 1)
      new.devices[index].points[0].place.line = 77
      new.devices[index].points[0].everyPlace = nowhere
      new.devices[index].labels = ["street": "1"]
      new.devices[index].alarms[0].message = ["en": "other words"]
      new.devices[index].alarms[0].whenPlace.line = 5
    }
    for index in new.buses.indices {
      new.buses[index].place.line = 3
      new.buses[index].alarms[0].message = ["zh": "别的话"]
    }
    #expect(goingOn(old, new) == ["a", "b", "c"])
    let before = old.field()
    #expect((0..<3).allSatisfy { new.field(after: before).numbering($0) == nil })
  }

  @Test("begins anew with a bus of which anything else was changed, and with no other")
  func changed() {
    let changes: [(inout Plan) -> Void] = [
      { $0.buses[1].format.baud = 19_200 }, { $0.buses[1].endpoint = .serialPort(path: "/dev/other") },
      { $0.buses[1].retries = 2 }, { $0.buses[1].alarms[0].severity = .critical }, { $0.buses[1].alarms = [] },
      { $0.devices[2].address = 9 }, { $0.devices[2].name = "other" },
      { $0.devices[2].points[0].everyNs = 5 * second },
      { $0.devices[2].points[0].deadband = 2 }, { $0.devices[3].points[1].windows[0].everyNs = 30 * second },
      { $0.devices[3].alarms[0].when = "p0 > 6" }, { $0.devices[3].alarms[0].forNs = second },
      { $0.devices.remove(at: 3) }, { $0.devices.swapAt(2, 3) }, { $0.add("b3", on: "b", 3) },
    ]
    for (index, change) in changes.enumerated() {
      let old = plan()
      var new = old
      change(&new)
      #expect(goingOn(old, new) == ["a", "c"], "change \(index)")
      let before = old.field()
      check(old, before, new, new.field(after: before))
    }
  }

  @Test("knows what numbers mean now, whatever was added, removed or moved around a bus, many times over")
  func numbers() {
    let first = plan()
    var (old, before) = (first, first.field())
    var gone = first.without("a")
    var courses: [Plan] = [gone]
    gone.buses.reverse()
    for index in gone.devices.indices { gone.devices[index].bus = 1 - gone.devices[index].bus }
    gone.devices.reverse()
    gone.devices.swapAt(0, 1)
    gone.devices.swapAt(2, 3)
    courses.append(gone)
    var grown = gone
    grown.buses.insert(bus { $0.name = "new" }, at: 0)
    for index in grown.devices.indices { grown.devices[index].bus += 1 }
    grown.devices.insert(device(40, registers: Array(0..<9)), at: 1)
    courses.append(grown)
    courses.append(first.without("a"))
    for (index, new) in courses.enumerated() {
      let after = new.field(after: before)
      #expect(Set(before.goingOn(in: after)).isSuperset(of: ["b", "c"]), "course \(index)")
      // They give the numbers of the field that they began in: the first.
      check(first, before, new, after)
      (old, before) = (new, after)
    }
    #expect(old.buses.count == 2)
  }

  @Test("goes on with no bus whose expressions look at one that begins anew, over however many")
  func links() {
    var old = plan()
    func computed(_ text: String) -> PointSpec {
      var point = PointSpec(name: "sum", place: nowhere, source: .computed)
      (point.compute, point.type) = (text, .f64)
      return point
    }
    old.devices[0].points.append(computed("@b1.p0 + 1"))
    old.devices[2].points.append(computed("@c1.p0 + 1"))
    #expect(goingOn(old, old) == ["a", "b", "c"])
    var new = old
    new.buses[2].retries = 3
    #expect(goingOn(old, new) == [])
    new = old
    new.buses[1].retries = 3
    #expect(goingOn(old, new) == ["c"])
    new = old
    new.buses[0].retries = 3
    #expect(goingOn(old, new) == ["b", "c"])
  }
}
