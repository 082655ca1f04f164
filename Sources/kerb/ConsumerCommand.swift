// `kerb consumer`: who may pull. A consumer is a file of its own in conf.d; its token is shown once and kept as a
// hash.

import ArgumentParser
import FieldBus
import Gateway
import Glibc

struct ConsumerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "consumer",
    abstract: "The platforms that may pull: add one, list them.",
    subcommands: [ConsumerAdd.self, ConsumerList.self])
}

struct ConsumerAdd: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "add",
    abstract: "Let a platform in: makes its token, writes conf.d/consumer-NAME.toml.",
    discussion: """
      The token is printed once; the box keeps nothing but its hash. Without a scope the platform sees everything but
      personal data.

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

  @Flag(help: "One JSON object: name, token, file.")
  var json = false

  private var folder: String { "\(files.folder)/conf.d" }
  private var path: String { "\(folder)/consumer-\(name).toml" }

  func run() throws {
    if let problem = nameProblem(name) {
      throw CommandFailure("\(Messages.text(.consumerBadName, name)) \(problem)", exitCode: CommandFailure.usage)
    }
    let configuration = try files.read()
    if let other = configuration.consumers.first(where: { $0.name == name }) {
      let place = "\(other.place.file):\(other.place.line)"
      throw CommandFailure(Messages.text(.consumerExists, name, place), exitCode: CommandFailure.usage)
    }
    guard let secret = Sodium.randomBytes(32) else {
      throw CommandFailure(Messages.text(.noRandomness), exitCode: CommandFailure.inputOutput)
    }
    let token = Sodium.base64URL(secret)
    try write(contents(hash: Hexadecimal.text(Sodium.sha256(Array(token.utf8)))))
    try verify()
    report(token, configuration)
  }

  private func contents(hash: String) -> String {
    func list(_ key: String, _ values: [String]) -> String {
      values.isEmpty ? "" : "\(key) = [\(values.map(quoted).joined(separator: ", "))]\n"
    }
    var text = "[[consumer]]\nname = \(quoted(name))\ntoken_sha256 = \(quoted(hash))\n"
    text += list("kinds", kind) + list("devices", device) + list("points", point) + list("lanes", lane)
    if let minSeverity { text += "min_severity = \(quoted(minSeverity))\n" }
    if let personal { text += "personal = \(quoted(personal))\n" }
    return text
  }

  /// A TOML basic string has JSON's escapes.
  private func quoted(_ text: String) -> String {
    var writer = JSONWriter()
    writer.string(text)
    return String(decoding: writer.bytes, as: UTF8.self)
  }

  /// Never over a file that exists; readable by whoever reads the configuration, and by nobody else.
  private func write(_ text: String) throws {
    if mkdir(folder, 0o755) != 0, errno != EEXIST { throw refused(errno, folder) }
    let fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o640)
    if fd < 0 {
      let code = errno
      if code == EEXIST {
        throw CommandFailure(Messages.text(.consumerExists, name, path), exitCode: CommandFailure.usage)
      }
      throw refused(code, path)
    }
    defer { close(fd) }
    var facts = stat()
    if stat(files.path, &facts) == 0 { _ = fchown(fd, uid_t.max, facts.st_gid) }
    fchmod(fd, 0o640)
    let bytes = Array(text.utf8)
    guard Glibc.write(fd, bytes, bytes.count) == bytes.count, fsync(fd) == 0 else {
      let code = errno
      unlink(path)
      throw refused(code, path)
    }
  }

  private func refused(_ code: Int32, _ path: String) -> CommandFailure {
    let isForbidden = code == EACCES || code == EPERM || code == EROFS
    return CommandFailure(
      Messages.text(.cannotWrite, path, String(cString: strerror(code))),
      exitCode: isForbidden ? CommandFailure.permission : CommandFailure.inputOutput)
  }

  /// With the new file the configuration must still be right; otherwise it goes again.
  private func verify() throws {
    let diagnostics = Diagnostics()
    if files.read(into: diagnostics) != nil { return }
    unlink(path)
    for diagnostic in diagnostics.sorted { complain("\(diagnostic.key): \(diagnostic.message)") }
    throw CommandFailure(Messages.text(.wrongConfiguration, "\(diagnostics.count)"), exitCode: CommandFailure.usage)
  }

  private func report(_ token: String, _ configuration: Configuration) {
    if json {
      show(
        JSONValue.object([
          JSONMember(name: "name", value: .string(name)), JSONMember(name: "token", value: .string(token)),
          JSONMember(name: "file", value: .string(path)),
        ]))
      return
    }
    // What is not the token goes to stderr: `kerb consumer add x > token` has the token alone.
    complain(Messages.text(.consumerAdded, name, path))
    complain(Messages.text(.consumerToken))
    show(token)
    complain(Messages.text(.consumerRestart))
    complain(Messages.text(.consumerTry, tryLine(configuration)))
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

struct ConsumerList: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "The consumers of the configuration and what each may see.",
    discussion: """
      How far each has come is in `kerb status`.

      Example:
        kerb consumer list --json
      """)

  @OptionGroup var files: ConfigurationOptions

  @Flag(help: "A JSON array: name, file, devices, kinds, labels, points, lanes, min_severity, personal.")
  var json = false

  func run() throws {
    let consumers = try files.read().consumers
    if json { return showJSON(consumers) }
    if consumers.isEmpty { return show(Messages.text(.noConsumers)) }
    var table = Table(Messages.columns(.consumerListHead))
    for consumer in consumers {
      let labels = consumer.labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
      let scope = consumer.devices + consumer.kinds + labels + consumer.points
      table.rows.append([
        Cell(consumer.name), Cell(scope.isEmpty ? Messages.text(.all) : scope.joined(separator: " ")),
        Cell(consumer.lanes.map(\.name).joined(separator: " ")), Cell(consumer.severityMin.word),
        Cell(consumer.personal.rawValue),
      ])
    }
    show(table.lines())
  }

  private func showJSON(_ consumers: [ConsumerSpec]) {
    var writer = JSONWriter()
    writer.array { list in
      for consumer in consumers {
        list.object { entry in
          func strings(_ key: String, _ values: [String]) {
            entry.key(key)
            entry.array { for value in values { $0.string(value) } }
          }
          entry.member("name", consumer.name)
          entry.member("file", consumer.place.file)
          strings("devices", consumer.devices)
          strings("kinds", consumer.kinds)
          entry.key("labels")
          entry.object { for key in consumer.labels.keys.sorted() { $0.member(key, consumer.labels[key] ?? "") } }
          strings("points", consumer.points)
          strings("lanes", consumer.lanes.map(\.name))
          entry.member("min_severity", consumer.severityMin.word)
          entry.member("personal", consumer.personal.rawValue)
        }
      }
    }
    print(String(decoding: writer.bytes, as: UTF8.self))
  }
}
