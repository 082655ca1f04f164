// Carries a platform's command to its bus and brings back what came of it: written by the bus's own thread between two
// polls, read back, told to the log. Lives on the event loop; waiting is done by a thread of its own.
//
//   find the point → may it be written? → a place? → the storage can log it? → before, write, read back → log → answer
//
// Invariants:
//  1. Nothing is written of an elevator, of a personal point, or of a point that is not `write = "upstream"`.
//  2. What may have been written is an event in the log and a line in the journal, whether or not the device
//     confirmed it.
//  3. At most `Limits.platformCommandsMax` are under way; each ends within `Limits.platformCommandNs` and one
//     transaction.

import CLinux
import FieldBus
import Logging
import NIOCore
import Store
import StreamCore
import Synchronization

final class CommandClerk: @unchecked Sendable {
  // Unchecked: touched on `loop` only.

  /// What is wanted. `value`: as `kerb write` takes it.
  struct Order {
    var consumer: String
    var peer: String
    var device: String
    var point: String
    var value: String
  }

  enum Reply {
    /// `isLogged`: it is in the log, durably.
    case done(PointChange, CatalogueSeries, isLogged: Bool)
    /// Nothing was written.
    case failed(PointProblem)
    case notWritable
    /// No such thing, or not in the scope.
    case unknown
    case unavailable(String)
  }

  private struct Target {
    var device: DeviceSpec
    var point: PointSpec
    /// The series', and that of the device's commands in the catalogue's alarms.
    var number: Int
    var alarm: Int
  }

  private let configuration: Configuration
  private let catalogue: Catalogue
  private let source: any BatchSource
  private let field: any FieldView
  private let loop: any EventLoop
  private let logger: Logger
  private let now: @Sendable () -> Instant
  private(set) var underWay = 0
  private let logged = Atomic<Int64>(0)

  /// Events that are in the log, since the start. Any thread.
  var loggedCount: Int64 { logged.load(ordering: .relaxed) }

  init(
    configuration: Configuration, catalogue: Catalogue, source: any BatchSource, field: any FieldView,
    loop: any EventLoop, logger: Logger, now: @escaping @Sendable () -> Instant
  ) {
    self.configuration = configuration
    self.catalogue = catalogue
    self.source = source
    self.field = field
    self.loop = loop
    self.logger = logger
    self.now = now
  }

  /// `allows`: may they see the series of that number? Replies once.
  func carryOut(_ order: Order, allows: (Int) -> Bool, _ reply: @escaping (Reply) -> Void) {
    guard case .success(let found) = PointName.find(order.device, order.point, in: configuration.devices),
      allows(found.number)
    else { return reply(.unknown) }
    guard found.device.takesCommand(found.point), let alarm = eventNumber(of: found.device.name) else {
      note(order, "refused: not write = upstream")
      return reply(.notWritable)
    }
    guard underWay < Limits.platformCommandsMax else {
      return reply(.unavailable("\(Limits.platformCommandsMax) commands are under way already"))
    }
    underWay += 1
    let target = Target(device: found.device, point: found.point, number: found.number, alarm: alarm)
    let bound = NIOLoopBound(reply, eventLoop: loop)
    source.report { report in
      self.loop.execute {
        let isWell = !report.storeID.isEmpty && (report.state == .good || report.state == .full)
        guard isWell else {
          self.underWay -= 1
          return bound.value(.unavailable("the storage fails, and no command is carried out that can't be logged"))
        }
        self.write(order, target, bound.value)
      }
    }
  }

  private func eventNumber(of device: String) -> Int? {
    catalogue.alarms.firstIndex { alarm in
      guard alarm.name == BuiltInAlarm.command, case .device(let index) = alarm.owner else { return false }
      return catalogue.devices[index].name == device
    }
  }

  // MARK: Written

