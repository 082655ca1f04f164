// One simulated box: a real store in a folder of its own, a real push behind it; the main thread stands for its bus.
//
// Invariant: the sample with sequence N has the value N: whoever receives it knows where it belongs.

import CLinux
import FieldBus
import Gateway
import Glibc
import Logging
import NIOPosix
import Store
import StreamCore
import Synchronization

final class Box {
  let name: String
  private(set) var storeID = ""
  /// Records, made by this box.
  private(set) var made: Int64 = 0
  private var samples: Int64 = 0
  private var events: Int64 = 0
  private var isRaised = false
  private let alarm: UInt16
  private let memory: UnsafeMutableRawPointer
  private let channel: BatchChannel
  private let store: StoreThread
  private let bell = Bell()
  private let office: PushOffice

  private static let points = 8

  /// Nil: it said why.
  init?(_ number: Int, url: String, folder: String, group: MultiThreadedEventLoopGroup, tally: Tally) {
    let digits = String(number)
    name = "box-" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    let state = "\(folder)/\(name)"
    guard mkdir(state, 0o700) == 0, let configuration = Self.configuration(name, url: url, state: state) else {
      return nil
    }
    let catalogue = Catalogue(configuration)
    alarm = UInt16(catalogue.alarms.firstIndex { catalogue.alarmName($0) == "tank/high" } ?? 0)
    memory = .allocate(byteCount: BatchChannel.bytes, alignment: 64)
    channel = BatchChannel(memory: memory, bus: 0)
    let bell = bell
    store = StoreThread(
      configuration: StoreConfiguration(
        statePath: state, telemetryBytes: configuration.telemetryBytes, alarmBytes: configuration.alarmBytes,
        commitNs: configuration.commitNs, catalogue: catalogue.encoded(), seriesCount: catalogue.series.count,
        alarmNames: catalogue.alarms.map(catalogue.alarmName), consumers: configuration.cursorOwners),
      channels: [channel], onDurable: { bell.ring($0) })
    let opening: StoreOpening, keys: BoxKey
    do {
      opening = try store.start()
      keys = try BoxKey.open(statePath: state)
    } catch {
      tell("\(name): \(error)", to: 2)
      return nil
    }
    storeID = opening.storeID
    store.clockKnown(offsetNs: kerb_realtime_ns() - kerb_monotonic_ns())
    let clock = PushClock.system(configuration.clock)
    office = PushOffice(
      configuration: configuration, catalogue: catalogue, catalogueVersion: opening.catalogueVersion, store: store,
      keys: keys, group: group, logger: Logger(label: name) { _ in SwiftLogNoOpLogHandler() },
      now: { Instant(nanoseconds: kerb_monotonic_ns()) },
      makeDoor: { spec, _ in CountedDoor(MQTTDoor(spec, clock: clock), tally) })
    office.admit(configuration.pushes)
    bell.office.withLock { $0 = office }
  }

  /// As an installer writes it, but for the size of the rings.
  private static func configuration(_ name: String, url: String, state: String) -> Configuration? {
    let points = (0..<points).map {
      "[[device.point]]\nname = \"level-\($0)\"\nread = \"holding \(2 * $0)\"\ntype = \"u32\"\n"
    }
    let text = """
      [gateway]
      id = "\(name)"
      state = "\(state)"
      runtime = "\(state)"
      clock = "trusted"
      [buffer]
      telemetry = "1MiB"
      alarms = "1MiB"
      commit_every = "1s"
      [[push]]
      name = "fleet"
      kind = "mqtt"
      url = "\(url)"
      topic = "kerb/{gateway}/{lane}"
      spread = "5s"
      [[bus]]
      name = "net"
      protocol = "modbus-tcp"
      host = "127.0.0.1:502"
      [[device]]
      name = "tank"
      bus = "net"
      address = 1
      \(points.joined())
      [[device.alarm]]
      name = "high"
      when = "level-0 > 100"
      severity = "major"
      """
    let path = "\(state)/kerb.toml"
    guard let file = fopen(path, "w") else { return nil }
    fputs(text, file)
    fclose(file)
    let diagnostics = Diagnostics()
    let configuration = ConfigurationReader.read(path: path, profileDirectories: [], diagnostics: diagnostics)
    for problem in diagnostics.sorted { tell("\(problem)", to: 2) }
    return configuration
  }

  // MARK: Records

  /// As a bus does: samples up to that count, and the alarm's next event; then what is filled goes to the store.
  func make(upTo count: Int64, alarm isDue: Bool) {
    let now = Instant(nanoseconds: kerb_monotonic_ns())
    while samples < count {
      let sample = Sample(
        at: now, raw: samples + 1, series: UInt16(samples % Int64(Self.points)), quality: .good)
      guard channel.filling.append(sample) else { break }
      samples += 1
    }
    if isDue {
      let event = AlarmEvent(
        alarm: alarm, state: isRaised ? .normal : .unacknowledged, severity: .major, at: now, since: now)
      if channel.filling.append(event) {
        isRaised.toggle()
        events += 1
      }
    }
    made = samples + events
    // If no batch is free, the filled one waits here: nothing is lost, only late.
    guard !channel.filling.isEmpty, channel.handOver() else { return }
    kerb_gate_lock(store.wake)
    kerb_gate_signal(store.wake)
    kerb_gate_unlock(store.wake)
  }

  func flush() {
    make(upTo: samples, alarm: false)
    store.flush { _ in }
  }

  // MARK: The end

  struct Account: Sendable {
    var made = Position()
    var report = StoreReport()

    var held: Position { report.consumers.first?.held ?? Position() }
    /// Everything that was made is stored, and everything stored is delivered.
    var isSettled: Bool { report.durable == made && held == made }

    func line(of box: String) -> String {
      #"{"end":"\#(box)","alarms":\#(made.alarms),"telemetry":\#(made.telemetry),"#
        + #""durable_alarms":\#(report.durable.alarms),"durable_telemetry":\#(report.durable.telemetry),"#
        + #""held_alarms":\#(held.alarms),"held_telemetry":\#(held.telemetry)}"#
    }
  }

  func account() -> Account {
    let answered = Answered<StoreReport>()
    store.report { answered.set($0) }
    let report = answered.wait(ns: 10_000_000_000) ?? StoreReport()
    return Account(made: Position(alarms: events, telemetry: samples), report: report)
  }

  func stop() {
    office.stop()
    store.stop()
    memory.deallocate()
  }
}

/// Carries «more is durable» from a store's thread to the push that is made later.
private final class Bell: Sendable {
  let office = Mutex<PushOffice?>(nil)
  func ring(_ position: Position) { office.withLock { $0 }?.durable(position) }
}
