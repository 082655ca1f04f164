import FieldBus
import StreamCore
import Testing

/// What the scripted devices' registers hold.
private final class Registers {
  var words: [Int: UInt16]
  init(_ words: [Int: UInt16]) { self.words = words }
  subscript(address: Int) -> UInt16 { words[address] ?? 0 }
}

private func computed(_ name: String, _ text: String, isBool: Bool = false) -> PointSpec {
  var point = PointSpec(name: name, place: nowhere, source: .computed)
  point.compute = text
  point.type = isBool ? .bool : .f64
  point.everyNs = 0
  return point
}

private func alarm(_ name: String, _ when: String) -> AlarmSpec {
  AlarmSpec(name: name, place: nowhere, when: when, whenPlace: nowhere)
}

@Suite struct ComputedPointTests {
  private func values(_ rig: BusRig, _ series: UInt16) -> [Double?] {
    rig.samples.filter { $0.series == series }.map {
      $0.quality <= .uncertain ? Double(bitPattern: UInt64(bitPattern: $0.raw)) : nil
    }
  }

  @Test("is evaluated behind each reading of its inputs, others that it rests on before it")
  func series() {
    let registers = Registers([0: 5, 1: 2])
    var spec = device(1, registers: [0, 1])
    spec.points += [computed("twice", "net * 2"), computed("net", "p0 - p1")]
    spec.points.append(computed("high", "twice > 10", isBool: true))
    let rig = BusRig(spec: bus(), devices: [spec], line: ScriptedLine(value: { _, address in registers[address] }))
    rig.run(untilNs: 2 * second)
    registers.words[0] = 9
    rig.run(untilNs: 4 * second)
    rig.finish()
    #expect(values(rig, 3) == [3, 7])
    #expect(values(rig, 2) == [6, 14])
    #expect(rig.samples.filter { $0.series == 4 }.map(\.raw) == [0, 1])
    // At the moment of the reading, not later.
    let read = rig.samples.filter { $0.series == 0 }.map(\.at)
    #expect(rig.samples.filter { $0.series == 2 }.map(\.at) == read)
    #expect(rig.board.points.report(3).raw == Int64(bitPattern: Double(7).bitPattern))
    #expect(rig.board.points.report(3).quality == .good)
  }

  @Test("has windows, a deadband, a range and alarms like any other")
  func likeAnyOther() {
    let registers = Registers([0: 5, 1: 2])
    var spec = device(1, registers: [0, 1])
    var net = computed("net", "p0 - p1")
    net.range = 0...10
    net.deadband = 2
    net.windows = [WindowSpec(everyNs: 5 * second, statistics: [.max, .count])]
    spec.points.append(net)
    spec.alarms = [alarm("a", "net > 5")]
    let rig = BusRig(spec: bus(), devices: [spec], line: ScriptedLine(value: { _, address in registers[address] }))
    rig.run(untilNs: 2 * second)
    registers.words[0] = 6  // within the deadband
    rig.run(untilNs: 4 * second)
    registers.words[0] = 20  // out of range
    rig.run(untilNs: 6 * second)
    rig.finish()
    let samples = rig.samples.filter { $0.series == 2 }
    #expect(values(rig, 2) == [3, 18])
    #expect(samples.map(\.quality) == [.good, .uncertain])
    #expect(values(rig, 3) == [18])
    let readings = rig.sent.count { $0.at < 5 * second }
    #expect(rig.samples.filter { $0.series == 4 }.map(\.raw) == [Int64(readings)])
    #expect(rig.events.map(\.state) == [.unacknowledged])
    #expect(rig.events.first?.cause(0).series == 2)
  }

