// Which configuration a command works on, read and checked the same way everywhere.

import ArgumentParser
import FieldBus
import Gateway
import Glibc

struct ConfigurationOptions: ParsableArguments {
  @Option(
    name: [.customShort("c"), .customLong("config")],
    help: "The configuration file (default: $KERB_CONFIG, else /etc/kerb/kerb.toml).")
  var config: String?

  @Option(help: ArgumentHelp("Look for device profiles here first; may be given more than once.", valueName: "dir"))
  var profiles: [String] = []

  var path: String {
    config ?? getenv("KERB_CONFIG").map { String(cString: $0) } ?? "/etc/kerb/kerb.toml"
  }

  /// Nil: what is wrong stands in `diagnostics`.
  func read(into diagnostics: Diagnostics, enforcesMemoryLimit: Bool = true) -> Configuration? {
    ConfigurationReader.read(
      path: path, profileDirectories: profiles, diagnostics: diagnostics,
      systemProfileDirectories: ProfileFolders.usual, enforcesMemoryLimit: enforcesMemoryLimit)
  }

  /// Everything wrong at once, one line each, and exit code 78.
  func read(enforcesMemoryLimit: Bool = true) throws(CommandFailure) -> Configuration {
    let diagnostics = Diagnostics()
    if let configuration = read(into: diagnostics, enforcesMemoryLimit: enforcesMemoryLimit) { return configuration }
    throw CommandFailure(
      diagnostics.sorted.map(\.text).joined(separator: "\n"), exitCode: CommandFailure.configuration)
  }
}
