// `kerb profile test`: a profile tried on a live device, point by point, before anything is configured.

import ArgumentParser
import FieldBus
import Gateway
import StreamCore

struct ProfileCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "profile", abstract: "Try a profile on a live device.",
    discussion: """
      Example:
        kerb profile test hydrant/generic --against rs485-1/12
      """,
    subcommands: [ProfileTest.self])
}

struct ProfileTest: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "test",
    abstract: "Read every point of a profile from a device, and say what fits and what does not.",
    discussion: """
      FILE is a profile's file, or its name in the library. The device needs no place in the configuration, its bus
      does. Reads only. Through the running agent, between its polls, or on a line that nobody has. Points that are
      personal, or made from others, are not read. Exit status 74 if a point can't be read.

      Example:
        kerb profile test my-hydrant.toml --against rs485-1/17
        kerb profile test water-meter/cjt188-generic --against meters/12345678901234
      """)

  @OptionGroup var files: ConfigurationOptions
  @Argument(help: ArgumentHelp("The profile's file, or KIND/NAME.", valueName: "FILE")) var file: String
  @Option(help: ArgumentHelp("The bus, and the unit or the meter's digits on it.", valueName: "BUS/UNIT"))
  var against: String
  @Flag(
    help: "One JSON object: profile, bus, unit, points[] {point, v …, q, registers[] or bytes, took_ms, problem}.")
  var json = false

  private struct Outcome {
    var point: PointSpec
    var answer: JSONValue?
    var problem: PointProblem?
  }

  /// A device that has been silent so often in a row is not asked for the rest.
  private static let silencesMax = 3

  func run() throws {
    let profile = try profile()
    let configuration = try files.read(enforcesMemoryLimit: false)
    let parts = against.split(separator: "/", maxSplits: 1).map(String.init)
    guard parts.count == 2 else { throw CommandFailure(Self.badPlace(against), exitCode: CommandFailure.usage) }
    guard let bus = configuration.buses.firstIndex(where: { $0.name == parts[0] }) else {
      throw CommandFailure(PointName.noBus(parts[0], configuration.buses), exitCode: CommandFailure.usage)
    }
    var tried = configuration
    let device = try device(profile, on: bus, of: configuration, unit: parts[1])
    tried.devices.append(device)
    let line = try AskedLine(bus, tried, files)
    var alone = Configuration()
    alone.buses = configuration.buses
    alone.devices = [device]
    let outcomes = outcomes(profile, line, device, tried, Catalogue(alone))
    let busProtocol = configuration.buses[bus].busProtocol
    if json { document(profile, parts, outcomes, busProtocol) } else { show(lines(outcomes, busProtocol)) }
    if outcomes.contains(where: { $0.answer == nil }) {
      throw CommandFailure("", exitCode: CommandFailure.inputOutput)
    }
  }

  private func profile() throws(CommandFailure) -> Profile {
    let diagnostics = Diagnostics()
    var profile: Profile?
    if file.hasSuffix(".toml") {
      let text: String
      do throws(FileProblem) { text = try TextFile.read(file, bytesMax: Limits.profileBytesMax) } catch {
        throw CommandFailure("\(file) \(error.message)", exitCode: CommandFailure.usage)
      }
      profile = TomlFile.parse(text, file: file, into: diagnostics).map { root in
        // It stands in no folder of its kind yet.
        var kind = "kind"
        if case .string(let own)? = root["kind"]?.item.value { kind = own }
        return ProfileParser.parse(root, id: "\(kind)/\(file)", diagnostics: diagnostics)
      }
      profile?.id = file
    } else {
      profile = files.library.load(
        file, place: SourcePlace(file: "kerb profile test", line: 0, column: 0), key: file, into: diagnostics)
    }
    guard let profile, diagnostics.isEmpty else {
      throw CommandFailure(
        diagnostics.sorted.map(\.text).joined(separator: "\n"), exitCode: CommandFailure.configuration)
    }
    return profile
  }

  private func device(
    _ profile: Profile, on bus: Int, of configuration: Configuration, unit: String
  ) throws(CommandFailure) -> DeviceSpec {
    let spec = configuration.buses[bus]
    let meter = FrameSpec.meter(spec.busProtocol)
    guard meter == nil ? profile.frame == nil && spec.busProtocol.isModbus : profile.frame?.isMeter == true else {
      throw CommandFailure(
        Self.otherLine(profile.id, spec.name, spec.busProtocol.rawValue), exitCode: CommandFailure.usage)
    }
    var device = DeviceSpec(
      name: against, place: SourcePlace(file: "", line: 0, column: 0), bus: bus, address: 0, profile: profile.id,
      kind: profile.kind)
    if meter != nil {
      let bytes = spec.busProtocol == .dlt645 ? MeterAddress.dlt645Bytes : MeterAddress.cjt188Bytes
      guard let address = MeterAddress(unit, bytes: bytes) else {
        throw CommandFailure(Self.badMeter(unit, "\(bytes * 2)"), exitCode: CommandFailure.usage)
      }
      device.meterAddress = address
    } else {
      guard let address = Int(unit), (0...255).contains(address) else {
        throw CommandFailure(Self.badUnit(unit), exitCode: CommandFailure.usage)
      }
      device.address = address
    }
    device.frame = profile.frame
    device.registersMax = profile.registersMax
    device.points = profile.points
    return device
  }

  private func outcomes(
    _ profile: Profile, _ line: AskedLine, _ device: DeviceSpec, _ tried: Configuration, _ catalogue: Catalogue
  ) -> [Outcome] {
    let spec = tried.buses[device.bus]
    let number = tried.devices(on: device.bus).count - 1
    var silences = 0
    return profile.points.enumerated().filter { !$0.element.personal && !$0.element.isComputed }.map { index, point in
      if silences >= Self.silencesMax { return Outcome(point: point, answer: nil, problem: .line(.noReply)) }
      let access = PointAccess(
        line, device: device, number: number, point: point, timeoutNs: spec.responseTimeoutNs)
      do throws(PointProblem) {
        let reading = try access.read()
        silences = 0
        var writer = JSONWriter()
        PointAnswer(point.name, catalogue.series[index]).write(reading, into: &writer)
        return Outcome(point: point, answer: try? JSONParser.parse(writer.bytes), problem: nil)
      } catch {
        silences = error == .line(.noReply) ? silences + 1 : 0
        return Outcome(point: point, answer: nil, problem: error)
      }
    }
  }

  // MARK: What is shown

  private func lines(_ outcomes: [Outcome], _ busProtocol: BusProtocol) -> [String] {
    var table = Table(Self.head().split(separator: "|").map(String.init))
    // What went wrong with several points in the same way is said once.
    var problems: [(problem: PointProblem, names: [String])] = []
    for outcome in outcomes {
      let place = ProfileText.place(outcome.point)
      guard let answer = outcome.answer else {
        table.rows.append([Cell(outcome.point.name), Cell(place), "-", Cell("-", .red), "-"])
        guard let problem = outcome.problem else { continue }
        if let known = problems.firstIndex(where: { $0.problem == problem }) {
          problems[known].names.append(outcome.point.name)
        } else {
          problems.append((problem, [outcome.point.name]))
        }
        continue
      }
      let quality = answer["q"]?.string ?? "good"
      let held =
        answer["bytes"]?.string
        ?? (answer["registers"]?.array ?? []).map {
          Hexadecimal.text(words: [UInt16(truncatingIfNeeded: $0.integer ?? 0)])
        }.joined(separator: " ")
      table.rows.append([
        Cell(outcome.point.name), Cell(place), Cell(held), Cell(quality, quality == "good" ? .green : .yellow),
        Cell(PointDesk.value(answer)),
      ])
    }
    let well = outcomes.count { $0.answer?["q"]?.string == "good" }
    let doubtful = outcomes.count { $0.answer != nil } - well
    let reasons = problems.flatMap {
      ProfileText.wrapped(CommandFailure($0.problem, $0.names.joined(separator: ", "), busProtocol).text)
    }
    return table.lines() + reasons
      + [Self.summary("\(well)", "\(outcomes.count)", "\(doubtful)", "\(outcomes.count - well - doubtful)")]
      + (doubtful > 0 ? [Self.doubtful()] : [])
  }

  private func document(
    _ profile: Profile, _ parts: [String], _ outcomes: [Outcome], _ busProtocol: BusProtocol
  ) {
    let points = outcomes.map { outcome -> JSONValue in
      if let answer = outcome.answer { return answer }
      return .object([
        JSONMember(name: "point", value: .string(outcome.point.name)),
        JSONMember(
          name: "problem",
          value: .string(outcome.problem.map { CommandFailure($0, outcome.point.name, busProtocol).text } ?? "")),
      ])
    }
    show(
      JSONValue.object([
        JSONMember(name: "profile", value: .string(profile.id)), JSONMember(name: "bus", value: .string(parts[0])),
        JSONMember(name: "unit", value: .string(parts[1])), JSONMember(name: "points", value: .array(points)),
      ]))
  }

  private static let head = Phrase("POINT|READ|HELD|QUALITY|VALUE", "测点|读取|原始值|质量|值")
  private static let summary = Phrase(
    "{0} of {1} points are good, {2} doubtful, {3} can't be read", "{1} 个测点中 {0} 个正常，{2} 个可疑，{3} 个无法读取")
  private static let doubtful = Phrase(
    "Doubtful: outside their range, or a value that means none. Compare with the manual.",
    "可疑：超出范围，或该值表示无值。请对照手册。")
  private static let badPlace = Phrase(
    "\"{0}\": say the bus and the unit on it, for example rs485-1/17", "“{0}”：请写总线和单元地址，例如 rs485-1/17")
  private static let badUnit = Phrase("unit {0}: a number from 0 to 255 is meant", "单元 {0}：应为 0 到 255 的数字")
  private static let badMeter = Phrase(
    "meter {0}: its {1} digits are meant, as on its plate", "表号 {0}：应为铭牌上的 {1} 位数字")
  private static let otherLine = Phrase(
    "{0} is no profile for bus {1} ({2}); devices that a profile's [frame] describes are tried by `kerb read`",
    "{0} 不适用于总线 {1}（{2}）；由 [frame] 描述的设备请用 `kerb read` 试读")
}
