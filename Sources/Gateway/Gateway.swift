// Builds the house in order, leaves it in reverse: state folder → key → store → pull and control → buses; then
// buses → store → servers. Main thread. What can go wrong at the start is a `StartFailure` that says what to
// do; nothing is left behind.
//
// Invariants:
//  1. No bus runs before the store can take what it sends; the store closes after the last bus has handed over.
//  2. The watchdog is pinged only while every thread has moved within `Limits.stallNsMax`, or waits for what
//     it has announced.

import CLinux
import FieldBus
import Glibc
import Logging
import NIOPosix
import Store
import StreamCore

/// Why the agent can't start, with the exit code of sysexits.h.
package struct StartFailure: Error {
  package var text: String
  package var exitCode: Int32

  package static let unavailable: Int32 = 69
  package static let inputOutput: Int32 = 74
  package static let permission: Int32 = 77
  package static let configuration: Int32 = 78
}

/// What was made and what became of it, at the end of a run.
package struct Account: Sendable {
  /// Samples and events that the buses made since this start.
  package var produced: Int64 = 0
  /// Of these, lost between bus and store and reported as gaps.
  package var lost: Int64 = 0
  package var store = StoreReport()
}

extension FeedNumbers {
  fileprivate init(_ numbering: BatchNumbering) {
    self.init(bus: numbering.bus, series: numbering.series, alarms: numbering.alarms)
  }
}

