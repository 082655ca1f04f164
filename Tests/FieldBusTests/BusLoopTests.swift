import FieldBus
import StreamCore
import Testing

@Suite struct BusLoopTests {
  /// The value that register `point` of the rig must have; points are numbered through the devices.
  private func expectRight(_ rig: BusRig, _ devices: [DeviceSpec]) {
    var truth: [UInt16: Int64] = [:]
    var number: UInt16 = 0
    for device in devices {
      for point in device.points {
        if case .register(_, let address) = point.source { truth[number] = Int64(device.address * 1_000 + address) }
        number += 1
      }
    }
    for sample in rig.samples where sample.quality == .good {
      #expect(sample.raw == truth[sample.series], "series \(sample.series) at \(sample.at.nanoseconds)")
    }
  }

  @Test("every point arrives, from its register, at its interval")
  func polls() {
    var devices = [device(1, registers: [0, 1, 2, 10]), device(2, registers: [5])]
    for index in devices.indices {
      for point in devices[index].points.indices { devices[index].points[point].heartbeatNs = second }
    }
    let rig = BusRig(spec: bus(), devices: devices, line: ScriptedLine())
    rig.run(untilNs: 10 * second)
    rig.finish()
    expectRight(rig, devices)
    for series in 0..<5 {
      let count = rig.samples.filter { $0.series == UInt16(series) }.count
      #expect(count >= 9 && count <= 11, "series \(series): \(count)")
    }
    #expect(rig.board.device(0)[.state] == BusBoard.online)
  }

  @Test("(1) between two transactions the line is silent for three and a half characters and no longer than needed")
  func silence() {
    let spec = bus { $0.format.baud = 9_600 }
    let rig = BusRig(spec: spec, devices: [device(1, registers: [0, 5, 10, 15], everyNs: 0)], line: ScriptedLine())
    rig.run(untilNs: 5 * second)
    let replyNs = 20 * millisecond
    let starts = rig.sent.map(\.at)
    #expect(starts.count > 100)
    for (earlier, later) in zip(starts, starts.dropFirst()) {
      #expect(later - earlier == replyNs + spec.format.silenceNs)
    }
  }

  @Test(
    "(2) FAULTS 1: a reply up to four timeouts late never becomes the value of another register, even if it overtakes",
    arguments: [1.1, 1.5, 1.9, 2.5, 3.5])
  func lateReply(timeouts: Double) {
    let devices = [device(1, registers: [0, 50, 100, 150], everyNs: 0), device(2, registers: [7, 90], everyNs: 0)]
    // Beyond the timeout, which grants the frame's own time on the wire as well.
    let late = Int64(timeouts * Double(100 * millisecond)) + 40 * millisecond
    // Every seventh reply is late; all requests of a device look alike on the wire.
    let line = ScriptedLine(answer: { _, _, number in .reply(afterNs: number % 7 == 0 ? late : 20 * millisecond) })
    let rig = BusRig(spec: bus(), devices: devices, line: line)
    rig.run(untilNs: 300 * second)
    rig.finish()
    #expect(rig.board.bus[.timeouts] + rig.board.bus[.otherErrors] > 50)
    #expect(rig.board.bus[.lateReplies] > 0)
    #expect(rig.board.bus[.good] > 2_000)
    expectRight(rig, devices)
  }

  @Test(
    "(2) FAULTS 1: from a device that answers in order a reply may be as late as it likes",
    arguments: [5.0, 12.0, 100.0])
  func veryLateReply(timeouts: Double) {
    let devices = [device(1, registers: [0, 50, 100, 150], everyNs: 0)]
    let late = Int64(timeouts * Double(100 * millisecond))
    let line = ScriptedLine(answer: { _, _, number in
      .replyInOrder(afterNs: number % 31 == 0 ? late : 20 * millisecond)
    })
    let rig = BusRig(spec: bus(), devices: devices, line: line)
    rig.run(untilNs: 600 * second)
    rig.finish()
    #expect(rig.board.bus[.timeouts] > 10)
    expectRight(rig, devices)
  }

