// Which configuration a command means, and how it gets it.

import ArgumentParser
import FieldBus
import Gateway
import Glibc
import StreamCore

struct ConfigurationOptions: ParsableArguments {
  @Option(
    name: [.customShort("c"), .customLong("config")],
    help: ArgumentHelp(
      "The configuration; conf.d/*.toml beside it belongs to it. Default: $KERB_CONFIG, or /etc/kerb/kerb.toml.",
      valueName: "FILE"))
  var file: String?

  @Option(help: ArgumentHelp("A folder with device profiles; it goes before the usual ones.", valueName: "DIR"))
  var profiles: [String] = []

  var path: String { file ?? environment("KERB_CONFIG") ?? "/etc/kerb/kerb.toml" }

  var folder: String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  func read(into diagnostics: Diagnostics) -> Configuration? {
    ConfigurationReader.read(
      path: path, profileDirectories: profiles, diagnostics: diagnostics,
      systemProfileDirectories: ProfileFolders.usual)
  }

  /// A valid configuration. Otherwise everything wrong with it goes to stderr, a line each, and the command ends.
  func read() throws -> Configuration {
    try checkReadable()
    let diagnostics = Diagnostics()
    if let configuration = read(into: diagnostics) { return configuration }
    for diagnostic in diagnostics.sorted { complain(diagnostic.text) }
    throw CommandFailure(Messages.text(.wrongConfiguration, "\(diagnostics.count)"), exitCode: SysExit.configuration)
  }

  /// A file that this user may not read is no wrong configuration.
  func checkReadable() throws {
    guard access(path, R_OK) != 0, errno == EACCES else { return }
    throw CommandFailure(Messages.text(.unreadable, path), exitCode: SysExit.notPermitted)
  }

  /// Where the running agent listens. The rest of the configuration may be wrong, or unreadable: the agent runs all the same.
  var runtimePath: String {
    var found: String?
    let names = (try? TextFile.names(in: "\(folder)/conf.d")) ?? []
    for file in [path] + names.filter({ $0.hasSuffix(".toml") }).map({ "\(folder)/conf.d/\($0)" }) {
      guard let text = try? TextFile.read(file, bytesMax: Limits.configurationBytesMax),
        let root = TomlFile.parse(text, file: file, into: Diagnostics()),
        case .table(let gateway)? = root["gateway"]?.item.value,
        case .string(let runtime)? = gateway["runtime"]?.item.value
      else { continue }
      found = runtime
    }
    return found ?? Configuration().runtimePath
  }
}

func environment(_ name: String) -> String? {
  guard let value = getenv(name) else { return nil }
  let text = String(cString: value)
  return text.isEmpty ? nil : text
}
