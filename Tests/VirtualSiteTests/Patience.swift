// How these tests deal with a machine that is slow, or stops for a while: nobody gives up what is to come, and what
// only an undisturbed stretch of time can show is tried again.

import CLinux
import Glibc

/// Only what fails waits that long.
enum Patience {
  static let ns: Int64 = 60_000_000_000
  static let ms: Int64 = 60_000
  static var end: Int64 { kerb_monotonic_ns() + ns }
}

/// Looks until it is so; false when patience ends.
func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
  let deadline = Patience.end
  while try !condition() {
    if kerb_monotonic_ns() > deadline { return false }
    _ = kerb_poll_until(nil, 0, kerb_monotonic_ns() + 1_000_000)
  }
  return true
}

/// Tries until a try has shown it: one that the machine has spoilt shows nothing, and what is wrong spoils each.
func shown(tries: Int, _ attempt: (_ number: Int) throws -> Bool) rethrows -> Bool {
  for number in 0..<tries { if try attempt(number) { return true } }
  return false
}
