// `kerb run`: the agent.

import ArgumentParser
import CLinux
import FieldBus
import Gateway
import Glibc
import Logging
import StreamCore

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Run the agent: read the buses, keep what they say, serve the platforms.",
    discussion: """
      Logs to stderr, in the journal's format under systemd. SIGTERM and SIGINT end it cleanly: what is in hand is
      committed first. SIGHUP reloads the configuration, as `kerb reload` does.

      Example:
        kerb run -c /etc/kerb/kerb.toml
      """)

  @OptionGroup var files: ConfigurationOptions

  @Option(help: ArgumentHelp("Write an account of the run to this file when it ends.", visibility: .hidden))
  var account: String?

  func run() throws {
    // Before the first thread: they inherit it, and the main thread takes signals by waiting for them.
    kerb_block_signals()
    kerb_malloc_settle(Limits.mallocBlockBytes)
    LoggingSystem.bootstrap { LineLog(label: $0) }
    let configuration = try files.read()
    let logger = Logger(label: "kerb")
    let gateway = Gateway(configuration, logger: logger)
    do {
      // False: somebody ended it while it waited for its state.
      guard try gateway.start() else { return }
    } catch {
      throw CommandFailure(error.text, exitCode: error.exitCode)
    }
    var failure: StartFailure?
    do throws(StartFailure) {
      try gateway.run {
        let diagnostics = Diagnostics()
        let read = files.read(into: diagnostics)
        read?.reportExpired(into: diagnostics, atUnix: Int64(time(nil)))
        return Reread(configuration: diagnostics.isEmpty ? read : nil, diagnostics: diagnostics)
      }
    } catch { failure = error }
    let result = gateway.stop()
    if let account { try write(result, to: account) }
    if let failure { throw CommandFailure(failure.text, exitCode: failure.exitCode) }
  }

  private func write(_ result: Account, to path: String) throws {
    var json = JSONWriter()
    json.beginObject()
    json.member("produced", result.produced)
    json.member("lost", result.lost)
    json.member("durable_alarms", result.store.durable.alarms)
    json.member("durable_telemetry", result.store.durable.telemetry)
    json.key("consumers")
    json.beginArray()
    for consumer in result.store.consumers {
      json.beginObject()
      json.member("name", consumer.name)
      json.member("held_alarms", consumer.held.alarms)
      json.member("held_telemetry", consumer.held.telemetry)
      json.member("lag_records", consumer.lagRecords)
      json.endObject()
    }
    json.endArray()
    json.endObject()
    do { try TextFile.write(json.bytes, to: path) } catch {
      throw CommandFailure("\(path): \(error.message)", exitCode: CommandFailure.inputOutput)
    }
  }
}
