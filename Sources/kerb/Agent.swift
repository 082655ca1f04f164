// The running agent, as a command sees it: asked over the control socket, with its silence turned into an exit
// status.

import ArgumentParser
import Gateway
import Glibc
import StreamCore

struct Agent {
  let options: ConfigurationOptions

  /// The administrators' door for who may use it.
  private var door: String {
    let admin = ControlServer.adminPath(runtime: options.runtimePath)
    return access(admin, W_OK) == 0 ? admin : ControlServer.path(runtime: options.runtimePath)
  }

  /// A connection for several questions, each of which may have to wait for a line; nil: no agent runs.
  func clientIfRunning() throws -> ControlClient? {
    do throws(ControlFailure) {
      return try ControlClient(
        path: door, waitNs: Limits.commandWaitNs + Limits.controlWaitNs)
    } catch {
      if case .noAgent = error { return nil }
      throw CommandFailure(error, options)
    }
  }

  func ask(_ client: ControlClient, _ method: String, _ parameters: [(String, String)]) throws -> JSONValue {
    do throws(ControlFailure) { return try client.call(method, parameters) } catch {
      throw CommandFailure(error, options)
    }
  }

  func ask(_ method: String, _ parameters: [(String, String)] = []) throws -> JSONValue {
    do throws(ControlFailure) {
      return try ControlClient(path: door).call(method, parameters)
    } catch {
      throw CommandFailure(error, options)
    }
  }
}

extension CommandFailure {
  /// A name that was mistyped comes first: without its file nobody knows where the agent listens.
  init(noAgentAt path: String, _ options: ConfigurationOptions) {
    let isThere = access(options.path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR)
    let text = isThere ? Messages.text(.noAgent, path, options.path) : Self.nothingThere(options.path, path)
    self.init(text, exitCode: CommandFailure.unavailable)
  }

  private static let nothingThere = Phrase(
    "{0}: there is no such file: name the configuration with -c, or set the box up with `kerb commission`\n"
      + "no agent answers at {1}, where one listens that is not told otherwise",
    "{0}：没有此文件：请用 -c 指定配置，或用 `kerb commission` 开通本机\n{1}（默认位置）没有代理应答")

  init(_ failure: ControlFailure, _ options: ConfigurationOptions) {
    switch failure {
    case .noAgent(let path): self.init(noAgentAt: path, options)
    case .notPermitted(let path):
      self.init(Messages.text(.notPermitted, path), exitCode: CommandFailure.permission)
    case .silent(let path):
      let seconds = "\(Limits.controlWaitNs / 1_000_000_000)"
      self.init(Messages.text(.silentAgent, path, seconds), exitCode: CommandFailure.tryAgain)
    case .broken(let reason):
      self.init(Messages.text(.brokenAgent, reason), exitCode: CommandFailure.inputOutput)
    case .refused(let code, let message):
      let statuses = [
        "forbidden": CommandFailure.permission, "not_found": CommandFailure.usage,
        "unavailable": CommandFailure.tryAgain, "too_many": CommandFailure.tryAgain,
        "busy": CommandFailure.tryAgain, "too_late": CommandFailure.tryAgain, "no_reply": CommandFailure.unavailable,
        "line_lost": CommandFailure.unavailable, "not_served": CommandFailure.unavailable,
        "personal": CommandFailure.permission, "not_writable": CommandFailure.permission,
        "wrong_configuration": CommandFailure.configuration,
        "bad_value": CommandFailure.usage, "bad_request": CommandFailure.usage,
        "outdated": CommandFailure.otherState, "held": CommandFailure.otherState,
        "not_possible": CommandFailure.usage,
      ]
      self.init(message, exitCode: statuses[code] ?? CommandFailure.inputOutput)
    }
  }
}
