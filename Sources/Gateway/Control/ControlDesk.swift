// Answers what comes in over the control socket. Lives on the event loop.
//
//   {"method":"status"} · {"method":"points","device":"manhole-17"} · devices · alarms ("state":"all") · flush ·
//   reload · version · and those of CommandDesk → {"result":…} or {"error":{"code":"…","message":"…"}}

import CLinux
import FieldBus
import Logging
import NIOCore
import Store
import StreamCore

final class ControlDesk: @unchecked Sendable {
  // Unchecked: touched on `loop` only; `answer` asserts it.

  private let configuration: Configuration
  let source: any BatchSource
  private let field: any FieldView
  let shelf: CatalogueShelf
  private let commands: CommandDesk
  private let buffer: BufferDesk
  let clerk: AlarmClerk
  private let house: HouseAlarms?
  private let pull: PullServer?
  private let push: PushOffice?
  private let reloads: ReloadDoor?
  private let troubles: TroubleBook
  private let earlier: Earlier
  private let arenaBytes: Int
  private let startedAt: Instant
  let loop: any EventLoop
  private let healthNs: Int64
  private let now: @Sendable () -> Instant
  /// What the store said last, for when it is silent.
  private var lastReport = StoreReport()
  private(set) var lastAlarms: [StoredAlarm] = []
  private var lastClocks: [EpochClock] = []

  init(
    configuration: Configuration, catalogue: Catalogue, catalogueVersion: UInt32, source: any BatchSource,
    field: any FieldView, alarms: (any AlarmOwners)?, house: HouseAlarms?, pull: PullServer?,
    push: PushOffice?, arenaBytes: Int, startedAt: Instant, loop: any EventLoop, logger: Logger,
    reloads: ReloadDoor?, troubles: TroubleBook, earlier: Earlier, healthNs: Int64,
    now: @escaping @Sendable () -> Instant
  ) {
    self.healthNs = healthNs
    self.reloads = reloads
    self.troubles = troubles
    self.earlier = earlier
    self.configuration = configuration
    self.source = source
    self.field = field
    self.house = house
    self.pull = pull
    self.push = push
    self.arenaBytes = arenaBytes
    self.startedAt = startedAt
    self.loop = loop
    self.now = now
    commands = CommandDesk(
      configuration: configuration, catalogue: catalogue, field: field, loop: loop, logger: logger)
    shelf = CatalogueShelf(present: catalogue, version: catalogueVersion, source: source, loop: loop)
    buffer = BufferDesk(
      configuration: configuration, store: source as? StoreThread, shelf: shelf, startedAt: startedAt, loop: loop,
      now: now)
    clerk = AlarmClerk(source: source, owners: alarms, shelf: shelf, loop: loop, now: now)
  }

  /// One line in, one line out (without its end).
  func answer(_ line: [UInt8], access: ControlAccess, reply: @escaping ([UInt8]) -> Void) {
    loop.preconditionInEventLoop()
    let request: JSONValue
    do throws(JSONFailure) {
      request = try JSONParser.parse(line)
    } catch {
      return reply(Self.error("bad_request", "not a JSON object in one line: \(error.text)"))
    }
    guard let method = request["method"]?.string else {
      return reply(Self.error("bad_request", "\"method\" is missing; send for example {\"method\":\"status\"}"))
    }
    switch method {
    case "reload": reload(access, reply)
    case "version": reply(Self.result { $0.object { $0.member("version", Version.text) } })
    case "status": status { reply(Self.result($0.write(into:))) }
    case "points": points(of: request["device"]?.string, reply)
    case "devices": devices(reply)
    case "alarms": alarms(request["state"]?.string, reply)
    case "alarm_log": alarmLog(request["limit"]?.integerOrText, reply)
    case _ where AlarmOrder.words[method] != nil: order(method, request, access, reply)
    case "flush": flush(access, reply)
    case _ where commands.answer(method, request, access: access, reply): break
    case _ where buffer.answer(method, request, access: access, reply): break
    default:
      let own = ["status", "points", "devices", "alarms", "alarm_log", "flush", "reload", "version"]
      let orders = AlarmOrder.words.keys.sorted()
      let known = (own + orders + CommandDesk.methods + BufferDesk.methods).joined(separator: ", ")
      reply(Self.error("unknown_method", "there is no method \"\(method.prefix(40))\"; there are: \(known)"))
    }
  }

  static func error(_ code: String, _ message: String) -> [UInt8] {
    var writer = JSONWriter()
    writer.object {
      $0.key("error")
      $0.object {
        $0.member("code", code)
        $0.member("message", message)
      }
    }
    return writer.bytes
  }

  static func result(_ write: (inout JSONWriter) -> Void) -> [UInt8] {
    var writer = JSONWriter()
    writer.beginObject()
    writer.key("result")
    write(&writer)
    writer.endObject()
    return writer.bytes
  }

  // MARK: Status

  private func status(_ completion: @escaping (GatewayStatus) -> Void) {
    var isAnswered = false
    let answer = { (isSilent: Bool, counts: PullCounts?) in
      if isAnswered { return }
      isAnswered = true
      completion(self.gathered(isSilent: isSilent, counts: counts))
    }
    let tooLate = loop.assumeIsolated().scheduleTask(in: .nanoseconds(healthNs)) { answer(true, nil) }
    askStore {
      guard let pull = self.pull else {
        tooLate.cancel()
        return answer(self.isSilent, nil)
      }
      let bound = NIOLoopBound(answer, eventLoop: self.loop)
      pull.counts { counts in
        self.loop.execute {
          tooLate.cancel()
          bound.value(self.isSilent, counts)
        }
      }
    }
  }