package final class Gateway {
  var configuration: Configuration
  let logger: Logger
  var catalogue: Catalogue
  var field: Field
  var store: StoreThread
  /// The buses go on with it when the store is opened anew.
  private let storeGate = StoreGate()
  let group: MultiThreadedEventLoopGroup
  var pull: PullServer?
  var push: PushOffice?
  var control: ControlServer?
  var clock: WallClock
  let notify = Notify()
  let startedAt = kerb_monotonic_ns()
  private var watchdogAt: Int64 = 0
  var learned: LearnedFile
  private var learnedAt = kerb_monotonic_ns()
  var alarms: AlarmRoom?
  let book = TroubleBook()
  var troubles: TroubleWatch
  /// `box.key` was made by this process.
  var isKeyNew = false
  var forgottenKept = 0
  /// Of houses that a reload has left behind, since this start of the agent.
  var earlier = Earlier()
  /// Of the server before this one.
  var commandBook: CommandBook?
  let reloads = ReloadDoor()
  var certificates: CertificateWatch?
  var certificatesAt = kerb_monotonic_ns()

  /// Builds everything that `configuration` asks for; nothing runs yet.
  package init(_ configuration: Configuration, logger: Logger) {
    self.configuration = configuration
    self.logger = logger
    catalogue = Catalogue(configuration)
    var learned = LearnedFile(statePath: configuration.statePath)
    field = Field(buses: configuration.buses, devices: configuration.devices, learned: learned.read())
    self.learned = learned
    clock = WallClock(trust: configuration.clock)
    troubles = TroubleWatch(configuration, book: book)
    group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let bell = DurableBell()
    self.bell = bell
    store = Self.store(configuration, catalogue, field, storeGate, bell)
  }

  private let bell: DurableBell

  private static func store(
    _ configuration: Configuration, _ catalogue: Catalogue, _ field: Field, _ gate: StoreGate, _ bell: DurableBell
  ) -> StoreThread {
    StoreThread(
      configuration: StoreConfiguration(configuration, catalogue: catalogue), channels: field.channels,
      numbers: (0..<field.busCount).map { field.numbering($0).map { FeedNumbers($0) } }, gate: gate,
      onDurable: { bell.ring($0) })
  }

  /// For what `next` asks; what stood before is stopped.
  func put(_ next: Configuration, _ nextField: Field) {
    configuration = next
    catalogue = Catalogue(next)
    field = nextField
    store = Self.store(next, catalogue, nextField, storeGate, bell)
    clock = WallClock(trust: next.clock)
    troubles = TroubleWatch(next, book: book)
  }

  // MARK: Life

  /// False: a signal ended it while it waited for its state.
  @discardableResult
  package func start() throws(StartFailure) -> Bool {
    try makeRuntimeFolder()
    guard try open() else {
      try? group.syncShutdownGracefully()
      return false
    }
    for warning in configuration.warnings { logger.warning("configuration: \(warning.text)") }
    lookForTroubles()
    notify.ready()
    return true
  }

  /// The state, then who serves it, then the buses that do not run yet. False: a signal ended the wait for the state.
  func open() throws(StartFailure) -> Bool {
    guard let state = try openState() else { return false }
    let (key, opening) = (state.key, state.opening)
    let offset = clock.poll()
    if let offset { clockKnown(offset) }
    let alarms = AlarmRoom(
      configuration, catalogue: catalogue, opening: opening, offsetNs: offset, isKeyNew: state.isKeyNew, field: field,
      store: store)
    self.alarms = alarms
    do { try startServers(key, opening, alarms) } catch {
      stopServers()
      store.stop()
      throw error
    }
    field.start(
      storeGate: store.wake, pseudonymKey: key.pseudonymKey, alarmsLeft: alarms.events)
    logger.info(
      "running",
      metadata: [
        "gateway": "\(configuration.gatewayID)", "epoch": "\(opening.epoch)", "buses": "\(field.busCount)",
        "devices": "\(field.deviceCount)", "points": "\(field.pointCount)", "store": "\(opening.storeID)",
      ])
    return true
  }

  func lookForTroubles() {
    troubles.look(
      (0..<field.busCount).map(field.bus), alarms?.lastReport, at: kerb_monotonic_ns(), logger: logger)
  }

  private func startServers(
    _ key: BoxKey, _ opening: StoreOpening, _ alarms: AlarmRoom
  ) throws(StartFailure) {
    let pull = PullServer(
      configuration: configuration, catalogue: catalogue, catalogueVersion: opening.catalogueVersion,
      storeID: opening.storeID, epoch: opening.epoch, store: store, field: field, alarms: alarms.owners, keys: key,
      group: group,
      logger: logger)
    if let commandBook { pull.take(commandBook) }
    do { try pull.start() } catch {
      throw StartFailure(text: error.text, exitCode: StartFailure.unavailable)
    }
    self.pull = pull
    certificates = configuration.certificate.map { CertificateWatch($0) }
    sayExpiry(pull)
    let push = PushOffice(
      configuration: configuration, catalogue: catalogue, catalogueVersion: opening.catalogueVersion, store: store,
      keys: key, group: group, logger: logger,
      now: { Instant(nanoseconds: kerb_monotonic_ns()) })
    push.admit(configuration.pushes)
    self.push = push
    bell.onRing {
      pull.durable($0)
      push.durable($0)
    }
    pull.show(push)
    let control = ControlServer(
      configuration: configuration, catalogue: catalogue, catalogueVersion: opening.catalogueVersion, store: store,
      field: field, alarms: alarms.owners, house: alarms.house, pull: pull, push: push, arenaBytes: field.arenaBytes,
      startedAt: Instant(nanoseconds: startedAt), group: group, logger: logger, reloads: reloads,
      troubles: book, earlier: earlier)
    do { try control.start() } catch {
      throw StartFailure(text: error.text, exitCode: StartFailure.unavailable)
    }
    self.control = control
  }

  /// Waits for the end, keeping watch: clock, watchdog, store. Returns when SIGTERM or SIGINT came.
  /// SIGHUP reads the configuration anew through `reread`. Throws if what a reload left behind can't be built again:
  /// call `stop()` all the same.
  package func run(rereading reread: () -> Reread) throws(StartFailure) {
    while true {
      switch kerb_wait_signal(1_000) {
      case SIGTERM, SIGINT: return
      case SIGHUP: if try !reload(reread) { return }
      default: break
      }
      if let offset = clock.poll() {
        clockKnown(offset)
        logger.info("wall clock known", metadata: ["offset_ns": "\(offset)"])
        alarms?.settleShelves(offsetNs: offset, logger: logger)
      }
      keepLearned()
      lookAtCertificate()
      alarms?.look(
        isClockBelieved: clock.isBelieved, certificateExpires: pull?.certificateExpires,
        isPushFailing: push?.isFailing ?? false, logger: logger)
      lookForTroubles()
      ping()
    }
  }

  private func clockKnown(_ offsetNs: Int64) {
    store.clockKnown(offsetNs: offsetNs)
    field.clockKnown(offsetNs: offsetNs)
  }

  private func keepLearned() {
    let now = kerb_monotonic_ns()
    // What somebody wanted forgotten must not come back after a power cut.
    let forgotten = field.forgottenCount
    guard now - learnedAt >= Limits.learnedKeepNs || forgotten != forgottenKept else { return }
    learnedAt = now
    forgottenKept = forgotten
    if !learned.write(field.learned()) { logger.warning("what was learned of the devices can't be kept") }
  }

  /// `pulses`: of each thread when it moved last, or until when it waits. None may be further behind than
  /// `Limits.stallNsMax`.
  package static func isAlive(_ pulses: [Int64], at now: Int64) -> Bool {
    pulses.allSatisfy { Instant(nanoseconds: now) - Instant(nanoseconds: $0) < Limits.stallNsMax }
  }

  /// Renewed certificate files are shown to the next connection; wrong ones are refused, and the old one stays.
  /// True: another one is shown now.
  @discardableResult
  func lookAtCertificate() -> Bool {
    let now = kerb_monotonic_ns()
    guard now - certificatesAt >= Limits.certificateLookNs, let pull else { return false }
    certificatesAt = now
    switch certificates?.look(atUnix: kerb_realtime_ns() / 1_000_000_000) {
    case .changed(let certificate):
      pull.show(certificate)
      logger.info(
        "the certificate was renewed", metadata: ["valid_until": "\(PullCertificate.date(certificate.notAfter))"])
      sayExpiry(pull)
      return true
    case .refused(let reason):
      logger.error("the changed certificate files are refused, the old certificate stays: \(reason)")
    case .unchanged, nil: break
    }
    return false
  }

  private func sayExpiry(_ pull: PullServer) {
    let now = kerb_realtime_ns() / 1_000_000_000
    guard let expires = pull.certificateExpires, expires - now < Limits.certificateWarnSeconds else { return }
    logger.warning(
      now < expires
        ? "the certificate expires soon; renew it" : "the certificate has expired; clients will refuse it",
      metadata: ["valid_until": "\(PullCertificate.date(expires))"])
  }

  /// Nothing else runs that could have stopped.
  func pingWaiting() { ping([]) }

  private func ping() { ping([field.pulse.nanoseconds, store.heartbeat]) }

  private func ping(_ pulses: [Int64]) {
    guard let watchdogNs = notify.watchdogNs else { return }
    let now = kerb_monotonic_ns()
    guard now - watchdogAt >= Swift.min(watchdogNs, 1_000_000_000) else { return }
    guard Self.isAlive(pulses, at: now) else {
      logger.error("a thread has stopped: the watchdog is not pinged any more")
      return
    }
    watchdogAt = now
    notify.watchdog()
  }

  /// Leaves in reverse: what is in hand is handed over and committed before anything closes.
  @discardableResult
  package func stop() -> Account {
    notify.stopping()
    field.stop()
    _ = learned.write(field.learned())
    var account = Account()
    (account.produced, account.lost) = (earlier.produced, earlier.lost)
    for bus in 0..<field.busCount {
      account.produced += field.bus(bus).produced
      account.lost += field.bus(bus).lost
    }
    account.produced += (alarms?.house.produced ?? 0) + (pull?.commandsLogged ?? 0)
    account.store = settle()
    stopServers()
    store.stop()
    try? group.syncShutdownGracefully()
    if account.store.pendingSamples > 0 {
      logger.warning(
        "samples could not be saved before the stop and are lost",
        metadata: ["samples": "\(account.store.pendingSamples)", "reason": "\(account.store.lastFailure)"])
    }
    logger.info(
      "stopped",
      metadata: [
        "produced": "\(account.produced)", "lost_on_bus": "\(account.lost)",
        "unsaved": "\(account.store.pendingSamples)",
        "durable": "\(account.store.durable.alarms) alarms, \(account.store.durable.telemetry) samples",
      ])
    return account
  }

  /// Has the store take over what there is, and asks what became of it.
  func settle() -> StoreReport {
    let settled = Answered<StoreReport>()
    // Twice: what the box's own alarms had on its way at the first time is with the store at the second.
    alarms?.house.handOver(to: store)
    store.flush { [store, house = alarms?.house] _ in
      house?.handOver(to: store)
      store.flush { _ in store.report { settled.set($0) } }
    }
    return settled.wait(ns: Limits.stallNsMax) ?? StoreReport()
  }

  func stopServers() {
    control?.stop()
    leavePlatforms()
    control = nil
  }

  func leavePlatforms() {
    push?.stop()
    pull?.stop()
    push = nil
    pull = nil
  }

  private func makeRuntimeFolder() throws(StartFailure) {
    let path = configuration.runtimePath
    var code: Int32 = 0
    // Only the last step: a missing parent is a mistake in the path.
    if mkdir(path, 0o755) != 0, errno != EEXIST { code = errno }
    if access(path, F_OK) == 0 { code = access(path, R_OK | W_OK | X_OK) == 0 ? 0 : errno }
    if code == 0 { return }
    throw StartFailure(
      text: "\(path): \(String(cString: strerror(code))); make the folder and give it to the agent's user, or name "
        + "another `runtime` under [gateway]",
      exitCode: code == EACCES || code == EPERM ? StartFailure.permission : StartFailure.inputOutput)
  }

  func waitingServers(_ closed: ClosedStore, _ key: BoxKey) -> (PullServer, ControlServer) {
    let pull = PullServer(
      configuration: configuration, catalogue: catalogue, catalogueVersion: 0, storeID: "", epoch: 0, store: closed,
      field: field, keys: key, group: group, logger: logger)
    let control = ControlServer(
      configuration: configuration, catalogue: catalogue, catalogueVersion: 0, store: closed, field: field,
      pull: pull,
      arenaBytes: field.arenaBytes, startedAt: Instant(nanoseconds: startedAt), group: group, logger: logger,
      reloads: reloads, troubles: book, earlier: earlier)
    return (pull, control)
  }
}

extension Field: FieldView {}

/// Carries «more is durable» from the store's thread to the pull server, which is made later.
private final class DurableBell: @unchecked Sendable {
  // Unchecked: the gate guards the closure.
  private let gate: OpaquePointer = kerb_gate_new()
  private var answer: (@Sendable (Position) -> Void)?

  deinit { kerb_gate_free(gate) }

  func onRing(_ answer: @escaping @Sendable (Position) -> Void) {
    kerb_gate_lock(gate)
    self.answer = answer
    kerb_gate_unlock(gate)
  }

  func ring(_ position: Position) {
    kerb_gate_lock(gate)
    let answer = answer
    kerb_gate_unlock(gate)
    answer?(position)
  }
}
