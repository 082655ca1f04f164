// `kerb key rotate`: another secret for pseudonyms. What of the records can still be joined after it stands in
// docs/decisions/036.

import ArgumentParser
import FieldBus
import Gateway

struct KeyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "key", abstract: "The box's key for personal data.",
    discussion: """
      Example:
        kerb key rotate --yes
      """,
    subcommands: [KeyRotate.self])
}

struct KeyRotate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rotate",
    abstract: "Make another key for pseudonyms; the old one is gone for good.",
    discussion: """
      From the next start of the agent on every card has another pseudonym, for every platform: what was recorded before
      can't be joined with what comes after, by nobody. Cursors and tokens stay. One platform's pseudonyms alone are
      changed by `kerb consumer rotate NAME --pseudonyms`.

      Example:
        kerb key rotate --yes && systemctl restart kerb
      """)

  @OptionGroup var files: ConfigurationOptions

  @Flag(help: "It can't be undone: do it.")
  var yes = false

  func run() throws {
    let path = BoxKey.path(statePath: try files.read().statePath)
    guard yes else { throw CommandFailure(Messages.text(.keyNeedsYes, path), exitCode: CommandFailure.usage) }
    do { try BoxKey.rotate(statePath: try files.read().statePath) } catch let failure as BoxKeyFailure {
      throw CommandFailure(
        failure.trouble.map(CommandFailure.text) ?? failure.text,
        exitCode: failure.isPermission ? CommandFailure.permission : CommandFailure.inputOutput)
    }
    complain(Messages.text(.keyRotated, path))
  }
}
