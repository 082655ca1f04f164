// Where requests are answered: who asks, what for, and may they. Lives on the event loop; owns the consumers, the
// catalogues and the requests that wait.
//
// Invariant: nothing changes in the store before the token, the parameters and the cursor are found right.

import CLinux
import FieldBus
import Logging
import NIOCore
import NIOHTTP1
import Store
import StreamCore

final class PullDesk: @unchecked Sendable {
  // Unchecked: touched on `loop` only; `answer` and `durable` assert it.

  let loop: any EventLoop
  let source: any BatchSource
  let field: any FieldView
  let shelf: CatalogueShelf
  let gatewayID: String
  /// Asked whether it is believed now.
  let wallClock: WallClock
  /// Another one after the store was damaged and set up anew.
  private(set) var storeID: String
  private(set) var epoch: UInt32
  let now: @Sendable () -> Instant
  fileprivate let healthNs: Int64
  private(set) var register: ConsumerRegister
  private let keys: BoxKey
  let logger: Logger
  let clerk: AlarmClerk
  let commands: CommandClerk
  var commandBook = CommandBook()
  let refusals: RefusalBook
  let traffic = Traffic()
  let startedAt: Instant
  /// What the server counts.
  var counts: () -> PullCounts = { PullCounts() }
  /// What the pushes do.
  var pushes: () -> [PushReport] = { [] }
  private var waiting: [ObjectIdentifier: Delivery] = [:]
  /// Known to be durable; the store may be further already.
  private var known: Position
  private(set) var isStopping = false

  init(
    configuration: Configuration, catalogue: Catalogue, catalogueVersion: UInt32, storeID: String, epoch: UInt32,
    source: any BatchSource, field: any FieldView, alarms: (any AlarmOwners)?, keys: BoxKey, loop: any EventLoop,
    logger: Logger, healthNs: Int64,
    now: @escaping @Sendable () -> Instant
  ) {
    self.healthNs = healthNs
    self.loop = loop
    self.source = source
    self.field = field
    self.storeID = storeID
    self.epoch = epoch
    self.now = now
    startedAt = now()
    gatewayID = configuration.gatewayID
    wallClock = WallClock(trust: configuration.clock)
    known = Position()
    shelf = CatalogueShelf(present: catalogue, version: catalogueVersion, source: source, loop: loop)
    self.keys = keys
    self.logger = logger
    clerk = AlarmClerk(source: source, owners: alarms, shelf: shelf, loop: loop, now: now)
    commands = CommandClerk(
      configuration: configuration, catalogue: catalogue, source: source, field: field, loop: loop, logger: logger,
      now: now)
    refusals = RefusalBook(logger)
    register = ConsumerRegister(
      configuration.consumers, keys: keys, refusals: refusals, traffic: traffic, logger: logger)
  }

  // MARK: What is there

  /// Nil if the store has no proper id: then nothing can be served.
  func seal(of consumer: Consumer) -> CursorSeal? { CursorSeal(storeID: storeID, key: consumer.cursorKey) }

  /// The id that came with an answer of the store. Sequences go on over a change of it, so what is known of them
  /// stays.
  func noteStore(_ id: String) {
    guard !id.isEmpty, id != storeID else { return }
    storeID = id
    source.report { report in
      self.loop.execute { if report.storeID == self.storeID { self.epoch = report.epoch } }
    }
  }

  /// Answers that are being compressed now.
  var compressions = 0

  var waitingCount: Int { waiting.count }

  /// Nil: it waits now. Else why it can't.
  func wait(_ delivery: Delivery) -> PullAnswer? {
    let own = waiting.values.count { $0.consumerName == delivery.consumerName }
    if own >= Limits.longPollsPerConsumerMax {
      return .tryLater(
        .tooManyRequests,
        "\(own) requests of \(delivery.consumerName) wait already; end some, or ask without `wait`", afterSeconds: 5)
    }
    if waiting.count >= Limits.longPollsMax {
      return .tryLater(
        .serviceUnavailable, "too many requests wait at once (\(Limits.longPollsMax)); ask without `wait`, or later",
        afterSeconds: 5)
    }
    waiting[ObjectIdentifier(delivery)] = delivery
    return nil
  }

