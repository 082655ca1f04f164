// One line of a virtual site: its devices, and the thread that speaks for them. Values and faults are set from any
// thread, also while it runs.
//
// Invariants:
//  1. `LineDevices` is touched under the lock only; the line's thread holds it while it makes one reply, never while it
//     waits.
//  2. `start` and `stop` are called by one thread, the site's owner.

import CLinux
import FieldBus
import StreamCore
import Synchronization

package final class VirtualLine: Sendable {
  package let spec: SiteLine
  /// Monotonic: time 0 of all signals.
  let startedAt: Int64
  let devices: Mutex<LineDevices>
  let wake: WakePipe
  let control = Mutex(Control())
  let seed: UInt64
  private let report: @Sendable (SiteHappening) -> Void
  private let thread = Mutex<LineThread?>(nil)

  struct Control: Sendable {
    var stopping = false
    var plugged = true
    /// Texts that wait to be sent on a serial line.
    var speech: [(device: String, line: [UInt8])] = []
    /// Where a TCP line listens.
    var port = 0
  }

  init(
    _ spec: SiteLine, devices specs: [SiteDevice], seed: UInt64, startedAt: Int64,
    report: @escaping @Sendable (SiteHappening) -> Void
  ) throws(SiteFailure) {
    self.spec = spec
    self.startedAt = startedAt
    self.seed = seed
    self.report = report
    devices = Mutex(try LineDevices(spec, devices: specs, siteSeed: seed))
    wake = try WakePipe()
  }

  func start() throws(SiteFailure) {
    let started: LineThread
    switch spec.end {
    case .link(let path):
      let loop = try PtyLoop(self, path: path)
      started = try LineThread(name: spec.name) { loop.run() }
    case .listen(let host, let port):
      let loop = try TCPLoop(self, host: host, port: port)
      control.withLock { $0.port = loop.port }
      started = try LineThread(name: spec.name) { loop.run() }
    }
    thread.withLock { $0 = started }
  }

  func stop() {
    control.withLock { $0.stopping = true }
    wake.wake()
    let running = thread.withLock { slot in
      let current = slot
      slot = nil
      return current
    }
    running?.join()
  }

  // MARK: What is done to it

  func now() -> Int64 { kerb_monotonic_ns() - startedAt }

  func set(_ device: String, _ point: String, _ value: SiteValue) -> Bool {
    devices.withLock { $0.device(device)?.set(point, value) ?? false }
  }

  func release(_ device: String, _ point: String) {
    devices.withLock { $0.device(device)?.release(point) }
  }

  func inject(_ device: String, _ fault: Fault?) -> Bool {
    devices.withLock {
      guard let found = $0.device(device) else { return false }
      found.set(fault)
      return true
    }
  }

  func value(_ device: String, _ point: String) -> SiteValue? {
    let time = now()
    return devices.withLock { $0.device(device)?.value(point, atNs: time) }
  }

  func registers(
    _ device: String, _ table: RegisterTable, _ address: Int, count: Int, atNs time: Int64
  ) -> [UInt16] {
    devices.withLock {
      guard let found = $0.device(device) else { return [] }
      found.refresh(atNs: time)
      return found.image.words(table, address, count: count)
    }
  }

  package var counts: LineCounts { devices.withLock { $0.counts } }

  func plug(_ plugged: Bool) {
    control.withLock { $0.plugged = plugged }
    wake.wake()
  }

  /// Sends a line of text as the device's own: what it has to say now, or these bytes.
  func speak(_ device: String, _ bytes: [UInt8]? = nil) {
    let time = now()
    guard let said = bytes ?? devices.withLock({ $0.device(device)?.spokenFrame(atNs: time) }) else { return }
    control.withLock { $0.speech.append((device, said)) }
    wake.wake()
  }

  func happened(_ target: String, _ what: SiteHappening.What, at: Int64) {
    report(SiteHappening(at: Instant(nanoseconds: at), sinceStartNs: at - startedAt, target: target, what: what))
  }
}
