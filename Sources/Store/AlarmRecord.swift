// One alarm event as it stands in alarm.db, in the log and as the state of its alarm: 96 bytes, always, so that a row
// is written over in place. The format byte by byte: docs/storage-format.md.

import StreamCore

enum AlarmRecord {
  static let bytes = 96
  private static let magic: UInt32 = 0x4B42_524C  // "LRBK" in a dump
  static let firstByte: UInt8 = 0x4C
  private static let checkedFrom = 8
  private static let causesAt = 48
  private static let causeBytes = 12

  static func write(_ stored: StoredEvent, to record: UnsafeMutableRawBufferPointer) {
    record.initializeMemory(as: UInt8.self, repeating: 0)
    let event = stored.event
    record.put(magic, at: 0)
    record.put(stored.sequence, at: 8)
    record.put(stored.epoch, at: 16)
    record.put(stored.catalogueVersion, at: 20)
    record.put(event.alarm, at: 24)
    record.put(event.state.rawValue, at: 26)
    record.put(event.severity.rawValue, at: 27)
    record.put(event.causeCount, at: 28)
    record.put(event.at.nanoseconds, at: 32)
    record.put(event.since.nanoseconds, at: 40)
    for index in 0..<min(Int(event.causeCount), Limits.causesPerAlarmMax) {
      let cause = event.cause(index)
      let place = causesAt + index * causeBytes
      record.put(cause.series, at: place)
      record.put(cause.quality.rawValue, at: place + 2)
      record.put(cause.raw, at: place + 4)
    }
    record.put(Checksum.crc32c(UnsafeRawBufferPointer(rebasing: record[checkedFrom...])), at: 4)
  }

  /// Nil: damaged, or never written.
  static func read(_ record: UnsafeRawBufferPointer) -> StoredEvent? {
    guard record.count == bytes, record.number(UInt32.self, at: 0) == magic,
      Checksum.crc32c(UnsafeRawBufferPointer(rebasing: record[checkedFrom...])) == record.number(UInt32.self, at: 4),
      let state = AlarmState(rawValue: record.number(UInt8.self, at: 26)),
      let severity = Severity(rawValue: record.number(UInt8.self, at: 27))
    else { return nil }
    let sequence = record.number(Int64.self, at: 8)
    let causes = Int(record.number(UInt8.self, at: 28))
    guard sequence > 0, sequence < Int64.max / 2, causes <= Limits.causesPerAlarmMax else { return nil }
    var event = AlarmEvent(
      alarm: record.number(UInt16.self, at: 24), state: state, severity: severity,
      at: Instant(nanoseconds: record.number(Int64.self, at: 32)),
      since: Instant(nanoseconds: record.number(Int64.self, at: 40)))
    for index in 0..<causes {
      let place = causesAt + index * causeBytes
      guard let quality = Quality(rawValue: record.number(UInt8.self, at: place + 2)) else { return nil }
      event.add(
        AlarmCause(
          series: record.number(UInt16.self, at: place), quality: quality,
          raw: record.number(Int64.self, at: place + 4)))
    }
    return StoredEvent(
      sequence: sequence, epoch: record.number(UInt32.self, at: 16),
      catalogueVersion: record.number(UInt32.self, at: 20), event: event)
  }
}
