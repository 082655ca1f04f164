// `kerb consumer add`, `remove` and `rotate`: each changes one file, whole or not at all, and has the running agent
// reload.

import ArgumentParser
import FieldBus
import Gateway
import Glibc
import Store
import StreamCore

struct ConsumerAdd: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "add",
    abstract: "Let a platform in: makes its token, writes conf.d/consumer-NAME.toml.",
    discussion: """
      The token is printed once; the box keeps nothing but its hash. Without a scope the platform sees everything but
      personal data. A running agent lets it in at once.

      Example:
        kerb consumer add water-bureau --kind manhole-cover --kind hydrant
        kerb consumer add gate-office --device gate-1 --personal pseudonym --json
      """)

  @OptionGroup var files: ConfigurationOptions

  @Argument(help: ArgumentHelp("Its name.", valueName: "NAME"))
  var name: String

  @Option(help: ArgumentHelp("It sees devices of this kind; more than one may be given.", valueName: "KIND"))
  var kind: [String] = []

  @Option(help: ArgumentHelp("It sees this device; more than one may be given.", valueName: "DEVICE"))
  var device: [String] = []

  @Option(help: ArgumentHelp("It sees this point («point» or «device/point»).", valueName: "POINT"))
  var point: [String] = []

  @Option(help: ArgumentHelp("It gets this lane: alarms or telemetry.", valueName: "LANE"))
  var lane: [String] = []

  @Option(help: ArgumentHelp("It gets alarms from this severity on.", valueName: "SEVERITY"))
  var minSeverity: String?

  @Option(help: ArgumentHelp("Personal data: omit, or pseudonym.", valueName: "HOW"))
  var personal: String?

  @Option(help: ArgumentHelp("Whose progress /metrics shows it: own, or all.", valueName: "WHOSE"))
  var metrics: String?

  @Flag(help: "It may command points whose profile says write = \"upstream\" (POST /v1/commands).")
  var commands = false

  @Flag(help: "One JSON object: name, token, file, in_force.")
  var json = false

  private var folder: String { "\(files.folder)/conf.d" }
  private var path: String { "\(folder)/consumer-\(name).toml" }

  func run() throws {
    if let problem = nameProblem(name) {
      throw CommandFailure("\(Messages.text(.consumerBadName, name)) \(problem)", exitCode: CommandFailure.usage)
    }
    let configuration = try files.read()
    if let other = (configuration.consumers + configuration.pushes.map(\.consumer)).first(where: { $0.name == name })
    {
      let place = "\(other.place.file):\(other.place.line)"
      throw CommandFailure(Messages.text(.consumerExists, name, place), exitCode: CommandFailure.usage)
    }
    let (token, hash) = try newToken()
    let text = contents(hash: hash)
    try verify(text)
    let change = TokenChange(name: name, token: token, path: path, json: json)
    try letIn(text, change)
    change.tell(.consumerAdded, files)
    if !json { complain(Messages.text(.consumerTry, tryLine(configuration))) }
  }

  private func contents(hash: String) -> String {
    func list(_ key: String, _ values: [String]) -> String {
      values.isEmpty ? "" : "\(key) = [\(values.map(quoted).joined(separator: ", "))]\n"
    }
    var text = "[[consumer]]\nname = \(quoted(name))\ntoken_sha256 = \(quoted(hash))\n"
    text += list("kinds", kind) + list("devices", device) + list("points", point) + list("lanes", lane)
    if let minSeverity { text += "min_severity = \(quoted(minSeverity))\n" }
    if let personal { text += "personal = \(quoted(personal))\n" }
    if let metrics { text += "metrics = \(quoted(metrics))\n" }
    if commands { text += "commands = true\n" }
    return text
  }

  /// A TOML basic string has JSON's escapes.
  private func quoted(_ text: String) -> String {
    var writer = JSONWriter()
    writer.string(text)
    return String(decoding: writer.bytes, as: UTF8.self)
  }

  /// With the new file the configuration must still be right.
  private func verify(_ text: String) throws {
    let diagnostics = Diagnostics()
    if let table = TomlFile.parse(text, file: path, into: diagnostics) {
      let draft = ConfigurationReader.Draft(name: "consumer-\(name).toml", table: table)
      if files.read(into: diagnostics, draft: draft) != nil { return }
    }
    for diagnostic in diagnostics.sorted { complain("\(diagnostic.key): \(diagnostic.message)") }
    throw CommandFailure(Messages.text(.wrongConfiguration, "\(diagnostics.count)"), exitCode: CommandFailure.usage)
  }

  /// Never over a file that exists; readable by whoever reads the configuration, and by nobody else. Whatever fails
  /// leaves nothing behind.
  private func letIn(_ text: String, _ change: TokenChange) throws(CommandFailure) {
    let isNewFolder = mkdir(folder, 0o755) == 0
    if !isNewFolder, errno != EEXIST { throw CommandFailure(cannotWrite: folder, errno) }
    do throws(CommandFailure) {
      if access(folder, W_OK) != 0 { throw CommandFailure(cannotWrite: folder, errno) }
      var facts = stat()
      if lstat(path, &facts) == 0 { throw taken }
      let draft = try drafted(Array(text.utf8), for: path, mode: 0o640)
      defer { draft.drop() }
      if stat(files.path, &facts) == 0 { _ = chown(draft.draftPath, uid_t.max, facts.st_gid) }
      chmod(draft.draftPath, 0o640)
      try change.handOver()
      let code = draft.putWhereNothingIs()
      if code != 0 { throw change.isVoid(code == EEXIST ? taken : CommandFailure(cannotWrite: path, code)) }
    } catch {
      if isNewFolder { rmdir(folder) }
      throw error
    }
  }

  private var taken: CommandFailure {
    CommandFailure(Messages.text(.consumerExists, name, path), exitCode: CommandFailure.usage)
  }

  private func tryLine(_ configuration: Configuration) -> String {
    let header = "-H \"Authorization: Bearer $TOKEN\""
    for address in configuration.listen {
      switch address {
      case .tcp: return "curl \(header) http://\(address.text)/v1/batches"
      case .tls: return "curl \(header) \(address.text)/v1/batches"
      case .unix(let path): return "curl --unix-socket \(path) \(header) http://box/v1/batches"
      }
    }
    return "curl \(header) …"
  }
}

