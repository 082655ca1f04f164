import FieldBus
import Glibc
import StreamCore
import Testing

/// Faults of the line as a whole, in simulated time.
@Suite struct LineFaultTests {
  /// How often each unit was asked between two times.
  private func asked(_ rig: BusRig, from: Int64, to: Int64) -> [Int: Int] {
    var counts: [Int: Int] = [:]
    for request in rig.sent where request.at >= from && request.at < to { counts[request.unit, default: 0] += 1 }
    return counts
  }

  @Test("one silent unit of sixteen costs the others at most 2 % after the first backoff")
  func oneSilent() {
    let devices = (1...16).map { device($0, registers: [0, 50], everyNs: 0) }
    func rounds(_ silent: Int) -> Int {
      let line = ScriptedLine(answer: { unit, _, _ in unit == silent ? .silence : .reply(afterNs: 20 * millisecond) })
      let rig = BusRig(spec: bus { $0.responseTimeoutNs = 500 * millisecond }, devices: devices, line: line)
      rig.run(untilNs: 660 * second)
      let counts = asked(rig, from: 60 * second, to: 660 * second)
      return (2...16).compactMap { counts[$0] }.min() ?? 0
    }
    let (alone, beside) = (rounds(0), rounds(1))
    // With fifteen to ask instead of sixteen each comes round more often; what a probe costs is taken from that.
    #expect(Double(beside) >= Double(alone) * 16 / 15 * 0.98, "\(beside) of \(alone)")
  }

  @Test("FAULTS 15: with 15 of 16, and with 30 of 32 devices dead, the living keep their interval", arguments: [16, 32])
  func mostSilent(count: Int) {
    var devices = (1...count).map { device($0, registers: [0]) }
    for index in devices.indices { devices[index].points[0].heartbeatNs = second }
    let living = count == 16 ? [3] : [3, 29]
    let line = ScriptedLine(answer: { unit, _, _ in
      living.contains(unit) ? .reply(afterNs: 20 * millisecond) : .silence
    })
    let rig = BusRig(spec: bus { $0.responseTimeoutNs = 500 * millisecond }, devices: devices, line: line)
    rig.run(untilNs: 600 * second)
    rig.finish()
    for unit in living {
      let times = rig.sent.filter { $0.unit == unit && $0.at > 120 * second }.map(\.at)
      #expect(times.count >= 470, "unit \(unit): \(times.count) of 480")
      // A probe on the way delays one poll by its timeout, not more.
      #expect(zip(times, times.dropFirst()).allSatisfy { $1 - $0 <= 1_700 * millisecond })
    }
    // And all the dead together take 2 % of the line.
    let probes = rig.sent.filter { !living.contains($0.unit) && $0.at > 120 * second }.count
    #expect(Double(probes) * 0.5 <= 480 * 0.025, "\(probes) probes")
  }

  @Test("FAULTS 9: a line that never falls silent is used all the same, and its bytes are counted")
  func babble() {
    let line = ScriptedLine()
    let rig = BusRig(spec: bus(), devices: [device(1, registers: [0])], line: line)
    rig.run(untilNs: 5 * second)
    rig.loop.port.babbles = true
    rig.run(untilNs: 65 * second)
    #expect(rig.board.bus[.strayBytes] > 1_000)
    #expect(rig.sent.filter { $0.at > 10 * second }.count >= 20)
    rig.loop.port.babbles = false
    rig.run(untilNs: 75 * second)
    #expect(rig.sent.filter { $0.at > 65 * second }.count >= 8)
  }

