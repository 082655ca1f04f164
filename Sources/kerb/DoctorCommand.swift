// `kerb doctor`: looks at everything, says what is wrong in plain words and the next step; and collects what somebody
// far away needs to help.

import ArgumentParser
import CLinux
import FieldBus
import Gateway
import Glibc
import StreamCore

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Look at everything: what is wrong, and what to do next.",
    discussion: """
      Asks nothing of any device and changes nothing. Works without an agent, too, and says more with one. Exit status
      1 if something is wrong; notes are no reason.

      --bundle writes a .tar.gz for whoever helps from afar: these findings, the agent's answers, the configuration,
      the system's state, the last lines of the journal. Hashes of tokens, passwords and personal values are not in it.

      Example:
        kerb doctor
        kerb doctor --bundle /tmp/box-0042.tar.gz
        kerb doctor --json | jq '.findings[] | select(.level == "wrong")'
      """)

  @OptionGroup var files: ConfigurationOptions
  @Option(help: ArgumentHelp("Write a support bundle there.", valueName: "FILE")) var bundle: String?
  @Flag(help: "One JSON object: well, findings[] {level, code, subject, text, step}.") var json = false

  func run() throws {
    let facts = DoctorLook(files).facts()
    let doctor = Doctor(facts)
    let document = document(doctor)
    if let bundle {
      do throws(FileProblem) {
        try SupportBundle(files, facts, findings: lines(doctor), document: document).write(to: bundle)
      } catch {
        throw CommandFailure("\(bundle) \(error.message)", exitCode: CommandFailure.inputOutput)
      }
    }
    if json { show(document) } else { show(lines(doctor)) }
    if let bundle, !json { show(Self.bundled(bundle)) }
    if !doctor.isWell { throw CommandFailure("", exitCode: Self.somethingIsWrong) }
  }

  private func document(_ doctor: Doctor) -> JSONValue {
    let findings = doctor.findings.map { finding -> JSONValue in
      var members = [
        JSONMember(name: "level", value: .string(finding.level.rawValue)),
        JSONMember(name: "code", value: .string(finding.code)),
        JSONMember(name: "subject", value: .string(finding.subject)),
        JSONMember(name: "text", value: .string(finding.text(in: .english))),
      ]
      if let step = finding.step(in: .english) { members.append(JSONMember(name: "step", value: .string(step))) }
      return .object(members)
    }
    return .object([
      JSONMember(name: "well", value: .bool(doctor.isWell)), JSONMember(name: "findings", value: .array(findings)),
    ])
  }

  /// What is wrong first: a screen holds 24 lines.
  private func lines(_ doctor: Doctor) -> [String] {
    let order: [Finding.Level] = [.wrong, .note, .good]
    var lines: [String] = []
    for finding in order.flatMap({ level in doctor.findings.filter { $0.level == level } }) {
      let colour: Colour = finding.level == .wrong ? .red : finding.level == .note ? .yellow : .green
      let text = finding.line(in: .current)
      let parts = ProfileText.wrapped(text, width: Table.widthMax - 7)
      for (index, part) in parts.enumerated() {
        let word = index == 0 ? colour.apply(Self.word(finding.level)) : "     "
        lines.append("\(word)\(part)")
      }
      for part in ProfileText.wrapped("> \(finding.step(in: .current) ?? "")", width: Table.widthMax - 9)
      where finding.step != nil {
        lines.append("       \(part)")
      }
    }
    return lines + [doctor.isWell ? Self.well() : Self.unwell("\(doctor.findings.count { $0.level == .wrong })")]
  }

  /// Five cells.
  private static func word(_ level: Finding.Level) -> String {
    switch level {
    case .wrong: return wrong()
    case .note: return note()
    case .good: return good()
    }
  }

  private static let somethingIsWrong: Int32 = 1
  private static let wrong = Phrase("WRONG", "故障 ")
  private static let note = Phrase("note ", "注意 ")
  private static let good = Phrase("good ", "正常 ")
  private static let well = Phrase("Nothing is wrong.", "未发现故障。")
  private static let unwell = Phrase("Things that are wrong: {0}.", "故障数：{0}。")
  private static let bundled = Phrase("The bundle is in {0}", "支持包已写入 {0}")
}