  var waitingOfBusiestConsumer: Int {
    Dictionary(waiting.values.map { ($0.consumerName, 1) }, uniquingKeysWith: +).values.max() ?? 0
  }

  var turns = DeliveryTurns()
  let room = AnswerRoom()

  /// Whoever is next begins in a turn of the loop of its own.
  func leaveTurn(_ delivery: Delivery) {
    guard let next = turns.leave(delivery) else { return }
    loop.assumeIsolated().execute { next.work() }
  }

  func leave(_ delivery: Delivery) { waiting[ObjectIdentifier(delivery)] = nil }

  func noteDurable(_ position: Position) {
    known.alarms = max(known.alarms, position.alarms)
    known.telemetry = max(known.telemetry, position.telemetry)
  }

  func durable(_ position: Position) {
    loop.preconditionInEventLoop()
    noteDurable(position)
    // A copy: a woken one leaves.
    for delivery in Array(waiting.values) { delivery.wake() }
  }

  func hasMore(than position: Position, lanes: [Lane]) -> Bool {
    lanes.contains(.alarms) && known.alarms > position.alarms
      || lanes.contains(.telemetry) && known.telemetry > position.telemetry
  }

  /// Calls with the present moment, and the wall time of the epochs.
  func timeline(of epochs: Set<UInt32>, _ completion: @escaping (Timeline) -> Void) {
    let bound = NIOLoopBound(completion, eventLoop: loop)
    source.clocks(of: epochs.sorted()) { clocks in
      self.loop.execute { bound.value(Timeline(epoch: self.epoch, now: self.now(), clocks: clocks)) }
    }
  }

  func stop() {
    isStopping = true
    for delivery in Array(waiting.values) { delivery.timeIsOver() }
  }

  func admit(_ consumers: [ConsumerSpec]) {
    loop.preconditionInEventLoop()
    // Other numbers than before: an answer in the making must not find the scope of somebody else.
    register = ConsumerRegister(
      consumers, keys: keys, refusals: refusals, traffic: traffic, logger: logger, firstIndex: register.nextIndex)
    traffic.keep(consumers.map(\.name))
    commandBook.keep(consumers.map(\.name))
    shelf.forgetScopes()
    for delivery in Array(waiting.values) { delivery.timeIsOver() }
  }

  static func unavailable(_ failure: StoreFailure) -> PullAnswer {
    .tryLater(
      .serviceUnavailable, "the buffer can't be read now; nothing is lost, repeat the request: \(failure)",
      afterSeconds: 10)
  }

  // MARK: Routes

  /// Answers through `reply`, at once or later; the delivery that is returned can be cancelled. Calls `proven` when the
  /// request has shown a right token; false: its consumer has too many connections.
  func answer(
    _ request: PullRequest, proven: (String) -> Bool, reply: @escaping (PullAnswer) -> Void
  ) -> Delivery? {
    loop.preconditionInEventLoop()
    do throws(PullRefusal) {
      if isStopping {
        reply(.tryLater(.serviceUnavailable, "the agent is stopping; repeat the request", afterSeconds: 5).closing)
        return nil
      }
      return try route(request, proven, reply)
    } catch {
      if error.delayNs == 0 || isStopping {
        reply(error.answer)
      } else {
        loop.assumeIsolated().scheduleTask(in: .nanoseconds(error.delayNs)) { reply(error.answer) }
      }
      return nil
    }
  }

