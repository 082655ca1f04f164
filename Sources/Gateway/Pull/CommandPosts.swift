// POST /v1/commands: a platform writes a point. Lives on the event loop, for one request.
//
// Invariant: a consumer without the right learns nothing but that it has none; one with a scope can't tell what lies
// outside of it from what does not exist.

import FieldBus
import NIOHTTP1
import StreamCore

struct CommandPosts {
  let desk: PullDesk
  let consumer: Consumer

  static let path = "/v1/commands"
  private static let shape = #"send {"device":…,"point":…,"value":…}"#
  private static let keyHeader = "idempotency-key"

  private struct Wish {
    var device: String
    var point: String
    var value: JSONValue
    /// The same for the same command.
    var print: [UInt8] { Sodium.sha256(Array("\(device)\u{0}\(point)\u{0}\(value)".utf8)) }
  }

  func give(_ request: PullRequest, _ reply: @escaping (PullAnswer) -> Void) throws(PullRefusal) {
    guard request.method == .POST else {
      throw PullRefusal(
        .problem(.methodNotAllowed, "\(Self.path) takes a command; use POST", headers: [("Allow", "POST")]))
    }
    guard consumer.spec.commands else {
      desk.refusals.note(.forbidden, peer: request.peer, consumer: consumer.name, at: desk.now())
      throw PullRefusal(
        .problem(.forbidden, "\(consumer.name) may not give commands; `commands = true` in its [[consumer]] lets it"))
    }
    _ = try request.arguments()
    let key = try key(request)
    let wish = try wish(request)
    let name = consumer.name
    if let key {
      switch desk.commandBook.known(key, wish.print, of: name, at: desk.now()) {
      case .new: break
      case .answered(var answer):
        answer.headers.append(("Idempotency-Replayed", "true"))
        return reply(answer)
      case .underWay:
        throw PullRefusal(.problem(.conflict, "the command with this key is under way; ask again for what came of it"))
      case .another:
        throw PullRefusal(
          .problem(.unprocessableEntity, "this key stands for another command; give every command a key of its own"))
      }
    }
    guard desk.commandBook.admits(name, at: desk.now()) else {
      desk.refusals.note(.commandsTooOften, peer: request.peer, consumer: name, at: desk.now())
      let text = "more than \(Limits.commandsPerSecondMax) command a second (\(Limits.commandsBurstMax) at once)"
      throw PullRefusal(.tryLater(.tooManyRequests, text, afterSeconds: 2))
    }
    if let key { desk.commandBook.begin(key, wish.print, of: name, at: desk.now()) }
    let order = CommandClerk.Order(
      consumer: name, peer: request.peer, device: wish.device, point: wish.point, value: wish.value.commandText)
    let scope = desk.shelf.present.scope(of: consumer)
    desk.commands.carryOut(order, allows: scope.allows(series:)) { outcome in
      let (answer, result) = answer(outcome, wish)
      desk.traffic.commanded(name, result)
      // What has changed nothing may be tried again under the same key.
      if let key { desk.commandBook.end(key, of: name, with: result.mayHaveChanged ? answer : nil) }
      reply(answer)
    }
  }

  // MARK: What is asked

  /// The draft «The Idempotency-Key HTTP Header Field»: a string in quotes; taken without them, too.
  private func key(_ request: PullRequest) throws(PullRefusal) -> String? {
    let given = request.headers[Self.keyHeader]
    guard let first = given.first else { return nil }
    var key = first[...]
    if key.count >= 2, key.first == "\"", key.last == "\"" { key = key.dropFirst().dropLast() }
    guard given.count == 1, (1...Limits.commandKeyBytesMax).contains(key.utf8.count),
      key.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") })
    else {
      throw PullRequest.malformed(
        "Idempotency-Key", got: String(first),
        allowed: "one key of 1 to \(Limits.commandKeyBytesMax) visible ASCII characters, for example a UUID")
    }
    return String(key)
  }

  private func wish(_ request: PullRequest) throws(PullRefusal) -> Wish {
    let json = try request.json(Self.shape)
    guard let members = json.members else {
      throw PullRefusal(.problem(.badRequest, "the body is not a JSON object; \(Self.shape)"))
    }
    for member in members where !["device", "point", "value"].contains(member.name) {
      throw PullRefusal(
        .problem(.badRequest, "unknown member `\(member.name.prefix(80))`; allowed: `device`, `point`, `value`"))
    }
    let value = json["value"] ?? .null
    switch value {
    case .bool, .integer, .unsigned, .number, .string: break
    default: throw PullRequest.malformed("value", got: "", allowed: "a number, true or false, or a text")
    }
    let text = value.commandText
    guard (1...Limits.commandValueBytesMax).contains(text.utf8.count),
      text.unicodeScalars.allSatisfy({ $0.value >= 0x20 })
    else {
      throw PullRequest.malformed(
        "value", got: text, allowed: "at most \(Limits.commandValueBytesMax) bytes, in one line")
    }
    return Wish(device: try name("device", json), point: try name("point", json), value: value)
  }

