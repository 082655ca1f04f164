// What the configuration and the consumers' cursors say of old telemetry: which series are worth keeping, who has yet
// to read them, and what is too old to be kept. On the store thread.
//
// Invariant: at most two versions of the catalogue are unpacked at a time, the present one and that of the oldest
// blocks.

import CLinux
import StreamCore

final class KeepPolicy {
  let isThinning: Bool
  /// Personal telemetry is kept so long; nil: as long as the rest.
  let retentionNs: Int64?
  private let present: SeriesRules
  private var older: SeriesRules?
  private let rules: @Sendable ([UInt8]) -> [SeriesRule]?
  let seriesCount: Int

  init(_ configuration: StoreConfiguration, catalogueVersion: UInt32) {
    isThinning = configuration.isThinning
    retentionNs = configuration.retentionNs
    rules = configuration.rules
    seriesCount = configuration.seriesCount
    present = SeriesRules(version: catalogueVersion, configuration.rules(configuration.catalogue))
  }

  /// `catalogue`: gives the stored one of that version.
  func rules(_ version: UInt32, _ catalogue: (UInt32) -> [UInt8]?) -> SeriesRules {
    if version == present.version { return present }
    if let older, older.version == version { return older }
    let found = SeriesRules(version: version, catalogue(version).flatMap { rules($0) })
    older = found
    return found
  }
}

/// How old samples are, as far as it can be known. Within one boot the monotonic clock says it; between boots the
/// wall's, where both ends of it are known; else the time that the agent was seen running, which is never more than the
/// true age.
struct AgeRule {
  enum Clock {
    /// What leads from an epoch's times to the present monotonic clock.
    case shift(Int64)
    /// Nothing is known but that it was before.
    case before(Instant)
  }

  var retentionNs: Int64
  var nowNs: Int64
  /// By epoch.
  var clocks: [UInt32: Clock]

  /// An epoch that is forgotten is old.
  func isExpired(_ at: Instant, epoch: UInt32) -> Bool {
    guard let clock = clocks[epoch] else { return true }
    let then: Instant
    switch clock {
    case .shift(let shift): then = at + shift
    case .before(let start): then = start
    }
    return Instant(nanoseconds: nowNs) - then >= retentionNs
  }
}

extension Buffer {
  /// What a stride, a sweep or a reader must know just now.
  var strideRules: StrideRules {
    StrideRules(
      rules: { [self] version in policy.rules(version) { catalogue($0) } },
      offsetNs: { [self] epoch in (try? log?.clock(of: epoch).offsetNs) ?? 0 },
      heldByAll: cursors.values.map { $0.reach(durable: durable).telemetry }.min() ?? 0,
      isThinning: policy.isThinning, age: ageRule, seriesCount: policy.seriesCount)
  }

  /// Nil: everything is kept as long as there is room.
  var ageRule: AgeRule? {
    guard let retentionNs = policy.retentionNs, let log else { return nil }
    if ages == nil || ages?.epoch != epoch || ages?.offsetNs != clockOffsetNs {
      ages = (try? log.ages(from: epoch)).map { (epoch, clockOffsetNs, $0) }
    }
    guard let ages else { return nil }
    return AgeRule(retentionNs: retentionNs, nowNs: kerb_monotonic_ns(), clocks: ages.clocks)
  }

  /// Personal samples that are too old leave the file, a step at a time.
  func sweep(_ ring: TelemetryRing, _ now: Int64) throws(StoreFailure) {
    guard policy.retentionNs != nil else {
      sweepNs = .max
      return
    }
    let isMore = try ring.sweep(strideRules)
    sweepNs = now + (isMore ? Limits.prefillEveryNs : Limits.sweepEveryNs)
  }
}

extension AlarmLog {
  /// What is known of every epoch's time, seen from the running one.
  func ages(from running: UInt32) throws(StoreFailure) -> [UInt32: AgeRule.Clock] {
    struct Row {
      var epoch: UInt32
      var boot: String
      var clock, start, ran: Int64?
    }
    var rows: [Row] = []
    let all = try Statement("SELECT epoch, boot, clock, start, ran FROM epochs", on: connection)
    try all.forEach { (row) throws(StoreFailure) in
      rows.append(
        Row(
          epoch: UInt32(truncatingIfNeeded: row.integer(0)), boot: row.text(1), clock: row.number(2),
          start: row.number(3), ran: row.number(4)))
    }
    guard let own = rows.first(where: { $0.epoch == running }) else { return [:] }
    var clocks: [UInt32: AgeRule.Clock] = [:]
    for row in rows {
      if row.epoch == running || (row.boot == own.boot && !own.boot.isEmpty) {
        clocks[row.epoch] = .shift(0)
      } else if let clock = row.clock, let ownClock = own.clock {
        clocks[row.epoch] = .shift(clock &- ownClock)
      } else if let start = row.start, let ran = row.ran, let ownStart = own.start, let ownRan = own.ran {
        clocks[row.epoch] = .shift((ownStart &- ownRan) &+ (ran &- start))
      } else {
        clocks[row.epoch] = .before(Instant(nanoseconds: own.start ?? 0))
      }
    }
    return clocks
  }
}
