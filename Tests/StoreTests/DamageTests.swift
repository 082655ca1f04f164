import CFaultVFS
import CLinux
import Glibc
import StreamCore
import Testing

@testable import Store

@Suite("Faults 22, 23, 25 and 26: damage, strange files, a consumer that is gone, no memory")
struct DamageTests {
  /// A store as a kill leaves it: with WALs that hold something.
  private func killed(_ course: inout Course) async throws -> (Folder, StoreReport) {
    let folder = Folder()
    let site = try Site(configuration(folder))
    for step in 0..<20 {
      await course.put(25, into: site)
      if step % 3 == 0 { await course.raise(site) }
      try await site.flush()
    }
    let copy = Folder()
    let report = await site.copyFiles(from: folder, to: copy)
    site.stop()
    return (copy, report)
  }

  enum Harm: CaseIterable, Sendable {
    case deleted, emptied, zeroed, halved, headless, foreign, torn
  }

  private func harm(_ path: String, _ kind: Harm, foreign: String) {
    var content = bytes(of: path)
    switch kind {
    case .deleted:
      unlink(path)
      return
    case .emptied: content = []
    case .zeroed: content = [UInt8](repeating: 0, count: content.count)
    case .halved: content = Array(content[..<(content.count / 2)])
    case .headless: content.replaceSubrange(..<min(200, content.count), with: repeatElement(0xAA, count: 200))
    case .foreign: content = bytes(of: foreign)
    case .torn:
      for index in stride(from: 4_096, to: content.count, by: 3 * 4_096) {
        content.replaceSubrange(index..<min(index + 512, content.count), with: repeatElement(0x5A, count: 512))
      }
    }
    write(content, to: path)
  }

