// `kerb demo`: a whole community on virtual lines, the agent on it, a platform that pulls; and at the end the account.

import ArgumentParser
import CLinux
import FieldBus
import Glibc

struct Demo: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo",
    abstract: "A whole community on virtual lines, the agent on it, and a platform that pulls.",
    discussion: """
      Needs no hardware, no root and no configuration. Ends by itself, or with Ctrl-C; the exit status is 0 only if
      everything that the agent produced is accounted for and the alarm of the lifted cover arrived.

      Example:
        kerb demo --seconds 60
      """)

  @Option(help: "How long, 12 to 86400.")
  var seconds = 30

  @Flag(help: "One JSON object a line: what happens, and last the account.")
  var json = false

  @Option(help: ArgumentHelp("The folder with device profiles.", valueName: "DIR"))
  var profiles: String?

  @Flag(help: "Keep the temporary folder.")
  var keep = false

  /// For tests of the account: the platform is killed this often, and started again.
  @Option(help: ArgumentHelp("Kill the platform every so many seconds, and start it again.", visibility: .hidden))
  var killPlatform: Int?

  func validate() throws {
    if !(12...86_400).contains(seconds) { throw ValidationError("--seconds \(seconds): allowed are 12 to 86400") }
  }

  func run() throws {
    kerb_block_signals()
    guard let profiles = profilesFolder else {
      complain("kerb demo: no device profiles found; name their folder with --profiles DIR")
      throw ExitCode(SysExit.noInput)
    }
    guard let folder = DemoSite.makeFolder(), let port = DemoSite.freePort() else {
      complain("kerb demo: can't make a temporary folder or find a free port: \(String(cString: strerror(errno)))")
      throw ExitCode(SysExit.inputOutput)
    }
    let site = DemoSite(folder: folder, port: port, seconds: seconds, profiles: profiles)
    let code: Int32
    if let problem = site.write() {
      complain("kerb demo: \(problem)")
      code = SysExit.inputOutput
    } else {
      code = DemoRun(site: site, show: DemoShow(json: json), isKept: keep, killEverySeconds: killPlatform).run()
    }
    if keep || code == SysExit.unavailable {
      complain("kerb demo: its files are in \(folder)")
    } else {
      DemoSite.remove(folder: folder)
    }
    if code != 0 { throw ExitCode(code) }
  }

  /// Absolute: the parts read it, wherever they stand.
  private var profilesFolder: String? {
    (profiles.map { [$0] } ?? ProfileFolders.usual).compactMap(TextFile.resolved).first {
      access($0 + "/manhole-cover/generic.toml", R_OK) == 0
    }
  }
}
