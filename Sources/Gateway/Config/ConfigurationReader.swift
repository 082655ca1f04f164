// Reads the configuration: the main file, conf.d beside it, the profiles that it names. Runs on the main thread, at
// start and on reload.
//
// 1. Everything wrong is reported, in one go: what is broken in one table hides nothing in the next.
// 2. There is a configuration only if nothing was reported.

import FieldBus
import Glibc
import StreamCore

package struct ConfigurationReader {
  /// Where an installed box has its profiles.
  package static let systemProfileDirectories = ["/etc/kerb/profiles", "/usr/share/kerb/profiles"]
  package static let machineIDPath = "/etc/machine-id"

  let diagnostics: Diagnostics
  let library: ProfileLibrary
  let machineIDPath: String
  let boards: BoardLibrary
  let draft: Draft?
  var configuration = Configuration()
  var buses: [BusEntry] = []
  var devices: [DeviceEntry] = []
  /// Every file could be read and parsed: a name that is not found is unknown, and not in a part that is missing.
  var isWhole = true

  /// A file of conf.d that is not written yet, in the place of the one of its name.
  package struct Draft: Sendable {
    package var name: String
    package var table: TomlTable
    /// A board that is unknown or has mistakes is a mistake of it: who wrote it can still put it right.
    package var isStrict: Bool
    package init(name: String, table: TomlTable, isStrict: Bool = false) {
      self.name = name
      self.table = table
      self.isStrict = isStrict
    }
  }

  /// Nil if anything is wrong. `enforcesMemoryLimit`: false for who wants to show the sum. `profileDirectories`
  /// are looked through before the system's and the configuration's own.
  package static func read(
    path: String, profileDirectories: [String], diagnostics: Diagnostics,
    systemProfileDirectories: [String] = systemProfileDirectories, machineIDPath: String = machineIDPath,
    boardDirectories: [String] = BoardLibrary.systemFolders, enforcesMemoryLimit: Bool = true, draft: Draft? = nil
  ) -> Configuration? {
    let folder = self.folder(of: path)
    let library = ProfileLibrary(
      searchPaths: profileDirectories + systemProfileDirectories + ["\(folder)/profiles"])
    var reader = ConfigurationReader(
      diagnostics: diagnostics, library: library, machineIDPath: machineIDPath,
      boards: BoardLibrary(searchPaths: boardDirectories), draft: draft)
    let reportsBefore = diagnostics.count
    if let root = reader.files(path, confFolder: "\(folder)/conf.d") {
      reader.read(root)
      // Sums over what is wrong would be wrong themselves.
      if diagnostics.count == reportsBefore, enforcesMemoryLimit { reader.checkMemory(root) }
    }
    reader.configuration.warnings = diagnostics.sortedWarnings
    return diagnostics.count == reportsBefore ? reader.configuration : nil
  }

  private init(
    diagnostics: Diagnostics, library: ProfileLibrary, machineIDPath: String, boards: BoardLibrary, draft: Draft?
  ) {
    self.draft = draft
    self.boards = boards
    self.diagnostics = diagnostics
    self.library = library
    self.machineIDPath = machineIDPath
  }

  package static func folder(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  // MARK: Files

  /// All files as one table; a file that can't be read or parsed is reported, and the others are looked at.
  private mutating func files(_ path: String, confFolder: String) -> TomlTable? {
    // A draft may be all that there is.
    var root = draft != nil && TextFile.resolved(path) == nil ? nil : file(path)
    do {
      var names = try TextFile.names(in: confFolder).filter { $0.hasSuffix(".toml") && $0 != draft?.name }
      if let draft { names = (names + [draft.name]).sorted() }
      for name in names {
        guard let table = name == draft?.name ? draft?.table : file("\(confFolder)/\(name)") else { continue }
        if root == nil { root = TomlTable(place: table.place) }
        root?.merge(table, diagnostics: diagnostics)
      }
    } catch {
      isWhole = false
      diagnostics.report(SourcePlace(file: confFolder, line: 0, column: 0), "", error.message)
    }
    return root
  }

  private mutating func file(_ path: String) -> TomlTable? {
    do {
      let text = try TextFile.read(path, bytesMax: Limits.configurationBytesMax)
      configuration.files.append(path)
      let table = TomlFile.parse(text, file: path, into: diagnostics)
      if table == nil { isWhole = false }
      return table
    } catch {
      isWhole = false
      let missing =
        TextFile.isLink(path)
        ? "is a link that leads nowhere: remove it, or put the file where it leads"
        : "there is no such file: write one, or name another with --config"
      diagnostics.report(
        SourcePlace(file: path, line: 0, column: 0), "", error.isAbsent ? missing : error.message)
      return nil
    }
  }

  // MARK: Sections

  private mutating func read(_ root: TomlTable) {
    let reader = TableReader(root, section: "", diagnostics: diagnostics)
    gateway(reader.table("gateway"))
    buffer(reader.table("buffer"))
    pull(reader.table("pull"))
    readBuses(reader)
    readDevices(reader)
    checkExpressions()
    var cursors = UniqueNames()
    readConsumers(reader, &cursors)
    readPushes(reader, &cursors)
    readAlarms(reader.table("alarms"), place: root.place)
    reader.finish()

    configuration.buses = buses.map(\.spec)
    configuration.devices = devices.filter { $0.busIndex != nil }.map(\.spec)
    configuration.files += library.files
    configuration.prints = SectionPrints(root, profiles: library.files)
    checkLimits()
    for index in buses.indices where buses[index].isSound { checkTimetable(of: index) }
  }

  private mutating func gateway(_ reader: TableReader?) {
    let id = reader?.string("id")
    if let id, let reader {
      if let problem = nameProblem(id) { reader.report("id", problem) }
      configuration.gatewayID = id
    } else if reader?.has("id") != true {
      configuration.gatewayID = defaultID(reader)
    }
    guard let reader else { return }
    if let state = folder("state", reader) { configuration.statePath = state }
    if let runtime = folder("runtime", reader) {
      let socket = runtime.utf8.count + "/control.sock".utf8.count
      if socket > Limits.unixPathBytesMax {
        reader.report(
          "runtime", "the control socket's path in it has \(socket) bytes: allowed are \(Limits.unixPathBytesMax)")
      }
      configuration.runtimePath = runtime
    }
    if let limit = reader.size("memory_limit", in: Limits.memoryLimitBytesMin...Limits.memoryLimitBytesMax) {
      configuration.memoryLimitBytes = limit
    }
    if let clock = reader.choice("clock", ClockTrust.self) { configuration.clock = clock }
    if let name = reader.string("board") { configuration.board = board(name, reader) }
    reader.finish()
  }

  /// Its file has keys of its own, which are none of a configuration.
  private mutating func board(_ name: String, _ reader: TableReader) -> Board? {
    let problems = Diagnostics()
    let board = nameProblem(name) == nil ? boards.load(name, into: problems) : nil
    if board == nil, problems.isEmpty {
      problems.report(reader.valuePlace("board"), reader.keyPath("board"), boards.unknown(name))
    }
    if draft?.isStrict == true {
      for problem in problems.sorted { diagnostics.report(problem.place, problem.key, problem.message) }
    }
    configuration.boardProblems = problems.sorted
    return board
  }

  private func folder(_ key: String, _ reader: TableReader) -> String? {
    guard let path = reader.string(key) else { return nil }
    if !path.hasPrefix("/") { reader.report(key, "\"\(path)\" is not an absolute path: it must begin with /") }
    return path
  }

  /// Half of what systemd calls this machine: stable, and unique enough for a city.
  private func defaultID(_ reader: TableReader?) -> String {
    let text = (try? TextFile.read(machineIDPath, bytesMax: 4_096)) ?? ""
    let digits = text.prefix { $0.isHexDigit }.prefix(12)
    if digits.count < 12, isWhole {
      let place = reader?.table.place ?? SourcePlace(file: configuration.files.first ?? "", line: 1, column: 1)
      diagnostics.report(place, "gateway.id", "is missing, and \(machineIDPath) holds none: write id = \"box-1\"")
    }
    return "kerb-\(digits.lowercased())"
  }

  private mutating func buffer(_ reader: TableReader?) {
    guard let reader else { return }
    if let bytes = reader.size("telemetry", in: Limits.telemetryBytesMin...Limits.telemetryBytesMax) {
      configuration.telemetryBytes = bytes
    }
    if let bytes = reader.size("alarms", in: Limits.alarmBytesMin...Limits.alarmBytesMax) {
      configuration.alarmBytes = bytes
    }
    if let commit = reader.duration("commit_every", in: Limits.commitNsMin...Limits.commitNsMax) {
      configuration.commitNs = commit
    }
    let reserveMax = configuration.telemetryBytes / 2
    if let bytes = reader.size("reserve", in: 0...reserveMax) {
      if bytes > 0, bytes < Limits.reserveBytesMin {
        reader.report(
          "reserve", "is too small: allowed are \(Limits.reserveBytesMin >> 10)KiB and more, or 0B for none")
      }
      configuration.reserve = bytes / Limits.pageBytes * Limits.pageBytes
    }
    configuration.isThinning = reader.bool("thin") ?? false
    if let retention = reader.duration("retain_personal", in: Limits.retentionNsMin...Limits.retentionNsMax) {
      configuration.personalNs = retention
    }
    if let endurance = reader.number("endurance_tbw") {
      if endurance <= 0 { reader.report("endurance_tbw", "must be more than 0: what the maker says, in terabytes") }
      configuration.flashEnduranceTBW = endurance
    }
    reader.finish()
  }

  private mutating func pull(_ reader: TableReader?) {
    configuration.listen = [.tcp(host: "127.0.0.1", port: Limits.pullPortDefault)]
    guard let reader else { return }
    configuration.certificate = certificate(reader)
    configuration.insecure = reader.bool("insecure") ?? false
    if let texts = reader.placedStrings("listen") { configuration.listen = listeners(texts, reader) }
    reader.finish()
  }

  /// Read once to know that they are sound; the listener reads them again.
  private func certificate(_ reader: TableReader) -> CertificateFiles? {
    let (certificate, key) = (folder("certificate", reader), folder("key", reader))
    let clientCA = folder("client_ca", reader)
    for (name, other) in [("certificate", "key"), ("key", "certificate"), ("client_ca", "certificate")]
    where reader.has(name) && !reader.has(other) {
      reader.report(name, "is given without `\(other)`: TLS needs both certificate and key")
    }
    guard let certificate, let key else { return nil }
    let files = CertificateFiles(
      certificate: certificate, key: key, clientCA: clientCA, place: reader.valuePlace("certificate"))
    for failure in PullCertificate.problems(files) { reader.report(failure.key, failure.text) }
    return files
  }

  private func listeners(_ texts: [(text: String, place: SourcePlace)], _ reader: TableReader) -> [ListenAddress] {
    let key = reader.keyPath("listen")
    var result: [ListenAddress] = []
    for (text, place) in texts {
      guard let address = ListenAddress(text, hasCertificate: reader.has("certificate")) else {
        diagnostics.report(
          place, key,
          "\"\(text)\" is not an address: write \"127.0.0.1:8480\", \"0.0.0.0:8443\", \"[::1]:8480\" or "
            + "\"unix:/run/kerb/pull.sock\"")
        continue
      }
      if result.contains(address) { diagnostics.report(place, key, "\"\(text)\" is named twice") }
      switch address {
      case .tls where !reader.has("certificate"):
        diagnostics.report(place, key, "\"\(text)\" needs `certificate` and `key` under [pull]")
      case .tcp where !address.isLocal && !configuration.insecure:
        diagnostics.report(
          place, key,
          "\"\(text)\" can be reached over the network: give `certificate` and `key` for TLS, listen on 127.0.0.1, or "
            + "accept plain HTTP with insecure = true")
      default: break
      }
      result.append(address)
    }
    if texts.count > Limits.listenersMax {
      reader.report("listen", "has \(texts.count) addresses: allowed are \(Limits.listenersMax)")
    }
    return result
  }
}
