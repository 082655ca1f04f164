// What becomes of a failed file: let go, opened again by the next commit that is due, read meanwhile if it can be,
// moved away and begun anew if it is damaged. On the store thread.
//
// Invariants:
//  1. A file has one handle: the one that reads is closed before one that writes is opened.
//  2. A commit that failed and had arrived all the same is not repeated.

import CLinux
import CSQLite
import StreamCore

extension Buffer {
  /// The store, or, where it can't be written, what can be read of it and why. A first failure may be of the moment.
  static func files(
    _ folder: borrowing StateFolder, _ configuration: StoreConfiguration, _ interruption: Interruption
  ) throws(StoreFailure) -> (BufferFiles, StoreFailure?) {
    var failure: StoreFailure?
    for _ in 0..<2 {
      do throws(StoreFailure) {
        return (
          try BufferFiles(
            folder: folder, configuration: configuration, interruption: interruption, floor: Floor()), nil
        )
      } catch {
        switch error {
        case .io, .full, .readOnly, .unusable: failure = error
        default: throw error
        }
      }
    }
    if !folder.isWritable { failure = .readOnly(path: folder.path) }
    let why = failure ?? .io(code: SQLITE_IOERR)
    do throws(StoreFailure) {
      return (try BufferFiles(reading: folder, configuration: configuration), why)
    } catch {
      // Without anything to serve there is no reason to run.
      throw why
    }
  }

  func note(_ failure: StoreFailure) {
    lastFailure = failure
    switch failure {
    case .full, .readOnly: break
    default: failures += 1
    }
  }

  /// Damage that was found and dealt with is told all the same.
  func noteMoved() { for set in folder.takeMoved() { note(.movedAway(to: set)) } }

  /// Whoever calls this may still hold the failed file in a variable; so it is only let go here, and opened again, or
  /// replaced, by the next commit.
  func ringFailed(_ failure: StoreFailure) {
    note(failure)
    ringState = failure.state
    if failure.isFull { return }
    if ring?.connection.isReadOnly != true { ring = nil }
    if failure.isCorrupt { (ring, isRingDamaged) = (nil, true) }
  }

  func logFailed(_ failure: StoreFailure) {
    note(failure)
    logState = failure.state
    if failure.isFull { return }
    if log?.connection.isReadOnly != true { log = nil }
    if failure.isCorrupt { (log, isLogDamaged) = (nil, true) }
  }

  /// Opens for reading what could not be opened for writing. Call when nobody holds the failed file any more.
  func readOn() {
    if log == nil, logState != .good, !isLogDamaged {
      let opened = try? AlarmLog(
        path: folder.file(StateFolder.alarms), configuration: configuration, isReadOnly: true)
      if let opened, (try? opened.storeID()) == storeID { log = opened }
    }
    if ring == nil, ringState != .good, !isRingDamaged {
      let opened = try? TelemetryRing(
        path: folder.file(StateFolder.telemetry), vfs: configuration.vfs, bytes: configuration.telemetryBytes,
        seriesCount: configuration.seriesCount, isReadOnly: true)
      if let opened, (try? opened.storeID()) == storeID { ring = opened }
    }
  }

  /// The ring, ready to be written.
  func openedRing() throws(StoreFailure) -> TelemetryRing {
    if let ring, !ring.connection.isReadOnly { return ring }
    guard folder.isWritable else { throw .readOnly(path: folder.path) }
    // A new ring needs the log: both get a new id.
    guard let log, !log.connection.isReadOnly else { throw unavailable }
    ring = nil
    if isRingDamaged {
      try folder.quarantine([StateFolder.telemetry])
      isRingDamaged = false
    }
    try folder.removeForeignLog(StateFolder.telemetry, vfs: configuration.vfs)
    let opened = try BufferFiles.openRing(folder, configuration, log, nil)
    switch try opened.storeID() {
    case storeID: dropStored(opened.newest)
    case nil:
      // Sequences go on, so that a position that someone is just about to acknowledge means nothing still to come.
      storeID = try BufferFiles.renew(log, opened)
      folder.salvageIsDone()
      try opened.note(epoch: epoch, version: catalogueVersion, configuration)
      opened.begin(behind: highWater.telemetry, try RingAccount(in: log))
      moveIntake(to: opened, behind: highWater.telemetry)
    default: throw .corrupt(code: SQLITE_NOTADB)
    }
    noteMoved()
    ring = opened
    return opened
  }

  /// A commit that failed may have reached the file all the same: those blocks are the very same, and not repeated.
  private func dropStored(_ stored: BlockInfo?) {
    guard let stored else { return }
    intake.drop(stored: stored)
    durable.telemetry = max(durable.telemetry, stored.last)
  }

  private func dropStored(_ log: AlarmLog) {
    let arrived = Int(clamping: log.newest - durable.alarms)
    if arrived > 0 { intake.eventsCommitted(min(arrived, intake.events.count)) }
  }

  /// The log, ready to be written.
  func openedLog() throws(StoreFailure) -> AlarmLog {
    if let log, !log.connection.isReadOnly { return log }
    guard folder.isWritable else { throw .readOnly(path: folder.path) }
    log = nil
    if isLogDamaged {
      try folder.quarantine([StateFolder.alarms])
      (isLogDamaged, mustBeginAnew) = (false, true)
    }
    if mustBeginAnew { return try beginAnew() }
    try folder.removeForeignLog(StateFolder.alarms, vfs: configuration.vfs)
    let opened = try AlarmLog(path: folder.file(StateFolder.alarms), configuration: configuration)
    guard try opened.storeID() == storeID else { throw .corrupt(code: SQLITE_NOTADB) }
    dropStored(opened)
    noteMoved()
    opened.raise(to: durable.alarms)
    log = opened
    return opened
  }

  private func beginAnew() throws(StoreFailure) -> AlarmLog {
    ring = nil
    let files = try BufferFiles(
      folder: folder, configuration: configuration, interruption: nil,
      floor: Floor(position: highWater, epoch: epoch))
    (mustBeginAnew, isRingDamaged) = (false, false)
    ringState = .good
    dropStored(files.ring.newest)
    dropStored(files.log)
    ring = files.ring
    log = files.log
    storeID = files.storeID
    epoch = files.epoch
    catalogueVersion = files.catalogueVersion
    isClockKept = clockOffsetNs == nil
    noteMoved()
    moveIntake(to: files.ring, behind: max(highWater.telemetry, files.place.firstSequence - 1 + files.vanished))
    return files.log
  }

  /// Gives what waits a place in a new ring, behind all that was given out: what of that the ring lacks is damaged.
  private func moveIntake(to ring: TelemetryRing, behind known: Int64) {
    var place = ring.nextPlace(epoch: epoch, catalogueVersion: catalogueVersion)
    let vanished = ring.newest == nil ? 0 : max(0, known - (place.firstSequence - 1))
    if ring.newest == nil { place.firstSequence = known + 1 }
    ring.count(vanished: vanished, .damaged)
    intake.move(
      to: place, durable: durable.telemetry, vanished: vanished, at: Instant(nanoseconds: kerb_monotonic_ns()))
    for name in cursors.keys { cursors[name]?.place = nil }
    anyonesPlace = nil
  }
}

extension StoreFailure {
  fileprivate var state: StoreState {
    switch self {
    case .full: return .full
    case .readOnly: return .readOnly
    default: return .failing
    }
  }
}