  @Test(
    "23 A database or its WAL deleted, emptied, zeroed, cut, torn, or from another box: nothing wrong is served",
    arguments: ["telemetry.db", "telemetry.db-wal", "alarm.db", "alarm.db-wal"], Harm.allCases)
  func strange(name: String, kind: Harm) async throws {
    var course = Course()
    let (folder, before) = try await killed(&course)
    var other = Course()
    let (foreign, _) = try await killed(&other)
    harm(folder.file(name), kind, foreign: foreign.file(name))
    let site = try Site(configuration(folder))
    #expect(site.opening.storeID != before.storeID || site.opening.epoch > before.epoch, "an id may come again")
    let account = try await site.readAll()
    for (sequence, sample) in account.samples { #expect(isRight(sample, sequence)) }
    for (sequence, stored) in account.events { #expect(stored.event.at == Instant(milliseconds: sequence)) }
    #expect(account.gaps.allSatisfy { $0.reason == .damaged } && account.duplicates == 0)
    let report = await site.report()
    #expect(Int64(account.samples.count) + account.missing == report.durable.telemetry)
    // What is not harmed is all there, whatever the other file has met.
    // (A log of another store is believed: then the ring is the one that does not belong here.)
    if !name.hasPrefix("telemetry"), (name, kind) != ("alarm.db", .foreign) {
      #expect(account.samples.count == 500, "\(account.gaps)")
    }
    if !name.hasPrefix("alarm") { #expect(account.events.count == 7) }
    // It goes on, and again.
    await site.put(numbered(9_000..<9_010))
    await site.raise(event(0, .unacknowledged, at: 5))
    let durable = try await site.flush()
    #expect(durable.telemetry >= report.durable.telemetry + 10 && durable.alarms > report.durable.alarms)
    site.stop()
    let again = try Site(configuration(folder))
    #expect(again.opening.storeID == site.opening.storeID && again.opening.epoch > site.opening.epoch)
    #expect(try await again.readAll().samples.count == account.samples.count + 10)
    again.stop()
  }

  @Test("22 A ring whose first page is gone comes back block by block; a log without its first page, event by event")
  func salvage() async throws {
    for name in ["telemetry.db", "alarm.db"] {
      var course = Course()
      let folder = Folder()
      let site = try Site(configuration(folder))
      for _ in 0..<40 {
        await course.put(25, into: site)
        await course.raise(site)
        try await site.flush()
      }
      let answer = try await site.read(recordsMax: 500, for: "platform")
      site.store.acknowledge(answer.next, by: "platform", at: .zero)
      site.stop()
      harm(folder.file(name), .headless, foreign: "")
      let after = try Site(configuration(folder))
      #expect(after.opening.storeID != site.opening.storeID)
      #expect(access(folder.file("quarantine/1/\(name)"), F_OK) == 0)
      try await course.expectBalance(after)
      let account = try await after.readAll()
      #expect(account.samples.count == 1_000 && account.events.count == 40)
      #expect(account.samples.allSatisfy { isRight($0.value, $0.key) })
      // The same places: who had a part goes on behind it. Cursors go with their log; then all comes once more.
      let held = try #require(await after.position(of: "platform"))
      #expect(held == (name == "alarm.db" ? Position() : answer.next))
      #expect(after.opening.catalogueVersion == 1 && after.opening.alarms.count == (name == "alarm.db" ? 0 : 2))
      after.stop()
    }
  }

  @Test("22 Rows of a torn log come back: cursors, states, the catalogue and the clock")
  func rows() async throws {
    var course = Course()
    let folder = Folder()
    let site = try Site(configuration(folder))
    #expect(await eventually { await site.report().isPrepared })
    for _ in 0..<10 {
      await course.put(10, into: site)
      await course.raise(site)
    }
    site.store.clockKnown(offsetNs: 1_700_000_000_000_000_000)
    try await site.flush()
    let answer = try await site.read(for: "platform")
    site.store.acknowledge(answer.next, by: "platform", at: .zero)
    site.stop()
    // Damage where the log of events is, far behind the small tables.
    var content = bytes(of: folder.file("alarm.db"))
    for page in (content.count / 4_096 - 40)..<(content.count / 4_096) {
      content.replaceSubrange((page * 4_096)..<(page * 4_096 + 8), with: repeatElement(0xEE, count: 8))
    }
    write(content, to: folder.file("alarm.db"))
    let after = try Site(configuration(folder))
    #expect(after.opening.storeID != site.opening.storeID)
    #expect(after.opening.epoch > site.opening.epoch)
    #expect(after.opening.alarms.map { $0.sequence }.sorted() == [9, 10])
    #expect(await after.position(of: "platform") == answer.next)
    try await course.expectBalance(after)
    let clocks = try await after.read().clocks
    #expect(clocks.first { $0.epoch == site.opening.epoch }?.offsetNs == 1_700_000_000_000_000_000)
    after.stop()
  }

  @Test("18 A cut in the middle of a salvage does it again")
  func cutSalvage() async throws {
    var course = Course()
    let folder = Folder()
    let site = try Site(configuration(folder))
    await course.put(200, into: site)
    await course.raise(site)
    site.stop()
    // As a cut leaves it: moved away, the new one begun and not in place.
    mkdir(folder.file("quarantine"), 0o755)
    mkdir(folder.file("quarantine/1"), 0o755)
    for suffix in ["", "-wal"] {
      rename(folder.file("telemetry.db" + suffix), folder.file("quarantine/1/telemetry.db" + suffix))
    }
    write([1, 2, 3], to: folder.file("telemetry.new"))
    let after = try Site(configuration(folder))
    #expect(after.opening.storeID != site.opening.storeID)
    try await course.expectBalance(after)
    #expect(access(folder.file("telemetry.new"), F_OK) != 0)
    after.stop()
    // What was taken out once is not taken out of the same set again.
    unlink(folder.file("telemetry.db"))
    unlink(folder.file("telemetry.db-wal"))
    let empty = try Site(configuration(folder))
    #expect(try await empty.readAll().samples.isEmpty)
    empty.stop()
  }

  @Test("25 A consumer that never comes back costs nothing: the ring goes round, and it is told what it missed")
  func absent() async throws {
    let folder = Folder()
    let site = try Site(configuration(folder, consumers: ["platform", "gone"], samplesPerBlock: 4))
    var course = Course()
    let slots = TelemetryRing.slots(bytes: 1 << 20)
    for _ in 0..<(slots + 100) {
      await course.put(4, into: site)
      try await site.flush()
      let answer = try await site.read(after: site.position(of: "platform") ?? Position(), for: "platform")
      #expect(answer.telemetryGaps.isEmpty)
      site.store.acknowledge(answer.next, by: "platform", at: .zero)
    }
    let report = await site.report()
    #expect(report.fileBytes <= 3 << 20)
    let gone = try #require(report.consumers.first { $0.name == "gone" })
    #expect(gone.lagRecords == course.samples && gone.held == Position())
    let answer = try await site.read(for: "gone")
    #expect(answer.telemetryGaps.map { [$0.from, $0.to] } == [[1, 400]])
    #expect(answer.telemetryGaps.allSatisfy { $0.reason == .evicted })
    try await course.expectBalance(site)
    site.stop()
  }

  @Test("26 When the Nth allocation of SQLite fails, once or for ever, the account balances")
  func noMemory() async {
    await #expect(processExitsWith: .success) {
      fault_malloc_install()
      for round in 0..<60 as Range<Int64> {
        let folder = Folder()
        var course = Course()
        let site = try Site(configuration(folder))
        await course.put(50, into: site)
        fault_malloc_fail(round * 17, round % 3 == 0 ? .max : 1)
        for _ in 0..<4 {
          await course.raise(site)
          await course.put(20, into: site)
          _ = try? await site.flush()
        }
        fault_malloc_fail(0, 0)
        let isWell = await eventually { (try? await site.flush()) != nil }
        try #require(isWell)
        try await course.expectBalance(site)
        site.stop()
        let again = try Site(configuration(folder))
        try await course.expectBalance(again)
        again.stop()
      }
      try #require(fault_malloc_failed() > 60)
    }
  }
}
