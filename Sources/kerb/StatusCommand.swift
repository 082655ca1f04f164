// `kerb status`: the whole box on one screen.

import ArgumentParser
import Gateway
import Glibc

struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "One screen: buses, devices, alarms, buffer, consumers, memory, uptime.",
    discussion: """
      Asks the running agent over its control socket.

      Example:
        kerb status
        kerb status --json | jq .memory.private_bytes
      """)

  @OptionGroup var files: ConfigurationOptions

  @Flag(help: "One JSON object; docs/cli.md lists the keys.")
  var json = false

  func run() throws {
    let status: JSONValue
    do { status = try Agent(options: files).ask("status") } catch let failure as CommandFailure {
      // Where no agent runs, the box itself is asked why.
      if failure.exitCode == CommandFailure.unavailable { sayWhy() }
      throw failure
    }
    if json { show(status) } else { show(StatusScreen(status).lines) }
  }
}

extension Status {
  private func sayWhy() {
    if let record = CommissionRecord.read(statePath: files.statePath), !record.isGood {
      for line in StatusScreen.commission(record) { complain(line) }
    }
    // A box that nobody has set up is not wrong yet.
    guard access(files.path, F_OK) == 0 else { return }
    let doctor = Doctor(DoctorLook(files).facts())
    for finding in doctor.findings where finding.level == .wrong && !finding.code.hasPrefix("agent-") {
      let step = finding.step(in: .current).map { "\n  > \($0)" } ?? ""
      complain(Colour.red.apply("\(finding.subject): \(finding.text(in: .current))") + step)
    }
  }
}

struct StatusScreen {
  let status: JSONValue

  init(_ status: JSONValue) { self.status = status }

  var lines: [String] {
    let parts: [[String]] = [
      [head], commission, troubles, buses, [devices, points, alarms], buffer, consumers, [memory],
    ]
    return Array(parts.joined())
  }

  private var head: String {
    let clock = status["clock_synchronised"]?.bool == true
    return Messages.text(
      .headLine, status["gateway"]?.string ?? "", status["version"]?.string ?? "",
      Shown.span(seconds: status["uptime_s"]?.double ?? 0), Shown.integer(status["epoch"]),
      clock ? Messages.text(.synchronised) : Colour.yellow.apply(Messages.text(.unsynchronised)))
  }

  private var commission: [String] {
    guard let found = status["commission"], found["good"]?.bool == false else { return [] }
    return Self.commission(
      CommissionRecord(
        isGood: false, source: found["source"]?.string ?? "", digest: "", gateway: "", at: 0,
        problems: (found["problems"]?.array ?? []).compactMap(\.string)))
  }

  /// Why the last commissioning changed nothing, and what to do.
  static func commission(_ record: CommissionRecord) -> [String] {
    let head = Phrase(
      "Commissioning by {0} was refused, and changed nothing; correct it, then: kerb commission --from {0}",
      "按 {0} 开通被拒绝，未作更改；请改正后执行：kerb commission --from {0}")(record.source)
    let more = record.problems.count - 3
    let rest = more > 0 ? [Phrase("  and {0} more", "  另有 {0} 处")("\(more)")] : []
    return [Colour.red.apply(head)] + record.problems.prefix(3).map { "  \($0)" } + rest
  }

  /// What is the matter, and what to do. A port that is there and can't be used stands with its bus, and a
  /// commissioning that was refused above.
  private var troubles: [String] {
    (status["troubles"]?.array ?? []).compactMap { trouble in
      let code = trouble["code"]?.string ?? ""
      if [Trouble.portLost, Trouble.commissionRefused].contains(code) { return nil }
      return Colour.red.apply("! \(trouble[Language.current.code]?.string ?? "")")
    }
  }