  private func name(_ member: String, _ json: JSONValue) throws(PullRefusal) -> String {
    guard let text = json[member]?.string, (1...Limits.nameBytesMax).contains(text.utf8.count) else {
      throw PullRequest.malformed(
        member, got: json[member]?.string ?? "", allowed: "its name, as /v1/schema has it")
    }
    return text
  }

  // MARK: What came of it

  private func answer(_ reply: CommandClerk.Reply, _ wish: Wish) -> (PullAnswer, CommandResult) {
    let name = "\(wish.device.prefix(80))/\(wish.point.prefix(80))"
    switch reply {
    case .done(let change, let series, let isLogged): return done(change, series, isLogged, wish)
    case .unknown:
      let isOpen = consumer.spec.seesAllDevices
      let detail =
        isOpen
        ? "there is no \(name); /v1/schema lists the points"
        : "\(name) is outside the scope of \(consumer.name); /v1/schema lists yours"
      return (.problem(isOpen ? .notFound : .forbidden, detail), .refused)
    case .notWritable:
      let detail = "\(name) takes no commands: its profile does not say write = \"upstream\""
      return (.problem(.forbidden, detail), .refused)
    case .unavailable(let why):
      return (.tryLater(.serviceUnavailable, "\(why); nothing was written, try again", afterSeconds: 5), .failed)
    case .failed(let problem): return failed(problem, name)
    }
  }

  /// Nothing was written.
  private func failed(_ problem: PointProblem, _ name: String) -> (PullAnswer, CommandResult) {
    switch problem {
    case .badValue(let allowed): return (.problem(.badRequest, "`value`: \(name) takes \(allowed)"), .refused)
    case .line(.refused(let code)):
      let text = LineFailure.refused(code).text
      return (.problem(.badGateway, "\(name): \(text); nothing was written"), .failed)
    case .line(.noReply), .line(.corrupt):
      return (.problem(.gatewayTimeout, "\(name): \(problem.text); nothing was written"), .failed)
    case .line:
      return (
        .tryLater(.serviceUnavailable, "\(name): its bus can't be asked now; nothing was written", afterSeconds: 5),
        .failed
      )
    default: return (.problem(.forbidden, "\(name) \(problem.text)"), .refused)
    }
  }

  private func done(
    _ change: PointChange, _ series: CatalogueSeries, _ isLogged: Bool, _ wish: Wish
  ) -> (PullAnswer, CommandResult) {
    guard case .success(let after) = change.after else {
      let what = change.isWritten ? "it was written, and could not be read back" : "it may have been written, or not"
      return (
        .problem(
          .gatewayTimeout, "\(wish.device)/\(wish.point): \(what); read the point before you send another command",
          members: [("written", change.isWritten ? "yes" : "unknown")]), .unknown
      )
    }
    let record = RecordWriter(
      catalogue: Catalogue(), timeline: Timeline(epoch: 0, now: .zero, clocks: []), pseudonymKey: nil)
    var writer = JSONWriter()
    writer.object { root in
      root.member("device", wish.device)
      root.member("point", wish.point)
      root.key("asked")
      root.value(wish.value)
      for (key, reading) in [("before", change.before), ("after", after)] {
        root.key(key)
        root.object {
          record.writeValue(series, raw: reading.raw, text: reading.text, quality: reading.quality, into: &$0)
        }
      }
      root.member("good", change.isGood)
      root.member("logged", isLogged)
    }
    return (.json(writer.bytes), change.isGood ? .written : .differs)
  }
}

/// What became of a command, as /metrics counts it.
enum CommandResult: String, CaseIterable {
  /// What stands there is what was asked for; something else does; nobody knows.
  case written, differs, unknown
  /// Nothing was written: the device or its bus failed; it may not be.
  case failed, refused

  var mayHaveChanged: Bool { self == .written || self == .differs || self == .unknown }
}

extension JSONValue {
  /// As `kerb write` takes it.
  fileprivate var commandText: String {
    switch self {
    case .string(let text): return text
    case .bool(let truth): return truth ? "1" : "0"
    default:
      var writer = JSONWriter()
      writer.value(self)
      return String(decoding: writer.bytes, as: UTF8.self)
    }
  }
}
