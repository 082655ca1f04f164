// The line that a command asks: a bus of the running agent if there is one, else the port itself, opened for as long as the command
// lasts, under the same lock that an agent takes.

import FieldBus
import Gateway
import Glibc
import StreamCore

struct AskedLine: AskableLine {
  private enum Way {
    case agent(ControlClient)
    case own(LineSession)
  }
  private let way: Way
  let bus: BusSpec

  /// `bus`: as configured.
  init(_ bus: BusSpec, _ options: ConfigurationOptions) throws {
    self.bus = bus
    if let client = try Agent(options: options).clientIfRunning() {
      way = .agent(client)
    } else {
      way = .own(try Self.open(bus))
    }
  }

  /// Nil: the line is the agent's.
  var session: LineSession? {
    if case .own(let session) = way { return session }
    return nil
  }

  static func open(_ bus: BusSpec) throws(CommandFailure) -> LineSession {
    guard bus.busProtocol.isModbus else {
      throw CommandFailure(Messages.text(.listeningBus, bus.name), exitCode: CommandFailure.usage)
    }
    do throws(PortFailure) {
      return try LineSession(bus)
    } catch {
      let reason = String(cString: strerror(error.code))
      switch error {
      case .busy:
        let holders = bus.serialPath.map(PortHolders.names) ?? []
        throw CommandFailure(
          Messages.text(.portBusy, bus.endpoint.text, holders.isEmpty ? reason : holders.joined(separator: ", ")),
          exitCode: CommandFailure.tryAgain)
      case .forbidden:
        throw CommandFailure(Messages.text(.portForbidden, bus.endpoint.text), exitCode: CommandFailure.permission)
      case .missing, .failed:
        throw CommandFailure(
          Messages.text(.portMissing, bus.endpoint.text, reason), exitCode: CommandFailure.unavailable)
      }
    }
  }

  func ask(_ request: LineRequest) throws(LineFailure) -> LineReply {
    switch way {
    case .own(let session): return try session.ask(request)
    case .agent(let client): return try ask(client, request)
    }
  }

  private func ask(_ client: ControlClient, _ request: LineRequest) throws(LineFailure) -> LineReply {
    let answer: JSONValue
    do throws(ControlFailure) {
      answer = try client.call(
        "exchange",
        [
          ("bus", bus.name), ("frame", Hexadecimal.text(request.frame)),
          ("timeout_ms", "\(Swift.max(1, request.timeoutNs / 1_000_000))"), ("patient", "\(request.isPatient)"),
        ])
    } catch {
      if case .refused(let code, _) = error { throw LineFailure.named(code, exception: 0) ?? .notPossible }
      throw .notServed
    }
    if let exception = answer["exception"]?.integer { throw .refused(UInt8(truncatingIfNeeded: exception)) }
    guard let frame = Hexadecimal.bytes(answer["reply"]?.string ?? ""), let took = answer["took_ms"]?.double else {
      throw .corrupt(.wrongShape)
    }
    return LineReply(frame: frame, tookNs: Int64(took * 1e6))
  }
}

extension BusSpec {
  /// Nil: no serial line.
  var serialPath: String? {
    if case .serialPort(let path) = endpoint { return path }
    return nil
  }
}

extension CommandFailure {
  /// What went wrong with `subject`, in the reader's language.
  init(_ failure: LineFailure, _ subject: String) {
    let message: Message
    let code: Int32
    switch failure {
    case .noReply: (message, code) = (.noReply, CommandFailure.unavailable)
    case .corrupt: (message, code) = (.corruptReply, CommandFailure.inputOutput)
    case .refused(let exception):
      self.init(
        Messages.text(.refusedReply, subject, "\(exception)", LineFailure.exceptionText(exception)),
        exitCode: CommandFailure.inputOutput)
      return
    case .lineLost: (message, code) = (.lineLost, CommandFailure.unavailable)
    case .notServed: (message, code) = (.notServed, CommandFailure.unavailable)
    case .busy, .tooLate: (message, code) = (.lineBusy, CommandFailure.tryAgain)
    case .notPossible: (message, code) = (.notAskable, CommandFailure.usage)
    }
    self.init(Messages.text(message, subject), exitCode: code)
  }

  init(_ problem: PointProblem, _ subject: String) {
    switch problem {
    case .line(let failure): self.init(failure, subject)
    case .personal: self.init(Messages.text(.personalPoint, subject), exitCode: CommandFailure.permission)
    case .noRegister: self.init(Messages.text(.notAskable, subject), exitCode: CommandFailure.usage)
    case .notWritable: self.init(Messages.text(.notWritable, subject), exitCode: CommandFailure.permission)
    case .badValue(let allowed): self.init(Messages.text(.badValue, subject, allowed), exitCode: CommandFailure.usage)
    }
  }
}