  @Test("is bad while what it rests on is: by a division, a sentinel, or a device that is silent")
  func bad() {
    let registers = Registers([0: 6, 1: 2])
    var isSilent = false
    var spec = device(1, registers: [0, 1])
    spec.points[0].invalid = [0xFFFF]
    spec.points.append(computed("ratio", "p0 / p1"))
    let rig = BusRig(
      spec: bus(), devices: [spec],
      line: ScriptedLine(
        value: { _, address in registers[address] },
        answer: { _, _, _ in isSilent ? .silence : .reply(afterNs: 20 * millisecond) }))
    rig.run(untilNs: 2 * second)
    registers.words[1] = 0
    rig.run(untilNs: 4 * second)
    registers.words[1] = 3
    rig.run(untilNs: 6 * second)
    registers.words[0] = 0xFFFF
    rig.run(untilNs: 8 * second)
    registers.words[0] = 12
    rig.run(untilNs: 10 * second)
    isSilent = true
    rig.run(untilNs: 40 * second)
    rig.finish()
    #expect(values(rig, 2) == [3, nil, 2, nil, 4, nil])
    #expect(rig.board.points.report(2).quality == .bad)
  }

  @Test("what rests on its device's readings alone has as many of its own, whatever is looked at by the clock")
  func notByTheClock() {
    var spec = device(1, registers: [0], everyNs: 10 * second)
    var twice = computed("twice", "p0 * 2")
    twice.windows = [WindowSpec(everyNs: 30 * second, statistics: [.count])]
    spec.points.append(twice)
    spec.alarms = [alarm("gone", "age(p0) > 600")]
    let rig = BusRig(spec: bus(), devices: [spec], line: ScriptedLine(value: { _, _ in 4 }))
    rig.run(untilNs: 32 * second)
    rig.finish()
    let readings = rig.sent.count { $0.at < 30 * second }
    #expect(readings < 5)
    #expect(rig.samples.filter { $0.series == 2 }.map(\.raw) == [Int64(readings)])
  }

  @Test("devices of one profile share one copy of their programs")
  func shared() {
    func layout(_ count: Int) -> BusLayout {
      let devices = (1...count).map { number in
        var spec = device(number, registers: [0, 1])
        spec.points.append(computed("net", "p0 - p1 * 2.5"))
        spec.alarms = [alarm("a", "net > 5 and age(p0) < 60"), alarm("b", "@other.p0 > 1")]
        return spec
      }
      var other = device(200, registers: [0])
      other.name = "other"
      return BusLayout(
        spec: bus(), bus: 0, devices: devices + [other], numbering: Numbering(devices: devices + [other]))
    }
    let (few, many) = (layout(1), layout(100))
    #expect(few.size.codeWords == many.size.codeWords)
    #expect(many.size.links == 1)
    #expect(many.size.cells == 100)
    #expect(many.size.computed == 100)
    let planned = many.memory.first { $0.part == "expressions" }?.bytes
    #expect(planned == many.size.programBytes + LinkTable.bytes(many))
  }
}

@Suite struct ForeignPointTests {
  /// A pump on one bus, a gate on another that looks at the pump.
  private func site(_ change: (inout DeviceSpec) -> Void) -> [DeviceSpec] {
    var pump = device(1, registers: [0])
    pump.name = "pump"
    pump.points[0].scale = 0.1
    var gate = device(2, registers: [0])
    gate.name = "gate"
    gate.bus = 1
    change(&gate)
    return [pump, gate]
  }

  @Test("a condition sees another bus's latest value, a second later at most, even if its own device is silent")
  func otherBus() {
    let registers = Registers([0: 40])
    let devices = site { $0.alarms = [alarm("flow", "@pump.p0 > 5")] }
    let pump = BusRig(spec: bus(), devices: devices, line: ScriptedLine(value: { _, address in registers[address] }))
    let gate = BusRig(
      spec: bus(), devices: devices, line: ScriptedLine(answer: { _, _, _ in .silence }), bus: 1,
      boards: [pump.board.points])
    pump.run(untilNs: 2 * second)
    gate.run(untilNs: 3 * second)
    #expect(gate.events.isEmpty)
    registers.words[0] = 60
    pump.run(untilNs: 4 * second)
    gate.run(untilNs: 5 * second)
    gate.finish()
    #expect(gate.events.map(\.state) == [.unacknowledged])
    #expect((gate.events.first?.at.nanoseconds ?? 0) <= 4 * second + Limits.lookAgainNs)
    registers.words[0] = 10
    pump.run(untilNs: 6 * second)
    gate.run(untilNs: 7 * second + 200 * millisecond)
    gate.finish()
    #expect(gate.events.map(\.state) == [.unacknowledged, .returnedUnacknowledged])
  }

