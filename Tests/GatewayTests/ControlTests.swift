import FieldBus
import Gateway
import Glibc
import Logging
import NIOPosix
import Store
import StreamCore
import Synchronization
import Testing

final class ControlFixture {
  let folder: BoxKeyTests.Folder
  let store = ScriptedStore()
  let catalogue: Catalogue
  let field: ScriptedField
  let server: ControlServer
  let path: String
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)

  init(folder: BoxKeyTests.Folder? = nil, healthNs: Int64 = WireClient.patienceNs) throws {
    let folder = try folder ?? BoxKeyTests.Folder()
    self.folder = folder
    var configuration = Site.configuration()
    configuration.runtimePath = folder.path
    configuration.clock = .trusted
    catalogue = Catalogue(configuration)
    field = ScriptedField(catalogue)
    let encoded = catalogue.encoded()
    store.change {
      $0.catalogues[1] = encoded
      $0.report.storeID = PullFixture.storeID
      $0.report.epoch = 3
      $0.clocks = [EpochClock(epoch: 3, offsetNs: PullFixture.offsetNs)]
    }
    let box = AccessBox()
    accessBox = box
    server = ControlServer(
      configuration: configuration, catalogue: catalogue, catalogueVersion: 1, store: store, field: field,
      pull: nil,
      arenaBytes: 4_096, startedAt: PullFixture.at(900), group: group,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, healthNs: healthNs,
      now: { PullFixture.at(1_000) },
      access: { _, _ in box.access.withLock { $0 } })
    try server.start()
    path = ControlServer.path(runtime: folder.path)
  }

  final class AccessBox: Sendable { let access = Mutex(ControlAccess.change) }
  let accessBox: AccessBox

  deinit {
    server.stop()
    try? group.syncShutdownGracefully()
  }

  func call(_ method: String, _ parameters: [(String, String)] = []) throws -> JSONValue {
    try ControlClient(path: path, waitNs: WireClient.patienceNs).call(method, parameters)
  }
}