  /// What there is, and the types in which it is served.
  static let routes: [(path: String, types: [MediaType])] = [
    ("/v1/batches", [.json, .senmlJSON, .senmlCBOR]), ("/v1/points", [.json]), ("/v1/alarms", [.json]),
    ("/v1/devices", [.json]), ("/v1/schema", [.json]), ("/v1/status", [.json]), ("/v1/openapi.json", [.json]),
    ("/metrics", [.openMetrics]),
  ]

  private func route(
    _ request: PullRequest, _ proven: (String) -> Bool, _ reply: @escaping (PullAnswer) -> Void
  ) throws(PullRefusal) -> Delivery? {
    if request.path == "/healthz" {
      try Self.requireGet(request)
      HealthCheck(self, reply).start()
      return nil
    }
    guard request.path.hasPrefix("/v1/") || request.path == "/metrics" else { throw Self.notFound(request.path) }
    let consumer = try register.authenticate(request, at: now())
    guard proven(consumer.name) else {
      refusals.note(.connectionsOfConsumer, peer: request.peer, consumer: consumer.name, at: now())
      let text =
        "\(consumer.name) has \(Limits.connectionsPerConsumerMax) connections open already; keep one and use it again"
      throw PullRefusal(.tryLater(.tooManyRequests, text, afterSeconds: 5).closing)
    }
    guard traffic.admits(consumer.name, at: now()) else {
      refusals.note(.tooOften, peer: request.peer, consumer: consumer.name, at: now())
      let text =
        "more than \(Limits.requestsPerSecondMax) requests a second; ask with `wait`, and with a larger `limit`"
      throw PullRefusal(.tryLater(.tooManyRequests, text, afterSeconds: 1))
    }
    if let id = AlarmPosts.id(in: request.path) {
      try AlarmPosts(desk: self, consumer: consumer).acknowledge(id, request, reply)
      return nil
    }
    if request.path == CommandPosts.path {
      try CommandPosts(desk: self, consumer: consumer).give(request, reply)
      return nil
    }
    guard let route = Self.routes.first(where: { $0.path == request.path }) else { throw Self.notFound(request.path) }
    try Self.requireGet(request)
    let type = try request.negotiated(route.types)
    let traffic = traffic
    return try serve(request, type, to: consumer) { answer in
      traffic.sent(answer.body.count, to: consumer.name)
      reply(answer)
    }
  }

  private func serve(
    _ request: PullRequest, _ type: MediaType, to consumer: Consumer, _ reply: @escaping (PullAnswer) -> Void
  ) throws(PullRefusal) -> Delivery? {
    let listing = Listing(desk: self, consumer: consumer)
    do throws(PullRefusal) {
      switch request.path {
      case "/v1/batches": return try batches(request, type, consumer, reply)
      case "/v1/points": try listing.points(request, reply)
      case "/v1/devices": try listing.devices(request, reply)
      case "/v1/schema": reply(.json(try listing.schema(request)))
      case "/v1/status": try StatusPage(desk: self, consumer: consumer).write(request, reply)
      case "/v1/openapi.json":
        _ = try request.arguments()
        reply(.json(OpenAPI.document))
      case "/metrics": try MetricsPage(desk: self, consumer: consumer).write(request, reply)
      default: try listing.alarms(request, reply)
      }
    } catch {
      if error.answer.status == .forbidden {
        refusals.note(.forbidden, peer: request.peer, consumer: consumer.name, at: now())
      }
      throw error
    }
    return nil
  }

  static func requireGet(_ request: PullRequest) throws(PullRefusal) {
    guard request.method == .GET || request.method == .HEAD else {
      throw PullRefusal(
        .problem(
          .methodNotAllowed, "\(request.path) can only be read; use GET", headers: [("Allow", "GET, HEAD")]))
    }
  }

  private static func notFound(_ path: String) -> PullRefusal {
    PullRefusal(
      .problem(
        .notFound,
        "there is no \(path.prefix(200)); there are \(routes.map(\.path).joined(separator: ", ")), "
          + "\(CommandPosts.path), /v1/alarms/ID/ack and /healthz"))
  }

