// The command line: parse, dispatch, print.

import ArgumentParser
import Glibc

struct Kerb: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kerb",
    abstract: "An edge gateway agent: reads Modbus and serial sensors, keeps what they say, hands it to platforms.",
    subcommands: [Run.self, Plan.self, Simulate.self, Demo.self, DemoClient.self, DemoPart.self])
}

// A reader that went away (kerb status | head) is no reason to die with a signal.
signal(SIGPIPE, SIG_IGN)
do {
  var command = try Kerb.parseAsRoot()
  try command.run()
} catch let failure as CommandFailure {
  let line = Array((failure.text + "\n").utf8)
  if !failure.text.isEmpty { _ = write(STDERR_FILENO, line, line.count) }
  exit(failure.exitCode)
} catch {
  Kerb.exit(withError: error)
}
