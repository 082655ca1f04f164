// POST /v1/alarms/ID/ack: a platform acknowledges an alarm. Lives on the event loop, for one request.

import NIOHTTP1
import Store
import StreamCore

struct AlarmPosts {
  let desk: PullDesk
  let consumer: Consumer

  private static let prefix = "/v1/alarms/"
  private static let suffix = "/ack"

  /// The id in the path; nil: the path is none of these.
  static func id(in path: String) -> Substring? {
    guard path.hasPrefix(prefix), path.hasSuffix(suffix), path.count > prefix.count + suffix.count else { return nil }
    return path.dropFirst(prefix.count).dropLast(suffix.count)
  }

  func acknowledge(
    _ id: Substring, _ request: PullRequest, _ reply: @escaping (PullAnswer) -> Void
  ) throws(PullRefusal) {
    guard request.method == .POST else {
      throw PullRefusal(
        .problem(.methodNotAllowed, "\(request.path) acknowledges an alarm; use POST", headers: [("Allow", "POST")]))
    }
    _ = try request.arguments()
    guard consumer.spec.lanes.contains(.alarms) else {
      throw PullRefusal(.problem(.forbidden, "alarms are outside the scope of \(consumer.name)"))
    }
    guard let sequence = Int64(id), sequence > 0 else {
      throw PullRequest.malformed("ID", got: String(id), allowed: "the `id` of an alarm, as /v1/alarms gives it")
    }
    let (by, note) = try said(request)
    let scope = desk.shelf.present.scope(of: consumer)
    let order = AlarmClerk.Order(order: .acknowledge, target: .id(sequence), by: by, note: note)
    desk.clerk.carryOut(order, allows: scope.allows(alarm:)) { outcome in
      // `by` says who; whose token it was, only the journal knows.
      if case .done = outcome {
        self.desk.logger.notice("alarm acknowledged", metadata: ["id": "\(id)", "consumer": "\(self.consumer.name)"])
      }
      self.answer(outcome, id: id, reply)
    }
  }

  /// Who, and what they have to say. Without a name it is the consumer.
  private func said(_ request: PullRequest) throws(PullRefusal) -> (by: String, note: String) {
    if request.body.isEmpty { return (consumer.name, "") }
    let json = try request.json("send {\"by\":…,\"note\":…}")
    guard let members = json.members else {
      throw PullRefusal(.problem(.badRequest, "the body is not a JSON object; send {\"by\":…,\"note\":…}"))
    }
    for member in members where member.name != "by" && member.name != "note" {
      throw PullRefusal(.problem(.badRequest, "unknown member `\(member.name.prefix(80))`; allowed: `by`, `note`"))
    }
    let by = try text("by", json, Limits.nameBytesMax)
    return (by.isEmpty ? consumer.name : by, try text("note", json, Limits.noteBytesMax))
  }

  private func text(_ name: String, _ json: JSONValue, _ most: Int) throws(PullRefusal) -> String {
    guard let value = json[name] else { return "" }
    guard let text = value.string, text.utf8.count <= most, !text.unicodeScalars.contains(where: { $0.value < 0x20 })
    else { throw PullRequest.malformed(name, got: "\(value)", allowed: "a text of at most \(most) bytes, in one line") }
    return text
  }

  private func answer(_ outcome: AlarmReply, id: Substring, _ reply: @escaping (PullAnswer) -> Void) {
    switch outcome {
    case .done(let alarm), .already(let alarm): show(alarm) { reply(.json($0)) }
    case .pending:
      reply(
        .json(
          Array(#"{"detail":"acknowledged; the storage is behind, the record will follow"}"#.utf8), status: .accepted))
    case .unknown, .never:
      // To a restricted consumer a state that does not exist looks like one that is not its own.
      reply(
        consumer.spec.seesAllDevices
          ? .problem(.notFound, "there is no alarm state \(id.prefix(40)); /v1/alarms lists those of now")
          : Self.outside(id, consumer))
    case .forbidden: reply(Self.outside(id, consumer))
    case .outdated(let alarm):
      reply(
        .problem(
          .conflict,
          "state \(id) of \(alarm.name) is over: it is \(alarm.event.state.word) now; look at state \(alarm.sequence)",
          members: [("id", "\(alarm.sequence)"), ("state", alarm.event.state.word)]))
    case .held(let alarm):
      reply(
        .problem(
          .conflict, "\(alarm.name) is \(alarm.event.state.word): that must end before it can be acknowledged",
          members: [("id", "\(alarm.sequence)"), ("state", alarm.event.state.word)]))
    case .unavailable(let why): reply(.tryLater(.serviceUnavailable, why, afterSeconds: 5))
    }
  }

  private static func outside(_ id: Substring, _ consumer: Consumer) -> PullAnswer {
    .problem(
      .forbidden, "alarm state \(id.prefix(40)) is outside the scope of \(consumer.name); /v1/alarms lists yours")
  }

  private func show(_ alarm: StoredAlarm, _ completion: @escaping ([UInt8]) -> Void) {
    desk.timeline(of: [alarm.epoch]) { timeline in
      desk.shelf.views([alarm.catalogueVersion]) { views in
        var writer = JSONWriter()
        if let view = views[alarm.catalogueVersion], view.catalogue.alarms.indices.contains(Int(alarm.event.alarm)) {
          let scope = view.scope(of: consumer)
          RecordWriter(catalogue: view.catalogue, timeline: timeline, pseudonymKey: nil).write(
            alarm.stored, allows: scope.allows(series:), into: &writer)
        } else {
          writer.object { $0.member("id", "\(alarm.sequence)") }
        }
        completion(writer.bytes)
      }
    }
  }
}
