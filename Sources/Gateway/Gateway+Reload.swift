// SIGHUP and `kerb reload`: takes over what can be taken over without touching a bus, and says what waits for a
// restart. Main thread.
//
// Invariants:
//  1. A wrong configuration changes nothing.
//  2. Who was removed, or has another token, can't pull any more when the reload is over, whatever the storage does.
//  3. A consumer that is removed keeps its cursor in the store: added again it goes on where it stopped.

import CLinux
import FieldBus
import Glibc
import Logging
import Store
import StreamCore

extension Gateway {
  func reload(_ reread: () -> Reread) {
    let read = reread()
    var outcome = ReloadOutcome()
    if let new = read.configuration {
      outcome = apply(new)
    } else {
      outcome.errors = read.diagnostics.sorted.map(\.text)
      logger.error(
        "the changed configuration is wrong, nothing was taken over; `kerb check` lists all of it",
        metadata: ["errors": "\(outcome.errors.count)", "first": "\(outcome.errors.first ?? "")"])
    }
    reloads.answer(outcome)
  }

  private func apply(_ new: Configuration) -> ReloadOutcome {
    var outcome = ReloadOutcome()
    outcome.restart = new.needsRestart(after: configuration)
    outcome.applied = new.consumerChanges(since: configuration)
    if !outcome.applied.isEmpty, let trouble = admit(new) { outcome.applied.append(trouble) }
    if show(new.certificate) { outcome.applied.append("certificate") }
    configuration.consumers = new.consumers
    configuration.pushes = new.pushes
    for change in outcome.applied { logger.notice("reload: \(change)") }
    for warning in new.warnings { logger.warning("configuration: \(warning.text)") }
    if !outcome.restart.isEmpty {
      logger.warning("reload: changed, and in force after a restart: \(outcome.restart.joined(separator: ", "))")
    }
    if outcome.applied.isEmpty, outcome.restart.isEmpty { logger.info("reload: nothing was changed") }
    return outcome
  }

  /// The store makes room for their cursors, then they are let in. Not nil: what is wrong with the store.
  private func admit(_ new: Configuration) -> String? {
    let done = Answered<StoreFailure?>()
    store.serve(new.cursorOwners) { done.set($0) }
    let failure = done.wait(ns: Limits.controlWaitNs / 2)
    pull?.admit(new.consumers)
    push?.admit(new.pushes)
    if case .some(.none) = failure { return nil }
    return "the storage is in trouble: a new consumer is served when it is well and the reload is repeated"
  }

  /// True: another certificate is shown now.
  private func show(_ files: CertificateFiles?) -> Bool {
    // Whether there is TLS at all is a matter of the listeners.
    guard let files, let running = configuration.certificate, let pull else { return false }
    if files.paths == running.paths, files.clientCA == running.clientCA {
      certificatesAt = 0
      return lookAtCertificate()
    }
    guard let read = try? PullCertificate.read(files) else { return false }
    configuration.certificate = files
    certificates = CertificateWatch(files)
    pull.show(read)
    return true
  }
}
