// The demo from its first process to its account. Lives on the main thread.
//
// Order of the end: the platform pulls what is left and stops; only then is the agent asked what it produced and what is
// left behind the platform's cursor; then agent and site are stopped.

import CLinux
import FieldBus
import Gateway
import Glibc
import StreamCore
import VirtualSite

final class DemoRun {
  private let site: DemoSite
  private let show: DemoShow
  private let isKept: Bool
  private let story: DemoStory
  private let watch: PullConnection
  private var simulator: DemoProcess?
  private var agent: DemoProcess?
  private var platform: DemoProcess?
  private var account = DemoAccount()
  private var platformAccount: JSONValue?
  private var interrupted = false

  private static let pollNs: Int64 = 100_000_000
  private static let watchNs: Int64 = 500_000_000
  private static let second: Int64 = 1_000_000_000

  init(site: DemoSite, show: DemoShow, isKept: Bool) {
    self.site = site
    self.show = show
    self.isKept = isKept
    story = DemoStory(site: site, show: show)
    let token = (try? TextFile.read(site.tokenPath, bytesMax: 256))?.split(separator: "\n").first.map(String.init)
    watch = PullConnection(host: "127.0.0.1", port: site.port, token: token ?? "")
  }

  /// The exit status.
  func run() -> Int32 {
    show.introduction(site)
    if let problem = start() { return failed(problem) }
    let until = kerb_monotonic_ns() + Int64(site.seconds) * DemoRun.second
    var watchAt: Int64 = 0
    while kerb_monotonic_ns() < until, !interrupted {
      turn(until: Swift.min(until, kerb_monotonic_ns() + DemoRun.pollNs))
      for process in [simulator, agent, platform] {
        if let process, !process.isRunning() { return failed("\(process.name) has ended: \(process.endingText)", process) }
      }
      if kerb_monotonic_ns() >= watchAt {
        watchDevices()
        watchAt = kerb_monotonic_ns() + DemoRun.watchNs
      }
    }
    if let problem = settle() { return failed(problem) }
    stop()
    show.account(account, site, isKept: isKept)
    if interrupted, account.balanced { return 130 }
    return account.balanced && account.alarmArrived ? 0 : SysExit.software
  }

  /// Stops what runs; the exit status.
  func failed(_ problem: String, _ process: DemoProcess? = nil) -> Int32 {
    for line in process?.lastWords ?? [] { complain("  \(line)") }
    complain("kerb demo: \(problem)")
    stop()
    return SysExit.unavailable
  }

  // MARK: Beginning

  /// Nil: all three run.
  private func start() -> String? {
    func process(_ name: String, _ arguments: [String]) -> DemoProcess? {
      DemoProcess(name: name, arguments: arguments, logPath: "\(site.folder)/\(name).log")
    }
    simulator = process("site", ["simulate", site.sitePath, "--json", "--profiles", site.profiles])
    let deadline = kerb_monotonic_ns() + 10 * DemoRun.second
    while !story.linesStand {
      turn(until: kerb_monotonic_ns() + DemoRun.pollNs)
      guard let simulator, simulator.isRunning(), kerb_monotonic_ns() < deadline else {
        for line in simulator?.lastWords ?? [] { complain("  \(line)") }
        return "the virtual site does not start\(simulator.map { ": \($0.endingText)" } ?? "")"
      }
    }
    agent = process("agent", ["run", "--config", site.configurationPath, "--profiles", site.profiles])
    platform = process(
      "platform", ["demo-client", "--port", "\(site.port)", "--token-file", site.tokenPath, "--ledger", site.ledgerPath])
    return agent == nil || platform == nil ? "can't start a process: \(String(cString: strerror(errno)))" : nil
  }

  // MARK: Meanwhile

  /// Waits for output or a signal, and deals with it.
  private func turn(until: Int64) {
    _ = waitForInput([simulator, platform].compactMap { $0?.output }, until: until)
    for line in simulator?.lines() ?? [] {
      if let event = try? JSONParser.parse(line) { story.siteSaid(event) }
    }
    for line in platform?.lines() ?? [] {
      guard let event = try? JSONParser.parse(line) else { continue }
      if event["event"]?.string == "account" { platformAccount = event } else { story.platformSaid(event) }
    }
    let signal = kerb_wait_signal(0)
    if signal == SIGINT || signal == SIGTERM || signal == SIGHUP { interrupted = true }
  }

  private func watchDevices() {
    guard let reply = try? watch.get("/v1/devices", withinSeconds: 2), reply.status == 200 else { return }
    story.devicesAre(reply.json?["devices"]?.array ?? [])
  }

  // MARK: The end

  /// Nil: the account stands, balanced or not.
  private func settle() -> String? {
    watch.close()
    platform?.signal(SIGTERM)
    let deadline = kerb_monotonic_ns() + 30 * DemoRun.second
    while platform?.isRunning() == true, kerb_monotonic_ns() < deadline {
      turn(until: kerb_monotonic_ns() + DemoRun.pollNs)
    }
    turn(until: 0)
    guard let platform, platform.endedWell, let platformAccount else {
      for line in platform?.lastWords ?? [] { complain("  \(line)") }
      return "the platform gave no account: \(platform?.endingText ?? "it never ran")"
    }
    account.take(platform: platformAccount)
    account.alarms = story.alarms
    // The agent goes on producing: a status between two samples' birth and their commit is not the whole truth yet.
    let patience = kerb_monotonic_ns() + 10 * DemoRun.second
    repeat {
      _ = ControlCall.ask("flush", runtime: site.runtimePath, withinNs: DemoRun.second)
      guard let status = ControlCall.ask("status", runtime: site.runtimePath, withinNs: 2 * DemoRun.second) else {
        return "the agent does not answer on its control socket"
      }
      account.take(status: status)
    } while !account.balanced && kerb_monotonic_ns() < patience
    return nil
  }

  /// In reverse, each with time to end well.
  private func stop() {
    for process in [platform, agent, simulator] {
      guard let process, process.isRunning() else { continue }
      process.signal(SIGTERM)
      let deadline = kerb_monotonic_ns() + 10 * DemoRun.second
      while process.isRunning(), kerb_monotonic_ns() < deadline { turn(until: kerb_monotonic_ns() + DemoRun.pollNs) }
      if process.isRunning() {
        complain("kerb demo: \(process.name) does not end; it is killed")
        process.signal(SIGKILL)
        while process.isRunning() { turn(until: kerb_monotonic_ns() + DemoRun.pollNs) }
      }
    }
  }
}
