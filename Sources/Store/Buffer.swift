// The store itself: both files, what waits for them, and the consumers' cursors. On the store thread.
//
//        batches -> intake -> commit -> durable -> read -> acknowledged
//                     |         | fails
//                     +<--------+  kept, tried again; when its memory is full, counted as lost
//
// A lane is `good`, `full` (kept and tried again), or `failing` (its file is closed and opened again).
//
// Invariants:
//  1. Only what is durable is served; `durable` moves after a commit and never back.
//  2. One lane's trouble does not hold up the other: alarms commit while telemetry can't.
//  3. After a failed commit or sync its handle is not used again, unless the file is merely full.

import CLinux
import CSQLite
import StreamCore

final class Buffer {
  let configuration: StoreConfiguration
  private let channels: [BatchChannel]
  let folder: StateFolder
  var ring: TelemetryRing?
  var log: AlarmLog?
  var intake: Intake
  var cursors: [String: Cursor] = [:]
  var anyonesPlace: ReadingPlace?
  private(set) var storeID: String
  private(set) var epoch: UInt32
  private(set) var catalogueVersion: UInt32
  private(set) var durable: Position
  private(set) var commits: Int64 = 0
  private(set) var failures: Int64 = 0
  private(set) var lastFailure: StoreFailure?
  private var ringRetryNs: Int64 = 0
  private var logRetryNs: Int64 = 0
  private var ringState = StoreState.good
  private var logState = StoreState.good
  private var isRingDamaged = false
  private var isLogDamaged = false
  private var mustBeginAnew = false
  private var prepareNs: Int64 = 0
  private var prepareState = StoreState.good
  private var cursorsDueNs: Int64
  private var keptTelemetry: Int64 = 0
  private var clockOffsetNs: Int64?
  private var isClockKept = true

  init(
    configuration: StoreConfiguration, channels: [BatchChannel], interruption: Interruption
  ) throws(StoreFailure) {
    self.configuration = configuration
    self.channels = channels
    folder = try StateFolder(path: configuration.statePath)
    let files = try BufferFiles(
      folder: folder, configuration: configuration, interruption: interruption, floor: Floor())
    ring = files.ring
    log = files.log
    lastFailure = files.resizeFailure
    storeID = files.storeID
    epoch = files.epoch
    catalogueVersion = files.catalogueVersion
    durable = Position(alarms: files.log.newest, telemetry: files.place.firstSequence - 1)
    intake = Intake(seriesCount: configuration.seriesCount, place: files.place)
    let now = kerb_monotonic_ns()
    intake.addDamage(count: files.vanished, at: Instant(nanoseconds: now))
    cursorsDueNs = now + Limits.cursorCommitNs
    cursors = try Self.cursors(configuration.consumers, files)
    try files.log.keep(cursors, durable: highWater)
    for name in cursors.keys { cursors[name]?.committed() }
  }

  /// A consumer that was never seen holds everything from before: no gap is made of what was gone when it came.
  private static func cursors(
    _ names: [String], _ files: BufferFiles
  ) throws(StoreFailure) -> [String: Cursor] {
    let stored = try files.log.cursors()
    let oldest = try files.ring.oldest()?.firstSequence ?? files.place.firstSequence
    let fresh = Position(alarms: files.log.oldestSequence - 1, telemetry: oldest - 1)
    var cursors: [String: Cursor] = [:]
    for name in names { cursors[name] = (stored[name] ?? nil) ?? Cursor(held: fresh) }
    return cursors
  }

  /// The last sequences that were given out and may be known to someone.
  private var highWater: Position {
    var high = durable
    for cursor in cursors.values { high.telemetry = max(high.telemetry, cursor.held.telemetry) }
    return high
  }

  var opening: StoreOpening {
    get throws(StoreFailure) {
      StoreOpening(
        storeID: storeID, epoch: epoch, catalogueVersion: catalogueVersion, alarms: try log?.states() ?? [])
    }
  }

  var state: StoreState {
    let states = [ringState, logState, prepareState]
    if states.contains(.failing) { return .failing }
    return states.contains(.full) ? .full : .good
  }

  // MARK: One turn

