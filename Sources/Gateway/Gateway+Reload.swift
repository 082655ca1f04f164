// SIGHUP and `kerb reload`: takes the new configuration over, and says what of it waits for a restart. Main thread.
//
// Platforms and the certificate change while everything else runs. For other devices, buses and alarms the house is
// built anew around the buses that are as before: those run on, with all that they have in hand, and what they hand
// over meanwhile waits in their channels for the store that is opened anew.
//
// Invariants:
//  1. A wrong configuration changes nothing.
//  2. Who was removed, or has another token, can't pull any more when the reload is over, whatever the storage does.
//  3. A consumer that is removed keeps its cursor in the store: added again it goes on where it stopped.
//  4. A bus that is not changed makes no transaction less: its thread is not stopped, its port not closed.

import CLinux
import FieldBus
import Glibc
import Logging
import Store
import StreamCore

extension Gateway {
  /// False: a signal ended the agent in the midst of it.
  func reload(_ reread: () -> Reread) throws(StartFailure) -> Bool {
    let read = reread()
    guard let new = read.configuration else {
      var outcome = ReloadOutcome()
      outcome.errors = read.diagnostics.sorted.map(\.text)
      logger.error(
        "the changed configuration is wrong, nothing was taken over; `kerb check` lists all of it",
        metadata: ["errors": "\(outcome.errors.count)", "first": "\(outcome.errors.first ?? "")"])
      reloads.answer(outcome)
      return true
    }
    return try apply(new)
  }

  private func apply(_ new: Configuration) throws(StartFailure) -> Bool {
    var outcome = ReloadOutcome()
    outcome.restart = new.needsRestart(after: configuration)
    let house = new.houseChanges(since: configuration)
    if !house.isEmpty, let trouble = storeTrouble() {
      outcome = ReloadOutcome(
        refused: "the storage is \(trouble): nothing was taken over; mend it (`kerb doctor`), then repeat the reload")
      logger.error("reload: \(outcome.errors[0])")
      reloads.answer(outcome)
      return true
    }
    let platforms = new.consumerChanges(since: configuration)
    outcome.applied = house + platforms
    if show(new.certificate) { outcome.applied.append("certificate") }
    let isRunning: Bool
    if house.isEmpty {
      if !platforms.isEmpty, let trouble = admit(new) { outcome.applied.append(trouble) }
      isRunning = true
    } else {
      isRunning = try rebuild(configuration.taking(from: new), asked: control) { self.tell(outcome, of: new) }
    }
    if house.isEmpty { tell(outcome, of: new) }
    return isRunning
  }

  /// Nil: the store is well, and can be closed and opened again.
  private func storeTrouble() -> String? {
    let heard = Answered<StoreReport>()
    store.report { heard.set($0) }
    guard let state = heard.wait(ns: Limits.controlWaitNs / 2)?.state else { return "silent" }
    return state == .good ? nil : state.rawValue
  }

  private func tell(_ outcome: ReloadOutcome, of new: Configuration) {
    for change in outcome.applied { logger.notice("reload: \(change)") }
    for warning in new.warnings { logger.warning("configuration: \(warning.text)") }
    if !outcome.restart.isEmpty {
      logger.warning("reload: changed, and in force after a restart: \(outcome.restart.joined(separator: ", "))")
    }
    if outcome.applied.isEmpty, outcome.restart.isEmpty { logger.info("reload: nothing was changed") }
    reloads.answer(outcome)
  }

  /// The store makes room for their cursors, then they are let in. Not nil: what is wrong with the store; the next
  /// reload then finds the same changes again.
  private func admit(_ new: Configuration) -> String? {
    let done = Answered<StoreFailure?>()
    store.serve(new.cursorOwners) { done.set($0) }
    let failure = done.wait(ns: Limits.controlWaitNs / 2)
    pull?.admit(new.consumers)
    push?.admit(new.pushes)
    guard case .some(.none) = failure else {
      return "the storage is in trouble: a new consumer is served when it is well and the reload is repeated"
    }
    configuration.consumers = new.consumers
    configuration.pushes = new.pushes
    return nil
  }

  /// `asked`: who is connected there hears `done`, which is called when everything stands again. False: a signal ended
  /// the wait for the state.
  private func rebuild(
    _ next: Configuration, asked: ControlServer?, done: () -> Void
  ) throws(StartFailure) -> Bool {
    control = nil
    asked?.closeDoors()
    defer { asked?.stop() }
    let platforms = pull
    leavePlatforms()
    let commands = platforms?.commandsLogged ?? 0
    commandBook = platforms?.handOver()
    _ = learned.write(field.learned())
    let nextField = Field(buses: next.buses, devices: next.devices, learned: learned.read(), after: field)
    field.leave(to: nextField)
    let left = field.left(behind: nextField)
    pingWaiting()
    _ = settle()
    pingWaiting()
    let began = kerb_monotonic_ns()
    store.stop()
    earlier.produced += left.produced + commands + (alarms?.house.produced ?? 0)
    earlier.lost += left.lost
    if let report = store.reportAtEnd { earlier.add(report) }
    alarms = nil
    let goingOn = field.goingOn(in: nextField)
    put(next, nextField)
    forgottenKept = 0
    guard try open() else { return false }
    logger.notice(
      "reload: the house stands again",
      metadata: [
        "buses_going_on": "\(goingOn.joined(separator: " "))",
        "store_away_ms": "\((kerb_monotonic_ns() - began) / 1_000_000)",
      ])
    lookForTroubles()
    done()
    return true
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
