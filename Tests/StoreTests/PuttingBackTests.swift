import Glibc
import StreamCore
import Testing

@testable import Store

@Suite("Files that somebody touches under the running agent")
struct PuttingBackTests {
  private func filled(_ folder: Folder) async throws -> Site {
    let site = try Site(configuration(folder, samplesPerBlock: 20))
    await site.put(numbered(1..<301))
    await site.raise(event(0, .unacknowledged, at: 77))
    try await site.flush()
    return site
  }

  private func isSame(_ folder: Folder, _ id: String, samples: Int) async throws {
    let site = try Site(configuration(folder))
    #expect(site.opening.storeID == id)
    let account = try await site.readAll()
    #expect(account.samples.count == samples && account.events.count == 1 && account.gaps.isEmpty)
    #expect(account.samples.allSatisfy { isRight($0.value, $0.key) })
  }

  @Test(
    "23 What is deleted is put back, whole, and the store is the same as before",
    arguments: [
      ["telemetry.db", "telemetry.db-wal"], ["alarm.db", "alarm.db-wal"], ["telemetry.db-wal"], ["alarm.db-wal"],
      ["telemetry.db", "telemetry.db-wal", "alarm.db", "alarm.db-wal"], ["telemetry.db"], ["alarm.db"],
    ])
  func deleted(_ names: [String]) async throws {
    let folder = Folder()
    let site = try await filled(folder)
    for name in names { unlink(folder.file(name)) }
    // Each question is a turn of the store's thread, and each turn a step.
    for _ in 0..<10_000 where names.contains(where: { access(folder.file($0), F_OK) != 0 }) { await site.settle() }
    #expect(names.allSatisfy { access(folder.file($0), F_OK) == 0 })
    let report = await site.report()
    #expect(report.failures > 0 && report.lastFailure.contains("deleted"))
    await site.put(numbered(301..<351))
    try await site.flush()
    #expect(await site.report().state == .good)
    #expect(try await site.readAll().samples.count == 350)
    site.stop()
    #expect(access(folder.file("telemetry.db.back"), F_OK) != 0)
    try await isSame(folder, site.opening.storeID, samples: 350)
  }

  @Test("23 What is deleted just before the stop is put back by the stop")
  func deletedAtTheEnd() async throws {
    let folder = Folder()
    let site = try await filled(folder)
    for name in ["telemetry.db", "telemetry.db-wal", "alarm.db", "alarm.db-wal"] { unlink(folder.file(name)) }
    site.stop()
    try await isSame(folder, site.opening.storeID, samples: 300)
  }

  @Test("23 Where another store's file is put in the place of ours, it goes to quarantine and the store goes on")
  func replaced() async throws {
    let other = Folder()
    let stranger = try await filled(other)
    stranger.stop()
    let folder = Folder()
    let site = try await filled(folder)
    rename(other.file("telemetry.db"), folder.file("telemetry.db"))
    for number in 301..<700 as Range<Int64> {
      await site.put(numbered(number..<(number + 1)))
      _ = try? await site.flush()
      if access(folder.file("quarantine/1/telemetry.db"), F_OK) == 0 { break }
    }
    #expect(access(folder.file("quarantine/1/telemetry.db"), F_OK) == 0)
    site.stop()
    let again = try Site(configuration(folder))
    let account = try await again.readAll()
    #expect(again.opening.storeID != stranger.opening.storeID && account.events.count == 1)
    #expect(account.samples.allSatisfy { isRight($0.value, $0.key) })
  }

  @Test("Damage that a start finds is told: the alarm of the storage, the log and `kerb buffer` know of it")
  func told() async throws {
    let folder = Folder()
    try await filled(folder).stop()
    write([UInt8](repeating: 0, count: 8_192), to: folder.file("alarm.db"))
    let report = await (try Site(configuration(folder))).report()
    #expect(report.failures == 1 && report.lastFailure.contains("quarantine/1"))
  }
}
