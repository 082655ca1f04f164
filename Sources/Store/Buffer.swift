// The store itself: both files, what waits for them, and the consumers' cursors. On the store thread.
//
//        batches -> intake -> commit -> durable -> read -> acknowledged
//                     |         | fails
//                     +<--------+  kept, tried again; when its memory is full, counted as lost
//
// A lane is `good`, `full` (kept and tried again), or `failing` or `read-only` (its file is closed, opened again if it
// can be, and read meanwhile if it can be): BufferRecovery.
//
// Invariants:
//  1. Only what is durable is served; `durable` moves after a commit and never back.
//  2. One lane's trouble does not hold up the other: alarms commit while telemetry can't.
//  3. After a failed commit or sync its handle is not used again, unless the file is merely full.
//  4. An epoch that nobody could write down is only a plan: nothing of it is stored or served.

import CLinux
import CSQLite
import Glibc
import StreamCore

final class Buffer {
  let configuration: StoreConfiguration
  private let channels: [BatchChannel]
  /// By channel; nil, or none there: the numbers in its batches are those in force.
  private let numbers: [FeedNumbers?]
  let folder: StateFolder
  var ring: TelemetryRing?
  var log: AlarmLog?
  var intake: Intake
  var cursors: [String: Cursor] = [:]
  var anyonesPlace: ReadingPlace?
  var storeID: String
  var epoch: UInt32
  var catalogueVersion: UInt32
  var durable: Position
  private(set) var commits: Int64 = 0
  var failures: Int64 = 0
  var lastFailure: StoreFailure?
  var ringRetryNs: Int64 = 0
  var logRetryNs: Int64 = 0
  var ringState = StoreState.good
  var logState = StoreState.good
  var isRingDamaged = false
  var isLogDamaged = false
  /// The files are open for reading at most: the next epoch begins with them.
  var mustBeginAnew: Bool
  private var prepareNs: Int64 = 0
  private var prepareState = StoreState.good
  private var cursorsDueNs: Int64
  private var keptTelemetry: Int64 = 0
  /// Lost for want of room before this start.
  private(set) var lostBefore: Int64 = 0
  var clockOffsetNs: Int64?
  var isClockKept = true
  /// A copy that somebody asked for.
  var backup: BackupTask?
  /// A file that was deleted and is being put back.
  var returning: ReturningFile?
  var returnNs: Int64 = 0
  var policy: KeepPolicy
  var ages: (epoch: UInt32, offsetNs: Int64?, clocks: [UInt32: AgeRule.Clock])?
  var sweepNs: Int64 = 0

  init(
    configuration: StoreConfiguration, channels: [BatchChannel], numbers: [FeedNumbers?] = [],
    interruption: Interruption
  ) throws(StoreFailure) {
    self.configuration = configuration
    self.channels = channels
    self.numbers = numbers
    folder = try StateFolder(path: configuration.statePath)
    let (files, failure) = try Self.files(folder, configuration, interruption)
    ring = files.ring
    log = files.log
    mustBeginAnew = failure != nil
    lastFailure = failure ?? files.resizeFailure
    storeID = files.storeID
    epoch = files.epoch
    catalogueVersion = files.catalogueVersion
    policy = KeepPolicy(configuration, catalogueVersion: files.catalogueVersion)
    durable = Position(alarms: files.log.newest, telemetry: files.place.firstSequence - 1)
    intake = Intake(
      seriesCount: configuration.seriesCount, place: files.place, samplesPerBlock: configuration.samplesPerBlock)
    let now = kerb_monotonic_ns()
    // One that is only read begins its epoch later, and counts them then.
    if failure == nil {
      files.ring.count(vanished: files.vanished, files.vanishedReason)
      intake.addDamage(count: files.vanished, at: Instant(nanoseconds: now), reason: files.vanishedReason)
    }
    lostBefore = files.ring.losses.overflow
    cursorsDueNs = now + Limits.cursorCommitNs
    cursors = try Self.cursors(configuration.consumers, files)
    noteMoved()
    if let failure {
      ringFailed(failure)
      logFailed(failure)
      (ring, log) = (files.ring, files.log)
      return
    }
    try files.log.keep(cursors, durable: highWater, account: RingAccount(of: files.ring))
    for name in cursors.keys { cursors[name]?.committed() }
  }

