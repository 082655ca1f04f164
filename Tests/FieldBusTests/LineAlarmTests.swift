import CLinux
import FieldBus
import Glibc
import StreamCore
import Synchronization
import Testing

/// Devices of a line that fall silent by number; `BusRig`'s line asks.
private final class Silent {
  var units: Set<Int> = []
}

/// Acknowledges alarm 2 from a thread of its own, while the test turns the loop.
private final class OrderPoster: @unchecked Sendable {
  // Unchecked: the outcome is behind a lock, the handle is the test's alone.
  private var handle = pthread_t()
  private let inbox: Inbox
  private let answered = Mutex<Pipeline.OrderOutcome??>(nil)

  init(_ inbox: Inbox) {
    self.inbox = inbox
    pthread_create(
      &handle, nil,
      { raw in
        guard let raw else { return nil }
        Unmanaged<OrderPoster>.fromOpaque(raw).takeUnretainedValue().post()
        return nil
      }, Unmanaged.passUnretained(self).toOpaque())
  }

  private func post() {
    let deadline = Instant(nanoseconds: kerb_monotonic_ns() + 120 * second)
    let outcome = try? inbox.order(AlarmRequest(.acknowledge, by: "Zhang"), alarm: 2, until: deadline)
    answered.withLock { $0 = .some(outcome) }
  }

  var isAnswered: Bool { answered.withLock { $0 != nil } }

  /// Waits for the thread.
  var outcome: Pipeline.OrderOutcome? {
    pthread_join(handle, nil)
    return answered.withLock { $0 } ?? nil
  }
}

@Suite("A bus tells its alarms")
struct LineAlarmTests {
  private func rig(_ count: Int, _ silent: Silent) -> BusRig {
    let devices = (1...count).map { address -> DeviceSpec in
      var device = device(address, registers: [0])
      device.alarms = [BuiltInAlarm.deviceOffline.spec(at: nowhere)]
      return device
    }
    let line = ScriptedLine(answer: { unit, _, _ in
      silent.units.contains(unit) ? .silence : .reply(afterNs: 20_000_000)
    })
    return BusRig(
      spec: bus {
        $0.alarms = [BuiltInAlarm.busLost.spec(at: nowhere)]
      }, devices: devices, line: line)
  }

  /// The alarm, what happened to it, and whether it was explained by another one.
  private func told(_ rig: BusRig) -> [String] {
    rig.events.map { "\($0.alarm) \($0.change)\($0.isSuppressed ? " suppressed" : "")" }
  }

  @Test("that one device does not answer: raised once its time is over, ended when it is back")
  func oneDevice() {
    let silent = Silent()
    let rig = rig(4, silent)
    rig.run(untilNs: 5 * second)
    silent.units = [2]
    rig.run(untilNs: 60 * second)
    #expect(told(rig) == ["1 raised"])
    silent.units = []
    rig.run(untilNs: 130 * second)
    #expect(told(rig) == ["1 raised", "1 returned"])
  }

  @Test("that nobody answers: one alarm calls, those of the devices are in the log and explained")
  func deadLine() {
    let silent = Silent()
    let rig = rig(12, silent)
    rig.run(untilNs: 5 * second)
    silent.units = Set(1...12)
    rig.run(untilNs: 120 * second)
    #expect(rig.events.filter { !$0.isSuppressed }.map(\.alarm) == [12])
    #expect(Set(rig.events.filter(\.isSuppressed).map(\.alarm)) == Set(0..<12))
    #expect(rig.events.first?.alarm == 12)
    // All but one come back: the bus is over, and the one is told.
    silent.units = [7]
    rig.run(untilNs: 400 * second)
    let after = rig.events.dropFirst(13)
    #expect(after.filter { !$0.isSuppressed && $0.change == .returned }.map(\.alarm).contains(12))
    #expect(after.filter { $0.change == .revealed }.map(\.alarm) == [6])
    #expect(after.filter { $0.process == .normal }.count == 11)
  }

  @Test("that the port is lost: what its devices do is unknown then, and so is it until each was asked again")
  func portLost() {
    let silent = Silent()
    let rig = rig(3, silent)
    rig.run(untilNs: 5 * second)
    rig.setThere(false)
    rig.run(untilNs: 60 * second)
    #expect(told(rig) == ["3 raised"])
    rig.setThere(true)
    rig.run(untilNs: 120 * second)
    #expect(told(rig) == ["3 raised", "3 returned"])
  }

  @Test("an adapter that is back within its time, and a device that misses two polls, call nobody")
  func shortTroubles() {
    let silent = Silent()
    let rig = rig(3, silent)
    rig.run(untilNs: 5 * second)
    silent.units = [1, 2, 3]
    rig.run(untilNs: 8 * second)
    silent.units = []
    rig.run(untilNs: 60 * second)
    #expect(told(rig) == [])
  }

  @Test("an acknowledgement reaches the bus's thread with the line dead, and says who")
  func ordered() throws {
    let silent = Silent()
    let rig = rig(2, silent)
    rig.board.inbox.open()
    rig.run(untilNs: 5 * second)
    silent.units = [1, 2]
    rig.run(untilNs: 30 * second)
    let poster = OrderPoster(rig.board.inbox)
    let deadline = kerb_monotonic_ns() + 60 * second
    while !poster.isAnswered, kerb_monotonic_ns() < deadline { _ = rig.loop.step() }
    rig.finish()
    #expect(poster.outcome == .judged(.change(.acknowledged)))
    #expect(rig.events.last?.state == .acknowledged)
  }
}
