// A reload: what the configuration says now, what of it is taken over, and what waits for a restart.

import FieldBus
import Glibc
import Synchronization

/// The configuration read anew; nil, and why in the diagnostics.
package struct Reread {
  package var configuration: Configuration?
  package var diagnostics: Diagnostics

  package init(configuration: Configuration?, diagnostics: Diagnostics) {
    self.configuration = configuration
    self.diagnostics = diagnostics
  }
}

package struct ReloadOutcome: Sendable, Equatable {
  /// "consumer water-bureau added", "certificate": in force now.
  package var applied: [String] = []
  /// Sections that were changed and are as before until a restart.
  package var restart: [String] = []
  /// Not empty: nothing was taken over.
  package var errors: [String] = []
  /// The errors are the box's, not the configuration's: the same reload can go well later.
  package var isForLater = false

  package init() {}

  /// Nothing was taken over; not because of the configuration.
  init(refused why: String) {
    errors = [why]
    isForLater = true
  }
}

/// Carries the wish to reload from the control socket to the main thread, which waits for signals, and the outcome
/// back.
package final class ReloadDoor: Sendable {
  private let waiting = Mutex<[@Sendable (ReloadOutcome) -> Void]>([])
  private let ring: @Sendable () -> Void

  package init(ring: @escaping @Sendable () -> Void = { kill(getpid(), SIGHUP) }) { self.ring = ring }

  /// Any thread; calls on the main thread.
  package func ask(_ completion: @escaping @Sendable (ReloadOutcome) -> Void) {
    waiting.withLock { $0.append(completion) }
    ring()
  }

  package func answer(_ outcome: ReloadOutcome) {
    let all = waiting.withLock { waiting in
      defer { waiting = [] }
      return waiting
    }
    for completion in all { completion(outcome) }
  }
}

extension Configuration {
  /// What a running agent can't take over, of what differs from the configuration that it runs with.
  package func needsRestart(after running: Configuration) -> [String] {
    let taken: Set = ["consumer", "push", "pull", "bus", "device", "alarms", "profiles"]
    var sections = prints.changes(from: running.prints).filter { !taken.contains($0) }
    if listen != running.listen || insecure != running.insecure { sections.append("pull.listen") }
    if (certificate == nil) != (running.certificate == nil) { sections.append("pull.certificate") }
    return sections
  }

  /// Buses, devices and alarms that came, went or are otherwise now: what the house is built anew for. Their order in
  /// the files means nothing.
  package func houseChanges(since running: Configuration) -> [String] {
    var changes: [String] = []
    let buses = Dictionary(running.buses.map { ($0.name, $0) }) { first, _ in first }
    let gone = running.buses.filter { bus in !self.buses.contains { $0.name == bus.name } }
    changes += gone.map { "bus \($0.name) removed" }
    for bus in self.buses {
      guard let before = buses[bus.name] else {
        changes.append("bus \(bus.name) added")
        continue
      }
      if !before.isSame(as: bus) { changes.append("bus \(bus.name) changed") }
    }
    let devices = Dictionary(running.devices.map { ($0.name, $0) }) { first, _ in first }
    let names = Set(self.devices.map(\.name))
    changes += running.devices.filter { !names.contains($0.name) }.map { "device \($0.name) removed" }
    for device in self.devices {
      guard let before = devices[device.name] else {
        changes.append("device \(device.name) added")
        continue
      }
      let isWhereItWas = running.buses[before.bus].name == self.buses[device.bus].name
      let isKept = running.keep[device.name] == keep[device.name]
      if !isWhereItWas || !isKept || !before.isSame(as: device) { changes.append("device \(device.name) changed") }
    }
    let isAlarmSame =
      alarms.count == running.alarms.count && zip(alarms, running.alarms).allSatisfy { $0.isSame(as: $1) }
    if !isAlarmSame { changes.append("alarms of the box changed") }
    return changes
  }

  /// This one, with all of `new` that a reload takes over.
  func taking(from new: Configuration) -> Configuration {
    var next = self
    next.buses = new.buses
    next.devices = new.devices
    next.keep = new.keep
    next.alarms = new.alarms
    next.consumers = new.consumers
    next.pushes = new.pushes
    next.files = new.files
    next.warnings = new.warnings
    return next
  }

  /// Who came, went, or may see something else.
  package func consumerChanges(since running: Configuration) -> [String] {
    let old = Dictionary(running.consumers.map { ($0.name, $0) }) { first, _ in first }
    let new = Set(consumers.map(\.name))
    var changes = running.consumers.filter { !new.contains($0.name) }.map { "consumer \($0.name) removed" }
    for consumer in consumers {
      guard let before = old[consumer.name] else {
        changes.append("consumer \(consumer.name) added")
        continue
      }
      if before.tokenSHA256 != consumer.tokenSHA256 { changes.append("consumer \(consumer.name): another token") }
      let differences = before.differences(from: consumer)
      if !differences.isEmpty {
        changes.append("consumer \(consumer.name): another scope: \(differences.joined(separator: ", "))")
      }
    }
    let pushing = Dictionary(running.pushes.map { ($0.name, $0) }) { first, _ in first }
    let gone = running.pushes.filter { push in !pushes.contains { $0.name == push.name } }
    changes += gone.map { "push \($0.name) removed" }
    for push in pushes {
      guard let before = pushing[push.name] else {
        changes.append("push \(push.name) added")
        continue
      }
      if !before.isSame(as: push) { changes.append("push \(push.name) changed") }
    }
    return changes
  }
}

extension ConsumerSpec {
  /// What it may see and do from now on, as the journal keeps it: "commands true", "kinds hydrant".
  fileprivate func differences(from new: ConsumerSpec) -> [String] {
    var found: [String] = []
    func note(_ key: String, _ isSame: Bool, _ value: String) {
      if !isSame { found.append("\(key) \(value.isEmpty ? "all" : value)") }
    }
    func list(_ names: [String]) -> String { names.joined(separator: " ") }
    note("devices", devices == new.devices, list(new.devices))
    note("kinds", kinds == new.kinds, list(new.kinds))
    note("labels", labels == new.labels, list(new.labels.map { "\($0.key)=\($0.value)" }.sorted()))
    note("points", points == new.points, list(new.points))
    note("min_severity", severityMin == new.severityMin, "\(new.severityMin)")
    note("lanes", lanes == new.lanes, list(new.lanes.map(\.name)))
    note("personal", personal == new.personal, "\(new.personal)")
    note("commands", commands == new.commands, "\(new.commands)")
    note("metrics", metrics == new.metrics, "\(new.metrics)")
    note("pseudonym_key", pseudonymKey == new.pseudonymKey, "\(new.pseudonymKey)")
    return found
  }
}