  /// A store whose agent does not run: it is read, never changed. Throws if there is none.
  init(atRest configuration: StoreConfiguration) throws(StoreFailure) {
    self.configuration = configuration
    channels = []
    numbers = []
    folder = try StateFolder(path: configuration.statePath)
    try Restoring.conclude(folder)
    for name in [StateFolder.alarms, StateFolder.telemetry] where access(folder.file(name), F_OK) != 0 {
      throw .unusable(path: folder.file(name), code: -errno)
    }
    for name in [StateFolder.alarms, StateFolder.telemetry]
    where ForeignLog(folder.file(name), vfs: configuration.vfs) != nil {
      throw .foreignLog(path: folder.file(name))
    }
    mustBeginAnew = false
    // A worn medium that the kernel has made read-only is when somebody wants to see what is on it.
    let isReadOnly = !folder.isWritable
    let log = try AlarmLog(
      path: folder.file(StateFolder.alarms), configuration: configuration, isReadOnly: isReadOnly)
    let ring = try TelemetryRing(
      path: folder.file(StateFolder.telemetry), vfs: configuration.vfs, bytes: configuration.telemetryBytes,
      reserveBytes: configuration.reserveBytes, seriesCount: configuration.seriesCount, isReadOnly: isReadOnly)
    guard let storeID = try log.storeID() else { throw .corrupt(code: SQLITE_NOTADB) }
    self.storeID = storeID
    epoch = UInt32(truncatingIfNeeded: try log.connection.integer(of: "SELECT max(epoch) FROM epochs") ?? 0)
    catalogueVersion = ring.newest?.catalogueVersion ?? 0
    durable = Position(alarms: log.newest, telemetry: max(ring.newest?.last ?? 0, ring.settledLast))
    // Its oldest blocks' rules are asked for one version after the other: none is the present one.
    policy = KeepPolicy(configuration, catalogueVersion: 0)
    intake = Intake(
      seriesCount: configuration.seriesCount, place: ring.nextPlace(epoch: epoch, catalogueVersion: catalogueVersion))
    cursorsDueNs = .max
    for (name, cursor) in try log.cursors() { cursors[name] = cursor }
    for owner in configuration.consumers { cursors[owner.name]?.belong(to: owner) }
    self.ring = ring
    self.log = log
  }

  /// A consumer that was never seen holds everything from before: no gap is made of what was gone when it came.
  private static func cursors(
    _ owners: [CursorOwner], _ files: BufferFiles
  ) throws(StoreFailure) -> [String: Cursor] {
    let stored = try files.log.cursors()
    let oldest = try files.ring.oldest()?.firstSequence ?? files.place.firstSequence
    let fresh = Position(alarms: files.log.oldestSequence - 1, telemetry: oldest - 1)
    var cursors: [String: Cursor] = [:]
    for owner in owners {
      cursors[owner.name] = (stored[owner.name] ?? nil) ?? Cursor(held: fresh)
      cursors[owner.name]?.belong(to: owner)
    }
    return cursors
  }

  /// These may pull from now on. What the others hold is written first, and found again when they come back.
  func serve(_ owners: [CursorOwner]) throws(StoreFailure) {
    guard let log, let ring else { throw unavailable }
    try log.keep(cursors, durable: highWater, account: account)
    for name in cursors.keys { cursors[name]?.committed() }
    let stored = try log.cursors()
    let oldest = try ring.oldest()?.firstSequence ?? durable.telemetry + 1
    let fresh = Position(alarms: log.oldestSequence - 1, telemetry: oldest - 1)
    var served: [String: Cursor] = [:]
    for owner in owners {
      let name = owner.name
      served[name] = cursors[name] ?? (stored[name] ?? nil) ?? Cursor(held: fresh)
      served[name]?.belong(to: owner)
    }
    cursors = served
  }

  /// What alarm.db is to know of the ring; nil: it can't be had just now.
  private var account: RingAccount? { ring.flatMap { try? RingAccount(of: $0) } }