/// Finds the facts out.
struct DoctorLook {
  private let files: ConfigurationOptions

  init(_ files: ConfigurationOptions) { self.files = files }

  func facts() -> DoctorFacts {
    var facts = DoctorFacts()
    facts.configurationPath = files.path
    facts.unixSeconds = Int64(time(nil))
    facts.isClockSynchronised = kerb_clock_synchronised() == 1
    facts.isReadable = access(files.path, R_OK) == 0 || errno != EACCES
    let diagnostics = Diagnostics()
    let configuration = facts.isReadable ? files.read(into: diagnostics) : nil
    facts.mistakes = diagnostics.sorted.map(\.text)
    if let configuration { look(at: configuration, &facts) }
    ask(&facts)
    return facts
  }

  private func look(at configuration: Configuration, _ facts: inout DoctorFacts) {
    facts.buses = configuration.buses.count
    facts.devices = configuration.devices.count
    facts.consumers = configuration.consumers.count + configuration.pushes.count
    facts.statePath = configuration.statePath
    var status = stat()
    facts.stateExists = stat(configuration.statePath, &status) == 0
    if stat(BoxKey.path(statePath: configuration.statePath), &status) == 0 { facts.keyMode = status.st_mode & 0o777 }
    var room = statvfs()
    if facts.stateExists, statvfs(configuration.statePath, &room) == 0 {
      facts.freeBytes = Int64(room.f_bavail) * Int64(room.f_frsize)
    }
    for (file, bytes) in [("telemetry.db", configuration.telemetryBytes), ("alarm.db", configuration.alarmBytes)] {
      let has = stat("\(configuration.statePath)/\(file)", &status) == 0 ? Int64(status.st_size) : 0
      facts.wantedBytes += max(0, Int64(bytes) - has)
    }
    if configuration.clock == .trusted { facts.isClockSynchronised = true }
    facts.certificateExpires = configuration.certificate.flatMap { try? PullCertificate.read($0) }?.notAfter
    facts.stateRefusal = StateRoom(configuration.statePath).suspicion.map { Phrase($0.text, $0.chineseText) }
    let machine = Machine()
    facts.troubles = BoxLook(configuration, on: machine).troubles
    let missing = PortPresence(configuration, on: machine).missing
    for bus in configuration.buses {
      guard let path = bus.serialPath else { continue }
      var port = DoctorFacts.Port(bus: bus.name, path: path)
      if let absent = missing.first(where: { $0.bus == bus.name }) {
        port.missing = (absent.words.text, absent.words.chineseText)
      }
      port.isSerial = port.missing != nil || machine.isSerial(path)
      port.mayOpen = access(path, R_OK | W_OK) == 0
      let holders = port.isSerial ? PortHolders.names(path) : []
      port.strangers = holders.filter { !$0.hasPrefix("kerb ") && !$0.hasPrefix("kerb-") }
      port.isNumbered = ["/dev/ttyUSB", "/dev/ttyACM"].contains { path.hasPrefix($0) }
      facts.ports.append(port)
    }
  }

  private func ask(_ facts: inout DoctorFacts) {
    let client: ControlClient
    do throws(ControlFailure) {
      client = try ControlClient(path: ControlServer.path(runtime: files.runtimePath))
      facts.status = try client.call("status", [])
      facts.agent = .running
      if let told = facts.status["troubles"]?.array { facts.troubles = told.compactMap(Trouble.init) }
      // Of one that waits for its state these have no answer.
      facts.deviceList = (try? client.call("devices", []))?.array ?? []
      facts.alarms = (try? client.call("alarms", []))?.array ?? []
      facts.buffer = (try? client.call("buffer", [])) ?? .null
    } catch {
      switch error {
      case .noAgent: facts.agent = .none
      case .notPermitted: facts.agent = .forbidden
      case .refused(let code, _) where code == "forbidden": facts.agent = .forbidden
      default: facts.agent = .silent
      }
    }
  }
}