  private var buses: [String] {
    var table = Table(Messages.columns(.busesHead), rightAligned: [2, 3, 4, 5, 6, 7, 8, 9])
    var troubles: [String] = []
    for bus in status["buses"]?.array ?? [] {
      let state = bus["state"]?.string ?? ""
      let colour: Colour = state == "running" ? .green : state == "lost" ? .red : .yellow
      let counts = ["good", "timeouts", "crc_errors", "exceptions", "late_replies"].map {
        Cell(Shown.integer(bus[$0]))
      }
      let name = bus["name"]?.string ?? ""
      table.rows.append(
        [
          Cell(name), Cell(state, colour), Cell(Shown.percent(bus["utilisation"]?.double ?? 0)),
          Cell(Shown.percent(bus["efficiency"]?.double ?? 0)),
          Cell("\(Int(min(bus["cycle_ms"]?.double ?? 0, 1e9)))ms"),
        ] + counts)
      if let verdict = bus["verdict"], verdict["code"]?.string != "fine" {
        troubles.append(Messages.text(.busTrouble, name, verdict[Language.current.code]?.string ?? ""))
      }
    }
    return table.lines() + troubles
  }

  private func counts(_ message: Message, _ group: String, _ keys: [String]) -> String {
    let values = keys.map { Shown.integer(status[group]?[$0]) } + ["", "", ""]
    return Messages.text(message, values[0], values[1], values[2], values[3])
  }

  private var devices: String {
    let isBad = (status["devices"]?["offline"]?.integer ?? 0) > 0
    return (isBad ? Colour.yellow : .plain).apply(counts(.devicesLine, "devices", ["online", "offline", "unknown"]))
  }
  private var points: String { counts(.pointsLine, "points", ["good", "uncertain", "bad", "stale"]) }
  private var alarms: String {
    let isBad = (status["alarms"]?["active"]?.integer ?? 0) > 0
    return (isBad ? Colour.red : .plain).apply(counts(.alarmsLine, "alarms", ["active", "unacknowledged"]))
  }

  private var buffer: [String] {
    guard let buffer = status["buffer"] else { return [] }
    let state = buffer["state"]?.string ?? ""
    let oldest = buffer["oldest"]?.double.map(Shown.time(unix:)) ?? "-"
    let line = Messages.text(
      .bufferLine, (state == "good" ? Colour.green : .red).apply(state), Shown.integer(buffer["stored"]),
      Shown.bytes(buffer["bytes"]?.integer ?? 0), Shown.bytes(buffer["capacity_bytes"]?.integer ?? 0))
    var lines = [line, Messages.text(.bufferAgeLine, oldest, Shown.integer(buffer["evicted"]))]
    if state == "silent" { lines.append(Messages.text(.storeSilent)) }
    if let failure = buffer["last_failure"]?.string { lines.append("         \(failure)") }
    return lines
  }

  private var consumers: [String] {
    let consumers = status["consumers"]?.array ?? []
    if consumers.isEmpty { return [Messages.text(.noConsumers)] }
    var table = Table(Messages.columns(.consumersHead), rightAligned: [1, 2])
    for consumer in consumers {
      let age = consumer["last_seen_age_s"]?.double.map { Shown.span(seconds: $0) } ?? Messages.text(.never)
      table.rows.append([
        Cell(consumer["name"]?.string ?? ""), Cell(Shown.integer(consumer["lag_records"])),
        Cell(Shown.integer(consumer["gaps"])), Cell(age),
      ])
    }
    return table.lines() + pushes
  }

  /// What each push does, in plain words.
  private var pushes: [String] {
    (status["consumers"]?.array ?? []).compactMap { consumer in
      guard let push = consumer["push"] else { return nil }
      let isStuck = push["needs_person"]?.bool == true
      let isDoubtful = push["state"]?.string == "waiting" || push["nobody_listens"]?.bool == true
      let colour: Colour = isStuck ? .red : isDoubtful ? .yellow : .plain
      return colour.apply(
        Messages.text(
          .pushLine, consumer["name"]?.string ?? "", push["says"]?[Language.current.code]?.string ?? ""))
    }
  }

  private var memory: String {
    let memory = status["memory"]
    return Messages.text(
      .memoryLine, Shown.bytes(memory?["private_bytes"]?.integer ?? 0),
      Shown.bytes(memory?["rss_bytes"]?.integer ?? 0),
      Shown.bytes(memory?["arena_bytes"]?.integer ?? 0), Shown.integer(status["threads"]))
  }
}
