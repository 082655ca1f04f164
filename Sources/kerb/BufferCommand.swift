// `kerb buffer`: what is held, since when and for whom; look through it, copy it, put a copy back.

import ArgumentParser
import Gateway
import Glibc
import StreamCore

struct BufferCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "buffer",
    abstract: "The buffer: what is held, for whom, what was lost; verify, backup, restore.",
    discussion: """
      Example:
        kerb buffer
        kerb buffer verify
        kerb buffer backup /mnt/usb/box-0042
      """,
    subcommands: [BufferShow.self, BufferVerify.self, BufferBackup.self, BufferRestore.self],
    defaultSubcommand: BufferShow.self)
}

/// Whoever has the store: the running agent, or this process.
struct BufferHolder {
  private let agent: Agent
  private let client: ControlClient?
  private let store: BufferAtRest?
  var isRunning: Bool { client != nil }

  init(_ files: ConfigurationOptions) throws {
    agent = Agent(options: files)
    client = try agent.clientIfRunning()
    store = client == nil ? try BufferHolder.atRest(files) : nil
  }

  private static func atRest(_ files: ConfigurationOptions) throws -> BufferAtRest {
    let configuration = try files.read(enforcesMemoryLimit: false)
    do throws(ControlFailure) { return try BufferAtRest(configuration) } catch { throw CommandFailure(error, files) }
  }

  func ask(_ method: String, _ parameters: [(String, String)] = []) throws -> JSONValue {
    if let client { return try agent.ask(client, method, parameters) }
    guard let store else { throw CommandFailure("", exitCode: CommandFailure.unavailable) }
    do throws(ControlFailure) { return try store.call(method, parameters) } catch {
      throw CommandFailure(error, agent.options)
    }
  }
}

struct BufferShow: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show",
    abstract: "What is held, since when, for whom, what was lost and why, what the flash takes.",
    discussion: """
      Asks the running agent; without one the files are read.

      Example:
        kerb buffer
        kerb buffer --json | jq .held
      """)

  @OptionGroup var files: ConfigurationOptions

  @Flag(help: "One JSON object; docs/cli.md lists the keys.")
  var json = false

  func run() throws {
    let holder = try BufferHolder(files)
    let buffer = try holder.ask("buffer")
    if json { return show(buffer) }
    let held = buffer["held"]
    var lines = [
      Messages.text(
        .bufferHeld, Shown.integer(held?["samples"]), Shown.integer(held?["events"]),
        held?["since"]?.double.map(Shown.time(unix:)) ?? "-"),
      Messages.text(
        .bufferSpace, buffer["state"]?.string ?? "", Shown.bytes(held?["bytes"]?.integer ?? 0),
        Shown.bytes(held?["capacity_bytes"]?.integer ?? 0), Shown.integer(held?["pending"])),
    ]
    lines += gone(buffer["gone"])
    if let failure = buffer["last_failure"]?.string { lines.append("  \(failure)") }
    lines += flash(buffer["flash"])
    if !holder.isRunning { lines.append(Messages.text(.bufferAtRest)) }
    show(lines + consumers(buffer["consumers"]?.array ?? []))
  }

  /// Why samples are missing, most of them first.
  private func gone(_ gone: JSONValue?) -> [String] {
    let reasons: [(String, Message)] = [
      ("evicted", .goneEvicted), ("thinned", .goneThinned), ("overflow", .goneOverflow), ("unsaved", .goneUnsaved),
      ("damaged", .goneDamaged), ("retention", .goneRetention),
    ]
    let counts = reasons.compactMap { name, text in gone?[name]?.integer.map { ($0, text) } }.filter { $0.0 > 0 }
    guard !counts.isEmpty else { return [Messages.text(.goneNothing)] }
    return counts.sorted { $0.0 > $1.0 }.enumerated().map { index, entry in
      Messages.text(index == 0 ? .bufferGone : .bufferGoneMore, "\(entry.0)", Messages.text(entry.1))
    }
  }

  private func flash(_ flash: JSONValue?) -> [String] {
    var lines: [String] = []
    if let written = flash?["written_bytes"]?.integer {
      let daily = flash?["written_bytes_per_day"]?.integer
      lines.append(
        daily.map { Messages.text(.flashRate, Shown.bytes(written), Shown.bytes($0)) }
          ?? Messages.text(.flashWritten, Shown.bytes(written)))
    }
    let days = (flash?["days"]?.array ?? []).suffix(7).compactMap { $0["bytes"]?.integer }
    if let last = days.last {
      lines.append(Messages.text(.flashDays, Shown.bytes(last), Shown.bytes(days.reduce(0, +)), "\(days.count)"))
    }
    if let years = flash?["life_years"]?.double, let bears = flash?["endurance_tbw"]?.double {
      lines.append(Messages.text(.flashYears, years < 100 ? "\(years)" : "100+", "\(bears)"))
    }
    if let used = flash?["life_used_percent_max"]?.integer { lines.append(Messages.text(.flashLife, "\(used)")) }
    return lines
  }

  private func consumers(_ consumers: [JSONValue]) -> [String] {
    if consumers.isEmpty { return [Messages.text(.noConsumers)] }
    var table = Table(Messages.columns(.readersHead), rightAligned: [1, 2])
    for consumer in consumers {
      let age = consumer["last_seen_age_s"]?.double.map { Shown.span(seconds: $0) } ?? Messages.text(.never)
      table.rows.append([
        Cell(consumer["name"]?.string ?? ""), Cell(Shown.integer(consumer["lag_records"])),
        Cell(Shown.integer(consumer["gaps"])), Cell(age),
        Cell(consumer["oldest_unread"]?.double.map(Shown.time(unix:)) ?? "-"),
      ])
    }
    return table.lines()
  }
}