  // MARK: Batches

  private func batches(
    _ request: PullRequest, _ type: MediaType, _ consumer: Consumer, _ reply: @escaping (PullAnswer) -> Void
  ) throws(PullRefusal) -> Delivery {
    let query = try BatchesQuery(request, type: type)
    if let lane = query.lane, !consumer.spec.lanes.contains(lane) {
      throw PullRefusal(.problem(.forbidden, "lane \(lane.name) is outside the scope of \(consumer.name)"))
    }
    let delivery = Delivery(desk: self, consumer: consumer, query: query, reply: reply)
    guard let token = query.after else {
      delivery.start(at: nil)
      return delivery
    }
    guard let seal = seal(of: consumer) else { throw PullRefusal(Self.unavailable(source.closed)) }
    let position = try held(token, seal)
    if position.alarms <= known.alarms, position.telemetry <= known.telemetry {
      accept(position, from: consumer, delivery)
    } else {
      verify(position, from: consumer, delivery, reply)
    }
    return delivery
  }

  private func held(_ token: String, _ seal: CursorSeal) throws(PullRefusal) -> Position {
    do throws(CursorFailure) {
      return try seal.position(token)
    } catch {
      if error == .otherStore { throw PullRefusal(conflict("is of another store (the box was set up anew)")) }
      throw PullRequest.malformed("after", got: token, allowed: "a cursor that this box gave to you as `next`")
    }
  }

  private func accept(_ position: Position, from consumer: Consumer, _ delivery: Delivery) {
    traffic.acknowledged(by: consumer.name)
    source.acknowledge(position, by: consumer.name, at: now())
    delivery.start(at: position)
  }

  /// Ahead of what is known here: the store is asked before it is called wrong.
  private func verify(
    _ position: Position, from consumer: Consumer, _ delivery: Delivery, _ reply: @escaping (PullAnswer) -> Void
  ) {
    let bound = NIOLoopBound(reply, eventLoop: loop)
    source.report { report in
      self.loop.execute {
        self.noteStore(report.storeID)
        self.noteDurable(report.durable)
        if position.alarms <= self.known.alarms, position.telemetry <= self.known.telemetry {
          self.accept(position, from: consumer, delivery)
        } else {
          delivery.cancel()
          bound.value(self.conflict("is ahead of everything stored here (the store was put back to an older state)"))
        }
      }
    }
  }

  func conflict(_ what: String) -> PullAnswer {
    .problem(
      .conflict, "this cursor \(what); the store is now \(storeID): begin again without `after`",
      members: [("store", storeID)])
  }
}

/// Is the agent well? Answers within `healthNs`, whatever the store does.
private final class HealthCheck: @unchecked Sendable {
  // Unchecked: touched on the desk's loop only.
  private let desk: PullDesk
  private var reply: ((PullAnswer) -> Void)?

  init(_ desk: PullDesk, _ reply: @escaping (PullAnswer) -> Void) {
    self.desk = desk
    self.reply = reply
  }

  func start() {
    let tooLate = desk.loop.assumeIsolated().scheduleTask(in: .nanoseconds(desk.healthNs)) {
      self.finish("the buffer does not answer; look at the storage with `kerb status`")
    }
    desk.source.report { report in
      self.desk.loop.execute {
        tooLate.cancel()
        let isWell = !report.storeID.isEmpty && report.state != .failing && report.state != .readOnly
        self.finish(isWell ? nil : "the storage fails; `kerb status` on the box says how")
      }
    }
  }

  private func finish(_ trouble: String?) {
    guard let reply else { return }
    self.reply = nil
    guard let trouble else { return reply(.json(Array(#"{"status":"ok"}"#.utf8))) }
    reply(.tryLater(.serviceUnavailable, trouble, afterSeconds: 30))
  }
}
