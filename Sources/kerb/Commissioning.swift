// The steps of commissioning that a person and a file share: the board and its rules, the certificate, the check of
// what is to be written, the search of the lines, the writing, the record.
//
// Invariants:
//  1. Until `write` nothing of the configuration has changed; a mistake leaves the box as it was.
//  2. Done twice with the same answers it writes nothing the second time.

import FieldBus
import Gateway
import Glibc
import StreamCore

struct Commissioning {
  let files: ConfigurationOptions
  /// The provisioning file; "console": a person.
  let source: String
  /// A file is right or refused; a person sees what is wrong with a board, and may take it all the same.
  let isStrict: Bool
  /// What did not keep the box from being set up, and should be seen to.
  var notes: [String] = []
  /// Where a provisioning file names the board, which is [gateway] board in the configuration.
  var boardPlace: SourcePlace?
  /// Files with secrets that were made, and that nothing refers to yet.
  private var secrets: [String] = []

  init(_ files: ConfigurationOptions, source: String, isStrict: Bool) {
    self.isStrict = isStrict
    self.files = files
    self.source = source
  }

  private var output: CommissionFiles { CommissionFiles(configuration: files.path) }

  // MARK: Board

  /// Puts the board's rules in force where that can be; a box without udev does without.
  mutating func rules(_ board: Board) {
    guard geteuid() == 0, access("/run/udev/control", F_OK) == 0 else {
      notes.append(
        Phrase("rules not installed: kerb board udev --install", "规则未安装：kerb board udev --install")())
      return
    }
    do throws(CommandFailure) { try BoardInstall.rules(board, root: "/") } catch { notes.append(error.text) }
  }

  // MARK: Configuration

  /// Read as it would be, with everything wrong in it at once.
  func configuration(_ table: TomlTable) throws(CommandFailure) -> Configuration {
    let diagnostics = Diagnostics()
    let draft = ConfigurationReader.Draft(name: CommissionFiles.name, table: table, isStrict: isStrict)
    let read = files.read(into: diagnostics, draft: draft)
    if let read, diagnostics.isEmpty { return read }
    let lines = diagnostics.sorted.map { diagnostic in
      var told = diagnostic
      if told.key == "gateway.board", told.place == boardPlace { told.key = "commission.board" }
      return told.text + Self.step(diagnostic)
    }
    throw CommandFailure(lines.joined(separator: "\n"), exitCode: CommandFailure.configuration)
  }

  /// A platform that `kerb consumer add` let in has a file of its own, which no commissioning replaces.
  private static func step(_ diagnostic: Diagnostic) -> String {
    let file = diagnostic.place.file.split(separator: "/").last ?? ""
    guard diagnostic.key.hasPrefix("consumer."), diagnostic.key.hasSuffix(".name"), file.hasPrefix("consumer-") else {
      return ""
    }
    let name = diagnostic.key.dropFirst("consumer.".count).dropLast(".name".count)
    return "; name it otherwise, or remove the one that is here: kerb consumer remove \(name)"
  }

  /// A token that was rotated on this box is the file's again: whoever has the new one must know.
  mutating func noteTokens(_ table: TomlTable) {
    guard let old = output.present, let before = TomlFile.parse(old, file: output.path, into: Diagnostics())
    else { return }
    func tokens(_ table: TomlTable) -> [String: String] {
      var tokens: [String: String] = [:]
      for entry in table.tables("consumer") {
        guard case .string(let name)? = entry["name"]?.item.value,
          case .string(let hash)? = entry["token_sha256"]?.item.value
        else { continue }
        tokens[name] = hash.lowercased()
      }
      return tokens
    }
    let (was, becomes) = (tokens(before), tokens(table))
    for name in becomes.keys.sorted() where was[name] != nil && was[name] != becomes[name] {
      notes.append(
        Phrase("{0}: another token than before, the file's", "{0}：令牌与之前不同，以文件为准")(name))
    }
  }

  /// A certificate that signs itself, in [pull], unless one is named there.
  func certificate(_ table: inout TomlTable, name: String) throws(CommandFailure) {
    var pull = table.table("pull")
    guard pull["certificate"] == nil else { return }
    // Of a box where nothing is yet.
    mkdir(files.folder, 0o755)
    let own = SelfSigned(folder: "\(files.folder == "." ? Self.workingFolder : files.folder)/tls")
    _ = try own.make(name: name)
    pull.set("certificate", own.certificate)
    pull.set("key", own.key)
    if pull["listen"] == nil {
      let usual = ["0.0.0.0:\(Limits.tlsPortUsual)", "127.0.0.1:\(Limits.pullPortDefault)"]
      pull.set("listen", texts: usual)
    }
    table.set("pull", .table(pull))
  }

  /// A platform's secret in a file of its own, as `token_file` and `password_file` want it; the answer is its path.
  /// Never over another: until the end the old configuration is in force, with the old secret.
  mutating func keep(secret: String, name: String) throws(CommandFailure) -> String {
    let folder = "\(files.folder == "." ? Self.workingFolder : files.folder)/secrets"
    var path = "\(folder)/\(name)"
    var number = 2
    while access(path, F_OK) == 0 {
      path = "\(folder)/\(name)-\(number)"
      number += 1
    }
    let group = geteuid() == 0 ? getgrnam("kerb")?.pointee.gr_gid : nil
    if mkdir(folder, 0o750) == 0, let group { _ = chown(folder, uid_t.max, group) }
    do throws(FileProblem) { try TextFile.write(Array((secret + "\n").utf8), to: path, mode: 0o640) } catch {
      throw CommandFailure("\(path): \(error.message)", exitCode: CommandFailure.inputOutput)
    }
    if let group { _ = chown(path, uid_t.max, group) }
    secrets.append(path)
    return path
  }

