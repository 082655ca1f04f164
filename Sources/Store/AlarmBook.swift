// What alarm.db keeps beside the events: epochs and their clocks, the versions of the catalogue, and the rows of alarms
// and consumers that the configuration names. On the store thread.

import CLinux
import StreamCore

/// What a start of the agent brings to alarm.db.
struct Opening {
  var epochFloor: UInt32
  var bootID: String
  var catalogue: [UInt8]
  /// What the telemetry's ring is known by, and the versions of the catalogue that it has the fingerprints of.
  var mark: UInt32 = 0
  var fingerprints: [UInt32: Int64] = [:]
  /// The highest version that a block may name.
  var versionFloor: UInt32 = 0
  /// When the newest telemetry block ended, and in which epoch: the agent was running then.
  var newestEpoch: UInt32 = 0
  var newestNs: Int64 = 0
  /// The oldest telemetry block's; 0: there is none.
  var oldestEpoch: UInt32
  var oldestCatalogue: UInt32
}

extension AlarmLog {
  /// Begins an epoch: one commit, before anything else is stored. Returns it and the catalogue's version.
  func begin(_ opening: Opening, configuration: StoreConfiguration) throws(StoreFailure) -> (UInt32, UInt32) {
    let epoch = try nextEpoch(above: opening.epochFloor)
    var version: UInt32 = 0
    try connection.transaction { () throws(StoreFailure) in
      try addEpoch(epoch, opening)
      try recognise(opening)
      version = try addCatalogue(opening)
      try forget(opening, epoch: epoch, version: version)
      try settleAlarms(configuration.alarmNames)
      try settleConsumers(configuration.consumers.map(\.name))
      try set("mark", Int64(opening.mark))
      try set("gateway", configuration.gateway)
      // Updated in place at a stop on a full disk: the row must be there.
      if try number("unsaved") == nil { try set("unsaved", 0) }
    }
    // A WAL that is lost must not take the epoch along: it would begin once more.
    try connection.bringHome()
    return (epoch, version)
  }

  // MARK: Epochs

  /// Greater than every epoch that anything stored speaks of.
  func nextEpoch(above floor: UInt32) throws(StoreFailure) -> UInt32 {
    let before = try connection.integer(of: "SELECT max(epoch) FROM epochs") ?? 0
    var logged: UInt32 = 0
    for alarm in try states() { logged = max(logged, alarm.epoch) }
    if newest > 0, let event = try event(newest) { logged = max(logged, event.epoch) }
    return max(UInt32(truncatingIfNeeded: before), floor, logged) + 1
  }

  /// The monotonic clock goes on through restarts of the agent: an epoch of the same boot has the same offset.
  private func addEpoch(_ epoch: UInt32, _ opening: Opening) throws(StoreFailure) {
    let start = kerb_monotonic_ns()
    let ran = try running(until: start, opening)
    let statement = try Statement(
      """
      INSERT INTO epochs(epoch, boot, clock, start, ran) VALUES (?1, ?2,
        (SELECT clock FROM epochs WHERE boot = ?2 AND boot <> '' AND clock NOT NULL ORDER BY epoch DESC LIMIT 1),
        ?3, ?4)
      """, on: connection)
    statement.bind(1, Int64(epoch))
    statement.bind(2, opening.bootID)
    statement.bind(3, start)
    statement.bind(4, ran)
    try statement.run()
  }

  /// How long the agent has been seen running in all epochs together; of one boot the time between them counts, too.
  private func running(until start: Int64, _ opening: Opening) throws(StoreFailure) -> Int64 {
    var ran: Int64 = 0
    let last = try Statement(
      "SELECT epoch, boot, start, ran FROM epochs WHERE start NOT NULL ORDER BY epoch DESC LIMIT 1", on: connection)
    _ = try last.first { (row) throws(StoreFailure) in
      let (began, before) = (row.integer(2), row.integer(3))
      let isSameBoot = !opening.bootID.isEmpty && row.text(1) == opening.bootID
      let end = isSameBoot ? start : row.integer(0) == Int64(opening.newestEpoch) ? opening.newestNs : began
      ran = before &+ max(0, end &- began)
    }
    return ran
  }

  /// Wall time = monotonic time + offset, for this epoch and those of the same boot that never knew it.
  func setClock(_ offsetNs: Int64, epoch: UInt32) throws(StoreFailure) {
    let statement = try Statement(
      """
      UPDATE epochs SET clock = ?1 WHERE epoch = ?2 OR (clock IS NULL AND boot <> ''
        AND boot = (SELECT boot FROM epochs WHERE epoch = ?2))
      """, on: connection)
    statement.bind(1, offsetNs)
    statement.bind(2, Int64(epoch))
    try connection.transaction { () throws(StoreFailure) in try statement.run() }
  }

  /// The first epoch of the boot that `epoch` belongs to.
  func bootEpoch(of epoch: UInt32) throws(StoreFailure) -> UInt32 {
    let first = try connection.integer(
      of: """
        SELECT min(epoch) FROM epochs WHERE epoch = \(epoch)
          OR boot <> '' AND boot = (SELECT boot FROM epochs WHERE epoch = \(epoch))
        """)
    return first.map { UInt32(truncatingIfNeeded: $0) } ?? epoch
  }

  func clock(of epoch: UInt32) throws(StoreFailure) -> EpochClock {
    let statement = try Statement("SELECT clock FROM epochs WHERE epoch = ? AND clock NOT NULL", on: connection)
    statement.bind(1, Int64(epoch))
    return EpochClock(
      epoch: epoch, offsetNs: try statement.first { (row) throws(StoreFailure) in row.integer(0) })
  }

  // MARK: Catalogue