  /// The last sequences that were given out and may be known to someone.
  var highWater: Position {
    var high = durable
    for cursor in cursors.values { high.telemetry = max(high.telemetry, cursor.held.telemetry) }
    return high
  }

  var opening: StoreOpening {
    get throws(StoreFailure) {
      let alarms = try log?.states() ?? []
      return StoreOpening(
        storeID: storeID, epoch: epoch, catalogueVersion: catalogueVersion, alarms: alarms,
        bootEpoch: try log?.bootEpoch(of: epoch), clocks: clocks(of: Set(alarms.map(\.epoch)).sorted()))
    }
  }

  var state: StoreState {
    let states = [ringState, logState, prepareState]
    for worst in [StoreState.failing, .readOnly, .full] where states.contains(worst) { return worst }
    return .good
  }

  // MARK: One turn

  /// Takes over what the buses have handed over; what finds no room for its events stays with them.
  func drain() {
    let now = kerb_monotonic_ns()
    for (index, channel) in channels.enumerated() {
      let numbers = index < numbers.count ? numbers[index] : nil
      while let batch = channel.next(), intake.take(batch, numbers: numbers, nowNs: now) {
        channel.release()
        // A backlog is more than the intake holds; alarms don't wait for the rest of it.
        if intake.isCrowded {
          commitAlarms(now, isForced: false)
          commitTelemetry(now, isForced: false)
        }
      }
    }
  }

  /// Batches may wait that can't be taken over before the disk takes something.
  var isBlocked: Bool { !intake.events.isEmpty }

  /// The last turn: everything, as far as the disk takes it.
  func finish() {
    repeat {
      drain()
      commit(all: true)
    } while !isBlocked && channels.contains { $0.waiting > 0 }
  }

  /// The end: everything, and what the disk does not take is written down as a loss, where that needs no room.
  func close() {
    finish()
    while keepInPlace() {}
    keepBooks()
    guard !intake.isEmpty, let log, !log.connection.isReadOnly, intake.end > highWater.telemetry else { return }
    do throws(StoreFailure) {
      try log.connection.transaction { () throws(StoreFailure) in
        try log.set("telemetry", intake.end)
        try log.set("unsaved", intake.end)
      }
    } catch { logFailed(error) }
  }

  private func keepBooks() {
    guard let ring, ringState == .good else { return }
    ring.losses.overflow = lostBefore + intake.lostSamples
    ring.flash.note(written: FlashBook.written(), unixNs: clockOffsetNs.map { kerb_monotonic_ns() + $0 })
    do throws(StoreFailure) { try ring.keepBooks() } catch { ringFailed(error) }
  }

  /// Commits what is due; everything if `all`.
  func commit(all: Bool) {
    let now = kerb_monotonic_ns()
    commitAlarms(now, isForced: all)
    commitTelemetry(now, isForced: all)
    keepClock()
    if all || now >= cursorsDueNs { keepCursors(now, isForced: all) }
  }

  /// When something will be due that nobody signals.
  var nextNs: Int64 {
    if backup != nil || returning != nil { return 0 }
    var next = cursorsDueNs
    if let opened = intake.openedNs, ringState == .good { next = min(next, opened + configuration.commitNs) }
    if ringState != .good { next = min(next, ringRetryNs) }
    if logState != .good { next = min(next, logRetryNs) }
    if !isPrepared { next = min(next, prepareNs) }
    if policy.retentionNs != nil, ringState == .good { next = min(next, sweepNs) }
    return next
  }

  private func commitAlarms(_ now: Int64, isForced: Bool) {
    guard !intake.events.isEmpty || log == nil || logState != .good else { return }
    guard logState == .good || isForced || now >= logRetryNs else { return }
    do throws(StoreFailure) {
      let log = try openedLog()
      if !intake.events.isEmpty {
        try log.append(intake.events, epoch: epoch, catalogueVersion: catalogueVersion)
        intake.eventsCommitted(intake.events.count)
        commits += 1
      }
      durable.alarms = log.newest
      logState = .good
    } catch {
      logRetryNs = now + Limits.storeRetryNs
      logFailed(error)
      readOn()
    }
  }

