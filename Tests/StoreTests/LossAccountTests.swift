import Glibc
import StreamCore
import Testing

@testable import Store

@Suite("Why samples are missing: what a sick disk took is never told as «evicted»")
struct LossAccountTests {
  private static let slots = TelemetryRing.slots(bytes: 1 << 20)
  /// Samples of a block here.
  private static let each: Int64 = 4

  private func begin(_ folder: Folder) throws -> Site {
    try Site(configuration(folder, consumers: ["platform", "gone"], samplesPerBlock: Int(Self.each)))
  }

  /// Adds blocks to the ring; `platform` reads along, `gone` never does.
  private func fill(_ site: Site, blocks: Int64, _ course: inout Course) async throws {
    for _ in 0..<blocks {
      await course.put(Self.each, into: site)
      try await site.flush()
    }
    let answer = try await site.read(after: site.position(of: "platform") ?? Position(), for: "platform")
    site.store.acknowledge(answer.next, by: "platform", at: .zero)
    try await site.flush()
  }

  /// Nothing is left of these blocks in the file; `isHeadless`: nor of its first page, so that it is moved away.
  private func tear(_ blocks: Set<Int64>, in folder: Folder, isHeadless: Bool, isReserve: Bool = false) {
    var content = bytes(of: folder.file("telemetry.db"))
    for page in stride(from: 0, to: content.count, by: 4_096) {
      let isTorn = content[page..<(page + 4_096)].withUnsafeBytes { bytes in
        (0...(Limits.pageBytes - Limits.blockBytes)).contains { at in
          guard bytes.number(UInt32.self, at: at) == BlockLayout.magic else { return false }
          let block = UnsafeRawBufferPointer(rebasing: bytes[at..<(at + Limits.blockBytes)])
          return (try? BlockInfo(of: block)).map { blocks.contains($0.number) && $0.isReserve == isReserve } ?? false
        }
      }
      // In the block's middle: its row stays where the tree looks for it.
      if isTorn { content.replaceSubrange((page + 2_000)..<(page + 2_400), with: repeatElement(0x5A, count: 400)) }
    }
    if isHeadless { content.replaceSubrange(..<100, with: repeatElement(0xAA, count: 100)) }
    write(content, to: folder.file("telemetry.db"))
    // A stop has brought it home; a salvage would find the blocks there.
    unlink(folder.file("telemetry.db-wal"))
  }

  /// The report says what a reader is told, and all of it together is what was put in.
  private func expectAccount(
    _ site: Site, _ course: Course, damaged: Int64? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    let account = try await site.readAll()
    let report = await site.report()
    let losses = report.losses
    #expect(report.storedSamples == Int64(account.samples.count), sourceLocation: sourceLocation)
    #expect(losses.evicted == account.missing(.evicted), "\(account.gaps)", sourceLocation: sourceLocation)
    #expect(losses.damaged == account.missing(.damaged), "\(account.gaps)", sourceLocation: sourceLocation)
    if let damaged { #expect(losses.damaged == damaged, sourceLocation: sourceLocation) }
    #expect(report.evictedSamples == losses.evicted, sourceLocation: sourceLocation)
    #expect(
      report.storedSamples + losses.evicted + losses.damaged == course.samples, "\(losses)",
      sourceLocation: sourceLocation)
    try await course.expectBalance(site, sourceLocation: sourceLocation)
  }

