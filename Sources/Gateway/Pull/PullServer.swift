// The pull server: its listeners, its connections, its stop. The face is for any thread; what is behind it runs on
// one loop of the group that is given.
//
// Invariants:
//  1. At most `Limits.connectionsMax` connections are served, `connectionsPerAddressMax` from one address and
//     `connectionsPerConsumerMax` of one token; some more are told so, and any beyond that are closed unheard.
//  2. After `stop()` no connection and no listener is left.

import CLinux
import Glibc
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Store
import StreamCore
import Synchronization

package enum PullFailure: Error, Sendable {
  /// Which address, and why; don't start.
  case cannotListen(address: String, reason: String)
  /// The same of the control socket.
  case cannotControl(path: String, reason: String)
  case badCertificate(CertificateFailure)

  package var text: String {
    switch self {
    case .cannotListen(let address, let reason):
      return "can't listen on \(address): \(reason); change `listen` under [pull], or end the program that holds it"
    case .cannotControl(let path, let reason):
      return
        "can't listen on \(path): \(reason); end the agent that answers there, or give this one a `runtime` folder "
        + "of its own under [gateway]"
    case .badCertificate(let failure): return failure.text
    }
  }
}

package struct PullCounts: Sendable {
  /// Long polls that wait now.
  package var waiting = 0
  /// Open now.
  package var connections = 0
  package var connectionsOfBusiestAddress = 0
  package var connectionsOfBusiestConsumer = 0
  package var waitingOfBusiestConsumer = 0
  /// Since start, by `Refusal.rawValue`.
  package var refusals = [Int64](repeating: 0, count: Refusal.allCases.count)
  /// Unix seconds: the last moment of the certificate that is shown; nil without TLS.
  package var certificateExpires: Int64?
  /// By consumer: answers with a cursor to requests without `after`, since one with it.
  package var unacknowledged: [String: Int64] = [:]

  package init() {}

  package func refused(_ refusal: Refusal) -> Int64 { refusals[refusal.rawValue] }
}