  /// What 32 bits of checksum and the length say of a catalogue: stands in telemetry.db too.
  static func fingerprint(of catalogue: [UInt8]) -> Int64 {
    Int64(catalogue.count) << 32 | Int64(catalogue.withUnsafeBytes { Checksum.crc32c($0) })
  }

  /// A log that was lost took the catalogues along. Blocks that were made with the one of today are told by its
  /// fingerprint, and can be understood again.
  private func recognise(_ opening: Opening) throws(StoreFailure) {
    let own = Self.fingerprint(of: opening.catalogue)
    for (version, fingerprint) in opening.fingerprints where fingerprint == own && version > 0 {
      if try catalogue(version) == nil { try keep(opening.catalogue, as: version) }
    }
  }

  func keep(_ catalogue: [UInt8], as version: UInt32) throws(StoreFailure) {
    let statement = try Statement(
      "INSERT OR REPLACE INTO catalogues(version, checksum, bytes) VALUES (?, ?, ?)", on: connection)
    statement.bind(1, Int64(version))
    statement.bind(2, Int64(catalogue.withUnsafeBytes { Checksum.crc32c($0) }))
    try statement.run(3, bytes: catalogue)
  }

  /// The version that `opening`'s catalogue has or would get: the newest if it is the same, else a new one.
  func version(for opening: Opening) throws(StoreFailure) -> UInt32 {
    let newest = UInt32(
      truncatingIfNeeded: try connection.integer(of: "SELECT max(version) FROM catalogues") ?? 0)
    // Blocks of a log that was lost may still name versions: theirs are not used again.
    let given = max(newest, UInt32(truncatingIfNeeded: try number("catalogue") ?? 0), opening.versionFloor)
    if newest > 0, newest == given, try catalogue(newest) == opening.catalogue { return newest }
    return given + 1
  }

  private func addCatalogue(_ opening: Opening) throws(StoreFailure) -> UInt32 {
    let version = try version(for: opening)
    guard try catalogue(version) != opening.catalogue else { return version }
    try keep(opening.catalogue, as: version)
    try set("catalogue", Int64(version))
    return version
  }

  /// Nil: no such version any more, or damaged.
  func catalogue(_ version: UInt32) throws(StoreFailure) -> [UInt8]? {
    let statement = try Statement("SELECT checksum, bytes FROM catalogues WHERE version = ?", on: connection)
    statement.bind(1, Int64(version))
    let found = try statement.first { (row) throws(StoreFailure) -> [UInt8]? in
      let bytes = row.bytes(1)
      return Int64(Checksum.crc32c(bytes)) == row.integer(0) ? [UInt8](bytes) : nil
    }
    return found ?? nil
  }

  // MARK: What nothing refers to any more

  private func forget(_ opening: Opening, epoch: UInt32, version: UInt32) throws(StoreFailure) {
    var oldestEpoch = opening.oldestEpoch == 0 ? epoch : opening.oldestEpoch
    var oldestVersion = opening.oldestCatalogue == 0 ? version : opening.oldestCatalogue
    for alarm in try states() {
      oldestEpoch = min(oldestEpoch, alarm.epoch)
      oldestVersion = min(oldestVersion, alarm.catalogueVersion)
    }
    if newest > 0, let event = try event(oldestSequence) {
      oldestEpoch = min(oldestEpoch, event.epoch)
      oldestVersion = min(oldestVersion, event.catalogueVersion)
    } else if newest > 0 {
      // The oldest can't be read: nothing is forgotten for now, but for the bounds below.
      (oldestEpoch, oldestVersion) = (0, 0)
    }
    oldestEpoch = max(oldestEpoch, epoch > UInt32(Limits.epochsMax) ? epoch - UInt32(Limits.epochsMax) : 0)
    try connection.execute("DELETE FROM epochs WHERE epoch < \(oldestEpoch)")
    try connection.execute("DELETE FROM catalogues WHERE version < \(oldestVersion)")
    while try connection.integer(of: "SELECT sum(length(bytes)) FROM catalogues") ?? 0 > Limits.catalogueBytesMax,
      try connection.integer(of: "SELECT count(*) FROM catalogues") ?? 0 > 1
    {
      try connection.execute("DELETE FROM catalogues WHERE version = (SELECT min(version) FROM catalogues)")
    }
  }

  /// A row for every alarm of the configuration and none else: then a change of state never needs a new page.
  private func settleAlarms(_ names: [String]) throws(StoreFailure) {
    let wanted = Set(names)
    let insert = try Statement("INSERT OR IGNORE INTO alarm_state(name, record) VALUES (?, ?)", on: connection)
    for name in names {
      insert.bind(1, name)
      insert.bind(2, zeros: AlarmRecord.bytes)
      try insert.run()
    }
    var gone: [String] = []
    let all = try Statement("SELECT name FROM alarm_state", on: connection)
    try all.forEach { (row) throws(StoreFailure) in
      let name = row.text(0)
      if !wanted.contains(name) { gone.append(name) }
    }
    let delete = try Statement("DELETE FROM alarm_state WHERE name = ?", on: connection)
    for name in gone {
      delete.bind(1, name)
      try delete.run()
    }
    // The states were a witness of how far the log had come.
    try set("alarms", newest)
  }

  /// Consumers that left the configuration keep their place, as long as they are not too many: it may be a slip.
  private func settleConsumers(_ names: [String]) throws(StoreFailure) {
    let count = try connection.integer(of: "SELECT count(*) FROM cursors") ?? 0
    guard count > 2 * Int64(Limits.consumersMax) else { return }
    let wanted = Set(names)
    let delete = try Statement("DELETE FROM cursors WHERE consumer = ?", on: connection)
    for name in try cursors().keys where !wanted.contains(name) {
      delete.bind(1, name)
      try delete.run()
    }
  }
}
