import CLinux
import Glibc
import StreamCore
import Testing

@testable import Store

/// Sites whose devices are worth their room to different degrees: series 0 to 7 long, 8 to 15 short, the rest normal.
/// Of the normal ones 32 to 36 are the statistics of one window of a second, 40 to 47 are personal.
enum Worth {
  static func rules(_ catalogue: [UInt8]) -> [SeriesRule]? {
    (0..<64).map { series in
      var rule = SeriesRule()
      rule.keep = series < 8 ? .long : series < 16 ? .short : .normal
      rule.isPersonal = (40..<48).contains(series)
      let statistics: [Statistic] = [.min, .max, .mean, .count, .stddev]
      if (32...36).contains(series) {
        rule.statistic = statistics[series - 32]
        rule.windowNs = 1_000_000_000
        rule.encoding = [Encoding.signed, .signed, .double, .signed, .double][series - 32]
        rule.partner = series == 34 ? 35 : series == 35 ? 34 : nil
      }
      return rule
    }
  }

  static func configuration(
    _ folder: Folder, isThinning: Bool = true, consumers: [CursorOwner] = ["platform"], retentionNs: Int64? = nil,
    telemetryBytes: Int = 1 << 20, reserveBytes: Int = 256 << 10, vfs: String? = nil, samplesPerBlock: Int = 64
  ) -> StoreConfiguration {
    var configuration = StoreTests.configuration(
      folder, telemetryBytes: telemetryBytes, consumers: consumers, vfs: vfs, samplesPerBlock: samplesPerBlock)
    configuration.reserveBytes = reserveBytes
    configuration.isThinning = isThinning
    configuration.retentionNs = retentionNs
    configuration.rules = rules
    return configuration
  }
}

@Suite("What outlives the ring")
struct ReserveTests {
  /// Puts `count` samples in, a commit for each 64.
  private func put(_ count: Int64, from first: Int64 = 1, into site: Site) async throws {
    var next = first
    while next < first + count {
      let end = min(next + 64, first + count)
      await site.put(numbered(next..<end))
      try await site.flush()
      next = end
    }
  }

  /// Batches and gaps lie side by side, and every sample is the one that was put in.
  private func expectWhole(
    _ account: Account, upTo last: Int64, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(account.duplicates == 0, sourceLocation: sourceLocation)
    var covered = Int64(account.samples.count)
    for gap in account.gaps { covered += gap.count }
    #expect(covered == last, "\(covered) of \(last)", sourceLocation: sourceLocation)
    for gap in account.gaps {
      let overlap = (gap.from...gap.to).first { account.samples[$0] != nil }
      #expect(overlap == nil, sourceLocation: sourceLocation)
    }
  }

  @Test("A device of keep = long outlives the ring whole; the others' samples are told as evicted")
  func long() async throws {
    let folder = Folder()
    let site = try Site(Worth.configuration(folder, isThinning: false))
    let slots = RingLayout(Worth.configuration(folder)).slots
    let count = 64 * (slots + 200)
    try await put(count, into: site)
    let account = try await site.readAll()
    expectWhole(account, upTo: count)
    let oldest = (account.samples.keys.min() ?? 0)
    #expect(oldest < 64)
    for sequence: Int64 in 1...6_400 where sequence % 64 < 8 {
      #expect(account.samples[sequence].map { isRight($0, sequence) } == true, "\(sequence)")
    }
    #expect(account.samples.allSatisfy { isRight($0.value, $0.key) })
    #expect(account.gaps.allSatisfy { $0.reason == .evicted })
    let report = await site.report()
    #expect(report.storedSamples == Int64(account.samples.count))
    #expect(report.losses.evicted == account.missing && report.evictedSamples == account.missing)
    #expect(report.reservedSamples > 800)
    site.stop()
    let again = try Site(Worth.configuration(folder, isThinning: false))
    let after = try await again.readAll()
    #expect(after.samples.mapValues(\.raw) == account.samples.mapValues(\.raw))
    #expect(await again.report().losses == report.losses)
    again.stop()
  }

  @Test("The reserve comes round, too: then the oldest of what was kept goes, and is counted")
  func comesRound() async throws {
    let folder = Folder()
    let all = Worth.configuration(folder, isThinning: false, reserveBytes: 64 << 10, samplesPerBlock: 640)
    let site = try Site(all)
    var next: Int64 = 1
    // Only series that are kept whole.
    for _ in 0..<400 {
      await site.put((next..<(next + Int64(640))).map { numbered($0, series: Int($0 % 8)) })
      try await site.flush()
      next += 640
    }
    let account = try await site.readAll()
    expectWhole(account, upTo: next - 1)
    let report = await site.report()
    #expect(report.storedSamples == Int64(account.samples.count))
    #expect(account.missing(.evicted) == account.missing && report.losses.evicted == account.missing)
    #expect(account.gaps.count == 1 && account.gaps.first?.from == 1)
    #expect(report.reservedSamples > 1_000)
    site.stop()
  }

