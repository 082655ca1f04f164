// `kerb alarms`, `kerb ack`, `kerb shelve` and what belongs to them: lists what the agent knows of alarms,
// and tells it what a person wants done.

import ArgumentParser
import FieldBus
import Gateway
import Glibc
import StreamCore

struct Alarms: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "alarms",
    abstract: "The alarms that are active, or others; takes one out of service.",
    discussion: """
      Example:
        kerb alarms
        kerb alarms --history --json
        kerb alarms out-of-service hydrant-02/pressure-low --note "sensor is away for repair"
      """,
    subcommands: [AlarmList.self, OutOfService.self, InService.self], defaultSubcommand: AlarmList.self)
}

struct AlarmList: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "The alarms that are active, or others.",
    discussion: """
      Example:
        kerb alarms --shelved
        kerb alarms --history --json
      """)

  enum Which: String, EnumerableFlag {
    case active, unacknowledged, shelved, outOfService, suppressed, history, all

    static func help(for which: Which) -> ArgumentHelp? {
      switch which {
      case .active: "Those whose condition holds."
      case .unacknowledged: "Those that wait for somebody."
      case .shelved: "Those that somebody has put aside, and until when."
      case .outOfService: "Those that somebody has taken out of service."
      case .suppressed: "Those that another alarm explains."
      case .history: "What happened last, the newest at the end."
      case .all: "All that ever changed."
      }
    }
  }

  @OptionGroup var files: ConfigurationOptions

  @Flag var which: Which = .active

  @Flag(help: "A JSON array; docs/cli.md lists the keys.")
  var json = false

  func run() throws {
    let agent = Agent(options: files)
    let alarms: JSONValue
    switch which {
    case .history: alarms = try agent.ask("alarm_log")
    case .outOfService: alarms = try agent.ask("alarms", [("state", "out-of-service")])
    default: alarms = try agent.ask("alarms", [("state", which.rawValue)])
    }
    if json { return show(alarms) }
    let listed = alarms.array ?? []
    if listed.isEmpty { return show(Messages.text(.noAlarms)) }
    for alarm in listed { show(Self.lines(alarm, isHistory: which == .history)) }
  }

  static func lines(_ alarm: JSONValue, isHistory: Bool) -> [String] {
    let severity = alarm["severity"]?.string ?? ""
    let isActive = alarm["active"]?.bool == true
    let colour: Colour = !isActive ? .plain : severity == "critical" || severity == "major" ? .red : .yellow
    let name = (alarm["n"]?.string ?? "").split(separator: "/").dropFirst().joined(separator: "/")
    let what = (isHistory ? alarm["event"] : alarm["state"])?.string ?? ""
    let marks = ["suppressed", "flood"].filter { alarm[$0]?.bool == true }.map { " (\($0))" }.joined()
    let message = alarm["message"]?[Language.current.code]?.string ?? alarm["message"]?["en"]?.string
    var lines = ["\(time(alarm, "t"))  \(colour.apply(severity))  \(name)  \(what)\(marks)"]
    if let message, !message.isEmpty { lines.append("  \(Table.cut(message, to: Table.widthMax - 2))") }
    if let until = alarm["until"]?.double { lines.append("  " + shelf(until, alarm)) }
    let said = [alarm["by"]?.string, alarm["note"]?.string].compactMap { $0 }.joined(separator: ": ")
    if !said.isEmpty { lines.append("  \(Table.cut(said, to: Table.widthMax - 2))") }
    return lines
  }

  private static func shelf(_ until: Double, _ alarm: JSONValue) -> String {
    guard alarm["unsynchronised"]?.bool == true, until >= 0 else {
      return Messages.text(.shelvedUntil, time(alarm, "until"))
    }
    return Messages.text(.shelvedFor, Shown.span(seconds: until))
  }

  /// A relative time is seconds from now; an older start's without a clock is not known.
  private static func time(_ alarm: JSONValue, _ key: String) -> String {
    guard let seconds = alarm[key]?.double else { return "-" }
    guard alarm["unsynchronised"]?.bool == true else { return Shown.time(unix: seconds) }
    return "-\(Shown.span(seconds: -seconds))"
  }
}

