// The demo from its first process to its account. Lives on the main thread.
//
// Order of the end: the platform pulls what is left and stops; then the agent ends, commits what it has in hand,
// and leaves its account of what it produced and what is left behind the platform's cursor; then the site.

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
  private let killEveryNs: Int64?
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

  init(site: DemoSite, show: DemoShow, isKept: Bool, killEverySeconds: Int?) {
    killEveryNs = killEverySeconds.map { Int64($0) * DemoRun.second }
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
    var killAt = killEveryNs.map { kerb_monotonic_ns() + $0 } ?? .max
    while kerb_monotonic_ns() < until, !interrupted, StandardOutput.isOpen {
      turn(until: Swift.min(until, kerb_monotonic_ns() + DemoRun.pollNs))
      for process in [simulator, agent, platform] {
        guard let process, !process.isRunning() else { continue }
        return failed("\(process.name) has ended: \(process.endingText)", process)
      }
      if kerb_monotonic_ns() >= watchAt {
        watchDevices()
        watchAt = kerb_monotonic_ns() + DemoRun.watchNs
      }
      if let every = killEveryNs, kerb_monotonic_ns() >= killAt {
        restartPlatform()
        killAt += every
      }
    }
    // An account that nobody would see.
    guard StandardOutput.isOpen else {
      stop()
      return 0
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
    simulator = process("site", ["simulate", site.sitePath, "--json", "--profiles", site.profiles])
    let deadline = kerb_monotonic_ns() + 10 * DemoRun.second
    while !story.linesStand {
      turn(until: kerb_monotonic_ns() + DemoRun.pollNs)
      guard let simulator, simulator.isRunning(), kerb_monotonic_ns() < deadline else {
        for line in simulator?.lastWords ?? [] { complain("  \(line)") }
        return "the virtual site does not start\(simulator.map { ": \($0.endingText)" } ?? "")"
      }
    }
    agent = process(
      "agent",
      ["run", "--config", site.configurationPath, "--profiles", site.profiles, "--account", site.agentAccountPath])
    startPlatform()
    return agent == nil || platform == nil ? "can't start a process: \(String(cString: strerror(errno)))" : nil
  }

  private func process(_ name: String, _ arguments: [String]) -> DemoProcess? {
    DemoProcess(name: name, arguments: arguments, logPath: "\(site.folder)/\(name).log")
  }

  private func startPlatform() {
    platform = process(
      "platform",
      ["demo-client", "--port", "\(site.port)", "--token-file", site.tokenPath, "--ledger", site.ledgerPath])
  }

  /// As a power cut at the platform would.
  private func restartPlatform() {
    platform?.signal(SIGKILL)
    while platform?.isRunning() == true { turn(until: kerb_monotonic_ns() + DemoRun.pollNs) }
    turn(until: 0)
    startPlatform()
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
    do {
      account.take(status: try ControlClient(path: site.controlPath).call("status"))
    } catch {
      return "the agent does not answer on its control socket: \(error)"
    }
    end(platform)
    guard let platform, platform.endedWell, let platformAccount else {
      for line in platform?.lastWords ?? [] { complain("  \(line)") }
      return "the platform gave no account: \(platform?.endingText ?? "it never ran")"
    }
    account.take(platform: platformAccount)
    account.alarms = story.alarms
    end(agent)
    guard let text = try? TextFile.read(site.agentAccountPath, bytesMax: Limits.bodyBytesMax),
      let json = try? JSONParser.parse(text), agent?.endedWell == true
    else {
      for line in agent?.lastWords ?? [] { complain("  \(line)") }
      return "the agent gave no account: \(agent?.endingText ?? "it never ran")"
    }
    account.take(agent: json)
    return nil
  }

  /// What still runs, in reverse.
  private func stop() {
    story.isOver = true
    for process in [platform, agent, simulator] { end(process) }
  }

  /// Ends a process in good order, or, if it won't, by force.
  private func end(_ process: DemoProcess?) {
    guard let process, process.isRunning() else { return }
    process.signal(SIGTERM)
    let deadline = kerb_monotonic_ns() + 15 * DemoRun.second
    while process.isRunning(), kerb_monotonic_ns() < deadline { turn(until: kerb_monotonic_ns() + DemoRun.pollNs) }
    if process.isRunning() {
      complain("kerb demo: \(process.name) does not end; it is killed")
      process.signal(SIGKILL)
      while process.isRunning() { turn(until: kerb_monotonic_ns() + DemoRun.pollNs) }
    }
    turn(until: 0)
  }
}