  /// Takes over what the buses have handed over; what finds no room for its events stays with them.
  func drain() {
    let now = kerb_monotonic_ns()
    for channel in channels {
      while let batch = channel.next(), intake.take(batch, nowNs: now) {
        channel.release()
        // A backlog is more than the intake holds; alarms don't wait for the rest of it.
        if intake.sealed.count >= Limits.blocksPendingMax / 2 {
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
    var next = cursorsDueNs
    if let opened = intake.openedNs, ringState == .good { next = min(next, opened + configuration.commitNs) }
    if ringState != .good { next = min(next, ringRetryNs) }
    if logState != .good { next = min(next, logRetryNs) }
    if !isPrepared { next = min(next, prepareNs) }
    return next
  }

  private func commitAlarms(_ now: Int64, isForced: Bool) {
    guard !intake.events.isEmpty || log == nil, logState == .good || isForced || now >= logRetryNs else { return }
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
    }
  }

  private func commitTelemetry(_ now: Int64, isForced: Bool) {
    guard ringState == .good || isForced || now >= ringRetryNs else { return }
    do throws(StoreFailure) {
      let ring = try openedRing()
      // Blocks that wait since a failure go first; the open one is not cut off for an attempt that may fail again.
      try commitSealed(to: ring)
      ringState = .good
      let isDue = intake.openedNs.map { now >= $0 + configuration.commitNs } ?? false
      if isDue || isForced, intake.seal() { try commitSealed(to: ring) }
    } catch {
      ringRetryNs = now + Limits.storeRetryNs
      ringFailed(error)
    }
  }

  private func commitSealed(to ring: TelemetryRing) throws(StoreFailure) {
    guard !intake.sealed.isEmpty else { return }
    let outcome = intake.withSealed { (blocks) -> Result<Void, StoreFailure> in
      do throws(StoreFailure) {
        return .success(try ring.append(blocks))
      } catch {
        return .failure(error)
      }
    }
    try outcome.get()
    intake.blocksCommitted(intake.sealed.count)
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
    guard let clockOffsetNs, !isClockKept, let log, logState == .good else { return }
    do throws(StoreFailure) {
      try log.setClock(clockOffsetNs, epoch: epoch)
      isClockKept = true
    } catch { logFailed(error) }
  }

  /// The telemetry's own progress is no reason for a commit, except at the end: the ring knows it, and flash is worn.
  private func keepCursors(_ now: Int64, isForced: Bool) {
    cursorsDueNs = now + Limits.cursorCommitNs
    let isProgress = isForced && highWater.telemetry != keptTelemetry
    guard let log, isProgress || cursors.values.contains(where: { $0.isChanged }) else { return }
    do throws(StoreFailure) {
      try log.keep(cursors, durable: highWater)
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

  // MARK: Failures

  private func note(_ failure: StoreFailure) {
    lastFailure = failure
    if !failure.isFull { failures += 1 }
  }

  /// Whoever calls this may still hold the failed file in a variable; so it is only let go here, and opened again, or
  /// replaced, by the next commit.
  func ringFailed(_ failure: StoreFailure) {
    note(failure)
    ringState = failure.isFull ? .full : .failing
    if failure.isFull { return }
    ring = nil
    if failure.isCorrupt { isRingDamaged = true }
  }

  func logFailed(_ failure: StoreFailure) {
    note(failure)
    logState = failure.isFull ? .full : .failing
    if failure.isFull { return }
    log = nil
    if failure.isCorrupt { isLogDamaged = true }
  }

  private func openedRing() throws(StoreFailure) -> TelemetryRing {
    if let ring { return ring }
    // A new ring needs the log: both get a new id.
    guard let log else { throw unavailable }
    if isRingDamaged {
      try folder.quarantine([StateFolder.telemetry])
      isRingDamaged = false
    }
    let opened = try TelemetryRing(
      path: folder.file(StateFolder.telemetry), bytes: configuration.telemetryBytes,
      seriesCount: configuration.seriesCount, interruption: nil)
    switch try opened.storeID() {
    case storeID: dropStored(opened.newest)
    case nil:
      // Sequences go on, so that a position that someone is just about to acknowledge means nothing still to come.
      storeID = try BufferFiles.renew(log, opened)
      moveIntake(to: opened)
    default: throw .corrupt(code: SQLITE_NOTADB)
    }
    ring = opened
    return opened
  }

  /// A commit that failed may have reached the file all the same: those blocks are the very same, and not repeated.
  private func dropStored(_ stored: BlockInfo?) {
    guard let stored else { return }
    let same = intake.sealed.prefix { $0.epoch == stored.epoch && $0.number <= stored.number }
    intake.blocksCommitted(same.count)
    durable.telemetry = max(durable.telemetry, stored.last)
  }

  private func openedLog() throws(StoreFailure) -> AlarmLog {
    if let log { return log }
    if isLogDamaged {
      // The ring can't be understood without the log: both go.
      ring = nil
      try folder.quarantine([StateFolder.alarms, StateFolder.telemetry])
      (isLogDamaged, isRingDamaged, mustBeginAnew) = (false, false, true)
    }
    if mustBeginAnew { return try beginAnew() }
    let opened = try AlarmLog(
      path: folder.file(StateFolder.alarms), configuration: configuration, interruption: nil)
    guard try opened.storeID() == storeID else { throw .corrupt(code: SQLITE_NOTADB) }
    let arrived = Int(clamping: opened.newest - durable.alarms)
    if arrived > 0 { intake.eventsCommitted(min(arrived, intake.events.count)) }
    opened.raise(to: durable.alarms)
    log = opened
    return opened
  }

  private func beginAnew() throws(StoreFailure) -> AlarmLog {
    let files = try BufferFiles(
      folder: folder, configuration: configuration, interruption: nil,
      floor: Floor(position: highWater, epoch: epoch))
    mustBeginAnew = false
    ring = files.ring
    log = files.log
    storeID = files.storeID
    epoch = files.epoch
    catalogueVersion = files.catalogueVersion
    isClockKept = clockOffsetNs == nil
    moveIntake(to: files.ring)
    return files.log
  }

  /// Gives what waits a place in a new ring.
  private func moveIntake(to ring: TelemetryRing) {
    var place = ring.nextPlace(epoch: epoch, catalogueVersion: catalogueVersion)
    place.firstSequence = highWater.telemetry + 1
    intake.move(to: place)
    for name in cursors.keys { cursors[name]?.place = nil }
    anyonesPlace = nil
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
