// `kerb reload`: the running agent reads its configuration anew.

import ArgumentParser
import Gateway

struct Reload: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reload",
    abstract: "Have the running agent read its configuration anew.",
    discussion: """
      In force at once: buses, devices, profiles, alarms, consumers, pushes and the
      files of the certificate. A bus that is not changed runs on and misses nothing.
      What of [gateway], [buffer] and the addresses of [pull] was changed is named,
      and is in force after a restart. A wrong configuration changes nothing.

      Example:
        kerb check && kerb reload
      """)

  @OptionGroup var files: ConfigurationOptions

  @Flag(help: "One JSON object: applied[], restart[].")
  var json = false

  func run() throws {
    let outcome = try Agent(options: files).ask("reload")
    if json { return show(outcome) }
    func list(_ key: String) -> [String] { (outcome[key]?.array ?? []).compactMap(\.string) }
    show(Messages.text(.reloaded))
    for change in list("applied") { show(Messages.text(.reloadApplied, change)) }
    for section in list("restart") { show(Messages.text(.reloadRestart, section)) }
    if list("applied").isEmpty, list("restart").isEmpty { show(Messages.text(.reloadNothing)) }
  }
}
