// How much may be sent now: a bucket that fills at `rate` and holds one second of it. A body is sent whole, so the
// bucket may go into debt, and what follows waits until it is paid. A value; time is a parameter.
//
// Invariant: over any span the bytes taken are at most rate × (span + 1 s), plus one body (plus one alarm's).

import StreamCore

struct RateBucket: Sendable {
  /// Bytes a second.
  let rate: Int
  private var balance: Double
  private var filledAt: Instant

  init(rate: Int, at now: Instant) {
    self.rate = rate
    balance = Double(rate)
    filledAt = now
  }

  mutating func take(_ bytes: Int, at now: Instant) {
    fill(at: now)
    balance -= Double(bytes)
  }

  /// From when on something may be sent. An alarm may make debts of its own, as large as one body's.
  mutating func opens(isAlarm: Bool, at now: Instant) -> Instant {
    fill(at: now)
    let allowed = isAlarm ? -Double(rate) * Double(Limits.pushBodyNs) / 1e9 : 0
    if balance >= allowed { return now }
    return now + Int64(((allowed - balance) / Double(rate) * 1e9).rounded(.up))
  }

  private mutating func fill(at now: Instant) {
    balance = min(Double(rate), balance + Double(max(0, now - filledAt)) / 1e9 * Double(rate))
    filledAt = now
  }
}
