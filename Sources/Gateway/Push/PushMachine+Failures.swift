// What a failure costs: how long to wait, and what is taken back. The other half of PushMachine.

import Store
import StreamCore

extension PushMachine {
  mutating func takeBack() {
    for index in parcels.indices where !parcels[index].isDelivered { parcels[index].sentAt = nil }
  }

  mutating func back(off why: PushFailure, at now: Instant) {
    failure = why
    attempts += 1
    resumeAt = max(resumeAt, now + delay(why, attempts))
  }

  mutating func reject(_ lane: Lane, _ why: PushFailure, at now: Instant) {
    failure = why
    laneAttempts[Int(lane.rawValue)] += 1
    laneResumeAt[Int(lane.rawValue)] = now + delay(why, laneAttempts[Int(lane.rawValue)])
  }

  /// Full jitter: anything up to a ceiling that doubles.
  mutating func delay(_ why: PushFailure, _ attempt: Int) -> Int64 {
    if case .busy(_, let afterNs?) = why {
      let asked = min(max(0, afterNs), Limits.retryAfterNsMax)
      // A fleet that was told the same moment does not come back at the same moment.
      return asked + chance.span(Limits.pushRetryNsFloor, max(Limits.pushRetryNsMin, asked / 10))
    }
    let (least, most) =
      why.needsPerson
      ? (Limits.pushRefusedNsMin, Limits.pushRefusedNsMax)
      : (Limits.pushRetryNsMin, Limits.pushRetryNsMax)
    let ceiling = min(most, least << Int64(min(attempt - 1, 20)))
    return chance.span(why.needsPerson ? least / 2 : Limits.pushRetryNsFloor, ceiling)
  }

  /// Fetched again in halves; at the least size it is a batch that is not taken.
  mutating func halve(_ index: Int, at now: Instant) {
    let (lane, bytes) = (parcels[index].lane, parcels[index].size)
    guard let held, bodyBytes > Limits.pushBodyBytesMin else {
      return reject(lane, .rejected("413 even for \(bytes) bytes"), at: now)
    }
    bodyBytesCap = max(
      Limits.pushBodyBytesMin, min(bodyBytes, max(bytes, Limits.pushBodyBytesMin)) / 2)
    bodyBytes = bodyBytesCap
    let kept = parcels[..<index].last { $0.lane == lane }?.through ?? held[lane]
    let dropped = parcels[index...].filter { $0.lane == lane }.map(\.number)
    parcels.removeAll { dropped.contains($0.number) }
    fetched[lane] = kept
    if fetching == lane { isFetchVoid = true }
    failure = .tooLarge
    // A platform that never stops saying so is not asked at line speed.
    resumeAt = max(resumeAt, now + chance.span(Limits.pushRetryNsFloor, Limits.pushRetryNsMin))
  }

  mutating func adapt(to bytes: Int, took: Int64) {
    if took > Limits.pushBodyNs {
      bodyBytes = max(Limits.pushBodyBytesMin, bodyBytes / 2)
    } else if took < Limits.pushBodyNs / 5, bytes > bodyBytes / 4 {
      bodyBytes = min(bodyBytesCap, bodyBytes * 2)
    }
  }

  mutating func move(_ lane: Lane, to sequence: Int64) {
    guard let old = held?[lane], sequence > old else { return }
    held?[lane] = sequence
    owesCursor = true
  }
}

/// SplitMix64: the same seed, the same waits.
struct SeededChance: Sendable {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Anything from `least` to `most`.
  mutating func span(_ least: Int64, _ most: Int64) -> Int64 {
    guard most > least else { return least }
    return least + Int64(next() % UInt64(most - least + 1))
  }
}
