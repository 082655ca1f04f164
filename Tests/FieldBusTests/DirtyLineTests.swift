import FieldBus
import Glibc
import StreamCore
import Testing

/// A dirty line, long: 1 % of the replies corrupted, 1 % late, 1 % truncated, 0.5 % of another unit. Not one
/// wrong value may pass for a good one. KERB_TRANSACTIONS and KERB_SEED choose another length and another dirt.
@Suite struct DirtyLineTests {
  private static func setting(_ name: String, _ usual: UInt64) -> UInt64 {
    getenv(name).flatMap { UInt64(String(cString: $0)) } ?? usual
  }

  @Test("FAULTS 1, 2, 4, 5: on a dirty line no wrong value has Good quality", arguments: [false, true])
  func dirty(overtaking: Bool) {
    let wanted = Int(Self.setting("KERB_TRANSACTIONS", 60_000))
    let seed = Self.setting("KERB_SEED", 20_261_121)
    var state = seed
    func chance() -> Double {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Double(state >> 11) / Double(1 << 53)
    }
    let units = 8
    let devices = (1...units).map { device($0, registers: [0, 1, 40, 41, 80, 81, 120, 121], everyNs: 0) }
    // The value of a register changes with time, so that an old one would show, too; the low digits name unit
    // and address.
    var turn = 0
    let line = ScriptedLine(
      value: { unit, address in UInt16(unit * 1_000 + address + (turn & 1) * 32_768) },
      answer: { _, _, number in
        turn = number / 512
        let dice = chance()
        if dice < 0.010 { return .corrupt }
        if dice < 0.020 {
          let lateNs = Int64((1.1 + 1.5 * chance()) * 100) * millisecond + 40 * millisecond
          return overtaking ? .reply(afterNs: lateNs) : .replyInOrder(afterNs: lateNs)
        }
        if dice < 0.030 { return .truncated }
        if dice < 0.035 { return .wrongUnitThenRight(afterNs: 25 * millisecond) }
        return overtaking ? .reply(afterNs: 15 * millisecond) : .replyInOrder(afterNs: 15 * millisecond)
      })
    let rig = BusRig(spec: bus(), devices: devices, line: line)
    rig.keepsSamples = false
    rig.loop.port.keepsSent = false
    var wrong = 0
    var good = 0
    var truth: [Int] = []
    for device in devices {
      for point in device.points {
        if case .register(_, let address) = point.source { truth.append(device.address * 1_000 + address) }
      }
    }
    rig.onSample = { sample in
      guard sample.quality == .good else { return }
      good += 1
      if Int(sample.raw) & 32_767 != truth[Int(sample.series)] { wrong += 1 }
    }
    var endNs: Int64 = 0
    while rig.sentCount < wanted {
      endNs += 100 * second
      rig.run(untilNs: endNs)
    }
    #expect(wrong == 0, "seed \(seed)")
    #expect(good > wanted / 200)
    // Every kind of dirt has been met.
    #expect(rig.board.bus[.crcErrors] > 100)
    #expect(rig.board.bus[.timeouts] > 100)
    #expect(rig.board.bus[.otherErrors] > 50)
    // And the line was used all the same: at most 8 % of the transactions were lost or spent on fences.
    let spent = Double(rig.sentCount) - Double(rig.board.bus[.good] - rig.board.bus[.fences])
    #expect(spent / Double(rig.sentCount) < 0.09, "\(spent) of \(rig.sentCount)")
  }
}
