// A reload: what the configuration says now, what of it was taken over, and what waits for a restart.

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

  package init() {}
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
    var sections = prints.changes(from: running.prints).filter { !["consumer", "push", "pull"].contains($0) }
    if listen != running.listen || insecure != running.insecure { sections.append("pull.listen") }
    if (certificate == nil) != (running.certificate == nil) { sections.append("pull.certificate") }
    return sections
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
