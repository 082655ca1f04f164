import FieldBus
import Testing

@Suite struct VerdictTests {
  private func bus(_ change: (inout BusReport) -> Void = { _ in }) -> BusReport {
    var report = BusReport()
    report.transactions = 1_000
    report.good = 990
    change(&report)
    return report
  }

  private func devices(_ count: Int, offline: Set<Int> = [], noisy: Set<Int> = []) -> [DeviceReport] {
    (0..<count).map { index in
      var report = DeviceReport()
      report.name = "d\(index)"
      report.state = offline.contains(index) ? .offline : .online
      report.transactions = 100
      report.crcErrors = noisy.contains(index) ? 20 : 0
      return report
    }
  }

  @Test("counts become what a person can act on")
  func verdicts() {
    #expect(Verdict(bus(), devices(16)) == .fine)
    #expect(Verdict(bus(), devices(16, offline: [3])) == .silent(["d3"]))
    #expect(Verdict(bus(), devices(4, offline: [0, 1, 2, 3])) == .allSilent)
    #expect(Verdict(bus { $0.crcErrors = 100 }, devices(4, noisy: [0, 1, 2, 3])) == .noisy(percent: 10))
    #expect(Verdict(bus { $0.crcErrors = 20 }, devices(16, noisy: [5])) == .noisyDevices(["d5"]))
    #expect(Verdict(bus { $0.hasEcho = true }, devices(4)) == .echo)
    #expect(Verdict(bus { $0.strayBytes = 50_000 }, devices(4)) == .babble)
    #expect(Verdict(bus { $0.stretch = 2.5 }, devices(4)) == .stretched(2.5))
    #expect(
      Verdict(bus { $0.problem = "/dev/x: busy" }, devices(4, offline: [0, 1, 2, 3])) == .portLost("/dev/x: busy"))
  }

  @Test("a few broken frames at the start are no verdict yet")
  func early() {
    #expect(
      Verdict(
        bus {
          $0.transactions = 10
          $0.crcErrors = 2
        }, devices(4)) == .fine)
  }

  @Test("every verdict has words in both languages and a code without blanks")
  func words() {
    let all: [Verdict] = [
      .fine, .portLost("x"), .allSilent, .silent(["a", "b", "c", "d"]), .noisy(percent: 3), .noisyDevices(["a"]), .echo,
      .babble, .stretched(1.5),
    ]
    #expect(Set(all.map(\.code)).count == all.count)
    for verdict in all {
      #expect(!verdict.text.isEmpty && !verdict.chineseText.isEmpty)
      #expect(!verdict.code.contains(" "))
    }
    #expect(Verdict.silent(["a", "b", "c", "d"]).text.contains("+1"))
  }
}
