// What the tools ask of a line through the running agent: a point read or written at once, a request of their own,
// the last frames. Lives on the event loop; what waits for a bus waits on a thread of its own, one for each command
// under way, so that nothing is polled and an idle agent has no thread for it.
//
// Invariants:
//  1. Only those who may change things write, or send requests of their own; every write is logged.
//  2. No personal value goes out: neither its point nor its registers are read for anybody.
//  3. A command under way costs one thread; there are no more than control connections.

import CLinux
import FieldBus
import Logging
import NIOCore
import StreamCore

final class CommandDesk: @unchecked Sendable {
  // Unchecked: immutable.

  private let configuration: Configuration
  private let catalogue: Catalogue
  private let field: any FieldView
  private let loop: any EventLoop
  private let logger: Logger

  init(configuration: Configuration, catalogue: Catalogue, field: any FieldView, loop: any EventLoop, logger: Logger) {
    self.configuration = configuration
    self.catalogue = catalogue
    self.field = field
    self.loop = loop
    self.logger = logger
  }

  static let methods = ["read", "write", "exchange", "frames", "forget"]

  /// Answers with a line; false: no such method.
  func answer(
    _ method: String, _ request: JSONValue, access: ControlAccess,
    _ reply: @escaping ([UInt8]) -> Void
  ) -> Bool {
    switch method {
    case "read": read(request, reply)
    case "write": write(request, access, reply)
    case "exchange": exchange(request, access, reply)
    case "frames": reply(frames(request))
    case "forget": forget(request, access, reply)
    default: return false
    }
    return true
  }

  /// Runs `work` on a thread of its own and its answer back on the loop.
  private func run(_ reply: @escaping ([UInt8]) -> Void, _ work: @escaping @Sendable () -> [UInt8]) {
    let bound = NIOLoopBound(reply, eventLoop: loop)
    let started = CommandThread.start {
      let answer = work()
      self.loop.execute { bound.value(answer) }
    }
    if !started { reply(ControlDesk.error("unavailable", "no thread to be had; try again")) }
  }

  // MARK: Points

  private struct Target: Sendable {
    var device: DeviceSpec
    var point: PointSpec
    var series: CatalogueSeries
    var name: String
  }

  private func target(_ request: JSONValue) -> (Target?, error: [UInt8]) {
    let device = request["device"]?.string ?? ""
    let point = request["point"]?.string ?? ""
    switch PointName.find(device, point, in: configuration.devices) {
    case .failure(let problem): return (nil, ControlDesk.error("not_found", problem.text))
    case .success(let found):
      let series = catalogue.series[found.number]
      return (
        Target(device: found.device, point: found.point, series: series, name: "\(device)/\(point)"), []
      )
    }
  }

  private func access(_ target: Target) -> PointAccess<AgentLine> {
    let bus = configuration.buses[target.device.bus]
    return PointAccess(
      AgentLine(field: field, bus: target.device.bus), device: target.device,
      number: configuration.numberOnBus(target.device), point: target.point, timeoutNs: bus.responseTimeoutNs)
  }

  private func read(_ request: JSONValue, _ reply: @escaping ([UInt8]) -> Void) {
    let (found, error) = target(request)
    guard let target = found else { return reply(error) }
    let access = access(target)
    let busProtocol = configuration.buses[target.device.bus].busProtocol
    run(reply) {
      do throws(PointProblem) {
        let reading = try access.read()
        return ControlDesk.result { PointAnswer(target.name, target.series).write(reading, into: &$0) }
      } catch { return Self.failure(error, target.name, busProtocol) }
    }
  }

  private func write(_ request: JSONValue, _ access: ControlAccess, _ reply: @escaping ([UInt8]) -> Void) {
    guard access == .change else {
      return reply(ControlDesk.error("forbidden", "write needs root, the agent's user, or group kerb-admin"))
    }
    let (found, error) = target(request)
    guard let target = found else { return reply(error) }
    guard let value = request["value"]?.string else {
      return reply(ControlDesk.error("bad_request", "\"value\" is missing: a string, as `kerb write` takes it"))
    }
    let point = self.access(target)
    let logger = self.logger
    run(reply) {
      do throws(PointProblem) {
        let (before, after) = try point.write(value)
        logger.notice(
          "point written",
          metadata: [
            "point": "\(target.name)", "value": "\(value)", "before": "\(Hexadecimal.text(words: before.words))",
            "after": "\(Hexadecimal.text(words: after.words))",
          ])
        return ControlDesk.result {
          PointAnswer(target.name, target.series).write(before: before, after: after, into: &$0)
        }
      } catch {
        logger.notice(
          "point not written", metadata: ["point": "\(target.name)", "value": "\(value)", "why": "\(error)"])
        return Self.failure(error, target.name, .modbusRTU)
      }
    }
  }

  private static func failure(_ problem: PointProblem, _ name: String, _ busProtocol: BusProtocol) -> [UInt8] {
    ControlDesk.error(problem.word, "\(name): \(problem.text(busProtocol))")
  }

  // MARK: Requests as they are

