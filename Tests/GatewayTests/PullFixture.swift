// A pull server on a free port of loopback, over a scripted store and field, for one test.

import CLinux
import FieldBus
import Gateway
import Glibc
import Logging
import NIOPosix
import Store
import StreamCore
import Synchronization

final class PullFixture {
  static let storeID = "6f1c2d3e-4b5a-4c7d-8e9f-0a1b2c3d4e5f"
  static let epoch: UInt32 = 3
  /// Unix time of the monotonic zero of epoch 3.
  static let offsetNs: Int64 = 1_795_212_000_000_000_000

  let store = ScriptedStore()
  let catalogue: Catalogue
  let field: ScriptedField
  let server: PullServer
  let owners: ScriptedOwners
  let keys = BoxKey(secret: Array(repeating: 7, count: BoxKey.bytes))
  let clock = ClockHand()
  let port: Int
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)

  /// Nobody is sent away for being slow, unless a test is about that: so may the machine be.
  static let patient: ConnectionTimes = {
    var times = ConnectionTimes()
    times.headerNs = 10 * WireClient.patienceNs
    times.idleNs = 10 * WireClient.patienceNs
    return times
  }()

  final class ClockHand: Sendable {
    let at = Atomic<Int64>(1_000_000_000_000)
    var now: Instant { Instant(nanoseconds: at.load(ordering: .relaxed)) }
  }

  static func consumer(_ name: String, _ adjust: (inout ConsumerSpec) -> Void = { _ in }) -> ConsumerSpec {
    let hash = Hexadecimal.text(Sodium.sha256(Array("token-\(name)".utf8)))
    var consumer = ConsumerSpec(name: name, place: Site.place, tokenSHA256: hash)
    adjust(&consumer)
    return consumer
  }

  /// "all" sees everything but personal data; more consumers at will.
  init(
    _ consumers: [ConsumerSpec] = [], listen: [ListenAddress] = [.tcp(host: "127.0.0.1", port: 0)],
    times: ConnectionTimes = PullFixture.patient, clockKnown: Bool = true, certificate: CertificateFiles? = nil,
    healthNs: Int64 = WireClient.patienceNs
  ) throws {
    var configuration = Site.configuration()
    configuration.listen = listen
    if clockKnown { configuration.clock = .trusted }
    configuration.certificate = certificate
    configuration.consumers = [Self.consumer("all")] + consumers
    catalogue = Catalogue(configuration)
    field = ScriptedField(catalogue)
    let encoded = catalogue.encoded()
    store.change {
      $0.catalogues[1] = encoded
      $0.report.storeID = Self.storeID
      $0.report.epoch = Self.epoch
      $0.clocks = [EpochClock(epoch: Self.epoch, offsetNs: clockKnown ? Self.offsetNs : nil)]
    }
    let clock = clock
    let owners = ScriptedOwners(store)
    self.owners = owners
    server = PullServer(
      configuration: configuration, catalogue: catalogue, catalogueVersion: 1, storeID: Self.storeID,
      epoch: Self.epoch,
      store: store, field: field, alarms: owners, keys: keys, group: group,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
      times: times, healthNs: healthNs, now: { clock.now })
    var port = 0
    for address in try server.start() {
      switch address {
      case .tcp(_, let bound), .tls(_, let bound): port = bound
      case .unix: break
      }
    }
    self.port = port
  }

  deinit {
    server.stop()
    try? group.syncShutdownGracefully()
  }

  func client() throws -> WireClient { try WireClient(port: port) }

  func get(
    _ target: String, as consumer: String? = "all", method: String = "GET", headers: String = ""
  ) throws -> WireClient.Response {
    try client().get(target, token: consumer.map { "token-\($0)" }, method: method, headers: headers)
  }

  var counts: PullCounts { server.countsNow }

  /// Seals a position as the server would.
  func cursor(_ position: Position, of consumer: String = "all", storeID: String = PullFixture.storeID) -> String {
    CursorSeal(storeID: storeID, key: keys.cursorKey(consumer: consumer))?.token(position) ?? ""
  }

  /// What the store has is durable, and the server is told.
  func tell() { server.durable(store.change { $0.durable }) }

  /// `seconds` after the monotonic zero.
  static func at(_ seconds: Double) -> Instant { Instant(nanoseconds: Int64(seconds * 1e9)) }

  static func sample(_ series: UInt16, _ raw: Int64, at seconds: Double, _ quality: Quality = .good) -> Sample {
    Sample(at: at(seconds), raw: raw, series: series, quality: quality)
  }

  static func event(_ alarm: UInt16, _ state: AlarmState, _ severity: Severity, at seconds: Double) -> AlarmEvent {
    AlarmEvent(alarm: alarm, state: state, severity: severity, at: at(seconds), since: at(seconds - 2))
  }
}

extension WireClient.Response {
  var batches: [JSONValue] { json["batches"]?.array ?? [] }
  var records: [JSONValue] { batches.flatMap { $0["records"]?.array ?? [] } }
  var gaps: [JSONValue] { json["gaps"]?.array ?? [] }
  var next: String { json["next"]?.string ?? "" }
  var more: Bool { json["more"]?.bool ?? false }
  var names: [String] { records.map { $0["n"]?.string ?? "" } }
  var detail: String { json["detail"]?.string ?? "" }
}

extension PullServer {
  /// What it counts now; the loop's thread may not ask.
  var countsNow: PullCounts {
    let box = Mutex<PullCounts?>(nil)
    counts { counts in box.withLock { $0 = counts } }
    _ = eventually { box.withLock { $0 != nil } }
    return box.withLock { $0 } ?? PullCounts()
  }
}
