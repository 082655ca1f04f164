// The whole second half of the house: batches handed over as a bus does, through the real store, to a client on a
// real socket.

import CLinux
import FieldBus
import Gateway
import Glibc
import Logging
import NIOPosix
import Store
import StreamCore
import Synchronization
import TestSupport
import Testing

private final class House {
  let channel: BatchChannel
  let store: StoreThread
  let server: PullServer
  let opening: StoreOpening
  let port: Int
  let configuration: Configuration
  private let memory: UnsafeMutableRawPointer
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)

  private final class Bell: Sendable {
    let server = Mutex<PullServer?>(nil)
    func ring(_ position: Position) { server.withLock { $0 }?.durable(position) }
  }

  init(state: String) throws {
    var configuration = Site.configuration()
    configuration.listen = [.tcp(host: "127.0.0.1", port: 0)]
    configuration.statePath = state
    configuration.runtimePath = state
    configuration.consumers = [PullFixture.consumer("all"), PullFixture.consumer("lift") { $0.kinds = ["elevator"] }]
    self.configuration = configuration
    let catalogue = Catalogue(configuration)
    memory = .allocate(byteCount: BatchChannel.bytes, alignment: 64)
    channel = BatchChannel(memory: memory, bus: 0)
    let bell = Bell()
    store = StoreThread(
      configuration: StoreConfiguration(
        statePath: state, telemetryBytes: Limits.telemetryBytesMin, alarmBytes: Limits.alarmBytesMin,
        commitNs: Limits.commitNsMin, catalogue: catalogue.encoded(), seriesCount: catalogue.series.count,
        alarmNames: catalogue.alarms.map(catalogue.alarmName), consumers: configuration.cursorOwners),
      channels: [channel], onDurable: { bell.ring($0) })
    opening = try store.start()
    server = PullServer(
      configuration: configuration, catalogue: catalogue, catalogueVersion: opening.catalogueVersion,
      storeID: opening.storeID, epoch: opening.epoch, store: store, field: ScriptedField(catalogue),
      keys: try BoxKey.open(statePath: state), group: group,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, times: PullFixture.patient,
      healthNs: WireClient.patienceNs)
    bell.server.withLock { [server] in $0 = server }
    var port = 0
    for case .tcp(_, let bound) in try server.start() { port = bound }
    self.port = port
  }

  /// As a bus does: what is in the filled batch goes to the store.
  func handOver() throws {
    guard channel.handOver() else { throw WireFailure(what: "no free batch") }
    kerb_gate_lock(store.wake)
    kerb_gate_signal(store.wake)
    kerb_gate_unlock(store.wake)
  }

  func flush() throws -> Position {
    let result = Mutex<Position?>(nil)
    store.flush { answer in if case .success(let position) = answer { result.withLock { $0 = position } } }
    _ = eventually { result.withLock { $0 != nil } }
    guard let position = result.withLock({ $0 }) else { throw WireFailure(what: "no flush") }
    return position
  }

  /// What the control socket answers, now.
  func ask(_ method: String) throws -> JSONValue {
    let catalogue = Catalogue(configuration)
    let control = ControlServer(
      configuration: configuration, catalogue: catalogue, catalogueVersion: opening.catalogueVersion, store: store,
      field: ScriptedField(catalogue), pull: nil, arenaBytes: 0, startedAt: .zero, group: group,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    try control.start()
    defer { control.stop() }
    let path = ControlServer.path(runtime: configuration.runtimePath)
    return try ControlClient(path: path, waitNs: WireClient.patienceNs).call(method)
  }

  func leave() {
    server.stop()
    store.stop()
    Spawning.settle()
    try? group.syncShutdownGracefully()
    memory.deallocate()
  }
}

@Suite struct PullFromStoreTests {
  private func state(_ body: (String) throws -> Void) throws {
    var template = Array("/tmp/kerb-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw WireFailure(what: "mkdtemp") }
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer {
      if let folder = opendir(path) {
        while let entry = readdir(folder) {
          withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { _ = unlink("\(path)/\(String(cString: $0))") }
          }
        }
        closedir(folder)
      }
      rmdir(path)
    }
    try body(path)
  }

  private func now() -> Instant { Instant(nanoseconds: kerb_monotonic_ns()) }

  @Test("Without wall time an export says of each record when it was since the box's start, with and without the agent")
  func exportWithoutTime() throws {
    try state { path in
      let house = try House(state: path)
      let first = kerb_monotonic_ns() / 1_000_000_000 * 1_000_000_000
      for index in 0..<3 {
        let at = Instant(nanoseconds: first + 250_000_000 * Int64(index))
        #expect(house.channel.filling.append(Sample(at: at, raw: Int64(index), series: 6, quality: .good)))
      }
      try house.handOver()
      _ = try house.flush()
      let (running, configuration) = (try house.ask("export"), house.configuration)
      house.leave()
      let atRest = try BufferAtRest(configuration).call("export", [])
      for page in [running, atRest] {
        let records = try #require(page["records"]?.array)
        let seconds = Double(first / 1_000_000_000)
        #expect(records.map { $0["mono"]?.double } == [seconds, seconds + 0.25, seconds + 0.5])
        #expect(records.allSatisfy { $0["t"] == nil && $0["unsynchronised"] == .bool(true) })
      }
      #expect((running["mono"]?.double ?? 0) >= Double(first) / 1e9, "now, so that an age can be told")
      #expect(atRest["mono"] == nil, "it may be another box's")
    }
  }

