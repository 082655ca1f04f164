// Whether the wall clock can be believed, and how far it is from the monotonic one. Boxes without a battery boot in
// 1970, or at the time of their last shutdown: only a clock that somebody disciplines counts, or one that the
// configuration trusts.
//
// Invariants:
//  1. A clock from before this program is wrong, whoever says otherwise.
//  2. The first believed reading counts at once; a step counts when two readings in a row agree on it. So a clock that
//     stands still, or jumps about, changes nothing.

import CLinux
import Glibc
import StreamCore

/// Both clocks at one moment, and whether the wall clock is said to be right.
package struct ClockReading: Sendable {
  package var monotonicNs: Int64
  package var wallNs: Int64
  package var isBelieved: Bool

  package init(monotonicNs: Int64, wallNs: Int64, isBelieved: Bool) {
    self.monotonicNs = monotonicNs
    self.wallNs = wallNs
    self.isBelieved = isBelieved
  }
}

package struct WallClock {
  private let trust: ClockTrust
  /// What was last reported, in nanoseconds.
  package private(set) var offsetNs: Int64?
  /// A step that the next reading may confirm.
  private var candidateNs: Int64?

  /// systemd-timesyncd makes this file once it has heard from a server.
  private static let timesyncMark = "/run/systemd/timesync/synchronized"
  /// A correction below this is jitter between two clock readings.
  private static let stepNs: Int64 = 20_000_000

  package init(trust: ClockTrust) { self.trust = trust }

  package var isBelieved: Bool {
    trust == .trusted || kerb_clock_synchronised() == 1 || access(Self.timesyncMark, F_OK) == 0
  }

  /// Nanoseconds to add to a monotonic instant to get Unix time, if that is news: the clock became known, or was
  /// stepped.
  package mutating func poll() -> Int64? {
    let isBelieved = isBelieved
    guard isBelieved else { return nil }
    let before = kerb_monotonic_ns()
    let wall = kerb_realtime_ns()
    let after = kerb_monotonic_ns()
    return take(
      ClockReading(monotonicNs: before + (after - before) / 2, wallNs: wall, isBelieved: isBelieved))
  }

  package mutating func take(_ reading: ClockReading) -> Int64? {
    guard reading.isBelieved, reading.wallNs >= Limits.wallClockNsMin else {
      candidateNs = nil
      return nil
    }
    let offset = reading.wallNs - reading.monotonicNs
    if let known = offsetNs {
      if Self.isSame(offset, known) {
        candidateNs = nil
        return nil
      }
      guard let candidate = candidateNs, Self.isSame(offset, candidate) else {
        candidateNs = offset
        return nil
      }
    }
    candidateNs = nil
    offsetNs = offset
    return offset
  }

  private static func isSame(_ one: Int64, _ other: Int64) -> Bool { (one - other).magnitude < UInt64(stepNs) }
}
