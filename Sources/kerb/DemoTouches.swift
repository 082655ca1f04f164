// What was done to each device of the demo's site, and when. Lives on the main thread.
//
// Invariant: a cause is not later than its effect. Where parts of the demo were stopped for a while, a device is
// touched again before the platform hears of the first time.

struct DemoTouches {
  private var times: [String: [Int64]] = [:]

  mutating func note(_ device: String, at ns: Int64) { times[device, default: []].append(ns) }

  func latest(of device: String) -> Int64? { times[device]?.last }

  /// From what was done to the device until `ns`, at least `sinceReadNs`: the last thing that was done before it was
  /// read. Nil: nothing was.
  func span(of device: String, until ns: Int64, sinceReadNs: Int64?) -> Int64? {
    guard let times = times[device], let latest = times.last else { return nil }
    guard let sinceReadNs else { return ns - latest }
    // The record's time is one of the wall clock's: the two may be apart by what it was moved by.
    return Swift.max(ns - (times.last { $0 <= ns - sinceReadNs } ?? times[0]), sinceReadNs)
  }
}
