import FieldBus
import StreamCore
import Testing
import VirtualSite

/// A bus that learns its silences, against virtual units that bear different ones, in real time.
@Suite("The agent that learns its silences", .serialized)
struct LearnedSilenceTests {
  /// What a run came to.
  private struct Outcome {
    var wrong = 0
    /// Units that were offline at its end.
    var offline: [Int] = []
    var mostSteps: Int64 = 0
    /// Of each unit.
    var limits: [Int64] = []
    /// Requests that came too early for a unit.
    var early: Int64 = 0

    // On a busy machine a reply may come too late for its learned timeout: that costs a step, here and there.
    var isRight: Bool {
      offline.isEmpty && mostSteps >= 3 && limits[1] <= 1 && limits[2] <= 4 && (1...24).contains(early)
    }
  }

  @Test("leaves out what tolerant units don't need, and keeps strict ones online and their values right")
  func mixed() throws {
    var outcome = Outcome()
    // A machine that stops for a while makes replies late, and a unit of three late ones offline: another run tells
    // that from silences that are too short, which put a unit offline in each. A wrong value counts in any.
    let isRight = try shown(tries: 4) { _ in
      outcome = try run()
      #expect(outcome.wrong == 0)
      return outcome.isRight
    }
    #expect(isRight, "\(outcome)")
  }

  private func run() throws -> Outcome {
    let format = LineFormat(baud: 38_400)
    // Unit 1 needs nothing, unit 2 the standard's silence, unit 3 a half of it.
    let needs: [Int64] = [0, format.silenceNs, format.silenceNs / 2]
    var virtual: [SiteDevice] = []
    var specs: [DeviceSpec] = []
    var truth: [UInt16: ClosedRange<Int64>] = [:]
    for unit in 1...3 {
      var points: [PointSpec] = []
      var signals: [String: Signal] = [:]
      for (number, address) in [0, 500].enumerated() {
        var spec = point("p\(address)", .holding, address)
        spec.everyNs = 0
        points.append(spec)
        let low = unit * 1_000 + number * 100
        signals["p\(address)"] = Signal(.walk(low: Double(low), high: Double(low + 90), periodNs: 200_000_000))
        truth[UInt16((unit - 1) * 2 + number)] = Int64(low)...Int64(low + 90)
      }
      var device = SiteDevice(name: "d\(unit)", address: unit, profile: profile(points), signals: signals)
      device.silenceNs = needs[unit - 1]
      virtual.append(device)
      var spec = DeviceSpec(name: "d\(unit)", place: .inCode, bus: 0, address: unit, profile: "", kind: "k")
      spec.points = points
      specs.append(spec)
    }
    let line = try RunningLine(virtual, format: format, paced: true, strict: false)
    defer { line.end() }
    let rig = LineRig(link: line.link, devices: specs) {
      $0.format = format
      $0.silence = .learned
      // Not so short that a busy machine is taken for a dead unit.
      $0.responseTimeoutNs = 500_000_000
    }
    var outcome = Outcome()
    rig.run(atMostMs: 20_000, truth: truth) { rig in
      outcome.mostSteps = max(outcome.mostSteps, rig.board.device(0)[.silenceStep])
      for unit in 0..<3 where rig.board.device(unit)[.state] == BusBoard.offline { return true }
      return rig.board.device(0)[.silenceStep] == 8 && rig.board.device(1)[.silenceLimit] == 0
        && rig.board.device(2)[.silenceBlames] > 0 && rig.board.device(2)[.good] >= 800
    }
    outcome.wrong = rig.wrong
    outcome.offline = (0..<3).filter { rig.board.device($0)[.state] != BusBoard.online }.map { $0 + 1 }
    outcome.limits = (0..<3).map { rig.board.device($0)[.silenceLimit] }
    outcome.early = Int64(line.site.counts(line: "line").early)
    return outcome
  }
}
