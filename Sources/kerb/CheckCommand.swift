// `kerb check`: is the configuration right? Everything wrong at once.

import ArgumentParser
import FieldBus
import Gateway
import Glibc
import StreamCore

struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Check the configuration and its profiles; says everything that is wrong at once.",
    discussion: """
      Each mistake is a line «file:line:column: key: message». `kerb run` refuses what this refuses. Of what only has
      no effect it warns.

      Example:
        kerb check -c site/kerb.toml
        kerb check --json | jq '.errors[]'
      """)

  @OptionGroup var files: ConfigurationOptions

  @Flag(help: "One JSON object: valid, errors[] and warnings[] {file, line, column, key, message}, counts if valid.")
  var json = false

  func run() throws {
    try files.checkReadable()
    let diagnostics = Diagnostics()
    var configuration = files.read(into: diagnostics)
    configuration?.reportExpired(into: diagnostics, atUnix: Int64(time(nil)))
    if !diagnostics.isEmpty { configuration = nil }
    if json { report(configuration, diagnostics) } else if let configuration { report(configuration) }
    if configuration != nil { return }
    if json { throw ExitCode(CommandFailure.configuration) }
    show(diagnostics.sorted.map(\.text))
    throw CommandFailure(
      Messages.text(.wrongConfiguration, "\(diagnostics.count)"), exitCode: CommandFailure.configuration)
  }

  private func counts(_ configuration: Configuration) -> [(name: String, count: Int)] {
    [
      ("buses", configuration.buses.count), ("devices", configuration.devices.count),
      ("points", configuration.devices.reduce(0) { $0 + $1.points.count }),
      ("alarms", configuration.devices.reduce(0) { $0 + $1.alarms.count }),
      ("consumers", configuration.consumers.count), ("pushes", configuration.pushes.count),
    ]
  }

  private func report(_ configuration: Configuration) {
    let numbers = counts(configuration).map { "\($0.count)" }
    show(Messages.text(.good, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]))
    for problem in configuration.boardProblems {
      let note = Phrase("runs all the same, without the board: {0}", "仍可运行，但没有主板信息：{0}")(problem.text)
      show(Colour.yellow.apply(note))
    }
    for warning in configuration.warnings {
      show(Colour.yellow.apply(Phrase("runs all the same: {0}", "仍可运行：{0}")(warning.text)))
    }
  }

  private func report(_ configuration: Configuration?, _ diagnostics: Diagnostics) {
    var writer = JSONWriter()
    writer.object { root in
      root.member("valid", configuration != nil)
      list("errors", diagnostics.sorted, &root)
      list("warnings", (configuration?.boardProblems ?? []) + diagnostics.sortedWarnings, &root)
      if let configuration {
        root.member("gateway", configuration.gatewayID)
        for (name, count) in counts(configuration) { root.member(name, count) }
      }
    }
    show(writer)
  }

  private func list(_ key: String, _ diagnostics: [Diagnostic], _ writer: inout JSONWriter) {
    writer.key(key)
    writer.array { list in
      for diagnostic in diagnostics {
        list.object {
          $0.member("file", diagnostic.place.file)
          $0.member("line", diagnostic.place.line)
          $0.member("column", diagnostic.place.column)
          $0.member("key", diagnostic.key)
          $0.member("message", diagnostic.message)
        }
      }
    }
  }
}
