import Glibc
import StreamCore
import Testing

@testable import Store

@Suite("The record of an alarm")
struct AlarmRecordTests {
  private func whole() -> StoredEvent {
    var event = event(1, .shelved, at: 5_000)
    event.process = .acknowledged
    event.change = .shelved
    event.isSuppressed = true
    event.isFlood = true
    event.serial = 77
    event.until = Instant(milliseconds: 9_000)
    event.raisedAt = Instant(milliseconds: 4_000)
    var stored = StoredEvent(sequence: 12, epoch: 3, catalogueVersion: 2, event: event)
    stored.by = Array("王师傅".utf8)
    stored.note = Array(repeating: UInt8(ascii: "n"), count: Limits.noteBytesMax)
    return stored
  }

  private func bytes(_ stored: StoredEvent) -> [UInt8] {
    var record = [UInt8](repeating: 0, count: AlarmRecord.bytes)
    record.withUnsafeMutableBytes { AlarmRecord.write(stored, to: $0) }
    return record
  }

  @Test("keeps everything that is told of it")
  func round() throws {
    let stored = whole()
    let read = try #require(bytes(stored).withUnsafeBytes { AlarmRecord.read($0) })
    #expect(read.event.state == .shelved && read.event.process == .acknowledged && read.event.change == .shelved)
    #expect(read.event.isSuppressed && read.event.isFlood && read.event.serial == 77)
    #expect(read.event.until == stored.event.until && read.event.raisedAt == stored.event.raisedAt)
    #expect(read.by == stored.by && read.note == stored.note)
    #expect(read.event.cause(0).raw == 312)
  }

  @Test("is refused when a single bit of it is another")
  func damaged() {
    let whole = bytes(whole())
    for position in stride(from: 0, to: whole.count * 8, by: 7) {
      var bad = whole
      bad[position / 8] ^= 1 << UInt8(position % 8)
      #expect(bad.withUnsafeBytes { AlarmRecord.read($0) } == nil, "bit \(position)")
    }
  }

  /// As version 1 wrote it: 96 bytes.
  private func old(_ sequence: Int64, _ state: AlarmState) -> [UInt8] {
    var stored = StoredEvent(
      sequence: sequence, epoch: 1, catalogueVersion: 1, event: event(0, state, at: sequence * 1_000))
    stored.event.change = .raised
    var record = Array(bytes(stored)[..<96])
    for place in 29...31 { record[place] = 0 }
    let sum = record.withUnsafeBytes { Checksum.crc32c(UnsafeRawBufferPointer(rebasing: $0[8...])) }
    withUnsafeBytes(of: sum.littleEndian) { record.replaceSubrange(4..<8, with: $0) }
    return record
  }

  @Test("of the first version is read, in its own length and widened")
  func oldRecord() throws {
    let narrow = old(4, .returnedUnacknowledged)
    for record in [narrow, narrow + [UInt8](repeating: 0, count: 224)] {
      let read = try #require(record.withUnsafeBytes { AlarmRecord.read($0) })
      #expect(read.sequence == 4)
      #expect(read.event.state == .returnedUnacknowledged && read.event.process == .returnedUnacknowledged)
      #expect(read.event.change == .returned && read.event.serial == 0 && read.by.isEmpty)
      #expect(read.event.until == .distantFuture)
    }
  }

  /// Puts a store back to version 1 of the format: narrow rows, as many as then.
  private func makeOld(_ folder: Folder, events: Int64, slots: Int64) throws {
    let connection = try Connection.open(path: folder.file("alarm.db"), pagesMax: 10_000, cacheKiB: 64)
    try connection.execute(
      """
      DELETE FROM alarm_log; DELETE FROM alarm_state; DELETE FROM meta WHERE name = 'format';
      ALTER TABLE epochs DROP COLUMN start; ALTER TABLE epochs DROP COLUMN ran; PRAGMA user_version = 1
      """)
    try connection.execute("UPDATE meta SET value = \(slots) WHERE name = 'slots'")
    let insert = try Statement("INSERT INTO alarm_log(slot, record) VALUES (?, ?)", on: connection)
    for slot in 0..<slots {
      let sequence = slot < events ? slot + 1 : 0
      insert.bind(1, slot)
      try insert.run(
        2, bytes: sequence > 0 ? old(sequence, .unacknowledged) : [UInt8](repeating: 0, count: 96))
    }
    let state = try Statement("INSERT INTO alarm_state(name, record) VALUES (?, ?)", on: connection)
    state.bind(1, "manhole-1/cover-open")
    try state.run(2, bytes: old(events, .unacknowledged))
  }

  @Test("A store of the first version opens: its log and its states go on, in rows of full length")
  func migrates() async throws {
    let folder = Folder()
    try Site(configuration(folder)).stop()
    try makeOld(folder, events: 300, slots: 37 * 256)
    let site = try Site(configuration(folder))
    #expect(site.opening.alarms.map(\.name) == ["manhole-1/cover-open"])
    #expect(site.opening.alarms.first?.sequence == 300)
    let before = try await site.readAll()
    #expect(before.events.count == 300 && before.alarmGaps.isEmpty)
    await site.raise(event(0, .returnedUnacknowledged, at: 400_000))
    let after = try await site.readAll()
    #expect(after.events.keys.max() == 301)
    site.stop()
    let connection = try Connection.open(path: folder.file("alarm.db"), pagesMax: 10_000, cacheKiB: 64)
    for table in ["alarm_log", "alarm_state"] {
      let lengths = try connection.integer(of: "SELECT count(DISTINCT length(record)) FROM \(table)")
      #expect(lengths == 1)
      #expect(try connection.integer(of: "SELECT max(length(record)) FROM \(table)") == 320)
    }
    #expect(try connection.integer(of: "SELECT value FROM meta WHERE name = 'slots'") == 12 * 256)
  }

  @Test("Who did it and what they wrote comes out of the log as it went in, through a batch")
  func throughBatch() async throws {
    let folder = Folder()
    let site = try Site(configuration(folder))
    let by = Array("Zhang".utf8)
    let note = Array("在路上".utf8)
    var acknowledged = event(0, .acknowledged, at: 10)
    acknowledged.change = .acknowledged
    let isIn = by.withUnsafeBufferPointer { by in
      note.withUnsafeBufferPointer { note in
        site.channels[0].filling.append(acknowledged, by: by, note: note)
      }
    }
    #expect(isIn)
    _ = site.handOver()
    await site.settle()
    let event = try await site.read().events.first
    #expect(event?.by == by && event?.note == note)
    withExtendedLifetime(folder) {}
  }

  @Test("The eleventh alarm in ten minutes is marked as one of a flood, unless it is critical; nothing is left out")
  func flood() async throws {
    let folder = Folder()
    let site = try Site(configuration(folder))
    for number in 0..<14 {
      var raised = event(UInt16(number % 2), .unacknowledged, at: Int64(number) * 1_000)
      raised.severity = number == 12 ? .critical : .major
      await site.raise(raised)
    }
    let events = try await site.read().events
    #expect(events.count == 14)
    #expect(events.map(\.event.isFlood) == Array(repeating: false, count: 10) + [true, true, false, true])
    withExtendedLifetime(folder) {}
  }
}