  @Test("what was never read, or is no longer the present value, is unknown")
  func stale() {
    var isThere = true
    let devices = site { $0.alarms = [alarm("flow", "@pump.p0 < 5"), alarm("known", "not (@pump.p0 < 5)")] }
    let pump = BusRig(
      spec: bus(), devices: devices,
      line: ScriptedLine(
        value: { _, _ in 60 }, answer: { _, _, _ in isThere ? .reply(afterNs: 20 * millisecond) : .silence }))
    let gate = BusRig(spec: bus(), devices: devices, line: ScriptedLine(), bus: 1, boards: [pump.board.points])
    gate.run(untilNs: 2 * second)
    gate.finish()
    #expect(gate.events.isEmpty)
    pump.run(untilNs: 2 * second)
    isThere = false
    pump.run(untilNs: 40 * second)
    #expect(pump.board.points.report(0).quality == .stale)
    gate.run(untilNs: 42 * second)
    gate.finish()
    #expect(gate.events.isEmpty)
  }

  @Test("age rises by the clock, and tells that a device is gone")
  func age() {
    var isThere = true
    var spec = device(1, registers: [0])
    spec.alarms = [alarm("gone", "age(p0) > 30")]
    let rig = BusRig(
      spec: bus(), devices: [spec],
      line: ScriptedLine(answer: { _, _, _ in isThere ? .reply(afterNs: 20 * millisecond) : .silence }))
    rig.run(untilNs: 10 * second)
    isThere = false
    rig.run(untilNs: 38 * second)
    rig.finish()
    #expect(rig.events.isEmpty)
    rig.run(untilNs: 43 * second)
    rig.finish()
    #expect(rig.events.map(\.state) == [.unacknowledged])
    let raised = rig.events.first?.at.nanoseconds ?? 0
    #expect(raised > 39 * second && raised <= 41 * second + Limits.lookAgainNs)
  }

  @Test("a computed point that names another device follows it")
  func computedFromOther() {
    let registers = Registers([0: 40])
    let devices = site { $0.points.append(computed("sum", "p0 + @pump.p0 * 10")) }
    let pump = BusRig(spec: bus(), devices: devices, line: ScriptedLine(value: { _, address in registers[address] }))
    let gate = BusRig(
      spec: bus(), devices: devices, line: ScriptedLine(value: { _, _ in 1 }), bus: 1, boards: [pump.board.points])
    pump.run(untilNs: second)
    gate.run(untilNs: 3 * second)
    registers.words[0] = 50
    pump.run(untilNs: 4 * second)
    gate.run(untilNs: 6 * second)
    gate.finish()
    let values = gate.samples.filter { $0.series == 2 && $0.quality == .good }
      .map { Double(bitPattern: UInt64(bitPattern: $0.raw)) }
    #expect(values == [41, 51])
  }

  private struct NobodysLine: AskableLine {
    func ask(_: LineRequest) throws(LineFailure) -> LineReply {
      Issue.record("the line was asked")
      throw .noReply
    }
  }

  @Test("Nobody asks a device for what is computed, nor writes it")
  func byHand() {
    let place = SourcePlace(file: "test", line: 1, column: 1)
    let device = DeviceSpec(name: "d", place: place, bus: 0, address: 1, profile: "a/b", kind: "a")
    var point = PointSpec(name: "sum", place: place, source: .computed)
    point.compute = "a + b"
    let access = PointAccess(NobodysLine(), device: device, number: 0, point: point, timeoutNs: 1)
    #expect(throws: PointProblem.computed) { try access.read() }
    #expect(throws: PointProblem.computed) { _ = try access.write("1") }
  }
}
