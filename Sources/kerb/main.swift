// The command line: parse, dispatch, print.

import ArgumentParser

struct Kerb: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kerb",
    abstract: "An edge gateway agent: reads Modbus and serial sensors, keeps what they say, hands it to platforms.",
    subcommands: [Simulate.self, Demo.self, DemoClient.self, DemoPart.self])
}

Kerb.main()
