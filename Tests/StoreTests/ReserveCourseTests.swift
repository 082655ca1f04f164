import CLinux
import Glibc
import StreamCore
import Testing

@testable import Store

/// Anything in any order: what is put in, lost, acknowledged, evicted, thinned, too old, restarted and damaged.
@Suite("The account with a reserve and with retention")
struct ReserveCourseTests {
  private static let hour: Int64 = 3_600_000_000_000

  /// Numbered by their values; personal ones (series 40 to 47) of now or of two hours ago.
  private static func sample(_ number: Int64, _ random: inout Seeded) -> Sample {
    // The window's statistics would be merged, and be another number's then.
    let series = [0..<32, 37..<64].randomElement(using: &random)?.randomElement(using: &random) ?? 0
    let age = Bool.random(using: &random) ? 0 : 2 * hour
    let at = Instant(nanoseconds: kerb_monotonic_ns() - ((40..<48).contains(series) ? age : 0))
    return Sample(at: at, raw: number, series: UInt16(series), quality: .good)
  }

  private struct Reader {
    var name: String
    var account = Account()
    var next = Position()

    mutating func read(_ site: Site, recordsMax: Int) async throws -> Bool {
      let answer = try await site.read(after: next, recordsMax: recordsMax, for: name)
      account.add(answer)
      // Batches and gaps lie side by side.
      var pieces = answer.telemetryGaps.map { ($0.from, $0.to) }
      pieces += answer.batches.map { ($0.firstSequence, $0.firstSequence + Int64($0.samples.count) - 1) }
      var end = next.telemetry
      for (from, to) in pieces.sorted(by: { $0.0 < $1.0 }) {
        #expect(from == end + 1, "\(name): \(from) after \(end)")
        end = to
      }
      #expect(end == answer.next.telemetry)
      next = answer.next
      return answer.more
    }
  }

  @Test(
    "A seeded course: every sample is delivered, told as missing, or still to come",
    arguments: 1...6 as ClosedRange<UInt64>)
  func course(seed: UInt64) async throws {
    var random = Seeded(seed)
    let folder = Folder()
    let doesAge = seed % 2 == 0
    let hasDamage = seed % 3 == 0
    func begin() throws -> Site {
      try Site(
        Worth.configuration(
          folder, consumers: ["steady", "late"], retentionNs: doesAge ? Self.hour : nil,
          reserveBytes: 128 << 10, samplesPerBlock: 8))
    }
    var site = try begin()
    var readers = [Reader(name: "steady"), Reader(name: "late")]
    var number: Int64 = 0
    var lost: Int64 = 0
    for step in 0..<260 {
      var samples: [Sample] = []
      for _ in 0..<Int.random(in: 1...24, using: &random) {
        number += 1
        samples.append(Self.sample(number, &random))
      }
      await site.put(samples)
      if Int.random(in: 0..<20, using: &random) == 0 {
        await site.lose(5, at: Instant(nanoseconds: kerb_monotonic_ns()))
        lost += 5
      }
      try await site.flush()
      // One reads on all the time, the other now and then, and only late enough to miss something.
      for index in readers.indices where index == 0 || (step > 200 && step % 9 == 0) {
        _ = try await readers[index].read(site, recordsMax: Int.random(in: 1...400, using: &random))
        if Bool.random(using: &random) {
          site.store.acknowledge(readers[index].next, by: readers[index].name, at: .zero)
        }
      }
      if Int.random(in: 0..<40, using: &random) == 0 {
        site.stop()
        if hasDamage, step > 100 {
          try damage(folder, &random)
        }
        site = try begin()
      }
      let report = await site.report()
      #expect(report.durable.telemetry == number + lost, "seed \(seed), step \(step)")
      let losses = report.losses
      let gone = losses.evicted + losses.thinned + losses.overflow + losses.unsaved + losses.damaged + losses.retention
      #expect(report.storedSamples + gone == number + lost, "seed \(seed), step \(step): \(losses)")
    }
    for index in readers.indices { while try await readers[index].read(site, recordsMax: 1_000) {} }
    let report = await site.report()
    for reader in readers {
      #expect(reader.account.duplicates == 0)
      #expect(Int64(reader.account.samples.count) + reader.account.missing == number + lost, "seed \(seed)")
      var before: Int64 = 0
      for (_, sample) in reader.account.samples.sorted(by: { $0.key < $1.key }) {
        #expect(sample.raw > before)
        before = sample.raw
        let isOld = kerb_monotonic_ns() - sample.at.nanoseconds > Self.hour
        #expect(!doesAge || !isOld || !(40..<48).contains(sample.series), "seed \(seed): too old, and given out")
      }
      // What it acknowledged of gaps is what it was told.
      site.store.acknowledge(reader.next, by: reader.name, at: .zero)
      let told = await site.report().consumers.first { $0.name == reader.name }
      #expect(told?.lagRecords == 0)
    }
    #expect(report.reservedSamples > 0 && report.losses.evicted > 0 && report.losses.thinned > 0)
    #expect(!doesAge || readers[0].account.missing(.retention) > 0)
    site.stop()
  }