@Suite struct ControlTests {
  @Test("The status has every key of the contract")
  func status() throws {
    let fixture = try ControlFixture()
    fixture.field.change {
      $0.devices[3].state = .offline
      $0.points[0].quality = .good
      $0.points[1].quality = .stale
    }
    fixture.store.change {
      $0.alarms = [
        StoredAlarm(
          name: "cover-1/cover-open", sequence: 17, epoch: 3, catalogueVersion: 1,
          event: PullFixture.event(0, .unacknowledged, .critical, at: 10))
      ]
      $0.report.storedSamples = 500
      $0.report.oldestAt = PullFixture.at(1)
      $0.report.oldestEpoch = 3
      $0.report.consumers = [
        ConsumerReport(name: "all", held: Position(), lagRecords: 12, gapRecords: 3, lastSeen: PullFixture.at(990))
      ]
    }
    let status = try fixture.call("status")
    #expect(status["gateway"] == .string("box-7"))
    #expect(status["version"] == .string(Version.text))
    #expect(status["uptime_s"] == .integer(100))
    #expect(status["epoch"] == .integer(3))
    #expect(status["clock_synchronised"] == .bool(true))
    let bus = try #require(status["buses"]?.array?.first)
    for key in [
      "name", "state", "utilisation", "cycle_ms", "transactions", "good", "timeouts", "crc_errors", "exceptions",
      "late_replies", "efficiency", "produced", "lost",
    ] { #expect(bus[key] != nil, "\(key)") }
    #expect(status["devices"]?["online"] == .integer(3))
    #expect(status["devices"]?["offline"] == .integer(1))
    #expect(status["points"]?["good"] == .integer(1))
    #expect(status["points"]?["stale"] == .integer(1))
    #expect(status["points"]?["bad"] == .integer(6))
    #expect(status["points"]?["uncertain"] == .integer(0))
    #expect(status["alarms"]?["active"] == .integer(1))
    #expect(status["alarms"]?["unacknowledged"] == .integer(1))
    let buffer = try #require(status["buffer"])
    for key in ["samples", "bytes", "capacity_bytes", "evicted", "damaged", "produced", "lost", "stored", "durable"] {
      #expect(buffer[key] != nil, "\(key)")
    }
    #expect(buffer["state"] == .string("good"))
    #expect(buffer["oldest"] == .integer(1_795_212_001))
    #expect(buffer["produced"] == .integer(120))
    let consumer = try #require(status["consumers"]?.array?.first)
    #expect(consumer["lag_records"] == .integer(12))
    #expect(consumer["gaps"] == .integer(3))
    #expect(consumer["last_seen"] == .integer(1_795_212_990))
    #expect(status["memory"]?["arena_bytes"] == .integer(4_096))
    #expect(status["memory"]?["private_bytes"]?.integer ?? 0 > 100_000)
    #expect(status["memory"]?["rss_bytes"]?.integer ?? 0 > 100_000)
    #expect(status["threads"]?.integer ?? 0 > 1)
  }

  @Test("When the store is silent, the rest of the status still comes")
  func silentStore() throws {
    let fixture = try ControlFixture(healthNs: 1_000_000)
    fixture.store.change { $0.isMute = true }
    let status = try fixture.call("status")
    #expect(status["buffer"]?["state"] == .string("silent"))
    #expect(status["devices"]?["online"] == .integer(4))
  }

  @Test("Points, devices, alarms, version and flush answer; personal values stay inside")
  func methods() throws {
    let fixture = try ControlFixture()
    fixture.field.change {
      $0.points[0].raw = 34
      $0.points[0].quality = .good
      $0.points[0].readAt = PullFixture.at(999)
      $0.points[7].text = Array(repeating: 1, count: 16)
      $0.points[7].quality = .good
      $0.points[7].readAt = PullFixture.at(999)
    }
    let points = try fixture.call("points").array ?? []
    #expect(points.count == 8)
    #expect(points[0]["v"] == .number(3.4))
    #expect(points[0]["age_ms"] == .integer(1_000))
    #expect(points[7]["personal"] == .bool(true))
    #expect(points[7]["vs"] == nil)
    #expect(try fixture.call("points", [("device", "lift-1")]).array?.count == 3)
    #expect(
      throws: ControlFailure.refused(code: "not_found", message: "there is no device lift-2; did you mean lift-1?")
    ) {
      _ = try fixture.call("points", [("device", "lift-2")])
    }
    #expect(try fixture.call("devices").array?.count == 4)
    #expect(try fixture.call("version")["version"] == .string(Version.text))
    fixture.store.change {
      $0.alarms = [
        StoredAlarm(
          name: "hydrant-1/leak", sequence: 2, epoch: 3, catalogueVersion: 1,
          event: PullFixture.event(1, .normal, .warning, at: 10))
      ]
    }
    #expect(try fixture.call("alarms").array?.isEmpty == true)
    #expect(try fixture.call("alarms", [("state", "all")]).array?.first?["alarm"] == .string("leak"))
    fixture.store.add([PullFixture.sample(0, 1, at: 1)])
    #expect(try fixture.call("flush")["telemetry"] == .integer(1))
    #expect(fixture.store.change { $0.flushes } == 1)
  }

  @Test("Who may only read can't flush; who may nothing is told so and put out")
  func access() throws {
    let fixture = try ControlFixture()
    fixture.accessBox.access.withLock { $0 = .read }
    #expect(try fixture.call("status")["gateway"] == .string("box-7"))
    do {
      _ = try fixture.call("flush")
      Issue.record("flushed")
    } catch let failure as ControlFailure {
      if case .refused(code: "forbidden", _) = failure {} else { Issue.record("\(failure)") }
    }
    #expect(fixture.store.change { $0.flushes } == 0)
    fixture.accessBox.access.withLock { $0 = .none }
    let client = try WireClient(unix: fixture.path)
    #expect(try client.line().contains("\"forbidden\""))
    try client.waitForEnd()
  }

  @Test("A second agent on the same runtime folder is refused, and the first goes on")
  func second() throws {
    let first = try ControlFixture()
    #expect(throws: PullFailure.self) { _ = try ControlFixture(folder: first.folder) }
    #expect(try first.call("version")["version"] == .string(Version.text))
  }

  @Test("The socket is for owner and group only")
  func mode() throws {
    let fixture = try ControlFixture()
    var facts = stat()
    #expect(stat(fixture.path, &facts) == 0)
    #expect(facts.st_mode & 0o777 == 0o660)
  }

  static let everybody = "         0          0 4294967295\n"
  /// What systemd's PrivateUsers makes: root and the service's own user, each as itself.
  static let rootAndItself = "         0          0          1\n       997        997          1\n"