  private func exchange(_ request: JSONValue, _ access: ControlAccess, _ reply: @escaping ([UInt8]) -> Void) {
    guard access == .change else {
      return reply(
        ControlDesk.error("forbidden", "requests of one's own need root, the agent's user, or group kerb-admin"))
    }
    let name = request["bus"]?.string ?? ""
    guard let bus = configuration.buses.firstIndex(where: { $0.name == name }) else {
      return reply(ControlDesk.error("not_found", PointName.noBus(name, configuration.buses)))
    }
    let (asked, problem) = asked(request["frame"]?.string ?? "", bus)
    guard let frame = asked else { return reply(problem) }
    let most = Limits.responseTimeoutNsMax / 1_000_000
    let timeoutMs = min(max(request["timeout_ms"]?.integerOrText ?? 0, 1), most)
    let line = AgentLine(field: field, bus: bus)
    let order = LineRequest(
      frame, timeoutNs: timeoutMs * 1_000_000,
      isPatient: request["patient"]?.bool == true || request["patient"]?.string == "true")
    run(reply) {
      do throws(LineFailure) {
        let answer = try line.ask(order)
        return ControlDesk.result {
          $0.object {
            $0.member("reply", Hexadecimal.text(answer.frame))
            $0.member("took_ms", Double(answer.tookNs) / 1e6)
          }
        }
      } catch {
        // The device's own no is an answer: somebody is there.
        if case .refused(let code) = error {
          return ControlDesk.result { $0.object { $0.member("exception", code) } }
        }
        return ControlDesk.error(error.word, "\(name): \(error.text)")
      }
    }
  }

  /// A question that reads only, and nothing personal; nil: why not.
  private func asked(_ text: String, _ bus: Int) -> ([UInt8]?, problem: [UInt8]) {
    let busProtocol = configuration.buses[bus].busProtocol
    let frame = Hexadecimal.bytes(text) ?? []
    if FrameSpec.meter(busProtocol) != nil {
      guard let question = MeterQuestion(frame, busProtocol) else {
        let what =
          "a whole question of the bus's meters in hexadecimal, for data or for an address; FE may stand in front"
        return (nil, ControlDesk.error("bad_request", "\"frame\" is \(what)"))
      }
      let touched = PersonalItems.point(touchedBy: question, bus: bus, devices: configuration.devices)
      return touched.map { (nil, Self.personal($0)) } ?? (frame, [])
    }
    guard busProtocol.isModbus else {
      let why = "what a profile describes is asked for by its points: `kerb read`"
      return (nil, ControlDesk.error("not_possible", "\(configuration.buses[bus].name): \(why)"))
    }
    guard (2...CommandFrame.bytesMax).contains(frame.count), CommandFrame.reading.contains(frame[1]) else {
      let what = "unit, function and data in hexadecimal; functions that read only: 1 to 4, 17, 43"
      return (nil, ControlDesk.error("bad_request", "\"frame\" is \(what)"))
    }
    let touched = PersonalRegisters.point(touchedBy: frame, bus: bus, devices: configuration.devices)
    return touched.map { (nil, Self.personal($0)) } ?? (frame, [])
  }

  private static func personal(_ point: String) -> [UInt8] {
    ControlDesk.error("personal", "\(point) is personal: it is read for nobody")
  }

  // MARK: What was learned

  /// Of one device, or of all.
  private func forget(_ request: JSONValue, _ access: ControlAccess, _ reply: @escaping ([UInt8]) -> Void) {
    guard access == .change else {
      return reply(ControlDesk.error("forbidden", "forgetting needs root, the agent's user, or group kerb-admin"))
    }
    let name = request["device"]?.string ?? ""
    let names = configuration.devices.map(\.name)
    let wanted = name == "all" ? Array(names.indices) : names.indices.filter { names[$0] == name }
    if wanted.isEmpty { return reply(ControlDesk.error("not_found", PointName.noDevice(name, configuration.devices))) }
    let (field, logger) = (field, logger)
    run(reply) {
      let deadline = Instant(nanoseconds: kerb_monotonic_ns()) + Limits.commandWaitNs
      var planned: [Int] = []
      for device in wanted {
        if field.device(device).refusedBefore > 0 { planned.append(device) }
        do throws(LineFailure) {
          try field.forget(device, until: deadline)
        } catch {
          return ControlDesk.error(error.word, "\(names[device]): \(error.text); the rest is not forgotten")
        }
      }
      logger.notice("what was learned is forgotten", metadata: ["device": "\(name)"])
      let (all, held) = (wanted.map { names[$0] }, planned.map { names[$0] })
      return ControlDesk.result { ForgottenAnswer.write(all, held, into: &$0) }
    }
  }

  // MARK: Frames

  private func frames(_ request: JSONValue) -> [UInt8] {
    let name = request["bus"]?.string ?? ""
    guard let bus = configuration.buses.firstIndex(where: { $0.name == name }) else {
      return ControlDesk.error("not_found", PointName.noBus(name, configuration.buses))
    }
    let after = request["after"]?.integerOrText ?? 0
    let frames = field.frames(bus, after: after)
    return ControlDesk.result {
      $0.object { root in
        root.member("next", frames.last?.number ?? after)
        if let offsetNs = field.clockOffsetNs { root.member("clock_offset_ns", offsetNs) }
        root.key("frames")
        root.array { list in
          for frame in frames { list.object { FrameRecord.write(frame, into: &$0) } }
        }
      }
    }
  }
}

/// A bus of the running agent, asked through its inbox.
struct AgentLine: AskableLine, Sendable {
  let field: any FieldView
  let bus: Int
  /// Nothing is waited for beyond it.
  var deadline = Instant.distantFuture

  func ask(_ request: LineRequest) throws(LineFailure) -> LineReply {
    let usual = Instant(nanoseconds: kerb_monotonic_ns()) + request.timeoutNs + Limits.commandWaitNs
    return try field.ask(request, bus: bus, until: min(usual, deadline))
  }
}

extension JSONValue {
  /// A number, or the digits of one: the tools send texts.
  package var integerOrText: Int64? { integer ?? string.flatMap { Int64($0) } }
}

extension Hexadecimal {
  /// "0102 03ff"
  package static func text(words: [UInt16]) -> String {
    words.map { text([UInt8($0 >> 8), UInt8($0 & 0xFF)]) }.joined(separator: " ")
  }
}