/// Who does it, and why: part of what is kept and sent upstream.
struct AlarmOrderOptions: ParsableArguments {
  @OptionGroup var files: ConfigurationOptions

  @Argument(
    help: ArgumentHelp("Its name, such as manhole-17/cover-open, or the id of a state.", valueName: "ALARM"))
  var alarm: String

  @Option(help: ArgumentHelp("Who does it; left out: who is logged in.", valueName: "NAME"))
  var by: String?

  @Option(help: ArgumentHelp("What the others should know, at most \(Limits.noteBytesMax) bytes.", valueName: "TEXT"))
  var note: String?

  @Flag(help: "One JSON object: alarm, id, state, changed.")
  var json = false

  func give(_ method: String, _ more: [(String, String)] = []) throws {
    var parameters = [("alarm", alarm), ("by", by ?? Self.user)]
    if let note { parameters.append(("note", note)) }
    let answer = try Agent(options: files).ask(method, parameters + more)
    if json { return show(answer) }
    let name = answer["alarm"]?.string ?? alarm
    if method == "ack", answer["changed"]?.bool != true, answer["state"]?.string == AlarmState.normal.word {
      return show(Self.nothingToAcknowledge(name))
    }
    let message: Message = answer["changed"]?.bool == true ? .alarmChanged : .alarmWasSo
    show(Messages.text(message, name, answer["state"]?.string ?? ""))
  }

  private static let nothingToAcknowledge = Phrase(
    "{0} does not stand now: there is nothing to acknowledge", "{0} 当前未触发：无需确认")

  /// Behind sudo the one who typed it.
  private static var user: String {
    for name in ["SUDO_USER", "USER", "LOGNAME"] {
      if let found = getenv(name), found.pointee != 0 { return String(String(cString: found).prefix(32)) }
    }
    return "uid \(getuid())"
  }
}

struct Acknowledge: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ack",
    abstract: "Acknowledge an alarm: somebody knows of it.",
    discussion: """
      With the id of a state it is refused if the alarm has changed since.

      Example:
        kerb ack manhole-17/cover-open --by Zhang --note "on my way"
        kerb ack 1042
      """)

  @OptionGroup var order: AlarmOrderOptions

  func run() throws { try order.give("ack") }
}

struct Shelve: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "shelve",
    abstract: "Put an alarm aside for a while: it is kept, and calls nobody.",
    discussion: """
      Example:
        kerb shelve hydrant-02/pressure-low --for 2h --note "valve is being changed"
      """)

  @OptionGroup var order: AlarmOrderOptions

  @Option(name: .customLong("for"), help: ArgumentHelp("How long: 30m, 2h, up to 7d.", valueName: "TIME"))
  var span: String

  func run() throws {
    guard let spanNs = parseDuration(span), (1_000_000_000...Limits.shelfNsMax).contains(spanNs) else {
      throw CommandFailure(Messages.text(.badShelf, span), exitCode: CommandFailure.usage)
    }
    try order.give("shelve", [("seconds", "\(spanNs / 1_000_000_000)")])
  }
}

struct Unshelve: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unshelve",
    abstract: "End a shelving before its time.",
    discussion: """
      Example:
        kerb unshelve hydrant-02/pressure-low
      """)

  @OptionGroup var order: AlarmOrderOptions

  func run() throws { try order.give("unshelve") }
}

struct OutOfService: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "out-of-service",
    abstract: "Take an alarm out of service until it is put back.",
    discussion: """
      Example:
        kerb alarms out-of-service gas-1/leak --note "sensor is away for calibration"
      """)

  @OptionGroup var order: AlarmOrderOptions

  func run() throws { try order.give("out_of_service") }
}

struct InService: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "in-service",
    abstract: "Put an alarm back into service.",
    discussion: """
      Example:
        kerb alarms in-service gas-1/leak
      """)

  @OptionGroup var order: AlarmOrderOptions

  func run() throws { try order.give("in_service") }
}