  @Test(
    "the scripted line does punish a careless master: without the guard a late reply is taken for the next request's")
  func lineIsHonest() {
    var line = ScriptedLine(answer: { _, _, number in
      .reply(afterNs: number == 1 ? 150 * millisecond : 20 * millisecond)
    })
    let words = UnsafeMutablePointer<UInt16>.allocate(capacity: 4)
    defer { words.deallocate() }
    var first: ReadFailure?
    do {
      try line.read(
        unit: 1, table: .holding, address: 10, count: 1, timeoutNs: 100 * millisecond, into: words)
    } catch { first = error }
    #expect(first == .noReply)
    line.nowNs += 40 * millisecond
    do {
      try line.read(unit: 1, table: .holding, address: 20, count: 1, timeoutNs: 100 * millisecond, into: words)
    } catch { Issue.record("no reply at all") }
    #expect(words[0] == 1_010)  // register 10's value for register 20
  }

  @Test("(2) a fence is never larger than the device allows, even where that leaves none", arguments: [1, 2, 3])
  func smallDevice(registersMax: Int) {
    var devices = [device(1, registers: [0, 50, 100], everyNs: 0)]
    devices[0].registersMax = registersMax
    let line = ScriptedLine(answer: { _, _, number in
      number % 9 == 0 ? .silence : .replyInOrder(afterNs: 20 * millisecond)
    })
    let rig = BusRig(spec: bus(), devices: devices, line: line)
    rig.run(untilNs: 120 * second)
    rig.finish()
    #expect(rig.loop.port.largestCount <= registersMax)
    #expect(rig.board.bus[.good] > 500)
    expectRight(rig, devices)
  }

  @Test("FAULTS 2: a reply of the wrong unit, then the right one, poisons nothing")
  func wrongUnit() {
    let devices = [device(1, registers: [0, 5, 10], everyNs: 0), device(2, registers: [7], everyNs: 0)]
    let line = ScriptedLine(answer: { _, _, number in
      number % 5 == 0 ? .wrongUnitThenRight(afterNs: 30 * millisecond) : .reply(afterNs: 20 * millisecond)
    })
    let rig = BusRig(spec: bus(), devices: devices, line: line)
    rig.run(untilNs: 60 * second)
    rig.finish()
    expectRight(rig, devices)
    #expect(rig.samples.contains { $0.quality == .good })
  }

  @Test("(3) a dead device goes bad, is asked ever more rarely, and comes back")
  func backoff() {
    let devices = [device(1, registers: [0]), device(2, registers: [0])]
    // Unit 2 is dead from 10 s to 200 s.
    let rig = BusRig(spec: bus(), devices: devices, line: ScriptedLine())
    rig.run(untilNs: 10 * second)
    #expect(rig.board.device(1)[.state] == BusBoard.online)
    let dead = BusRig(
      spec: bus(), devices: devices,
      line: ScriptedLine(answer: { unit, _, _ in unit == 2 ? .silence : .reply(afterNs: 20 * millisecond) }))
    dead.run(untilNs: 300 * second)
    dead.finish()
    let probes = dead.sent.filter { $0.unit == 2 }.map(\.at)
    // 1 + retry, then 1, 2, 4, 8, 16, 32, 60, 60 … seconds apart.
    #expect(probes.count >= 8 && probes.count <= 14, "\(probes.count) probes")
    #expect(zip(probes, probes.dropFirst()).contains { $1 - $0 >= 59 * second })
    #expect(dead.board.device(1)[.state] == BusBoard.offline)
    #expect(dead.samples.contains { $0.series == 1 && $0.quality == .bad })
    #expect(!dead.samples.contains { $0.series == 1 && $0.quality == .good })
    // The living one is still read every second or nearly so.
    #expect(dead.sent.filter { $0.unit == 1 }.count > 285)
  }