struct ConsumerRemove: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "remove",
    abstract: "Shut a platform out: its token is nobody's from now on.",
    discussion: """
      Takes it out of the file that it stands in, which goes if nothing else is there. The store keeps how far it had
      come: added again under the same name it goes on there, and what was evicted in between comes as a gap.

      Example:
        kerb consumer remove water-bureau
      """)

  @OptionGroup var files: ConfigurationOptions

  @Argument(help: ArgumentHelp("Its name.", valueName: "NAME"))
  var name: String

  @Flag(help: "One JSON object: name, file, in_force.")
  var json = false

  func run() throws {
    let consumer = try consumer(name, of: files)
    let path = consumer.place.file
    let lines = try ConsumerFile.lines(path)
    let rest = try ConsumerFile(consumer, lines: lines).without()
    if rest.allSatisfy({ $0.isBlankOrComment }) {
      if unlink(path) != 0 { throw CommandFailure(cannotWrite: path, errno) }
    } else {
      try replace(path, Array(rest.joined(separator: "\n").utf8))
    }
    if json { return showChange(of: name, file: path, isInForce: reload(files)) }
    complain(Messages.text(.consumerRemoved, name, path))
    sayWhen(files)
    if ConsumerFile.isCommissioned(path) {
      complain(
        Phrase(
          "It comes back when the box is commissioned again by a file that names it: take it out of there, too",
          "若再次用含有它的文件开通，它会恢复：请同时从该文件中删除")())
    }
  }
}

struct ConsumerRotate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rotate",
    abstract: "Give a platform another token, or other pseudonyms; the old ones are nobody's from now on.",
    discussion: """
      The new token is printed once. Scope and cursor stay. With --pseudonyms the token stays, and every card has
      another pseudonym for this platform from now on, also in records from before that it asks for again.

      Example:
        kerb consumer rotate water-bureau > token
        kerb consumer rotate gate-office --pseudonyms
      """)

  @OptionGroup var files: ConfigurationOptions

  @Argument(help: ArgumentHelp("Its name.", valueName: "NAME"))
  var name: String

  @Flag(help: "One JSON object: name, token, file, in_force.")
  var json = false

  @Flag(help: "Other pseudonyms instead of another token.")
  var pseudonyms = false

  func run() throws {
    let consumer = try consumer(name, of: files)
    let path = consumer.place.file
    if pseudonyms { return try otherPseudonyms(consumer) }
    let (token, hash) = try newToken()
    let text: String
    do { text = try TextFile.read(path, bytesMax: Limits.configurationBytesMax) } catch {
      throw CommandFailure("\(path): \(error.message)", exitCode: CommandFailure.inputOutput)
    }
    // The hash as it is written there, in whichever letters; it stands once, or the configuration were wrong.
    let parts = text.lowercased().split(separator: consumer.tokenSHA256, omittingEmptySubsequences: false)
    let bytes = Array(text.utf8)
    guard parts.count == 2, text.utf8.count == text.lowercased().utf8.count else {
      throw CommandFailure(Messages.text(.consumerElsewhere, name, path), exitCode: CommandFailure.usage)
    }
    let at = parts[0].utf8.count
    let fresh = Array(bytes[..<at]) + Array(hash.utf8) + Array(bytes[(at + hash.utf8.count)...])
    let change = TokenChange(name: name, token: token, path: path, json: json)
    let draft = try replacement(path, fresh)
    defer { draft.drop() }
    try change.handOver()
    do throws(CommandFailure) { try put(draft, at: path) } catch { throw change.isVoid(error) }
    change.tell(.consumerRotated, files)
    if !json, ConsumerFile.isCommissioned(path) {
      complain(
        Phrase(
          "Commissioning by a file that names it brings the old token back: write there token_sha256 = \"{0}\"",
          "若再次用含有它的文件开通，旧令牌会恢复：请在该文件中写 token_sha256 = \"{0}\"")(hash))
    }
  }

  /// One more than before, in the line that says it, or in one behind the token's.
  private func otherPseudonyms(_ consumer: ConsumerSpec) throws {
    let path = consumer.place.file
    let text: String
    do { text = try TextFile.read(path, bytesMax: Limits.configurationBytesMax) } catch {
      throw CommandFailure("\(path): \(error.message)", exitCode: CommandFailure.inputOutput)
    }
    var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    let key = "pseudonym_key = \(consumer.pseudonymKey + 1)"
    let own = lines.indices.filter { $0 + 1 > consumer.place.line }
    let end = own.first { lines[$0].trimmed.hasPrefix("[") } ?? lines.count
    if let said = own.first(where: { $0 < end && lines[$0].trimmed.hasPrefix("pseudonym_key") }) {
      lines[said] = key
    } else if let token = own.first(where: { $0 < end && lines[$0].trimmed.hasPrefix("token_sha256") }) {
      lines.insert(key, at: token + 1)
    } else {
      throw CommandFailure(Messages.text(.consumerElsewhere, name, path), exitCode: CommandFailure.usage)
    }
    try replace(path, Array(lines.joined(separator: "\n").utf8))
    if json { return showChange(of: name, file: path, isInForce: reload(files)) }
    complain(Messages.text(.consumerOtherPseudonyms, name, path))
    sayWhen(files)
  }
}