  private func commitTelemetry(_ now: Int64, isForced: Bool) {
    guard ringState == .good || isForced || now >= ringRetryNs else { return }
    do throws(StoreFailure) {
      let ring = try openedRing()
      let isDue = intake.openedNs.map { now >= $0 + configuration.commitNs } ?? false
      if isDue || isForced || intake.isCrowded { try commitPending(to: ring, withOpen: isDue || isForced) }
      ringState = .good
      if now >= sweepNs { try sweep(ring, now) }
    } catch {
      ringRetryNs = now + Limits.storeRetryNs
      ringFailed(error)
      readOn()
    }
  }

  /// The open block is written as it is and filled on: a page that is written ten times reaches the file
  /// once or twice, with the checkpoints, and holds ten times as much.
  private func commitPending(to ring: TelemetryRing, withOpen: Bool) throws(StoreFailure) {
    while ring.mustSettle(before: intake.openNumber) {
      try ring.settle(strideRules)
      commits += 1
    }
    ring.losses.overflow = lostBefore + intake.lostSamples
    ring.flash.note(written: FlashBook.written(), unixNs: clockOffsetNs.map { kerb_monotonic_ns() + $0 })
    let outcome = intake.withPending(withOpen: withOpen) { (blocks) -> Result<Void, StoreFailure> in
      do throws(StoreFailure) {
        return .success(try ring.append(blocks))
      } catch {
        return .failure(error)
      }
    }
    guard let outcome else { return }
    try outcome.get()
    intake.pendingCommitted(withOpen: withOpen)
    commits += 1
    durable.telemetry = max(durable.telemetry, ring.newest?.last ?? 0)
  }

  /// Wall time = monotonic time + `offsetNs`; kept for as long as it takes to get it into the file.
  func clockKnown(_ offsetNs: Int64) {
    clockOffsetNs = offsetNs
    isClockKept = false
    keepClock()
  }

  private func keepClock() {
    guard let clockOffsetNs, !isClockKept, let log, logState == .good, !mustBeginAnew else { return }
    do throws(StoreFailure) {
      try log.setClock(clockOffsetNs, epoch: epoch)
      isClockKept = true
    } catch { logFailed(error) }
  }

  /// The telemetry's own progress is no reason for a commit, except at the end: the ring knows it, and flash is worn.
  private func keepCursors(_ now: Int64, isForced: Bool) {
    cursorsDueNs = now + Limits.cursorCommitNs
    let isProgress = isForced && highWater.telemetry != keptTelemetry
    guard let log, !log.connection.isReadOnly else { return }
    guard isProgress || cursors.values.contains(where: { $0.isChanged }) else { return }
    do throws(StoreFailure) {
      try log.keep(cursors, durable: highWater, account: account)
      commits += 1
      logState = .good
      keptTelemetry = highWater.telemetry
      for name in cursors.keys { cursors[name]?.committed() }
    } catch {
      // They stay in RAM and are written with the next ones.
      cursorsDueNs = now + Limits.storeRetryNs
      logFailed(error)
    }
  }

  // MARK: Preparation

  var isPrepared: Bool { (log?.isPrepared ?? true) && (ring?.isPrepared ?? true) }

  /// One step of giving the files their full size, if it is time for one.
  func prepare() {
    let now = kerb_monotonic_ns()
    guard now >= prepareNs, ringState == .good, logState == .good else { return }
    prepareNs = now + Limits.prefillEveryNs
    if let log, !log.isPrepared {
      do throws(StoreFailure) {
        try log.prepare(Limits.prefillRowsPerStep)
        prepareState = .good
      } catch { prepareFailed(error, now) { logFailed($0) } }
    } else if let ring, !ring.isPrepared {
      do throws(StoreFailure) {
        try ring.prepare(Limits.prefillSlotsPerStep)
        prepareState = .good
      } catch { prepareFailed(error, now) { ringFailed($0) } }
    }
  }

  private func prepareFailed(_ failure: StoreFailure, _ now: Int64, _ fail: (StoreFailure) -> Void) {
    prepareNs = now + Limits.storeRetryNs
    if failure.isFull {
      note(failure)
      prepareState = .full
    } else {
      fail(failure)
    }
  }
}