  /// Of one that ended before it was written.
  mutating func forgetSecrets() {
    for path in secrets { unlink(path) }
    secrets = []
  }

  private static var workingFolder: String { TextFile.resolved(".") ?? "/" }

  // MARK: Lines

  /// What answers on a bus of `table`, at its own settings or at all usual ones.
  func search(
    _ bus: String, _ table: TomlTable, to last: Int, everySetting: Bool
  ) throws -> [Sweep.Found] {
    let configuration = try configuration(table)
    guard let index = configuration.buses.firstIndex(where: { $0.name == bus }) else {
      throw CommandFailure(PointName.noBus(bus, configuration.buses), exitCode: CommandFailure.usage)
    }
    let spec = configuration.buses[index]
    let isMeters = FrameSpec.meter(spec.busProtocol) != nil
    guard spec.busProtocol.isModbus || isMeters else {
      throw CommandFailure(Messages.text(.notSearched, bus), exitCode: CommandFailure.usage)
    }
    let known = Dictionary(
      configuration.devices(on: index).map { ($0.meterAddress?.text ?? "\($0.address)", $0.name) },
      uniquingKeysWith: { first, _ in first })
    let line = try AskedLine.opened(index, configuration)
    let profiles = ScanCommand.profiles(files, spec.busProtocol)
    if isMeters {
      let formats = everySetting ? ScanPlan.meterFormats() : [spec.format]
      return try MeterSweep(line, formats, thinkNs: Limits.meterScanTimeoutNs, known: known, profiles: profiles).run()
    }
    var sweep = Sweep(
      line: line, spec: spec, formats: everySetting ? ScanPlan.formats() : [spec.format], addresses: 1...last,
      known: known, patience: ScanPatience(mostNs: Limits.scanTimeoutNs), profiles: profiles)
    return try sweep.run()
  }

  /// Adds those that a profile fits, and that are not there yet; the answer is how many.
  mutating func take(_ found: [Sweep.Found], on bus: String, _ table: inout TomlTable) throws(CommandFailure) -> Int {
    let present = try configuration(table)
    guard let spec = present.buses.first(where: { $0.name == bus }) else { return 0 }
    var names = Set(present.devices.map(\.name))
    var count = 0
    for each in found where each.name == nil {
      guard each.unit.format == spec.format else {
        notes.append(
          Phrase(
            "{0}: unit {1} answers at {2}, and the line runs at {3}: set it to that, or give it a line of its own",
            "{0}：单元 {1} 在 {2} 应答，而线路参数为 {3}：请改为该参数，或另接一条线路")(
              bus, each.unit.addressText, each.unit.format.text, spec.format.text))
        continue
      }
      guard let fit = each.unit.fits.first, fit.confidence >= ScanFile.confidenceMin else {
        notes.append(
          Phrase(
            "{0}: no profile fits unit {1} at {2} by {3} or more: name one yourself, as `kerb profiles` shows them",
            "{0}：没有配置与 {2} 的单元 {1} 的匹配度达到 {3}：请用 `kerb profiles` 查看并自行指定")(
              bus, each.unit.addressText, each.unit.format.text, Shown.percent(ScanFile.confidenceMin)))
        continue
      }
      var device = TomlTable(place: table.place)
      device.set("name", each.unit.deviceName(fit, on: bus, &names))
      device.set("bus", bus)
      device.set(
        "address", each.unit.meter == nil ? .integer(Int64(each.unit.address)) : .string(each.unit.addressText))
      device.set("profile", fit.profile)
      table.append(device, to: "device")
      count += 1
    }
    return count
  }

  // MARK: The end

  /// Checked once more, then written. True: something has changed.
  mutating func write(_ table: TomlTable) throws(CommandFailure) -> Bool {
    _ = try configuration(table)
    do throws(FileProblem) {
      let isNew = try output.write(CommissionFiles.text(table, source: source))
      secrets = []
      return isNew
    } catch {
      throw CommandFailure(error.message, exitCode: CommandFailure.inputOutput)
    }
  }

  /// What `kerb status` shows of it. A state folder that can't be written is no reason to fail.
  mutating func record(_ problems: [String], gateway: String, digest: String, statePath: String) {
    let record = CommissionRecord(
      isGood: problems.isEmpty, source: source, digest: digest, gateway: gateway, at: Int64(time(nil)),
      problems: problems)
    if mkdir(statePath, 0o750) == 0 { StateOwner.give(statePath) }
    do throws(FileProblem) {
      try record.write(statePath: statePath)
      StateOwner.give(CommissionRecord.path(statePath: statePath))
    } catch {
      notes.append("\(CommissionRecord.path(statePath: statePath)): \(error.message)")
    }
  }

  /// The box's key is made by whoever comes first; it is the agent's.
  func key(statePath: String) {
    let path = BoxKey.path(statePath: statePath)
    guard access(path, F_OK) != 0, (try? BoxKey.open(statePath: statePath)) != nil else { return }
    StateOwner.give(path)
  }
}

enum StateOwner {
  /// To the agent's user, where there is one and this is root.
  static func give(_ path: String) {
    guard geteuid() == 0, let user = getpwnam("kerb") else { return }
    _ = lchown(path, user.pointee.pw_uid, user.pointee.pw_gid)
  }
}
