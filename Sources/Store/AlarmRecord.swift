// One alarm event as it stands in alarm.db, in the log and as the state of its alarm: 320 bytes, always, so that a row
// is written over in place. The format byte by byte: docs/storage-format.md.

import StreamCore

enum AlarmRecord {
  static let bytes = 320
  /// Of the first version of the format, which knew no serial, no who and no note.
  private static let oldBytes = 96
  private static let magic: UInt32 = 0x4B42_524C  // "LRBK" in a dump
  static let firstByte: UInt8 = 0x4C
  private static let checkedFrom = 8
  private static let causesAt = 48
  private static let causeBytes = 12
  private static let serialAt = oldBytes
  private static let byLengthAt = serialAt + 4
  private static let noteLengthAt = byLengthAt + 1
  private static let untilAt = serialAt + 8
  private static let raisedAt = untilAt + 8
  private static let byAt = raisedAt + 8
  private static let noteAt = byAt + Limits.nameBytesMax
  private static let suppressed: UInt8 = 1
  private static let flood: UInt8 = 2

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
    record.put(event.process.rawValue, at: 29)
    record.put(event.change.rawValue, at: 30)
    record.put((event.isSuppressed ? suppressed : 0) | (event.isFlood ? flood : 0), at: 31)
    record.put(event.at.nanoseconds, at: 32)
    record.put(event.since.nanoseconds, at: 40)
    for index in 0..<min(Int(event.causeCount), Limits.causesPerAlarmMax) {
      let cause = event.cause(index)
      let place = causesAt + index * causeBytes
      record.put(cause.series, at: place)
      record.put(cause.quality.rawValue, at: place + 2)
      record.put(cause.raw, at: place + 4)
    }
    record.put(event.serial, at: serialAt)
    record.put(event.until.nanoseconds, at: untilAt)
    record.put(event.raisedAt.nanoseconds, at: raisedAt)
    put(stored.by, Limits.nameBytesMax, at: byAt, lengthAt: byLengthAt, record)
    put(stored.note, Limits.noteBytesMax, at: noteAt, lengthAt: noteLengthAt, record)
    record.put(Checksum.crc32c(UnsafeRawBufferPointer(rebasing: record[checkedFrom...])), at: 4)
  }

  private static func put(
    _ text: [UInt8], _ most: Int, at place: Int, lengthAt: Int, _ record: UnsafeMutableRawBufferPointer
  ) {
    let count = min(text.count, most)
    record.put(UInt8(count), at: lengthAt)
    UnsafeMutableRawBufferPointer(rebasing: record[place..<(place + count)]).copyBytes(from: text.prefix(count))
  }

  /// Nil: damaged, or never written.
  static func read(_ record: UnsafeRawBufferPointer) -> StoredEvent? {
    guard record.count >= oldBytes, record.number(UInt32.self, at: 0) == magic else { return nil }
    if record.count == bytes, isRight(record) { return event(record, isOld: false) }
    // Written by the first version, and given zeros to its full length since.
    let isOld =
      isRight(UnsafeRawBufferPointer(rebasing: record[..<oldBytes])) && record[oldBytes...].allSatisfy { $0 == 0 }
    return isOld ? event(record, isOld: true) : nil
  }

  private static func isRight(_ record: UnsafeRawBufferPointer) -> Bool {
    Checksum.crc32c(UnsafeRawBufferPointer(rebasing: record[checkedFrom...])) == record.number(UInt32.self, at: 4)
  }

  private static func event(_ record: UnsafeRawBufferPointer, isOld: Bool) -> StoredEvent? {
    guard let state = AlarmState(rawValue: record.number(UInt8.self, at: 26)),
      let severity = Severity(rawValue: record.number(UInt8.self, at: 27))
    else { return nil }
    let sequence = record.number(Int64.self, at: 8)
    guard sequence > 0, sequence < Int64.max / 2 else { return nil }
    var event = AlarmEvent(
      alarm: record.number(UInt16.self, at: 24), state: state, severity: severity,
      at: Instant(nanoseconds: record.number(Int64.self, at: 32)),
      since: Instant(nanoseconds: record.number(Int64.self, at: 40)))
    guard readCauses(record, into: &event) else { return nil }
    var stored = StoredEvent(
      sequence: sequence, epoch: record.number(UInt32.self, at: 16),
      catalogueVersion: record.number(UInt32.self, at: 20), event: event)
    if isOld {
      // The only other change that the first version made.
      if state == .returnedUnacknowledged { stored.event.change = .returned }
      return stored
    }
    return readRest(record, into: &stored) ? stored : nil
  }

  private static func readCauses(_ record: UnsafeRawBufferPointer, into event: inout AlarmEvent) -> Bool {
    let causes = Int(record.number(UInt8.self, at: 28))
    guard causes <= Limits.causesPerAlarmMax else { return false }
    for index in 0..<causes {
      let place = causesAt + index * causeBytes
      guard let quality = Quality(rawValue: record.number(UInt8.self, at: place + 2)) else { return false }
      event.add(
        AlarmCause(
          series: record.number(UInt16.self, at: place), quality: quality,
          raw: record.number(Int64.self, at: place + 4)))
    }
    return true
  }

  private static func readRest(_ record: UnsafeRawBufferPointer, into stored: inout StoredEvent) -> Bool {
    let byCount = Int(record.number(UInt8.self, at: byLengthAt))
    let noteCount = Int(record.number(UInt8.self, at: noteLengthAt))
    guard let process = AlarmState(rawValue: record.number(UInt8.self, at: 29)),
      let change = AlarmChange(rawValue: record.number(UInt8.self, at: 30)),
      byCount <= Limits.nameBytesMax, noteCount <= Limits.noteBytesMax
    else { return false }
    let flags = record.number(UInt8.self, at: 31)
    stored.event.process = process
    stored.event.change = change
    stored.event.isSuppressed = flags & suppressed != 0
    stored.event.isFlood = flags & flood != 0
    stored.event.serial = record.number(UInt32.self, at: serialAt)
    stored.event.until = Instant(nanoseconds: record.number(Int64.self, at: untilAt))
    stored.event.raisedAt = Instant(nanoseconds: record.number(Int64.self, at: raisedAt))
    stored.by = Array(record[byAt..<(byAt + byCount)])
    stored.note = Array(record[noteAt..<(noteAt + noteCount)])
    return true
  }
}
