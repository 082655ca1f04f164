// The state folder at the start: its folder, the box's key, the store. Without it nothing is read: numbers of epochs
// and batches live there, and what is given out twice is wrong (decision 040). The agent then waits, says so to
// whoever asks, and tries again. Main thread.
//
// Invariant: while it waits no bus runs, no cursor moves, and the watchdog is pinged.

import CLinux
import Glibc
import Logging
import NIOPosix
import Store
import StreamCore

/// Why the state can't be opened now, for a person.
struct StateRefusal: Error {
  var text: String
  var chineseText: String
}

/// The state, opened.
struct OpenState {
  var key: BoxKey
  /// `box.key` was made at this start.
  var isKeyNew: Bool
  var opening: StoreOpening
}

extension Gateway {
  /// Nil: a signal ended the agent while it waited.
  func openState() throws(StartFailure) -> OpenState? {
    switch try tryState() {
    case .success(let state): return state
    case .failure(let refusal): return try waitForState(refusal)
    }
  }

  /// Throws what waiting does not mend: another agent has it.
  private func tryState() throws(StartFailure) -> Result<OpenState, StateRefusal> {
    let path = configuration.statePath
    let room = StateRoom(path)
    // Only the last step: a missing parent is a mistake in the path, or a partition that is not mounted.
    if mkdir(path, 0o750) != 0, errno != EEXIST, access(path, F_OK) != 0 { return .failure(StateRefusal(room, errno)) }
    // A read-only file system is no reason to stand still: the store serves what it has and says so.
    guard access(path, R_OK | W_OK | X_OK) == 0 || (errno == EROFS && access(path, R_OK | X_OK) == 0) else {
      return .failure(StateRefusal(room, errno))
    }
    let keyPath = BoxKey.path(statePath: path)
    // A key that an attempt before this one made is as new.
    if access(keyPath, F_OK) != 0 { isKeyNew = true }
    let key: BoxKey
    do { key = try BoxKey.open(statePath: path) } catch {
      return .failure(StateRefusal(text: error.text, chineseText: error.trouble?.chineseText ?? error.text))
    }
    do throws(StoreFailure) {
      return .success(OpenState(key: key, isKeyNew: isKeyNew, opening: try store.start()))
    } catch {
      switch error {
      case .held: throw StartFailure(text: "\(path): \(error)", exitCode: StartFailure.unavailable)
      case .full: return .failure(StateRefusal(room, ENOSPC))
      case .readOnly: return .failure(StateRefusal(room, EROFS))
      default: return .failure(StateRefusal(path, error))
      }
    }
  }

  private func waitForState(_ first: StateRefusal) throws(StartFailure) -> OpenState? {
    var refusal = first
    var servers = try WaitingServers(self, refusal)
    say(refusal)
    // Who asked for a reload that ends here.
    reloads.answer(ReloadOutcome(refused: "the agent waits for its state: \(refusal.text)"))
    notify.ready()
    var triedAt = kerb_monotonic_ns()
    while true {
      let signal = kerb_wait_signal(1_000)
      if signal == SIGTERM || signal == SIGINT {
        servers.stop()
        return nil
      }
      if signal == SIGHUP { reloads.answer(ReloadOutcome(refused: "the agent waits for its state: \(refusal.text)")) }
      pingWaiting()
      let now = kerb_monotonic_ns()
      guard signal == SIGHUP || now - triedAt >= Limits.stateRetryNs else { continue }
      triedAt = now
      let outcome: Result<OpenState, StateRefusal>
      do { outcome = try tryState() } catch {
        servers.stop()
        throw error
      }
      switch outcome {
      case .success(let state):
        servers.stop()
        logger.notice("the state is there now: \(configuration.statePath)")
        notify.status("")
        return state
      case .failure(let next):
        guard next.text != refusal.text else { continue }
        refusal = next
        servers.stop()
        servers = try WaitingServers(self, refusal)
        say(refusal)
      }
    }
  }

  private func say(_ refusal: StateRefusal) {
    let (text, chinese) = (
      "\(refusal.text); until then nothing is read and platforms get 503; tried again every "
        + "\(Limits.stateRetryNs / 1_000_000_000) s",
      "\(refusal.chineseText)；在此之前不采集数据，平台得到 503；每 \(Limits.stateRetryNs / 1_000_000_000) 秒重试"
    )
    notify.status("waits for its state: \(refusal.text)")
    let trouble = Trouble("state-unusable", configuration.statePath, text, chinese)
    troubles.tell([trouble] + BoxLook(configuration).troubles, at: kerb_monotonic_ns(), logger: logger)
  }
}

extension StateRefusal {
  fileprivate init(_ room: StateRoom, _ code: Int32) { (text, chineseText) = room.refusal(code) }

  /// Goes on after a semicolon, and names the path once.
  fileprivate init(_ path: String, _ failure: StoreFailure) {
    if let trouble = failure.pathTrouble {
      (text, chineseText) = (trouble.text, trouble.chineseText)
      return
    }
    var said = "\(failure)"
    if said.hasSuffix(".") { said.removeLast() }
    let isNamed = said.contains(path)
    (text, chineseText) = (isNamed ? said : "\(path): \(said)", isNamed ? said : "\(path)：\(said)")
  }
}

/// Pull and control, with a store that says why it is closed.
private struct WaitingServers {
  private let pull: PullServer
  private let control: ControlServer

  init(_ gateway: Gateway, _ refusal: StateRefusal) throws(StartFailure) {
    let closed = ClosedStore(why: refusal.text)
    // Nothing is sealed with it.
    guard let secret = Sodium.randomBytes(BoxKey.bytes) else {
      throw StartFailure(text: BoxKeyFailure.noRandomness.text, exitCode: StartFailure.inputOutput)
    }
    (pull, control) = gateway.waitingServers(closed, BoxKey(secret: secret))
    do throws(PullFailure) {
      try pull.start()
      try control.start()
    } catch {
      control.stop()
      pull.stop()
      throw StartFailure(text: error.text, exitCode: StartFailure.unavailable)
    }
  }

  func stop() {
    control.stop()
    pull.stop()
  }
}
