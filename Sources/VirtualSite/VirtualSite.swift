// A whole virtual site: its lines, and a thread that lets its events happen. For `kerb simulate`, the demo and the
// tests.
//
//     let site = try VirtualSite(SiteSpec(lines: […], devices: […]))
//     try site.start()
//     site.set("manhole-03", "tilt", .number(34))
//     site.inject("manhole-03", Fault(.late(ns: 800_000_000), times: 1))
//     site.stop()
//
// Invariants:
//  1. Events of one instant happen in the order of the file; what ends does so before what begins at the same time.
//  2. `stop` leaves no thread, no descriptor and no link behind.

import CLinux
import FieldBus
import StreamCore
import Synchronization

package final class VirtualSite: Sendable {
  package let spec: SiteSpec
  /// Monotonic.
  package let startedAt: Instant
  private let lines: [VirtualLine]
  private let report: @Sendable (SiteHappening) -> Void
  private let schedule: Mutex<Schedule>
  private let wake: WakePipe
  private let thread = Mutex<LineThread?>(nil)

  private struct Schedule: Sendable {
    var entries: [Entry] = []
    var stopping = false

    struct Entry: Sendable {
      var at: Int64
      /// Of what ends: before what begins.
      var ends: Bool
      var event: SiteEvent
    }

    mutating func insert(_ entry: Entry) {
      let place = entries.firstIndex { ($0.at, $0.ends ? 0 : 1) > (entry.at, entry.ends ? 0 : 1) } ?? entries.count
      entries.insert(entry, at: place)
    }
  }

  /// `report` is called from the site's threads, one call at a time for each; it must not call back into the site.
  package init(
    _ spec: SiteSpec, report: @escaping @Sendable (SiteHappening) -> Void = { _ in }
  ) throws(SiteFailure) {
    self.spec = spec
    self.report = report
    let start = kerb_monotonic_ns()
    startedAt = Instant(nanoseconds: start)
    var made: [VirtualLine] = []
    for (index, line) in spec.lines.enumerated() {
      made.append(
        try VirtualLine(
          line, devices: spec.devices.filter { $0.line == index }, seed: spec.seed, startedAt: start, report: report))
    }
    lines = made
    var schedule = Schedule()
    for event in spec.events { schedule.insert(.init(at: start + event.atNs, ends: false, event: event)) }
    self.schedule = Mutex(schedule)
    wake = try WakePipe()
  }

  /// After a failure nothing runs.
  package func start() throws(SiteFailure) {
    do {
      for line in lines { try line.start() }
      let started = try LineThread(name: "site-events") { [self] in happen() }
      thread.withLock { $0 = started }
    } catch {
      stop()
      throw error
    }
  }

  package func stop() {
    schedule.withLock { $0.stopping = true }
    wake.wake()
    let running = thread.withLock { slot in
      let current = slot
      slot = nil
      return current
    }
    running?.join()
    for line in lines { line.stop() }
  }

  // MARK: Done to it, from any thread

  /// False: no such device or point, or the point can't hold the value. A serial device says it at once.
  @discardableResult
  package func set(_ device: String, _ point: String, _ value: SiteValue) -> Bool {
    let at = kerb_monotonic_ns()
    guard let line = line(ofDevice: device), line.set(device, point, value) else { return false }
    line.happened(device, .value(point: point, value), at: at)
    let isAsked = spec.devices.first { $0.name == device }?.profile.isAsked ?? true
    if line.spec.busProtocol == .serial, !isAsked { line.speak(device) }
    return true
  }

  /// The point follows its signal again.
  package func release(_ device: String, _ point: String) {
    guard let line = line(ofDevice: device) else { return }
    line.release(device, point)
    line.happened(device, .released(point: point), at: kerb_monotonic_ns())
  }

  /// Nil ends what is wrong. False: no such device.
  @discardableResult
  package func inject(_ device: String, _ fault: Fault?) -> Bool {
    guard let line = line(ofDevice: device) else { return false }
    return line.inject(device, fault)
  }

  /// These bytes on a serial line, as the device's own: whatever they are.
  package func speak(_ device: String, _ bytes: [UInt8]) { line(ofDevice: device)?.speak(device, bytes) }

  /// Pulls the far end of a line out, and plugs it in again: the link comes back to another pty.
  package func unplug(line name: String) { line(name)?.plug(false) }
  package func plug(line name: String) { line(name)?.plug(true) }

  package func value(_ device: String, _ point: String) -> SiteValue? {
    line(ofDevice: device)?.value(device, point)
  }

  /// What a device's registers hold now; what a master wrote is there.
  package func registers(_ device: String, _ table: RegisterTable, _ address: Int, count: Int) -> [UInt16] {
    guard let line = line(ofDevice: device) else { return [] }
    return line.registers(device, table, address, count: count, atNs: line.now())
  }

  /// The same at any time since the site's start: for who carries a clock of its own.
  package func registers(
    _ device: String, _ table: RegisterTable, _ address: Int, count: Int, atNs time: Int64
  ) -> [UInt16] {
    line(ofDevice: device)?.registers(device, table, address, count: count, atNs: time) ?? []
  }

  package func counts(line name: String) -> LineCounts { line(name)?.counts ?? LineCounts() }

  /// Where a TCP line listens.
  package func port(line name: String) -> Int { line(name)?.control.withLock { $0.port } ?? 0 }

  /// Lets an event happen `atNs` after now.
  package func add(_ event: SiteEvent) {
    let at = kerb_monotonic_ns() + event.atNs
    schedule.withLock { $0.insert(.init(at: at, ends: false, event: event)) }
    wake.wake()
  }

  private func line(_ name: String) -> VirtualLine? { lines.first { $0.spec.name == name } }

  private func line(ofDevice name: String) -> VirtualLine? {
    guard let device = spec.devices.first(where: { $0.name == name }), lines.indices.contains(device.line) else {
      return nil
    }
    return lines[device.line]
  }

  // MARK: The events' thread

  private func happen() {
    kerb_thread_timer_slack(1)
    while true {
      let now = kerb_monotonic_ns()
      let (stopping, due, next) = schedule.withLock { schedule -> (Bool, Schedule.Entry?, Int64) in
        guard let first = schedule.entries.first else { return (schedule.stopping, nil, .max) }
        guard first.at <= now else { return (schedule.stopping, nil, first.at) }
        schedule.entries.removeFirst()
        return (schedule.stopping, first, now)
      }
      if stopping { return }
      if let due {
        due.ends ? finish(due.event) : begin(due.event, at: due.at)
      } else {
        _ = waitForInput([wake.readEnd], until: next)
        wake.clear()
      }
    }
  }

  private func begin(_ event: SiteEvent, at: Int64) {
    let now = kerb_monotonic_ns()
    switch event.action {
    case .value(let point, let value): set(event.target, point, value)
    case .fault(let fault):
      inject(event.target, fault)
      tell(event.target, .fault(fault), at: now)
    case .lineUnplugged: unplug(line: event.target)
    }
    schedule.withLock {
      if let length = event.forNs { $0.insert(.init(at: at + length, ends: true, event: event)) }
      if let every = event.everyNs { $0.insert(.init(at: at + every, ends: false, event: event)) }
    }
  }

  private func finish(_ event: SiteEvent) {
    switch event.action {
    case .value(let point, _): release(event.target, point)
    case .fault(let fault):
      inject(event.target, nil)
      tell(event.target, .faultOver(fault), at: kerb_monotonic_ns())
    case .lineUnplugged: plug(line: event.target)
    }
  }

  private func tell(_ target: String, _ what: SiteHappening.What, at: Int64) {
    let instant = Instant(nanoseconds: at)
    report(SiteHappening(at: instant, sinceStartNs: instant - startedAt, target: target, what: what))
  }
}
