// The line that a command asks: a bus of the running agent if there is one, else the port itself, opened for as long
// as the command lasts, under the same lock that an agent takes.

import FieldBus
import Gateway
import Glibc
import StreamCore

struct AskedLine: AskableLine {
  private enum Way {
    case agent(ControlClient)
    case registers(LineSession)
    case frames(FrameSession<TextPort>)
  }
  private let way: Way
  let bus: BusSpec

  /// `bus`: number among the configuration's.
  init(_ bus: Int, _ configuration: Configuration, _ options: ConfigurationOptions) throws {
    if let client = try Agent(options: options).clientIfRunning() {
      self.init(configuration.buses[bus], .agent(client))
    } else {
      self = try Self.opened(bus, configuration)
    }
  }

  private init(_ bus: BusSpec, _ way: Way) {
    self.bus = bus
    self.way = way
  }

  /// The line is the agent's.
  var isLive: Bool { if case .agent = way { true } else { false } }

  /// The same line at another speed or parity; of an agent's line only the present ones are had.
  func reopen(as format: LineFormat) throws(PortFailure) {
    switch way {
    case .agent: break
    case .registers(let session): try session.reopen(as: format)
    case .frames(let session): try session.reopen(as: format)
    }
  }

  /// A line that nobody has.
  static func opened(_ number: Int, _ configuration: Configuration) throws(CommandFailure) -> AskedLine {
    let bus = configuration.buses[number]
    let devices = configuration.devices(on: number)
    guard bus.busProtocol.isModbus || devices.first?.isAsked ?? true else {
      throw CommandFailure(Messages.text(.listeningBus, bus.name), exitCode: CommandFailure.usage)
    }
    do throws(PortFailure) {
      if bus.busProtocol.isModbus { return AskedLine(bus, .registers(try LineSession(bus))) }
      return AskedLine(bus, .frames(try FrameSession(bus, devices: devices)))
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
    case .registers(let session): return try session.ask(request)
    case .frames(let session): return try session.ask(request)
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

extension CommandFailure {
  /// What went wrong with `subject`, in the reader's language.
  init(_ failure: LineFailure, _ subject: String, _ busProtocol: BusProtocol = .modbusRTU) {
    let message: Message
    let code: Int32
    switch failure {
    case .noReply: (message, code) = (.noReply, CommandFailure.unavailable)
    case .corrupt: (message, code) = (.corruptReply, CommandFailure.inputOutput)
    case .refused(let exception):
      self.init(
        Messages.text(
          busProtocol.isModbus ? .refusedReply : .refusedItem, subject, "\(exception)",
          LineFailure.refusalText(exception, busProtocol)),
        exitCode: CommandFailure.inputOutput)
      return
    case .lineLost: (message, code) = (.lineLost, CommandFailure.unavailable)
    case .notServed: (message, code) = (.notServed, CommandFailure.unavailable)
    case .busy, .tooLate: (message, code) = (.lineBusy, CommandFailure.tryAgain)
    case .notPossible: (message, code) = (.notAskable, CommandFailure.usage)
    }
    self.init(Messages.text(message, subject), exitCode: code)
  }

  init(_ problem: PointProblem, _ subject: String, _ busProtocol: BusProtocol = .modbusRTU) {
    switch problem {
    case .line(let failure): self.init(failure, subject, busProtocol)
    case .personal: self.init(Messages.text(.personalPoint, subject), exitCode: CommandFailure.permission)
    case .noRegister: self.init(Messages.text(.notAskable, subject), exitCode: CommandFailure.usage)
    case .personalReply(let other):
      self.init(Messages.text(.personalReply, subject, other), exitCode: CommandFailure.permission)
    case .onlyRead: self.init(Messages.text(.onlyRead, subject), exitCode: CommandFailure.permission)
    case .computed: self.init(Messages.text(.computedPoint, subject), exitCode: CommandFailure.usage)
    case .notWritable: self.init(Messages.text(.notWritable, subject), exitCode: CommandFailure.permission)
    case .badValue(let allowed): self.init(Messages.text(.badValue, subject, allowed), exitCode: CommandFailure.usage)
    }
  }
}