package final class PullServer: Sendable {
  private let listen: [ListenAddress]
  private let loop: any EventLoop
  private let desk: PullDesk
  private let ledger: ConnectionLedger
  private let times: ConnectionTimes
  private let logger: Logger
  private let certificateFiles: CertificateFiles?
  private let certificate = Mutex<PullCertificate?>(nil)

  package init(
    configuration: Configuration, catalogue: Catalogue, catalogueVersion: UInt32, storeID: String, epoch: UInt32,
    store: any BatchSource, field: any FieldView, alarms: (any AlarmOwners)? = nil, keys: BoxKey,
    group: any EventLoopGroup, logger: Logger,
    times: ConnectionTimes = ConnectionTimes(), healthNs: Int64 = Limits.healthNs,
    now: @escaping @Sendable () -> Instant = { Instant(nanoseconds: kerb_monotonic_ns()) }
  ) {
    listen = configuration.listen
    certificateFiles = configuration.certificate
    loop = group.next()
    desk = PullDesk(
      configuration: configuration, catalogue: catalogue, catalogueVersion: catalogueVersion, storeID: storeID,
      epoch: epoch, source: store, field: field, alarms: alarms, keys: keys, loop: loop, logger: logger,
      healthNs: healthNs, now: now)
    ledger = ConnectionLedger(loop: loop)
    self.times = times
    self.logger = logger
  }

  /// Binds every address, or none. Returns what was bound, ports filled in. Not on an event loop.
  @discardableResult
  package func start() throws(PullFailure) -> [ListenAddress] {
    if let certificateFiles {
      do { show(try PullCertificate.read(certificateFiles)) } catch { throw .badCertificate(error) }
    }
    try? loop.submit { self.desk.counts = { [weak self] in self?.countsOnLoop ?? PullCounts() } }.wait()
    var bound: [ListenAddress] = []
    for address in listen {
      do throws(PullFailure) {
        let channel = try bind(address)
        try? loop.submit { self.ledger.listeners.append(channel) }.wait()
        bound.append(address.with(port: channel.localAddress?.port))
        logger.info("listening", metadata: ["address": "\(address.with(port: channel.localAddress?.port).text)"])
      } catch {
        stop()
        throw error
      }
    }
    return bound
  }

  /// New connections are shown this certificate; open ones keep theirs. Any thread.
  package func show(_ certificate: PullCertificate) { self.certificate.withLock { $0 = certificate } }

  /// Unix seconds: the last moment of the certificate that is shown; nil without TLS. Any thread.
  package var certificateExpires: Int64? { certificate.withLock { $0?.notAfter } }

  /// From now on these, and nobody else. Who waits is sent home, to come back with its token. Any thread.
  package func admit(_ consumers: [ConsumerSpec]) { loop.execute { self.desk.admit(consumers) } }

  /// Events of commands that are in the log, since the start. Any thread.
  package var commandsLogged: Int64 { desk.commands.loggedCount }

  /// Whose counts /metrics shows beside its own. Any thread.
  package func show(_ push: PushOffice) { loop.execute { self.desk.pushes = { push.reportsOnLoop } } }

  /// More is durable in the store. Any thread.
  package func durable(_ position: Position) { loop.execute { self.desk.durable(position) } }

  /// What the platforms have commanded lately, for the server that follows this one. Not on an event loop.
  func handOver() -> CommandBook? { try? loop.submit { self.desk.commandBook.handedOver() }.wait() }

  /// Before `start()`.
  func take(_ book: CommandBook) { try? loop.submit { self.desk.commandBook = book }.wait() }

  /// Answers what waits, closes everything within `Limits.farewellNs`. Blocks; not on an event loop.
  package func stop() {
    let left = loop.makePromise(of: Void.self)
    loop.execute { self.leave(left) }
    try? left.futureResult.wait()
  }

  /// Calls on the loop. Any thread.
  package func counts(_ completion: @escaping @Sendable (PullCounts) -> Void) {
    loop.execute { completion(self.countsOnLoop) }
  }

  private var countsOnLoop: PullCounts {
    var counts = PullCounts()
    counts.waiting = desk.waitingCount
    counts.connections = ledger.connections.count
    counts.connectionsOfBusiestAddress = ledger.countOfBusiestAddress
    counts.connectionsOfBusiestConsumer = ledger.countOfBusiestConsumer
    counts.waitingOfBusiestConsumer = desk.waitingOfBusiestConsumer
    for refusal in Refusal.allCases { counts.refusals[refusal.rawValue] = desk.refusals.count(refusal) }
    counts.certificateExpires = certificateExpires
    counts.unacknowledged = desk.traffic.consumers.mapValues(\.unacknowledged)
    return counts
  }

  // MARK: Binding

  private func bind(_ address: ListenAddress) throws(PullFailure) -> any Channel {
    let bootstrap = ServerBootstrap(group: loop)
      .serverChannelOption(.backlog, value: 64)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: Limits.socketReadBytes))
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try self.welcome(channel, isTLS: address.isTLS) }
      }
    do {
      switch address {
      case .tcp(let host, let port), .tls(let host, let port):
        return try bootstrap.childChannelOption(.tcpOption(.tcp_nodelay), value: 1).bind(host: host, port: port).wait()
      case .unix(let path):
        let socket = kerb_unix_listen(path, 0o660, 64)
        guard socket >= 0 else { throw IOError(errnoCode: -socket, reason: "bind") }
        return try bootstrap.withBoundSocket(socket).wait()
      }
    } catch {
      let reason = (error as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(error)"
      throw .cannotListen(address: address.text, reason: reason)
    }
  }

  /// On the loop: a new connection.
  private func welcome(_ channel: any Channel, isTLS: Bool) throws {
    let peer = channel.remoteAddress?.ipAddress
    let context = isTLS ? certificate.withLock { $0?.context } : nil
    // Never in the clear where TLS was asked for.
    if isTLS, context == nil { return channel.close(promise: nil) }
    let name = peer ?? "unix socket"
    let verdict = ledger.admit(channel, address: peer)
    if let refusal = verdict.refusal { desk.refusals.note(refusal, peer: name, at: desk.now()) }
    let answer: PullAnswer?
    switch verdict {
    case .closed: return channel.close(promise: nil)
    case .served: answer = nil
    case .crowding(let other):
      other.close(promise: nil)
      answer = nil
    case .turnedAway(let refusal, _): answer = refusal
    }
    let (id, ledger) = (ObjectIdentifier(channel), ledger)
    let connection = HTTPConnection(
      desk: desk, peer: name, times: times, turnedAway: answer, proven: { ledger.prove(id, of: $0) })
    let pipeline = channel.pipeline.syncOperations
    if let context { try pipeline.addHandler(NIOSSLServerHandler(context: context)) }
    try pipeline.addHandler(HeadMeter(connection))
    try pipeline.addHandler(ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes)))
    try pipeline.addHandler(HTTPResponseEncoder())
    try pipeline.addHandler(connection)
  }

  // MARK: Stopping

  private func leave(_ left: EventLoopPromise<Void>) {
    let listeners = ledger.listeners
    ledger.listeners = []
    for listener in listeners { listener.close(promise: nil) }
    for case .unix(let path) in listen where !listeners.isEmpty { unlink(path) }
    desk.stop()
    let open = ledger.connections.values.map(\.channel)
    for channel in open { channel.pipeline.fireUserInboundEventTriggered(FarewellEvent()) }
    let last = loop.scheduleTask(in: .nanoseconds(times.farewellNs)) {
      for entry in self.ledger.connections.values { entry.channel.close(promise: nil) }
    }
    EventLoopFuture.andAllComplete(open.map(\.closeFuture) + listeners.map(\.closeFuture), on: loop).whenComplete { _ in
      last.cancel()
      left.succeed()
    }
  }
}