  @Test(
    "Blocks that a salvage could not take are damaged, those that had made room are evicted; so it stays over laps",
    arguments: [0, 100])
  func salvaged(overwritten: Int64) async throws {
    let folder = Folder()
    var course = Course()
    var site = try begin(folder)
    let blocks = overwritten == 0 ? 200 : Self.slots + overwritten
    try await fill(site, blocks: blocks, &course)
    try await expectAccount(site, course, damaged: 0)
    site.stop()
    // Three at the oldest end, two in the middle.
    let torn: Set = [overwritten, overwritten + 1, overwritten + 2, overwritten + 50, overwritten + 60]
    tear(torn, in: folder, isHeadless: true)
    site = try begin(folder)
    #expect(access(folder.file("quarantine/1/telemetry.db"), F_OK) == 0)
    try await expectAccount(site, course, damaged: 5 * Self.each)
    let gaps = try await site.read(for: "gone").telemetryGaps
    let (first, end) = (overwritten * Self.each, (overwritten + 3) * Self.each)
    #expect(gaps.first { $0.reason == .damaged }.map { [$0.from, $0.to] } == [first + 1, end])
    #expect(gaps.first { $0.reason == .evicted }.map { [$0.from, $0.to] } == (first == 0 ? nil : [1, first]))
    // A start finds nothing more.
    site.stop()
    site = try begin(folder)
    try await expectAccount(site, course, damaged: 5 * Self.each)
    // The ring comes round over all of it.
    for lap in 1...2 as ClosedRange<Int64> {
      try await fill(site, blocks: lap * 70, &course)
      try await expectAccount(site, course, damaged: 5 * Self.each)
    }
    try await fill(site, blocks: Self.slots, &course)
    try await expectAccount(site, course, damaged: 5 * Self.each)
    site.stop()
  }

  @Test("A ring that is lost whole: what it held is damaged, what was gone before is evicted")
  func lost() async throws {
    let folder = Folder()
    var course = Course()
    var site = try begin(folder)
    try await fill(site, blocks: Self.slots + 100, &course)
    site.stop()
    unlink(folder.file("telemetry.db"))
    unlink(folder.file("telemetry.db-wal"))
    for _ in 0..<2 {
      site = try begin(folder)
      try await expectAccount(site, course, damaged: Self.slots * Self.each)
      site.stop()
    }
    site = try begin(folder)
    try await fill(site, blocks: 10, &course)
    try await expectAccount(site, course, damaged: Self.slots * Self.each)
    try await fill(site, blocks: Self.slots, &course)
    try await expectAccount(site, course, damaged: Self.slots * Self.each)
    site.stop()
  }

  @Test("Blocks that can't be read are counted as damaged when they make room, or are found at the oldest end")
  func unreadable() async throws {
    let folder = Folder()
    var course = Course()
    var site = try begin(folder)
    try await fill(site, blocks: 200, &course)
    site.stop()
    tear([0, 1, 30, 31, 32, 40], in: folder, isHeadless: false)
    site = try begin(folder)
    #expect(access(folder.file("quarantine"), F_OK) != 0)
    // Those in the middle nobody has met yet, but for whoever reads them.
    #expect(await site.report().losses.damaged == 2 * Self.each)
    #expect(try await site.readAll().missing(.damaged) == 6 * Self.each)
    #expect(try await site.readAll().missing(.evicted) == 0)
    try await fill(site, blocks: 100, &course)
    try await expectAccount(site, course, damaged: 6 * Self.each)
    try await fill(site, blocks: Self.slots, &course)
    try await expectAccount(site, course, damaged: 6 * Self.each)
    site.stop()
  }