  @Test(
    "Who may do what follows from the kernel's word, and within a user namespace whoever passed the socket reads",
    arguments: [
      (0, 0, everybody, ControlAccess.change), (997, 5, everybody, .change),
      (4_000_000_000, 4_000_000_000, everybody, .none), (65_534, 65_534, everybody, .none),
      (65_534, 65_534, "", .none), (65_534, 65_534, "garbage\n", .none),
      (0, 0, rootAndItself, .change), (997, 997, rootAndItself, .change),
      (65_534, 65_534, rootAndItself, .read), (4_000_000_000, 5, rootAndItself, .none),
    ] as [(UInt32, UInt32, String, ControlAccess)])
  func peers(_ uid: UInt32, _ gid: UInt32, _ map: String, _ expected: ControlAccess) {
    let access = ControlAccess.of(uid: uid, gid: gid, agent: 997, namespace: UserNamespace(map: map))
    #expect(access == expected)
  }

  @Test("Where there is a folder for administrators, who comes through its door may change things")
  func adminDoor() throws {
    let folder = try BoxKeyTests.Folder()
    let admin = "\(folder.path)-admin"
    try #require(mkdir(admin, 0o750) == 0)
    defer { rmdir(admin) }
    do {
      let fixture = try ControlFixture(folder: folder)
      fixture.accessBox.access.withLock { $0 = .read }
      #expect(throws: ControlFailure.self) { _ = try fixture.call("flush") }
      _ = try ControlClient(path: ControlServer.adminPath(runtime: folder.path)).call("flush")
      #expect(fixture.store.change { $0.flushes } == 1)
    }
    #expect(Glibc.access("\(admin)/control.sock", F_OK) != 0, "the door is taken away at the end")
  }

  @Test(
    "Garbage gets an error, and the connection goes on",
    arguments: [
      "", "status", "{", "[]", "{\"method\":7}", "{\"method\":\"reboot\"}", "{\"method\":\"status\"} x", "\u{7F}",
      String(repeating: "[", count: 100),
    ])
  func garbage(_ line: String) throws {
    let fixture = try ControlFixture()
    let client = try WireClient(unix: fixture.path)
    client.send(line + "\n")
    #expect(try client.line().hasPrefix(#"{"error":{"code":""#))
    client.send("{\"method\":\"version\"}\n")
    #expect(try client.line() == #"{"result":{"version":"\#(Version.text)"}}"#)
  }

  @Test("Many lines at once are answered in order; a line without end is refused and the connection closed")
  func lines() throws {
    let fixture = try ControlFixture()
    let client = try WireClient(unix: fixture.path)
    for _ in 0..<200 { client.send("{\"method\":\"version\"}\nx\n") }
    for _ in 0..<200 {
      #expect(try client.line().hasPrefix(#"{"result""#))
      #expect(try client.line().hasPrefix(#"{"error""#))
    }
    let endless = try WireClient(unix: fixture.path)
    endless.send(String(repeating: "a", count: Limits.controlLineBytesMax + 5_000))
    #expect(try endless.line().contains("\"too_long\""))
    try endless.waitForEnd()
  }

  @Test("One connection more than allowed is told so; when one leaves there is room again")
  func tooMany() throws {
    let fixture = try ControlFixture()
    let held = try (0..<Limits.controlConnectionsMax).map { _ in try WireClient(unix: fixture.path) }
    for client in held {
      client.send("{\"method\":\"version\"}\n")
      #expect(try client.line().hasPrefix(#"{"result""#))
    }
    let next = try WireClient(unix: fixture.path)
    #expect(try next.line().contains("\"too_many\""))
    try next.waitForEnd()
    held[0].hangUp()
    let isFree = eventually { (try? fixture.call("version")) != nil }
    #expect(isFree)
  }

  @Test("The client says when there is no agent, and when what answers is none")
  func client() throws {
    let folder = try BoxKeyTests.Folder()
    #expect(throws: ControlFailure.noAgent(path: "\(folder.path)/control.sock")) {
      _ = try ControlClient(path: "\(folder.path)/control.sock")
    }
    let fixture = try ControlFixture()
    fixture.store.change { $0.isMute = true }
    #expect(throws: ControlFailure.silent(path: fixture.path)) {
      // Points wait for the store, which says nothing.
      _ = try ControlClient(path: fixture.path, waitNs: 50_000_000).call("points")
    }
  }
}