  /// It said nothing at all, not even why it has nothing to say.
  private var isSilent: Bool { lastReport.storeID.isEmpty && lastReport.lastFailure.isEmpty }

  /// Brings the three `last…` up to date.
  func askStore(_ completion: @escaping () -> Void) {
    let bound = NIOLoopBound(completion, eventLoop: loop)
    source.report { report in
      self.source.alarms { alarms in
        self.source.clocks(of: Set(alarms.map(\.epoch) + [report.epoch, report.oldestEpoch]).sorted()) { clocks in
          self.loop.execute {
            self.lastReport = report
            self.lastAlarms = alarms
            self.lastClocks = clocks
            bound.value()
          }
        }
      }
    }
  }

  var timeline: Timeline { Timeline(epoch: lastReport.epoch, now: now(), clocks: lastClocks) }

  private func gathered(isSilent: Bool, counts: PullCounts?) -> GatewayStatus {
    var status = GatewayStatus()
    status.gateway = configuration.gatewayID
    status.uptimeNs = now() - startedAt
    status.clockSynchronised = WallClock(trust: configuration.clock).isBelieved
    status.board = configuration.board?.name
    status.commission = CommissionRecord.read(statePath: configuration.statePath)
    status.missingPorts = PortPresence(configuration).missing
    status.troubles = troubles.troubles
    status.buses = (0..<field.busCount).map(field.bus)
    status.devices = (0..<field.deviceCount).map(field.device)
    for number in 0..<field.pointCount { status.pointQualities[Int(field.point(number).quality.rawValue)] += 1 }
    status.store = lastReport
    status.isStoreSilent = isSilent
    status.alarms = lastAlarms
    status.houseProduced = house?.produced ?? 0
    status.earlier = earlier
    status.pull = counts
    status.pushes = push?.reportsOnLoop ?? []
    status.arenaBytes = arenaBytes
    status.process = ProcessFacts.read()
    status.timeline = timeline
    return status
  }

  // MARK: Lists

  private func points(of device: String?, _ reply: @escaping ([UInt8]) -> Void) {
    let catalogue = shelf.present.catalogue
    let only = device.flatMap { name in catalogue.devices.firstIndex { $0.name == name } }
    if let device, only == nil {
      let near = nearestMatch(to: device, among: catalogue.devices.map(\.name)).map { "; did you mean \($0)?" } ?? ""
      return reply(Self.error("not_found", "there is no device \(device.prefix(80))\(near)"))
    }
    askStore {
      // What is personal stays inside: not even its pseudonym is shown.
      let record = RecordWriter(catalogue: catalogue, timeline: self.timeline, pseudonymKey: nil)
      reply(
        Self.result {
          $0.array { list in
            for number in 0..<min(catalogue.pointCount, self.field.pointCount) {
              let series = catalogue.series[number]
              guard only == nil || series.device == only else { continue }
              list.object {
                record.write(self.field.point(number), of: series, into: &$0)
                if series.personal { $0.member("personal", true) }
              }
            }
          }
        })
    }
  }

  private func devices(_ reply: @escaping ([UInt8]) -> Void) {
    askStore {
      reply(
        Self.result {
          $0.array { list in
            for number in 0..<self.field.deviceCount {
              list.object { $0.write(self.field.device(number), timeline: self.timeline) }
            }
          }
        })
    }
  }

  // MARK: Changes

  private func reload(_ access: ControlAccess, _ reply: @escaping ([UInt8]) -> Void) {
    guard access == .change else {
      return reply(Self.error("forbidden", "reload needs root, the agent's user, or group kerb-admin"))
    }
    guard let reloads else { return reply(Self.error("not_possible", "this agent has no configuration to reload")) }
    let bound = NIOLoopBound(reply, eventLoop: loop)
    reloads.ask { outcome in
      self.loop.execute {
        guard outcome.errors.isEmpty else {
          let code = outcome.isForLater ? "unavailable" : "wrong_configuration"
          return bound.value(Self.error(code, outcome.errors.joined(separator: "\n")))
        }
        bound.value(
          Self.result {
            $0.object {
              for (key, list) in [("applied", outcome.applied), ("restart", outcome.restart)] {
                $0.key(key)
                $0.array { for text in list { $0.string(text) } }
              }
            }
          })
      }
    }
  }

  private func flush(_ access: ControlAccess, _ reply: @escaping ([UInt8]) -> Void) {
    guard access == .change else {
      return reply(Self.error("forbidden", "flush needs root, the agent's user, or group kerb-admin"))
    }
    let bound = NIOLoopBound(reply, eventLoop: loop)
    source.flush { result in
      self.loop.execute {
        switch result {
        case .success(let durable):
          bound.value(
            Self.result {
              $0.object {
                $0.member("alarms", durable.alarms)
                $0.member("telemetry", durable.telemetry)
              }
            })
        case .failure(let failure): bound.value(Self.error("unavailable", "\(failure)"))
        }
      }
    }
  }
}
