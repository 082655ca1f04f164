// Which configuration a command works on, read and checked the same way everywhere.

import ArgumentParser
import FieldBus
import Gateway
import Glibc
import StreamCore

struct ConfigurationOptions: ParsableArguments {
  @Option(
    name: [.customShort("c"), .customLong("config")],
    help: "The configuration file (default: $KERB_CONFIG, else /etc/kerb/kerb.toml).")
  var config: String?

  @Option(help: ArgumentHelp("Look for device profiles here first; may be given more than once.", valueName: "dir"))
  var profiles: [String] = []

  var path: String {
    config ?? environment("KERB_CONFIG") ?? "/etc/kerb/kerb.toml"
  }

  /// Where conf.d stands.
  var folder: String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// Nil: what is wrong stands in `diagnostics`.
  func read(
    into diagnostics: Diagnostics, enforcesMemoryLimit: Bool = true, draft: ConfigurationReader.Draft? = nil
  ) -> Configuration? {
    ConfigurationReader.read(
      path: path, profileDirectories: profiles, diagnostics: diagnostics,
      systemProfileDirectories: ProfileFolders.usual, boardDirectories: BoardFolders.usual,
      enforcesMemoryLimit: enforcesMemoryLimit, draft: draft)
  }

  /// Everything wrong at once, one line each, and exit code 78.
  func read(enforcesMemoryLimit: Bool = true) throws(CommandFailure) -> Configuration {
    try checkReadable()
    let diagnostics = Diagnostics()
    if let configuration = read(into: diagnostics, enforcesMemoryLimit: enforcesMemoryLimit) { return configuration }
    throw CommandFailure(
      diagnostics.sorted.map(\.text).joined(separator: "\n"), exitCode: CommandFailure.configuration)
  }

  /// A file that this user may not read is no wrong configuration.
  func checkReadable() throws(CommandFailure) {
    guard access(path, R_OK) != 0, errno == EACCES else { return }
    throw CommandFailure(Messages.text(.unreadable, path), exitCode: CommandFailure.permission)
  }

  /// Where the running agent listens. The rest of the configuration may be wrong, or unreadable: the agent runs all
  /// the same.
  var runtimePath: String { ofGateway("runtime") ?? Configuration().runtimePath }

  /// Where the box keeps what it knows, likewise.
  var statePath: String { ofGateway("state") ?? Configuration().statePath }

  private func ofGateway(_ key: String) -> String? {
    var found: String?
    let names = (try? TextFile.names(in: "\(folder)/conf.d")) ?? []
    for file in [path] + names.filter({ $0.hasSuffix(".toml") }).map({ "\(folder)/conf.d/\($0)" }) {
      guard let text = try? TextFile.read(file, bytesMax: Limits.configurationBytesMax),
        let root = TomlFile.parse(text, file: file, into: Diagnostics()),
        case .table(let gateway)? = root["gateway"]?.item.value,
        case .string(let value)? = gateway[key]?.item.value
      else { continue }
      found = value
    }
    return found
  }
}

/// Nil if it is not set, or empty.
func environment(_ name: String) -> String? {
  guard let value = getenv(name) else { return nil }
  let text = String(cString: value)
  return text.isEmpty ? nil : text
}
