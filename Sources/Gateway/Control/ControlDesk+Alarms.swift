// The control socket's part in alarms: lists them and their log, takes orders. On the event loop.
//
//   {"method":"ack","alarm":"manhole-17/cover-open","by":"Zhang","note":"on my way"} · shelve ("seconds") · unshelve ·
//   out_of_service · in_service; "alarm" may also be the id of a state

import FieldBus
import NIOCore
import Store
import StreamCore

extension AlarmOrder {
  static let words: [String: AlarmOrder] = [
    "ack": .acknowledge, "shelve": .shelve, "unshelve": .unshelve, "out_of_service": .takeOutOfService,
    "in_service": .putInService,
  ]
}

extension ControlDesk {
  private static let logDefault: Int64 = 50

  func alarms(_ word: String?, _ reply: @escaping ([UInt8]) -> Void) {
    guard let filter = AlarmFilter(rawValue: word ?? AlarmFilter.active.rawValue) else {
      let known = AlarmFilter.allCases.map(\.rawValue).joined(separator: ", ")
      return reply(Self.error("bad_request", "\"state\": there are \(known)"))
    }
    askStore { self.list(self.lastAlarms.filter { filter.admits($0.event) }.map(\.stored), reply) }
  }

  /// The newest entries, the newest last.
  func alarmLog(_ limit: Int64?, _ reply: @escaping ([UInt8]) -> Void) {
    let count = min(max(limit ?? Self.logDefault, 1), Int64(Limits.recordsPerAnswerDefault))
    let bound = NIOLoopBound(reply, eventLoop: loop)
    source.report { [source] report in
      let request = ReadRequest(
        after: Position(alarms: max(0, report.durable.alarms - count)), alarms: true, telemetry: false,
        recordsMax: Int(count))
      source.read(request, for: nil) { result in
        self.loop.execute {
          switch result {
          case .success(let answer): self.askStore { self.list(answer.events, clocks: answer.clocks, bound.value) }
          case .failure(let failure): bound.value(Self.error("unavailable", "\(failure)"))
          }
        }
      }
    }
  }

  private func list(_ events: [StoredEvent], clocks: [EpochClock] = [], _ reply: @escaping ([UInt8]) -> Void) {
    var timeline = self.timeline
    timeline.add(clocks)
    let shownTimes = timeline
    shelf.views(Set(events.map(\.catalogueVersion))) { views in
      reply(
        Self.result {
          $0.array { list in
            for stored in events {
              guard let view = views[stored.catalogueVersion],
                view.catalogue.alarms.indices.contains(Int(stored.event.alarm))
              else { continue }
              RecordWriter(catalogue: view.catalogue, timeline: shownTimes, pseudonymKey: nil).write(
                stored, allows: { _ in true }, into: &list)
            }
          }
        })
    }
  }

  // MARK: Orders

  func order(
    _ method: String, _ request: JSONValue, _ access: ControlAccess, _ reply: @escaping ([UInt8]) -> Void
  ) {
    guard let order = AlarmOrder.words[method] else { return }
    guard access == .change else {
      return reply(Self.error("forbidden", "\(method) needs root, the agent's user, or group kerb-admin"))
    }
    guard let alarm = request["alarm"]?.string, !alarm.isEmpty else {
      return reply(Self.error("bad_request", "\"alarm\" is missing: its name, or the id of a state"))
    }
    let by = request["by"]?.string ?? ""
    let note = request["note"]?.string ?? ""
    guard by.utf8.count <= Limits.nameBytesMax, note.utf8.count <= Limits.noteBytesMax else {
      let most = "\"by\" may have \(Limits.nameBytesMax) bytes, \"note\" \(Limits.noteBytesMax)"
      return reply(Self.error("bad_request", most))
    }
    let target = Int64(alarm).map { AlarmTarget.id($0) } ?? .name(alarm)
    var wanted = AlarmClerk.Order(order: order, target: target, by: by, note: note)
    if order == .shelve {
      let most = Limits.shelfNsMax / 1_000_000_000
      guard let seconds = request["seconds"]?.integerOrText, (1...most).contains(seconds) else {
        return reply(Self.error("bad_request", "\"seconds\" says how long: 1 to \(most)"))
      }
      wanted.spanNs = seconds * 1_000_000_000
    }
    clerk.carryOut(wanted, allows: { _ in true }) { self.answer($0, alarm, reply) }
  }

  private func answer(_ outcome: AlarmReply, _ alarm: String, _ reply: @escaping ([UInt8]) -> Void) {
    switch outcome {
    case .done(let now): tell(now, changed: true, reply)
    case .already(let now): tell(now, changed: false, reply)
    case .never(let name):
      reply(
        Self.result {
          $0.object {
            $0.member("alarm", name)
            $0.member("state", AlarmState.normal.word)
            $0.member("changed", false)
          }
        })
    case .pending:
      reply(Self.error("unavailable", "\(alarm): done, but the storage is behind: it is not in the log yet"))
    case .unknown, .forbidden:
      let catalogue = shelf.present.catalogue
      let near = nearestMatch(to: alarm, among: catalogue.alarms.map(catalogue.alarmName))
      reply(
        Self.error(
          "not_found", "there is no alarm \(alarm.prefix(80))" + (near.map { "; did you mean \($0)?" } ?? "")))
    case .outdated(let now):
      reply(
        Self.error(
          "outdated", "state \(alarm) of \(now.name) is over: it is \(now.event.state.word) now (\(now.sequence))"))
    case .held(let now):
      reply(Self.error("held", "\(now.name) is \(now.event.state.word): end that first"))
    case .unavailable(let why): reply(Self.error("unavailable", "\(alarm): \(why)"))
    }
  }

  private func tell(_ alarm: StoredAlarm, changed: Bool, _ reply: @escaping ([UInt8]) -> Void) {
    reply(
      Self.result {
        $0.object {
          $0.member("alarm", alarm.name)
          $0.member("id", "\(alarm.sequence)")
          $0.member("state", alarm.event.state.word)
          $0.member("changed", changed)
        }
      })
  }
}