  @Test("FAULTS 7: a refused register turns bad, the others of its request don't, and it is never dropped for good")
  func refused() {
    let devices = [device(1, registers: [0, 10])]
    let line = ScriptedLine(answer: { _, address, number in
      // Both are asked in one request over the hole at first.
      (address == 10 || number == 1) && number < 100 ? .refuse(2) : .reply(afterNs: 20 * millisecond)
    })
    let rig = BusRig(spec: bus(), devices: devices, line: line)
    rig.run(untilNs: 400 * second)
    rig.finish()
    #expect(rig.samples.filter { $0.series == 0 }.allSatisfy { $0.quality == .good })
    let second = rig.samples.filter { $0.series == 1 }
    #expect(second.first?.quality == .bad)
    #expect(second.last?.quality == .good)
    #expect(rig.board.device(0)[.state] == BusBoard.online)
    #expect(rig.board.bus[.exceptions] > 2)
    #expect(rig.board.isSplit(0))
  }

  @Test(
    "FAULTS 7: every exception code is counted and survived", arguments: (1...11).map { UInt8($0) })
  func everyException(code: UInt8) {
    let devices = [device(1, registers: [0, 1, 2], everyNs: 0)]
    let line = ScriptedLine(answer: { _, _, number in
      number % 10 == 0 ? .refuse(code) : .reply(afterNs: 20 * millisecond)
    })
    let rig = BusRig(spec: bus(), devices: devices, line: line)
    rig.run(untilNs: 60 * second)
    rig.finish()
    #expect(rig.board.bus[.exceptions] > 50)
    expectRight(rig, devices)
    #expect(rig.samples.last?.quality == .good)
  }

  @Test("FAULTS 11: a line that goes away is reopened within 2 s, its points bad meanwhile")
  func reopened() {
    let rig = BusRig(spec: bus(), devices: [device(1, registers: [0])], line: ScriptedLine())
    rig.run(untilNs: 5 * second)
    rig.setThere(false)
    rig.run(untilNs: 35 * second)
    #expect(rig.board.bus[.state] == BusBoard.lost)
    #expect(rig.samples.last?.quality == .bad)
    #expect(rig.board.points.report(0).quality == .stale)
    let opens = rig.opens.filter { $0 > 5 * second }
    #expect(zip(opens, opens.dropFirst()).allSatisfy { $1 - $0 <= Limits.reopenNsMax })
    rig.setThere(true)
    rig.run(untilNs: 39 * second)
    rig.finish()
    #expect(rig.board.bus[.state] == BusBoard.running)
    #expect(rig.samples.last?.quality == .good)
  }

  @Test("a card number leaves the decoder as a pseudonym, the same for text and number, and the registers are wiped")
  func personal() {
    var spec = DeviceSpec(name: "gate", place: nowhere, bus: 0, address: 1, profile: "", kind: "access-gate")
    var text = PointSpec(name: "card", place: nowhere, source: .register(.holding, address: 0))
    text.type = .text(characters: 8)
    text.personal = true
    var number = PointSpec(name: "card2", place: nowhere, source: .register(.holding, address: 10))
    number.type = .u32
    number.personal = true
    spec.points = [text, number]
    let line = ScriptedLine(value: { _, address in
      switch address {
      case 0: 0x3138  // "18"
      case 1: 0x3334  // "34"
      case 2: 0x3631  // "61"
      case 10: 0x0002  // 0x0002_CCA5 is 183461
      case 11: 0xCCA5
      default: 0
      }
    })
    let rig = BusRig(spec: bus(), devices: [spec], line: line)
    rig.run(untilNs: 3 * second)
    rig.finish()
    let good = zip(rig.samples, rig.texts).filter { $0.0.quality == .good }
    #expect(good.count == 2)
    for (_, bytes) in good { #expect(bytes.count == Limits.pseudonymBytes) }
    #expect(Set(good.map(\.1)).count == 1)
  }

  @Test("an alarm goes from the register to the batch in the transaction that its time ends in")
  func alarm() {
    var spec = device(1, registers: [0], everyNs: 200 * millisecond)
    var alarm = AlarmSpec(name: "high", place: nowhere, when: "p0 > 100", whenPlace: nowhere)
    alarm.forNs = second
    spec.alarms = [alarm]
    let rig = BusRig(spec: bus(), devices: [spec], line: ScriptedLine(value: { _, _ in 500 }))
    rig.run(untilNs: 3 * second)
    rig.finish()
    #expect(rig.events.count == 1)
    #expect(rig.events.first.map { $0.at - $0.since } == second)
  }
}
