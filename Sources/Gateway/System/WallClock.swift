// Whether the wall clock can be believed, and how far it is from the monotonic one. Boxes without a battery
// boot in 1970, or at the time of their last shutdown: only a clock that somebody disciplines counts, or one
// that the configuration trusts.

import CLinux
import Glibc

package struct WallClock {
  private let trust: ClockTrust
  /// What `poll` last reported, in nanoseconds.
  package private(set) var offsetNs: Int64?

  /// systemd-timesyncd makes this file once it has heard from a server.
  private static let timesyncMark = "/run/systemd/timesync/synchronized"
  /// A correction below this is jitter between two clock readings.
  private static let stepNs: Int64 = 20_000_000

  package init(trust: ClockTrust) { self.trust = trust }

  package var isSynchronised: Bool { offsetNs != nil }

  private var isBelieved: Bool {
    trust == .trusted || kerb_clock_synchronised() == 1 || access(Self.timesyncMark, F_OK) == 0
  }

  /// Nanoseconds to add to a monotonic instant to get Unix time, if that is news: the clock became known, or
  /// was stepped.
  package mutating func poll() -> Int64? {
    guard isBelieved else { return nil }
    let before = kerb_monotonic_ns()
    let wall = kerb_realtime_ns()
    let after = kerb_monotonic_ns()
    let offset = wall - (before + (after - before) / 2)
    if let known = offsetNs, (offset - known).magnitude < UInt64(Self.stepNs) { return nil }
    offsetNs = offset
    return offset
  }
}