struct BufferVerify: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Read everything that is stored and compare it with its checksums.",
    discussion: """
      The agent works on meanwhile. Exit status 74 if anything is damaged: that is told to platforms as a gap.

      Example:
        kerb buffer verify
      """)

  @OptionGroup var files: ConfigurationOptions

  @Flag(help: "One JSON object: blocks, samples, events, damaged_blocks, damaged_events.")
  var json = false

  func run() throws {
    let holder = try BufferHolder(files)
    var sums: [String: Int64] = [:]
    var damaged: [JSONValue] = []
    var damagedReserve: [JSONValue] = []
    var next: String?
    repeat {
      let step = try holder.ask("verify", next.map { [("from", $0)] } ?? [])
      for key in ["blocks", "samples", "events", "damaged_events"] { sums[key, default: 0] += step[key]?.integer ?? 0 }
      damaged += step["damaged_blocks"]?.array ?? []
      damagedReserve += step["damaged_reserve_blocks"]?.array ?? []
      next = step["next"]?.integer.map(String.init)
    } while next != nil
    let damagedEvents = sums["damaged_events"] ?? 0
    if json {
      show(
        JSONValue.object([
          JSONMember(name: "blocks", value: .integer(sums["blocks"] ?? 0)),
          JSONMember(name: "samples", value: .integer(sums["samples"] ?? 0)),
          JSONMember(name: "events", value: .integer(sums["events"] ?? 0)),
          JSONMember(name: "damaged_blocks", value: .array(damaged)),
          JSONMember(name: "damaged_reserve_blocks", value: .array(damagedReserve)),
          JSONMember(name: "damaged_events", value: .integer(damagedEvents)),
        ]))
    } else {
      show(
        Messages.text(
          .bufferVerified, "\(sums["blocks"] ?? 0)", "\(sums["samples"] ?? 0)", "\(sums["events"] ?? 0)"))
    }
    let damagedCount = damaged.count + damagedReserve.count
    guard damagedCount == 0, damagedEvents == 0 else {
      throw CommandFailure(
        Messages.text(.bufferDamaged, "\(damagedCount)", "\(damagedEvents)"), exitCode: CommandFailure.inputOutput)
    }
  }
}

struct BufferBackup: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup",
    abstract: "Copy the buffer into a new folder while the agent works on.",
    discussion: """
      The folder must not be there yet; it gets telemetry.db and alarm.db. Keys are not copied. A running agent makes
      it, with its own rights: as a service it may write below its state folder only.

      Example:
        kerb buffer backup /var/lib/kerb/monday
        systemctl stop kerb && kerb buffer backup /media/usb/kerb-monday
      """)

  @OptionGroup var files: ConfigurationOptions

  @Argument(help: ArgumentHelp("A folder that is not there yet.", valueName: "FOLDER"))
  var folder: String

  @Flag(help: "One JSON object: folder, bytes.")
  var json = false

  func run() throws {
    var path = folder
    if !path.hasPrefix("/"), let here = getcwd(nil, 0) {
      path = String(cString: here) + "/" + path
      free(here)
    }
    let answer = try BufferHolder(files).ask("backup", [("folder", path)])
    if json { return show(answer) }
    show(Messages.text(.bufferCopied, Shown.bytes(answer["bytes"]?.integer ?? 0), path))
  }
}

struct BufferRestore: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore",
    abstract: "Put a backup in the place of the buffer. The agent must be stopped.",
    discussion: """
      What was there goes to STATE/quarantine. The store gets a new id, so platforms begin without `after`. The backup
      is only read.

      Example:
        systemctl stop kerb && kerb buffer restore /media/usb/kerb-monday
      """)

  @OptionGroup var files: ConfigurationOptions

  @Argument(help: ArgumentHelp("A folder that `kerb buffer backup` has made.", valueName: "FOLDER"))
  var folder: String

  @Flag(help: "One JSON object: store, samples, events.")
  var json = false

  func run() throws {
    let configuration = try files.read(enforcesMemoryLimit: false)
    do throws(ControlFailure) {
      let restored = try BufferAtRest.restore(from: folder, configuration)
      guard json else { return show(Messages.text(.bufferRestored, "\(restored.samples)", "\(restored.events)")) }
      show(
        JSONValue.object([
          JSONMember(name: "store", value: .string(restored.store)),
          JSONMember(name: "samples", value: .integer(restored.samples)),
          JSONMember(name: "events", value: .integer(restored.events)),
        ]))
    } catch { throw CommandFailure(error, files) }
  }
}
