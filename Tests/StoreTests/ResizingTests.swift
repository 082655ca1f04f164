import Glibc
import StreamCore
import Testing

@testable import Store

@Suite("A store whose quota changes")
struct ResizingTests {
  private static let small = 1 << 20
  private static let large = 2 << 20

  private func blocks(_ site: Site, _ range: Range<Int64>) async throws {
    for block in range {
      await site.put(numbered((block * 4 + 1)..<(block * 4 + 5)))
      try await site.flush()
    }
  }

  private func expectRight(_ account: Account, from: Int64, to: Int64) {
    #expect(account.samples.keys.min() == from)
    #expect(account.samples.keys.max() == to)
    #expect(Int64(account.samples.count) == to - from + 1)
    #expect(account.samples.allSatisfy { isRight($0.value, $0.key) })
  }

  @Test(
    "It grows without losing a sample, before and after its ring has come round", arguments: [10, 245, 700] as [Int64])
  func grows(blocks count: Int64) async throws {
    let folder = Folder()
    let site = try Site(configuration(folder, telemetryBytes: Self.small, samplesPerBlock: 4))
    try await blocks(site, 0..<count)
    let before = try await site.readAll()
    site.stop()
    let again = try Site(configuration(folder, telemetryBytes: Self.large, samplesPerBlock: 4))
    #expect(again.opening.storeID == site.opening.storeID)
    let first = try #require(before.samples.keys.min())
    expectRight(try await again.readAll(), from: first, to: count * 4)
    let slots = TelemetryRing.slots(bytes: Self.large)
    try await blocks(again, count..<(count + slots + 20))
    expectRight(try await again.readAll(), from: (count + 20) * 4 + 1, to: (count + slots + 20) * 4)
  }

  @Test("It shrinks to the newest; what went is told as evicted; the file is smaller", arguments: [10, 700] as [Int64])
  func shrinks(blocks count: Int64) async throws {
    let folder = Folder()
    let site = try Site(configuration(folder, telemetryBytes: Self.large, samplesPerBlock: 4))
    try await blocks(site, 0..<count)
    while !(await site.report().isPrepared) {}
    site.stop()
    let again = try Site(configuration(folder, telemetryBytes: Self.small, samplesPerBlock: 4))
    var status = stat()
    stat(folder.file("telemetry.db"), &status)
    #expect(status.st_size <= Self.small)
    #expect(access(folder.file("telemetry.new"), F_OK) != 0)
    let account = try await again.readAll()
    let kept = min(count, TelemetryRing.slots(bytes: Self.small))
    expectRight(account, from: (count - kept) * 4 + 1, to: count * 4)
    #expect(account.missing(.evicted) == (count - kept) * 4)
    #expect(account.missing == account.missing(.evicted))
    #expect(await again.report().evictedSamples == (count - kept) * 4)
    try await blocks(again, count..<(count + 300))
    #expect(try await again.readAll().samples.keys.max() == (count + 300) * 4)
    again.stop()
    let third = try Site(configuration(folder, telemetryBytes: Self.small, samplesPerBlock: 4))
    #expect(await third.report().durable.telemetry == (count + 300) * 4)
  }

  @Test("The alarm log keeps its newest entries when it grows and when it shrinks")
  func alarmLog() async throws {
    let folder = Folder()
    var expected: Int64 = 0
    var bytes = 1 << 20
    for round in 0..<4 {
      let site = try Site(configuration(folder, alarmBytes: bytes))
      for _ in 0..<40 {
        for _ in 0..<10 {
          expected += 1
          _ = site.channels[0].filling.append(event(0, .unacknowledged, at: 1_000 + expected))
        }
        _ = site.handOver()
        await site.settle()
      }
      let account = try await site.readAll()
      #expect(account.alarmGaps.isEmpty, "round \(round)")
      #expect(Int64(account.events.count) == expected)
      #expect(account.events.allSatisfy { $0.value.event.at == Instant(milliseconds: 1_000 + $0.key) })
      site.stop()
      bytes = round == 1 ? 1 << 20 : 3 << 20
    }
    try shrink(folder, to: 100)
    let small = try reopened(folder)
    #expect(small.slots == 100)
    #expect(small.newest == expected)
    let answer = try small.read(after: 0, recordsMax: 1_000)
    #expect(answer.gaps.map { [$0.from, $0.to] } == [[1, expected - 100]])
    #expect(answer.events.count == 100)
  }

  /// Closed again on the way out.
  private func shrink(_ folder: Folder, to slots: Int64) throws { try reopened(folder).resize(to: slots) }

  private func reopened(_ folder: Folder) throws -> AlarmLog {
    try AlarmLog(path: folder.file("alarm.db"), configuration: configuration(folder))
  }
}
