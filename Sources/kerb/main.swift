// The command line: parse, dispatch, print. Only this file ends the process.

import ArgumentParser
import Glibc

struct Kerb: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kerb",
    abstract: "An edge gateway agent: reads Modbus and serial sensors, keeps what they say, hands it to platforms.",
    discussion: """
      Exit status: 0 well, 64 wrong usage, 65 the alarm is not as it should be,
      66 a file is missing, 69 no agent answers, 74 reading or writing failed,
      75 try again, 77 not permitted, 78 wrong configuration.

      Example:
        kerb demo
        kerb check -c site/kerb.toml && kerb run -c site/kerb.toml
      """,
    subcommands: [
      Run.self, Check.self, Plan.self, Status.self, Top.self, DoctorCommand.self, Devices.self, Points.self,
      Watch.self,
      Alarms.self, Acknowledge.self, Shelve.self, Unshelve.self,
      Read.self, Write.self, Raw.self, Monitor.self, Ports.self, ScanCommand.self, Boards.self, BoardCommand.self,
      Commission.self, Profiles.self, ProfileCommand.self,
      ConsumerCommand.self, KeyCommand.self, BufferCommand.self, ExportCommand.self, Reload.self,
      Simulate.self, Demo.self, DemoClient.self, DemoPart.self, VersionCommand.self,
    ])
}

// A reader that went away (kerb status | head) is an end in good order, and no reason to die with a signal.
signal(SIGPIPE, SIG_IGN)
StandardOutput.claimChannels()
var status: Int32 = 0
do {
  var command = try Kerb.parseAsRoot()
  try command.run()
} catch let failure as CommandFailure {
  if !failure.text.isEmpty { complain(failure.text) }
  status = failure.exitCode
} catch {
  // Help and wrong usage. What was asked for is output like any other.
  status = Kerb.exitCode(for: error).rawValue
  let text = UsageText.wrapped(Kerb.fullMessage(for: error))
  if !text.isEmpty { status == 0 ? show(text) : complain(text) }
}
exit(StandardOutput.end(status))