  @Test("What buses hand over is pulled whole, once, over two starts; ids are never used twice")
  func wholeWay() throws {
    try state { path in
      var seen: [String: Int] = [:]
      var values: [Int64] = []
      func pull(_ client: WireClient, after: inout String, house: House) throws {
        while true {
          let query = after.isEmpty ? "" : "&after=\(after)"
          let response = try client.get("/v1/batches?limit=100\(query)", token: "token-all")
          if response.status == 204 { return }
          try #require(response.status == 200)
          #expect(response.gaps.isEmpty)
          for batch in response.batches {
            seen[try #require(batch["id"]?.string), default: 0] += 1
            for record in batch["records"]?.array ?? [] { values.append(try #require(record["v"]?.integer)) }
          }
          after = response.next
          if !response.more { return }
        }
      }
      var after = ""
      for start in 0..<2 {
        let house = try House(state: path)
        defer { house.leave() }
        #expect(house.opening.epoch == UInt32(start + 1))
        for batch in 0..<5 {
          for index in 0..<200 {
            let value = Int64(start * 1_000 + batch * 200 + index)
            #expect(house.channel.filling.append(Sample(at: now(), raw: value, series: 6, quality: .good)))
          }
          try house.handOver()
        }
        #expect(try house.flush().telemetry == Int64((start + 1) * 1_000))
        try pull(try WireClient(port: house.port), after: &after, house: house)
        // The last answer was taken: say so.
        #expect(try WireClient(port: house.port).get("/v1/batches?after=\(after)", token: "token-all").status == 204)
        // The second start begins at the stored cursor.
        after = ""
      }
      #expect(values == Array(0..<2_000))
      #expect(seen.values.allSatisfy { $0 == 1 })
    }
  }

  @Test("An alarm wakes an open long poll as soon as it is durable, and is listed")
  func alarmWakes() throws {
    try state { path in
      let house = try House(state: path)
      defer { house.leave() }
      let client = try WireClient(port: house.port)
      client.sendRequest("/v1/batches?wait=60&lane=alarms", token: "token-all")
      let waits = eventually { house.server.countsNow.waiting == 1 }
      #expect(waits)
      var event = AlarmEvent(alarm: 0, state: .unacknowledged, severity: .critical, at: now(), since: now())
      event.add(AlarmCause(series: 0, quality: .good, raw: 171))
      #expect(house.channel.filling.append(event))
      try house.handOver()
      let response = try client.response()
      #expect(response.names == ["box-7/cover-1/cover-open"])
      // The clock is not known to this store: then there is no absolute time.
      #expect(response.records.first?["unsynchronised"] == .bool(true))
      #expect(response.records.first?["t"]?.double ?? 1 <= 0)
      let offsetNs = kerb_realtime_ns() - kerb_monotonic_ns()
      house.store.clockKnown(offsetNs: offsetNs)
      let alarms = try client.get("/v1/alarms", token: "token-all").json["alarms"]?.array ?? []
      #expect(alarms.first?["message"]?["en"] == .string("Cover cover-1 of box-7: 17.1 deg"))
      let unixMs = (event.at.nanoseconds + offsetNs) / 1_000_000
      #expect(abs((alarms.first?["t"]?.double ?? 0) - Double(unixMs) / 1e3) < 0.0015)
      #expect(try client.get("/healthz", token: nil).status == 200)
    }
  }

  @Test("What the ring overwrites before it was pulled comes as a gap that makes the account whole")
  func evicted() throws {
    try state { path in
      let house = try House(state: path)
      defer { house.leave() }
      var dice = Dice(state: 4)
      var made: Int64 = 0
      // Random bits don't compress: a ring of 1 MiB comes round.
      for _ in 0..<900 {
        for _ in 0..<Limits.samplesPerBatchMax {
          let raw = Int64(truncatingIfNeeded: dice.next())
          _ = house.channel.filling.append(Sample(at: now(), raw: raw, series: 6, quality: .good))
          made += 1
        }
        let isTaken = eventually { (try? house.handOver()) != nil }
        try #require(isTaken)
      }
      #expect(try house.flush().telemetry == made)
      let client = try WireClient(port: house.port)
      var after = ""
      var records: Int64 = 0
      var lost: Int64 = 0
      while true {
        let response = try client.get("/v1/batches?limit=10000\(after)", token: "token-all")
        if response.status == 204 { break }
        try #require(response.status == 200)
        records += Int64(response.records.count)
        for gap in response.gaps {
          #expect(gap["reason"] == .string("evicted"))
          lost += gap["count"]?.integer ?? 0
        }
        after = "&after=\(response.next)"
      }
      #expect(lost > 0)
      #expect(records + lost == made)
    }
  }
}