  private func write(_ order: Order, _ target: Target, _ reply: @escaping (Reply) -> Void) {
    let bus = configuration.buses[target.device.bus]
    let deadline = Instant(nanoseconds: kerb_monotonic_ns()) + Limits.platformCommandNs
    let access = PointAccess(
      AgentLine(field: field, bus: target.device.bus, deadline: deadline), device: target.device,
      number: configuration.numberOnBus(target.device), point: target.point, timeoutNs: bus.responseTimeoutNs)
    let bound = NIOLoopBound(reply, eventLoop: loop)
    let started = CommandThread.start {
      var outcome: Result<PointChange, PointProblem>
      do throws(PointProblem) {
        outcome = .success(try access.change(order.value))
      } catch {
        outcome = .failure(error)
      }
      let decided = outcome
      self.loop.execute { self.decided(decided, order, target, bound.value) }
    }
    if started { return }
    underWay -= 1
    reply(.unavailable("no thread to be had"))
  }

  private func decided(
    _ outcome: Result<PointChange, PointProblem>, _ order: Order, _ target: Target, _ reply: @escaping (Reply) -> Void
  ) {
    switch outcome {
    case .failure(let problem):
      underWay -= 1
      note(order, "not written: \(problem.word)")
      reply(.failed(problem))
    case .success(let change):
      let series = catalogue.series[target.number]
      let words = Words(order, series, change)
      note(order, words.note)
      var event = AlarmEvent(alarm: UInt16(target.alarm), state: .normal, severity: .notice, at: now(), since: now())
      event.change = .commanded
      // Where it is not known what stands there: what was asked for, as a doubt.
      let after = (try? change.after.get()) ?? change.asked
      let isKnown = (try? change.after.get()) != nil
      event.add(
        AlarmCause(series: UInt16(target.number), quality: isKnown ? after.quality : .uncertain, raw: after.raw))
      let bound = NIOLoopBound(reply, eventLoop: loop)
      source.log([NewEvent(event: event, by: Array(order.consumer.utf8), note: Array(words.note.utf8))]) { isTaken in
        if isTaken { self.logged.add(1, ordering: .relaxed) }
        self.loop.execute {
          self.underWay -= 1
          if !isTaken { self.logger.error("a command is not in the log: the storage has no room for it") }
          bound.value(.done(change, series, isLogged: isTaken))
        }
      }
    }
  }

  private func note(_ order: Order, _ outcome: String) {
    logger.notice(
      "command",
      metadata: [
        "consumer": "\(order.consumer)", "peer": "\(order.peer)", "point": "\(order.device)/\(order.point)",
        "asked": "\(order.value)", "outcome": "\(outcome)",
      ])
  }

  /// The note of the event, in a row of the log.
  private struct Words {
    var note: String

    init(_ order: Order, _ series: CatalogueSeries, _ change: PointChange) {
      let tail =
        switch change.after {
        case .success(let after): change.isGood ? "" : ", now \(Self.text(after, series))"
        case .failure(let problem):
          change.isWritten ? ", written, not read back: \(problem.word)" : ", not confirmed: \(problem.word)"
        }
      let whole = "\(order.point): \(Self.text(change.before, series)) to \(order.value)\(tail)"
      var text = ""
      for character in whole where text.utf8.count + character.utf8.count <= Limits.noteBytesMax {
        text.append(character)
      }
      note = text
    }

    private static func text(_ reading: PointReading, _ series: CatalogueSeries) -> String {
      if reading.quality == .bad { return "nothing" }
      if series.encoding == .text { return String(decoding: reading.text, as: UTF8.self) }
      if let label = series.values[reading.raw] { return label }
      var writer = JSONWriter()
      RecordWriter(catalogue: Catalogue(), timeline: Timeline(epoch: 0, now: .zero, clocks: []), pseudonymKey: nil)
        .writeNumber(series, raw: reading.raw, into: &writer)
      return String(decoding: writer.bytes, as: UTF8.self)
    }
  }
}
