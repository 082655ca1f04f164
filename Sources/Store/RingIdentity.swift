// What telemetry.db knows beside its blocks: whose it is, and enough of alarm.db to be understood if that is lost: the
// epoch, and the fingerprint of each version of the catalogue that a block names. On the store thread.

import StreamCore

extension TelemetryRing {
  /// Identity of the store whose alarms and cursors go with this ring; nil in a new file.
  func storeID() throws(StoreFailure) -> String? {
    try connection.text(of: "SELECT value FROM meta WHERE name = 'store'")
  }

  func adopt(storeID: String) throws(StoreFailure) {
    let statement = try Statement("INSERT OR REPLACE INTO meta VALUES ('store', ?)", on: connection)
    statement.bind(1, storeID)
    try connection.transaction { () throws(StoreFailure) in try statement.run() }
  }

  /// The last epoch that began over this ring; 0: none.
  func notedEpoch() throws(StoreFailure) -> UInt32 {
    UInt32(clamping: try connection.integer(of: "SELECT value FROM meta WHERE name = 'epoch'") ?? 0)
  }

  func fingerprints() throws(StoreFailure) -> [UInt32: Int64] {
    var found: [UInt32: Int64] = [:]
    let statement = try Statement(
      "SELECT CAST(substr(name, 11) AS INTEGER), value FROM meta WHERE name GLOB 'catalogue:*'", on: connection)
    try statement.forEach { (row) throws(StoreFailure) in
      found[UInt32(clamping: row.integer(0))] = row.integer(1)
    }
    return found
  }

  /// What is to go along into another file.
  func notes() throws(StoreFailure) -> [(name: String, value: Int64)] {
    var notes = try fingerprints().map { (name: "catalogue:\($0.key)", value: $0.value) }
    notes.append((name: "epoch", value: Int64(try notedEpoch())))
    return notes + flash.notes
  }

  /// One commit, all the way into the database, at every start. A full disk has no room for what is only a precaution.
  func note(epoch: UInt32, version: UInt32, _ configuration: StoreConfiguration) throws(StoreFailure) {
    let fingerprint = AlarmLog.fingerprint(of: configuration.catalogue)
    let needed = try oldest().map { min(version, $0.catalogueVersion) } ?? version
    let oldest = max(needed, version - min(version, UInt32(Limits.fingerprintsMax)))
    do throws(StoreFailure) {
      try connection.transaction { () throws(StoreFailure) in
        try connection.execute(
          """
          INSERT OR REPLACE INTO meta VALUES ('epoch', \(epoch)), ('catalogue:\(version)', \(fingerprint));
          DELETE FROM meta WHERE name GLOB 'catalogue:*' AND CAST(substr(name, 11) AS INTEGER) < \(oldest);
          """)
        let own = try Statement("INSERT OR REPLACE INTO meta VALUES ('gateway', ?)", on: connection)
        own.bind(1, configuration.gateway)
        try own.run()
      }
      try connection.bringHome()
    } catch {
      guard error.isFull else { throw error }
    }
  }
}