/// Who is connected. Lives on the loop.
private final class ConnectionLedger: @unchecked Sendable {
  // Unchecked: touched on `loop` only, which `admit` asserts.

  enum Verdict {
    case served
    case turnedAway(PullAnswer, Refusal)
    case closed(Refusal)
    /// Served, in the place of this one.
    case crowding(any Channel)

    var refusal: Refusal? {
      switch self {
      case .served: return nil
      case .turnedAway(_, let refusal), .closed(let refusal): return refusal
      case .crowding: return .crowdedOut
      }
    }
  }

  private let loop: any EventLoop
  var listeners: [any Channel] = []
  private(set) var connections: [ObjectIdentifier: Entry] = [:]

  struct Entry {
    var channel: any Channel
    /// In the order of arrival.
    var number: Int
    /// Whose right token it has shown.
    var consumer: String?
    var isLeaving = false
  }
  private var arrivals = 0
  private var perAddress: [String: Int] = [:]

  init(loop: any EventLoop) { self.loop = loop }

  func admit(_ channel: any Channel, address: String?) -> Verdict {
    loop.preconditionInEventLoop()
    let isOver = connections.count >= Limits.connectionsMax
    let isOverHere = address.map { perAddress[$0, default: 0] >= Limits.connectionsPerAddressMax } ?? false
    if connections.count >= Limits.connectionsMax + Limits.connectionsTurnedAwayMax {
      return .closed(.connections)
    }
    let id = ObjectIdentifier(channel)
    arrivals += 1
    connections[id] = Entry(channel: channel, number: arrivals)
    if let address { perAddress[address, default: 0] += 1 }
    channel.closeFuture.assumeIsolated().whenComplete { _ in self.release(id, address) }
    if isOverHere {
      // Of one address no more than a few are told: the others would take everybody's place.
      let count = address.flatMap { perAddress[$0] } ?? 0
      if count > Limits.connectionsPerAddressMax + Limits.connectionsTurnedAwayMax / 4 {
        return .closed(.connectionsOfAddress)
      }
      let text = "your address has \(Limits.connectionsPerAddressMax) connections open already; close some, or wait"
      return .turnedAway(.tryLater(.tooManyRequests, text, afterSeconds: 5), .connectionsOfAddress)
    }
    if isOver, let idler = oldestUnproven(besides: id) {
      connections[idler]?.isLeaving = true
      if let channel = connections[idler]?.channel { return .crowding(channel) }
    }
    if isOver {
      let text = "all \(Limits.connectionsMax) connections are in use; try again"
      return .turnedAway(.tryLater(.serviceUnavailable, text, afterSeconds: 5), .connections)
    }
    return .served
  }

  /// False: its consumer has too many already.
  func prove(_ id: ObjectIdentifier, of consumer: String) -> Bool {
    guard let entry = connections[id], entry.consumer != consumer else { return true }
    let held = connections.values.count { $0.consumer == consumer && !$0.isLeaving }
    guard held < Limits.connectionsPerConsumerMax else { return false }
    connections[id]?.consumer = consumer
    return true
  }

  var countOfBusiestConsumer: Int {
    Dictionary(connections.values.compactMap { $0.consumer.map { ($0, 1) } }, uniquingKeysWith: +).values.max() ?? 0
  }

  var countOfBusiestAddress: Int { perAddress.values.max() ?? 0 }

  /// Who has shown no token gives way to who comes new: so slow heads can't take all places from those that have one.
  private func oldestUnproven(besides id: ObjectIdentifier) -> ObjectIdentifier? {
    connections.filter { $0.key != id && $0.value.consumer == nil && !$0.value.isLeaving }
      .min { $0.value.number < $1.value.number }?.key
  }

  private func release(_ id: ObjectIdentifier, _ address: String?) {
    connections[id] = nil
    guard let address, let count = perAddress[address] else { return }
    perAddress[address] = count > 1 ? count - 1 : nil
  }
}

extension ListenAddress {
  package var text: String {
    switch self {
    case .tcp(let host, let port): return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    case .tls(let host, let port): return "https://\(ListenAddress.tcp(host: host, port: port).text)"
    case .unix(let path): return "unix:\(path)"
    }
  }

  fileprivate var isTLS: Bool { if case .tls = self { true } else { false } }

  fileprivate func with(port: Int?) -> ListenAddress {
    guard let port else { return self }
    switch self {
    case .tcp(let host, _): return .tcp(host: host, port: port)
    case .tls(let host, _): return .tls(host: host, port: port)
    case .unix: return self
    }
  }
}