  /// One window of a second each of min, max, mean, count and deviation, as the pipeline makes them.
  private func windows(_ second: Int64) -> [Sample] {
    let at = Instant(milliseconds: second * 1_000)
    func double(_ value: Double) -> Int64 { Int64(bitPattern: value.bitPattern) }
    let count = second % 3 + 1
    return [
      Sample(at: at, raw: second % 10, series: 32, quality: .good),
      Sample(at: at, raw: 100 + second % 10, series: 33, quality: .good),
      Sample(at: at, raw: double(Double(second % 10)), series: 34, quality: .good),
      Sample(at: at, raw: count, series: 35, quality: .good),
      Sample(at: at, raw: double(1), series: 36, quality: .good),
    ]
  }

  @Test("Ten windows that somebody has yet to read become one, exactly; what can't be merged exactly goes")
  func merges() async throws {
    let folder = Folder()
    let site = try Site(Worth.configuration(folder))
    let slots = RingLayout(Worth.configuration(folder)).slots
    var second: Int64 = 0
    for _ in 0..<(slots + 40) {
      await site.put((0..<12).flatMap { windows(second + 1 + $0) })
      try await site.flush()
      second += 12
    }
    var account = Account()
    var merged: [Sample] = []
    var after = Position()
    while true {
      let answer = try await site.read(after: after)
      account.add(answer)
      for batch in answer.batches where batch.windows > 1 {
        #expect(batch.windows == 10)
        merged += batch.samples
      }
      after = answer.next
      if !answer.more { break }
    }
    expectWhole(account, upTo: second * 5)
    #expect(account.missing(.thinned) == account.missing)
    let report = await site.report()
    #expect(report.losses.thinned == account.missing && report.losses.evicted == 0)
    #expect(report.storedSamples == Int64(account.samples.count))
    #expect(merged.count > 100)
    for sample in merged {
      let end = sample.at.milliseconds / 1_000
      #expect(end % 10 == 0, "a window of ten ends with the tenth")
      let parts = ((end - 9)...end)
      switch sample.series {
      case 32: #expect(sample.raw == 0)
      case 33: #expect(sample.raw == 109)
      case 34:
        let counts = parts.map { Double($0 % 3 + 1) }
        let sum = zip(parts, counts).reduce(0.0) { $0 + Double($1.0 % 10) * $1.1 }
        let mean = Double(bitPattern: UInt64(bitPattern: sample.raw))
        #expect(abs(mean - sum / counts.reduce(0, +)) < 1e-12)
      case 35: #expect(sample.raw == parts.reduce(0) { $0 + $1 % 3 + 1 })
      default: Issue.record("a deviation can't be merged: series \(sample.series)")
      }
    }
    site.stop()
  }

  @Test("What everybody holds is not thinned but evicted; what is long is kept all the same")
  func held() async throws {
    let folder = Folder()
    let site = try Site(Worth.configuration(folder))
    let slots = RingLayout(Worth.configuration(folder)).slots
    var next: Int64 = 1
    for _ in 0..<(slots + 40) {
      try await put(64, from: next, into: site)
      next += 64
      site.store.acknowledge(Position(telemetry: next - 1), by: "platform", at: .zero)
    }
    let report = await site.report()
    #expect(report.losses.thinned == 0 && report.losses.evicted > 0 && report.reservedSamples > 0)
    let account = try await site.readAll()
    expectWhole(account, upTo: next - 1)
    site.stop()
  }

  @Test("A store from before the reserve opens, gets one, and loses it again, and every time the account balances")
  func comesAndGoes() async throws {
    let folder = Folder()
    var next: Int64 = 1
    for reserve in [0, 256 << 10, 128 << 10, 0, 256 << 10] {
      let site = try Site(Worth.configuration(folder, isThinning: false, reserveBytes: reserve))
      try await put(64 * 300, from: next, into: site)
      next += 64 * 300
      let account = try await site.readAll()
      expectWhole(account, upTo: next - 1)
      #expect(account.samples.allSatisfy { isRight($0.value, $0.key) })
      #expect(account.gaps.allSatisfy { $0.reason == .evicted }, "\(account.gaps.map(\.reason))")
      #expect(await site.report().storedSamples == Int64(account.samples.count))
      #expect(account.samples.keys.contains { $0 % 64 == 3 })
      site.stop()
    }
  }
}
