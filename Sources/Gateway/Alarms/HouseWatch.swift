// Finds out what is the matter with the box. A value, on the main thread; what it looks at is given to it,
// so that a test can show it any box.

import CLinux
import Glibc
import Store
import StreamCore

package struct HouseWatch {
  /// What is looked at, besides the store.
  package struct Sight: Sendable {
    package var now: Instant
    /// Unix time, whether it is right or not.
    package var wallNs: Int64
    /// Somebody disciplines the wall clock, or the configuration trusts it.
    package var isClockBelieved: Bool
    /// Unix seconds; nil: there is no certificate.
    package var certificateExpires: Int64?
    package var hasKey: Bool
    /// The last body of one of the pushes was not delivered.
    package var isPushFailing: Bool

    package init(
      now: Instant, wallNs: Int64, isClockBelieved: Bool, certificateExpires: Int64?, hasKey: Bool,
      isPushFailing: Bool = false
    ) {
      self.now = now
      self.wallNs = wallNs
      self.isClockBelieved = isClockBelieved
      self.certificateExpires = certificateExpires
      self.hasKey = hasKey
      self.isPushFailing = isPushFailing
    }
  }

  /// `box.key` was made at this start although there was a store already.
  private let isKeyNew: Bool
  private let startedAt: Instant
  private var failures: Int64 = 0
  private var offsetNs: Int64?
  private var steppedAt: Instant?

  /// 2026-01-01: no box of this version was anywhere before.
  private static let earliestNs: Int64 = 1_767_225_600 * 1_000_000_000

  package init(isKeyNew: Bool, startedAt: Instant) {
    self.isKeyNew = isKeyNew
    self.startedAt = startedAt
  }

  /// `report`: nil if the store said nothing since the last look.
  package mutating func look(_ sight: Sight, _ report: StoreReport?) -> HouseFacts {
    var facts = HouseFacts()
    if let report, !report.storeID.isEmpty {
      facts[.bufferFull] = report.state == .full ? .yes : .no
      let isDead = report.state == .failing || report.state == .readOnly
      facts[.storageFailing] = isDead || report.failures > failures ? .yes : .no
      failures = report.failures
      facts[.alarmFlood] = report.isFlood ? .yes : .no
    }
    facts[.clockWrong] = clockWrong(sight)
    if let expires = sight.certificateExpires, sight.isClockBelieved {
      let left = expires - sight.wallNs / 1_000_000_000
      facts[.certificateExpiring] = left < Limits.certificateWarnSeconds ? .yes : .no
    }
    facts[.pushFailing] = sight.isPushFailing ? .yes : .no
    facts[.personalKeyMissing] = sight.hasKey && !isKeyNew ? .no : .yes
    return facts
  }

  private mutating func clockWrong(_ sight: Sight) -> Truth {
    let offset = sight.wallNs - sight.now.nanoseconds
    if let known = offsetNs, (offset - known).magnitude > UInt64(Limits.clockStepNs) { steppedAt = sight.now }
    // That a clock which nobody believed comes right is no jump.
    offsetNs = sight.isClockBelieved ? offset : nil
    if let stepped = steppedAt, sight.now - stepped > Limits.clockDoubtNs { steppedAt = nil }
    if steppedAt != nil { return .yes }
    if sight.isClockBelieved { return sight.wallNs < Self.earliestNs ? .yes : .no }
    return sight.now - startedAt < Limits.clockPatienceNs ? .unknown : .yes
  }
}