  @Test(
    "With a reserve, too: blocks of either that a salvage could not take, or that can't be read",
    arguments: [true, false])
  func reserve(isHeadless: Bool) async throws {
    let folder = Folder()
    func begin() throws -> Site {
      try Site(Worth.configuration(folder, reserveBytes: Limits.reserveBytesMin, samplesPerBlock: Int(Self.each)))
    }
    var site = try begin()
    var put: Int64 = 0
    func fill(laps: Int64) async throws {
      for _ in 0..<(laps * Self.slots / 8) {
        await site.put(numbered((put + 1)..<(put + 8 * Self.each + 1)))
        put += 8 * Self.each
        try await site.flush()
      }
    }
    func expectAccount(damaged: Int64, sourceLocation: SourceLocation = #_sourceLocation) async throws {
      let (account, report) = (try await site.readAll(), await site.report())
      let losses = report.losses
      let gone = losses.evicted + losses.thinned + losses.overflow + losses.unsaved + losses.damaged + losses.retention
      #expect(report.storedSamples + gone == put, "\(losses)", sourceLocation: sourceLocation)
      #expect(Int64(account.samples.count) + account.missing == put, sourceLocation: sourceLocation)
      #expect(losses.damaged == damaged, "\(losses)", sourceLocation: sourceLocation)
    }
    try await fill(laps: 12)
    try await expectAccount(damaged: 0)
    site.stop()
    let (ring, reserve, counts) = try survey(folder)
    try #require(counts.count > 3)
    tear([ring + 5, ring + 6, ring + 20], in: folder, isHeadless: isHeadless)
    tear([reserve, reserve + 2], in: folder, isHeadless: isHeadless, isReserve: true)
    site = try begin()
    #expect(isHeadless == (access(folder.file("quarantine/1/telemetry.db"), F_OK) == 0))
    // The salvage knows them all; a start those at the oldest end.
    let all = counts[0] + counts[2] + 3 * Self.each
    try await expectAccount(damaged: isHeadless ? all : counts[0])
    if isHeadless { #expect(await site.report().storedSamples == Int64(try await site.readAll().samples.count)) }
    try await fill(laps: 1)
    try await expectAccount(damaged: isHeadless ? all : counts[0] + 3 * Self.each)
    // All of the reserve comes round.
    try await fill(laps: 32)
    try await expectAccount(damaged: all)
    let account = try await site.readAll()
    #expect(await site.report().storedSamples == Int64(account.samples.count))
    // What the unreadable blocks of the reserve had left out went with them.
    #expect(account.missing(.damaged) >= all)
    site.stop()
    #expect(try survey(folder).reserve > reserve + 2)
  }

  /// The numbers of the oldest blocks that the ring and the reserve serve, and how many samples those of the reserve
  /// have.
  private func survey(_ folder: Folder) throws -> (ring: Int64, reserve: Int64, counts: [Int64]) {
    let file = try TelemetryRing(path: folder.file("telemetry.db"), bytes: 1 << 20, seriesCount: 64)
    let reserve = try #require(file.reserve)
    let numbers = try #require(reserve.numbers)
    let counts = try numbers.map { number in
      guard case .block(let info) = try reserve.info(number) else { return Int64(0) }
      return Int64(info.count)
    }
    return (try #require(file.numbers).lowerBound, numbers.lowerBound, counts)
  }

  @Test("Of the alarm log, too: entries that it came round over are evicted, those that can't be read damaged")
  func alarms() throws {
    let folder = Folder()
    let plan = configuration(folder, alarmBytes: 64 << 10)
    let log = try AlarmLog(path: folder.file("alarm.db"), configuration: plan)
    let count = log.slots + 30
    for number in 0..<count {
      try log.append(
        [NewEvent(event: event(0, .unacknowledged, at: number + 1))], epoch: 1, catalogueVersion: 1)
    }
    for sequence in [31, 32, 40] as [Int64] {
      let slot = (sequence - 1) % log.slots
      try log.connection.execute("UPDATE alarm_log SET record = zeroblob(320) WHERE slot = \(slot)")
    }
    let answer = try log.read(after: 3, recordsMax: 1_000)
    #expect(answer.gaps.map { [$0.from, $0.to] } == [[4, 30], [31, 32], [40, 40]])
    #expect(answer.gaps.map(\.reason) == [.evicted, .damaged, .damaged])
    #expect(Int64(answer.events.count) == log.slots - 3 && answer.next == count)
  }

  @Test("Ranges that were damaged are remembered apart, the nearest as one when they become many")
  func ranges() {
    var ranges = DamagedRanges()
    for index in 0..<20 as Range<Int64> { ranges.add(1_000 * index * index + 1, 1_000 * index * index + 10) }
    #expect(ranges.all.count == Limits.damagedRangesMax)
    #expect(ranges.all.last == 361_001...361_010 && ranges.all.first?.lowerBound == 1)
    ranges.add(5, 400_000)
    #expect(ranges.all == [1...400_000])
    var two = DamagedRanges()
    two.add(10, 19)
    two.add(40, 49)
    two.add(7, 6)
    let pieces = two.pieces(15, 60, others: .evicted)
    #expect(pieces.map(\.to) == [19, 39, 49, 60])
    #expect(pieces.map(\.reason) == [.damaged, .evicted, .damaged, .evicted])
    #expect(two.pieces(20, 30, others: .thinned).map(\.reason) == [.thinned])
  }
}