  @Test("FAULTS 14: a second master's frames are taken for nothing of ours")
  func secondMaster() {
    let devices = [device(1, registers: [0, 50], everyNs: 0)]
    // Every few transactions somebody else's exchange with unit 2 is on the line first.
    let line = ScriptedLine(answer: { _, _, number in
      number % 4 == 0 ? .wrongUnitThenRight(afterNs: 30 * millisecond) : .reply(afterNs: 20 * millisecond)
    })
    let rig = BusRig(spec: bus(), devices: devices, line: line)
    rig.run(untilNs: 60 * second)
    rig.finish()
    #expect(rig.board.bus[.otherErrors] > 20)
    for sample in rig.samples where sample.quality == .good { #expect([1_000, 1_050].contains(sample.raw)) }
    #expect(rig.samples.contains { $0.quality == .good })
  }

  @Test("FAULTS 13: an I/O error closes the port at once, and it is opened again")
  func ioError() {
    let rig = BusRig(spec: bus(), devices: [device(1, registers: [0])], line: ScriptedLine())
    rig.run(untilNs: 3 * second)
    rig.setThere(false)
    rig.run(untilNs: 4 * second + 500 * millisecond)
    #expect(rig.board.bus[.state] == BusBoard.lost)
    #expect(rig.board.bus[.problem] != 0)
    rig.setThere(true)
    rig.run(untilNs: 7 * second)
    #expect(rig.board.bus[.state] == BusBoard.running)
    #expect(rig.board.bus[.problem] == 0)
  }

  @Test(
    "FAULTS 12: a port that is busy, forbidden or not there is tried again every two seconds, and says why",
    arguments: [EBUSY, EACCES, ENOENT])
  func notOpened(code: Int32) {
    var line = ScriptedLine()
    line.isThere = false
    line.openFailure = PortFailure(code)
    switch (code, line.openFailure) {
    case (EBUSY, .busy), (EACCES, .forbidden), (ENOENT, .missing): break
    default: Issue.record("\(code) is taken for \(line.openFailure)")
    }
    let rig = BusRig(spec: bus(), devices: [device(1, registers: [0])], line: line)
    rig.run(untilNs: 60 * second)
    #expect(rig.board.bus[.state] == BusBoard.lost)
    #expect(rig.board.bus[.problem] == Int64(code))
    #expect(rig.board.device(0)[.state] == BusBoard.offline)
    #expect(rig.sent.isEmpty)
    let opens = rig.opens
    #expect(opens.count >= 29 && opens.count <= 40, "\(opens.count) opens in a minute")
    #expect(zip(opens, opens.dropFirst()).allSatisfy { $1 - $0 <= 2 * second })
    rig.setThere(true)
    rig.run(untilNs: 63 * second)
    #expect(rig.board.bus[.problem] == 0)
    #expect(rig.board.device(0)[.state] == BusBoard.online)
  }

  @Test("FAULTS 16: a device that answers every second request stays online, and its values keep their interval")
  func everySecond() {
    var devices = [device(1, registers: [0, 50]), device(2, registers: [0])]
    for index in devices.indices {
      for point in devices[index].points.indices { devices[index].points[point].heartbeatNs = second }
    }
    var asked = 0
    let line = ScriptedLine(answer: { unit, _, _ in
      guard unit == 1 else { return .reply(afterNs: 20 * millisecond) }
      asked += 1
      return asked % 2 == 1 ? .silence : .reply(afterNs: 20 * millisecond)
    })
    let rig = BusRig(spec: bus(), devices: devices, line: line)
    for tick in 20...3_000 {
      rig.run(untilNs: Int64(tick) * 100 * millisecond)
      #expect(rig.board.device(0)[.state] != BusBoard.offline, "at \(tick) tenths of a second")
    }
    rig.finish()
    let truth: [UInt16: Int64] = [0: 1_000, 1: 1_050, 2: 2_000]
    for sample in rig.samples where sample.quality == .good { #expect(sample.raw == truth[sample.series]) }
    for series in 0..<3 {
      let count = rig.samples.count { $0.series == UInt16(series) && $0.quality == .good }
      #expect(count >= 270, "series \(series): \(count) of 300")
    }
  }

  @Test("on overload what an alarm watches keeps its interval, and the rest stretches evenly")
  func overload() {
    // 20 ms a transaction and 4 ms of silence: forty a second fit, seventy are asked for.
    var devices = (1...10).map { device($0, registers: [0, 50, 100, 150, 200, 250, 300]) }
    for index in 0..<5 {
      devices[index].alarms = [
        AlarmSpec(name: "a", place: nowhere, when: "p0 > 60000", whenPlace: nowhere)
      ]
    }
    let rig = BusRig(spec: bus(), devices: devices, line: ScriptedLine())
    rig.run(untilNs: 120 * second)
    var counts: [Int: [Int: Int]] = [:]
    for request in rig.sent where request.at > 20 * second {
      counts[request.unit, default: [:]][request.address, default: 0] += 1
    }
    for unit in 1...5 { #expect(counts[unit]?[0] ?? 0 >= 98, "watched \(unit): \(counts[unit]?[0] ?? 0)") }
    let rest = counts.flatMap { unit, addresses in
      addresses.filter { !(unit <= 5 && $0.key == 0) }.map(\.value)
    }
    #expect(rest.count == 65)
    let (least, most) = (rest.min() ?? 0, rest.max() ?? 0)
    #expect(least > 30 && most - least <= most / 8, "\(least) to \(most)")
    #expect(rig.board.bus[.stretchPercent] > 130)
  }

  @Test("simulated days: no request starves, none drifts from its phase")
  func days() {
    var devices = (1...8).map { device($0, registers: [0]) }
    for (index, everyNs) in [1, 2, 5, 10, 30, 60, 300, 3_600].enumerated() {
      devices[index].points[0].everyNs = Int64(everyNs) * second
    }
    let rig = BusRig(spec: bus(), devices: devices, line: ScriptedLine())
    rig.keepsSamples = false
    rig.run(untilNs: 86_400 * second)
    for (index, every) in [1, 2, 5, 10, 30, 60, 300, 3_600].enumerated() {
      let times = rig.sent.filter { $0.unit == index + 1 }.map(\.at)
      #expect(abs(times.count - 86_400 / every) <= 1, "every \(every) s: \(times.count)")
      let drift = ((times.last ?? 0) - (times.first ?? 0)) % (Int64(every) * second)
      #expect(Swift.min(drift, Int64(every) * second - drift) < 200 * millisecond)
    }
  }
}
