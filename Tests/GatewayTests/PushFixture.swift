// Pushes over a scripted store, for one test; the time of their machines stands still until the test moves it.

import CLinux
import FieldBus
import Gateway
import Logging
import NIOCore
import NIOPosix
import Store
import StreamCore
import Synchronization

final class PushFixture {
  let store = ScriptedStore()
  let clock = PullFixture.ClockHand()
  let office: PushOffice
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)

  static func spec(
    _ name: String = "city", port: Int, _ adjust: (inout PushSpec) -> Void = { _ in }
  ) -> PushSpec {
    var spec = PushSpec(
      consumer: ConsumerSpec(name: name, place: Site.place, tokenSHA256: ""), kind: .http,
      address: PushAddress(
        scheme: "http", isTLS: false, host: "127.0.0.1", port: port, path: "/in?box=7"))
    spec.spreadNs = 0
    adjust(&spec)
    return spec
  }

  init(lookup: @escaping PushCredentials.Lookup = PushCredentials.lookup) {
    let configuration = Site.configuration()
    let catalogue = Catalogue(configuration)
    let encoded = catalogue.encoded()
    store.change {
      $0.catalogues[1] = encoded
      $0.report.storeID = PullFixture.storeID
      $0.report.epoch = PullFixture.epoch
      $0.clocks = [EpochClock(epoch: PullFixture.epoch, offsetNs: PullFixture.offsetNs)]
    }
    let (clock, system) = (clock, PushClock(isBelieved: { true }, unixNow: { 1_795_212_000 }))
    office = PushOffice(
      configuration: configuration, catalogue: catalogue, catalogueVersion: 1, store: store,
      keys: BoxKey(secret: Array(repeating: 7, count: BoxKey.bytes)), group: group,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, now: { clock.now },
      makeDoor: { spec, loop -> any PushDoor in
        if spec.kind == .mqtt { return MQTTDoor(spec, clock: system) }
        return HTTPDoor(spec, loop: loop, clock: system, lookup: lookup)
      },
      seed: { 7 })
  }

  deinit {
    office.stop()
    try? group.syncShutdownGracefully()
  }

  /// Samples of 1 s distance, in one commit.
  func fill(_ count: Int, from second: Int = 1) {
    store.add((0..<count).map { PullFixture.sample(0, Int64($0), at: Double(second + $0)) })
  }

  /// What the store has is durable, and the pushes are told.
  func tell() { office.durable(store.change { $0.durable }) }

  /// Time passes, and everybody looks at the clock.
  func pass(_ seconds: Int64) {
    clock.at.add(seconds * 1_000_000_000, ordering: .relaxed)
    tell()
  }

  /// Until it is so; while the push waits for a time, time passes.
  func passUntil(_ condition: () -> Bool) -> Bool {
    eventually {
      if condition() { return true }
      switch report()?.state {
      case .waiting, .paused, .starting: pass(1)
      default: break
      }
      return false
    }
  }

  func report(_ name: String = "city") -> PushReport? {
    let box = Mutex<[PushReport]?>(nil)
    office.reports { reports in box.withLock { $0 = reports } }
    _ = eventually { box.withLock { $0 != nil } }
    return box.withLock { $0 }?.first { $0.name == name }
  }

  func cursor(_ name: String = "city") -> Position {
    store.change { $0.cursors[name] ?? Position() }
  }
}
