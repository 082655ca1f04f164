// `kerb devices`: what the running agent knows of each device, and how it is made to forget it.

import ArgumentParser
import CLinux
import FieldBus
import Gateway
import Glibc

struct Devices: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "devices",
    abstract: "Every device: on which bus, whether it answers, how often it failed, what was learned of it.",
    discussion: """
      What is learned of a device is kept over restarts: how long it thinks, what it refuses to be asked in one
      piece, and, on a bus with silence = "learned", how short a silence it bears. After a device was exchanged for
      another, let it be learned anew with --forget. Needs root or group kerb-admin where an agent runs.

      Example:
        kerb devices
        kerb devices --json | jq '.[] | select(.state == "offline").name'
        kerb devices --forget manhole-17
      """)

  @OptionGroup var files: ConfigurationOptions

  @Option(help: ArgumentHelp("Forget what was learned of this device, or of all.", valueName: "DEVICE|all"))
  var forget: String?

  @Flag(help: "A JSON array; docs/cli.md lists the keys.")
  var json = false

  func run() throws {
    if let forget { return try showForgotten(Forgetting(files: files).forget(forget)) }
    let devices = try Agent(options: files).ask("devices")
    if json { return show(devices) }
    let all = devices.array ?? []
    guard !all.isEmpty else { return show(Messages.text(.noDevices)) }
    show(Self.answering(all).lines())
    let learned = Self.learned(all)
    if !learned.rows.isEmpty { show([""] + learned.lines()) }
  }

  private static func answering(_ devices: [JSONValue]) -> Table {
    var table = Table(Messages.columns(.devicesHead), rightAligned: [3, 6, 7])
    for device in devices {
      let state = device["state"]?.string ?? ""
      let colour: Colour = state == "online" ? .green : state == "offline" ? .red : .yellow
      let failed = ["timeouts", "crc_errors", "exceptions"].reduce(0) { $0 + (device[$1]?.integer ?? 0) }
      table.rows.append([
        Cell(device["name"]?.string ?? ""), Cell(device["kind"]?.string ?? ""), Cell(device["bus"]?.string ?? ""),
        Cell(device["address"]?.string ?? Shown.integer(device["address"])), Cell(state, colour),
        Cell(Shown.age(ms: device["age_ms"])), Cell(Shown.integer(device["good"])), Cell("\(failed)"),
      ])
    }
    return table
  }

  /// A table of its own, for both fit 80 characters. Of a device that never answered there is nothing to show.
  private static func learned(_ devices: [JSONValue]) -> Table {
    var table = Table(Messages.columns(.learnedHead), rightAligned: [1, 2, 3, 4])
    for device in devices {
      let refused = device["refused_requests"]?.integer ?? 0
      guard (device["latency_ms"]?.double ?? 0) > 0 || refused > 0 else { continue }
      table.rows.append([
        Cell(device["name"]?.string ?? ""), Cell(Shown.tenths(ms: device["latency_ms"])),
        Cell(Shown.milliseconds(device["timeout_ms"])), Cell("\(refused)"),
        Cell(Shown.tenths(ms: device["silence_ms"])),
      ])
    }
    return table
  }

  private func showForgotten(_ answer: JSONValue) {
    if json { return show(answer) }
    func names(_ key: String) -> [String] { (answer[key]?.array ?? []).compactMap(\.string) }
    for name in names("forgotten") { show(Messages.text(.forgotten, name)) }
    for name in names("planned_until_restart") { show(Messages.text(.forgottenPlan, name)) }
  }
}

/// Through the agent that polls the device, or in the file that the next one will read.
struct Forgetting {
  let files: ConfigurationOptions

  func forget(_ device: String) throws -> JSONValue {
    let agent = Agent(options: files)
    if let client = try agent.clientIfRunning() { return try agent.ask(client, "forget", [("device", device)]) }
    let configuration = try files.read()
    let known = configuration.devices.map(\.name)
    let names = device == "all" ? known : known.filter { $0 == device }
    guard !names.isEmpty else {
      throw CommandFailure(PointName.noDevice(device, configuration.devices), exitCode: CommandFailure.usage)
    }
    try checkNobodyHas(configuration.statePath)
    var file = LearnedFile(statePath: configuration.statePath)
    guard file.forget(names) else {
      throw CommandFailure(cannotWrite: "\(configuration.statePath)/learned.json", errno)
    }
    var json = JSONWriter()
    ForgottenAnswer.write(names, [], into: &json)
    do { return try JSONParser.parse(json.bytes) } catch {
      throw CommandFailure(error.text, exitCode: CommandFailure.inputOutput)
    }
  }

  /// An agent that is not reached from here would write what it knows over it.
  private func checkNobodyHas(_ state: String) throws(CommandFailure) {
    let descriptor = open("\(state)/lock", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    guard kerb_fd_flock(descriptor) != 0 else { return }
    throw CommandFailure(Messages.text(.stateHeld, state), exitCode: CommandFailure.unavailable)
  }
}