// MARK: What they share

/// Written beside it, then renamed; owner and mode stay.
private func replace(_ path: String, _ bytes: [UInt8]) throws(CommandFailure) {
  try put(replacement(path, bytes), at: path)
}

private func replacement(_ path: String, _ bytes: [UInt8]) throws(CommandFailure) -> FileDraft {
  var facts = stat()
  guard stat(path, &facts) == 0 else { throw CommandFailure(cannotWrite: path, errno) }
  // Of a link the file that it points at.
  let place = TextFile.resolved(path) ?? path
  let draft = try drafted(bytes, for: place, mode: facts.st_mode & 0o777)
  _ = chown(draft.draftPath, facts.st_uid, facts.st_gid)
  chmod(draft.draftPath, facts.st_mode & 0o777)
  return draft
}

private func drafted(_ bytes: [UInt8], for path: String, mode: mode_t) throws(CommandFailure) -> FileDraft {
  do throws(FileProblem) { return try FileDraft(bytes, for: path, mode: mode) } catch {
    throw CommandFailure("\(path): \(error.message)", exitCode: CommandFailure.inputOutput)
  }
}

private func put(_ draft: FileDraft, at path: String) throws(CommandFailure) {
  do throws(FileProblem) { try draft.put() } catch {
    throw CommandFailure("\(path): \(error.message)", exitCode: CommandFailure.inputOutput)
  }
}

private func consumer(_ name: String, of files: ConfigurationOptions) throws(CommandFailure) -> ConsumerSpec {
  let configuration = try files.read()
  let consumers = configuration.consumers
  if let found = consumers.first(where: { $0.name == name }) { return found }
  if let push = configuration.pushes.first(where: { $0.consumer.name == name })?.consumer {
    let place = "\(push.place.file):\(push.place.line)"
    throw CommandFailure(
      Phrase(
        "{0} is a push, and has no token here: to end it take its [[push]] out of {1}, then run `kerb reload`",
        "{0} 是推送，此处没有令牌：若要停止，请从 {1} 中删除其 [[push]]，再执行 `kerb reload`")(name, place),
      exitCode: CommandFailure.usage)
  }
  let near = nearestMatch(to: name, among: consumers.map(\.name)).map { " (\($0)?)" } ?? ""
  throw CommandFailure(Messages.text(.consumerUnknown, name, near), exitCode: CommandFailure.usage)
}

/// 256 random bits for the platform, their hash for the box.
private func newToken() throws(CommandFailure) -> (token: String, hash: String) {
  guard let secret = Sodium.randomBytes(32) else {
    throw CommandFailure(Messages.text(.noRandomness), exitCode: CommandFailure.inputOutput)
  }
  let token = Sodium.base64URL(secret)
  return (token, Hexadecimal.text(Sodium.sha256(Array(token.utf8))))
}

private func showChange(of name: String, file: String, isInForce: Bool) {
  show(
    JSONValue.object([
      JSONMember(name: "name", value: .string(name)), JSONMember(name: "file", value: .string(file)),
      JSONMember(name: "in_force", value: .bool(isInForce)),
    ]))
}

/// True: a running agent has taken it over.
func reload(_ files: ConfigurationOptions) -> Bool {
  (try? Agent(options: files).ask("reload")) != nil
}

func sayWhen(_ files: ConfigurationOptions) {
  complain(Messages.text(reload(files) ? .consumerInForce : .consumerRestart))
}