  /// A block of either table is no more what it was.
  private func damage(_ folder: Folder, _ random: inout Seeded) throws {
    let connection = try Connection.open(path: folder.file("telemetry.db"), pagesMax: 300, cacheKiB: 64)
    let table = Bool.random(using: &random) ? "ring" : "reserve"
    let slot = Int.random(in: 0..<20, using: &random)
    try connection.execute("UPDATE \(table) SET block = randomblob(4048) WHERE slot = \(slot)")
  }

  @Test("Personal samples that are too old leave the file, and everything else in their blocks stays what it was")
  func sweep() async throws {
    let folder = Folder()
    let plan = Worth.configuration(folder, retentionNs: Self.hour, reserveBytes: 0, samplesPerBlock: 64)
    var keeping = plan
    keeping.retentionNs = nil
    let old = kerb_monotonic_ns() - 2 * Self.hour
    let text = Array("0123456789abcdef".utf8)
    let first = try Site(keeping)
    let channel = first.channels[0]
    for number in 0..<1_000 as Range<Int64> {
      let sample = Sample(
        at: Instant(nanoseconds: old + number), raw: number, series: UInt16(number % 64), quality: .good)
      if (40..<48).contains(number % 64) {
        _ = text.withUnsafeBufferPointer { channel.filling.append(sample, text: $0) }
      } else {
        _ = channel.filling.append(sample)
      }
      if number % 50 == 49 {
        _ = first.handOver()
        try await first.flush()
      }
    }
    let before = try await first.readAll()
    #expect(before.samples.count == 1_000 && before.gaps.isEmpty)
    first.stop()
    #expect(occurrences(of: text, in: folder.file("telemetry.db")) > 0)

    let site = try Site(plan)
    let served = try await site.readAll()
    #expect(served.missing(.retention) == served.missing && served.missing > 100)
    #expect(served.samples.values.allSatisfy { !(40..<48).contains($0.series) })
    // Something newer, so that no block is the one that is being filled.
    await site.put([numbered(1_001)])
    try await site.flush()
    let isSwept = await eventually {
      _ = try? await site.flush()
      return await site.report().losses.retention == served.missing
    }
    #expect(isSwept)
    let after = try await site.readAll()
    #expect(Int64(after.samples.count) == 1_001 - served.missing && after.missing == served.missing)
    for (sequence, sample) in after.samples where sequence <= 1_000 {
      #expect(sample.raw == before.samples[sequence]?.raw && sample.at == before.samples[sequence]?.at)
    }
    let report = await site.report()
    #expect(report.storedSamples == Int64(after.samples.count))
    let commits = report.commits
    site.stop()
    // A stop copies the log into the database.
    #expect(occurrences(of: text, in: folder.file("telemetry.db")) == 0)
    // Once is enough.
    let again = try Site(plan)
    try await again.flush()
    #expect(await again.report().losses == report.losses && commits > 0)
    #expect(await again.report().storedSamples == report.storedSamples)
    again.stop()
  }

  private func occurrences(of text: [UInt8], in path: String) -> Int {
    // Packed bits are not aligned: what shows is that blocks with texts are there, not the texts themselves.
    var found = 0
    let all = bytes(of: path)
    var at = 0
    while at + 4_096 <= all.count {
      all[at..<(at + 4_096)].withUnsafeBytes { page in
        for offset in 0...(4_096 - Limits.blockBytes) where page.number(UInt32.self, at: offset) == BlockLayout.magic {
          let block = UnsafeRawBufferPointer(rebasing: page[offset..<(offset + Limits.blockBytes)])
          var reader = BlockReader(seriesCount: 64)
          guard let (_, batches) = try? reader.read(block) else { return }
          for batch in batches where batch.samples.contains(where: \.hasText) { found += 1 }
          return
        }
      }
      at += 4_096
    }
    return found
  }

  @Test("Ages: within a boot by its clock, between boots by the wall's, else by the time seen running")
  func ages() throws {
    let folder = Folder()
    let log = try AlarmLog(path: folder.file("alarm.db"), configuration: configuration(folder))
    let rows = [
      "(1, 'a', 1000, 50, 0)", "(2, 'b', NULL, 10, 500)", "(3, 'c', 3000, 20, 900)", "(4, 'c', 3000, 70, 950)",
      "(5, 'd', NULL, NULL, NULL)",
    ]
    try log.connection.execute(
      "INSERT INTO epochs(epoch, boot, clock, start, ran) VALUES \(rows.joined(separator: ","))")
    let ages = AgeRule(retentionNs: 100, nowNs: 80, clocks: try log.ages(from: 4))
    // The same boot: 80 - t.
    #expect(!ages.isExpired(Instant(nanoseconds: -19), epoch: 3) && ages.isExpired(Instant(nanoseconds: -20), epoch: 3))
    // The wall: (3000 + 80) - (1000 + t).
    #expect(ages.isExpired(Instant(nanoseconds: 1_980), epoch: 1))
    #expect(!ages.isExpired(Instant(nanoseconds: 1_981), epoch: 1))
    // Seen running: (950 + 80 - 70) - (500 + t - 10).
    #expect(ages.isExpired(Instant(nanoseconds: 370), epoch: 2) && !ages.isExpired(Instant(nanoseconds: 371), epoch: 2))
    // Nothing is known but that it was before this start, 10 ago; and what is forgotten is old.
    #expect(!ages.isExpired(Instant(nanoseconds: 0), epoch: 5) && ages.isExpired(.zero, epoch: 77))
  }
}
