// `kerb top`: the box live, full screen. Draws only the lines that changed: a serial console takes a tenth of a second
// for a whole screen.

import ArgumentParser
import CLinux
import Gateway
import Glibc

struct Top: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "top",
    abstract: "The box live, full screen: buses, slow and noisy devices, alarms; keys to look into them.",
    discussion: """
      Arrows (or j and k) choose a bus, Enter looks into it and then into a device, Esc goes back, q leaves. Needs a
      terminal; in a script use `kerb status --json`.

      Example:
        kerb top
      """)

  @OptionGroup var files: ConfigurationOptions
  @Option(help: ArgumentHelp("Seconds between two looks.", valueName: "SECONDS")) var every = 1.0

  func validate() throws {
    guard (0.2...60).contains(every) else { throw ValidationError("--every takes 0.2 to 60 seconds") }
  }

  func run() throws {
    let agent = Agent(options: files)
    guard let client = try agent.clientIfRunning() else {
      throw CommandFailure(noAgentAt: ControlServer.path(runtime: files.runtimePath), files)
    }
    guard Terminal.isThere else { throw CommandFailure(Self.noTerminal(), exitCode: CommandFailure.usage) }
    var screen = TopScreen(look: try look(agent, client, .box))
    kerb_block_signals()
    var terminal = Terminal()
    defer { terminal.leave() }
    var drawn: [String] = []
    var lookAt = kerb_monotonic_ns()
    while StandardOutput.isOpen {
      let now = kerb_monotonic_ns()
      if now >= lookAt {
        screen.before = screen.look
        screen.look = try look(agent, client, screen.view)
        lookAt = now + Int64(every * 1e9)
      }
      draw(screen, over: &drawn)
      for key in terminal.keys(within: lookAt - kerb_monotonic_ns()) {
        switch key {
        case .quit: return
        case .up: screen.chosen = max(0, screen.chosen - 1)
        case .down: screen.chosen = max(0, min(screen.chosen + 1, screen.choices.count - 1))
        case .enter: if let next = screen.next { turn(&screen, to: next, &lookAt) }
        case .back: turn(&screen, to: screen.back, &lookAt)
        case .other: break
        }
      }
      let signal = kerb_wait_signal(0)
      if signal == SIGINT || signal == SIGTERM || signal == SIGHUP { return }
    }
  }

  private func turn(_ screen: inout TopScreen, to view: TopView, _ lookAt: inout Int64) {
    screen.view = view
    screen.chosen = 0
    lookAt = 0
  }

  private func look(_ agent: Agent, _ client: ControlClient, _ view: TopView) throws -> TopLook {
    var look = TopLook()
    look.status = try agent.ask(client, "status", [])
    look.devices = try agent.ask(client, "devices", []).array ?? []
    look.alarms = try agent.ask(client, "alarms", []).array ?? []
    if case .device(let name) = view { look.points = try agent.ask(client, "points", [("device", name)]).array ?? [] }
    look.seconds = Double(kerb_monotonic_ns()) / 1e9
    return look
  }

  private func draw(_ screen: TopScreen, over drawn: inout [String]) {
    let size = Terminal.size
    let lines = screen.lines(columns: size.columns, rows: size.rows)
    var text = drawn.count == lines.count ? "" : "\u{1B}[2J"
    if drawn.count != lines.count { drawn = [] }
    for (row, line) in lines.enumerated() where !drawn.indices.contains(row) || drawn[row] != line {
      text += "\u{1B}[\(row + 1);1H\(line)\u{1B}[K"
    }
    if !text.isEmpty { StandardOutput.write(text) }
    drawn = lines
  }

  private static let noTerminal = Phrase(
    "`kerb top` draws on a terminal, and there is none here; use `kerb status --json`",
    "`kerb top` 需要终端；此处请用 `kerb status --json`")
}
