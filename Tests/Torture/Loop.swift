// Starts victims over one state folder and ends them, again and again: by kill -9, or by taking the power from the
// disk.

import CLinux
import Glibc
import StreamCore

import Store

struct Loop {
  let rounds: Int
  let folder: String
  var random: Seeded
  var disk: PowerDisk?
  var oracle = Oracle()
  private let commitNs: Int64 = 5_000_000
  private let slackNs: Int64
  private var telemetryBytes = 1 << 20
  private var reserveBytes = 256 << 10
  private var renewed = 0
  private var longestCutNs: Int64 = 0

  init(rounds: Int, folder: String, seed: UInt64, disk: PowerDisk?) {
    self.rounds = rounds
    self.folder = folder
    self.disk = disk
    random = Seeded(seed)
    // A loaded machine, or a shared disk, may hold a commit up. Time in which the victim stood still does not count.
    slackNs = (getenv("KERB_TORTURE_SLACK_MS").flatMap { Int64(String(cString: $0)) } ?? 1_000) * 1_000_000
  }

  private var state: String { folder + "/state" }

  mutating func run() -> Bool {
    let startedNs = kerb_monotonic_ns()
    for round in 0..<rounds {
      // A new store now and then: the first start and the first preparation are cut, too.
      if round % 25 == 0 {
        remove(state)
        mkdir(state, 0o755)
        settle(folder)
        oracle.renew()
        renewed += 1
      }
      // Another quota: the ring is laid out anew at the start that is about to be cut.
      if Int.random(in: 0..<8, using: &random) == 0 {
        telemetryBytes = (1 << 20) * Int.random(in: 1...2, using: &random)
        reserveBytes = (128 << 10) * Int.random(in: 0...2, using: &random)
      }
      if disk != nil, Int.random(in: 0..<4, using: &random) == 0 { one(isKill: true) }
      one(isKill: disk == nil)
      if let problem = disk?.restore() { oracle.violation(problem) }
      if access(state + "/quarantine", F_OK) == 0 { oracle.violation("a file was taken for broken") }
      guard oracle.violations.isEmpty else {
        for violation in oracle.violations { tell("round \(round): \(violation)") }
        return false
      }
    }
    // The last word: it starts, and all is there.
    one(isKill: true, isPatient: true)
    for violation in oracle.violations { tell("at the end: \(violation)") }
    let seconds = Double(kerb_monotonic_ns() - startedNs) / 1e9
    tell(
      "\(disk == nil ? "kill -9" : "power cuts"): \(rounds) rounds over \(renewed) stores, \(oracle.starts) starts "
        + "verified, \(oracle.eventsSafe) events and \(oracle.samplesSafe) samples were durable and none was lost; "
        + "\(oracle.samplesLost) samples not yet durable went, the oldest \(oracle.oldestLossNs / 1_000_000) ms old "
        + "with a commit every \(commitNs / 1_000_000) ms; \(Int(seconds)) s"
        + (disk == nil ? "" : "; taking the power took at most \(longestCutNs / 1_000) us"))
    return oracle.violations.isEmpty
  }

  /// The box has had its state folder for long: that alone no cut takes away.
  private func settle(_ folder: String) {
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if descriptor < 0 || fsync(descriptor) != 0 { tell("\(folder): \(String(cString: strerror(errno)))") }
    close(descriptor)
  }

  private mutating func one(isKill: Bool, isPatient: Bool = false) {
    let isAll = isPatient || Int.random(in: 0..<20, using: &random) == 0
    // Now and then one lives so long, with so little to say, that a store which forgets to commit is found out.
    let isSlow = !isPatient && Int.random(in: 0..<100, using: &random) == 0
    let arguments = [
      "victim", state, "\(telemetryBytes)", "\(reserveBytes)", "\(commitNs)", "\(random.next())",
      "\(oracle.held.alarms)",
      "\(oracle.held.telemetry)", "\(isAll ? 0 : max(0, oracle.durable.alarms - 200))", isSlow ? "1" : "0",
    ]
    guard var victim = VictimProcess(arguments) else { return oracle.violation("no victim can be started") }
    var oracle = self.oracle
    let (commitNs, slackNs) = (commitNs, slackNs)
    func take(_ line: Substring) { oracle.take(line, commitNs: commitNs, slackNs: slackNs) }
    oracle.begins()
    let startNs = kerb_monotonic_ns()
    var cutNs = startNs
    if Int.random(in: 0..<3, using: &random) == 0, !isPatient, !isSlow {
      // In the start itself, wherever that is by then.
      cutNs += Int64.random(in: 0...60_000_000, using: &random)
    } else {
      _ = victim.listen(until: startNs + 300_000_000_000) { line in
        take(line)
        return oracle.hasVerified || !oracle.violations.isEmpty
      }
      if !oracle.hasVerified, oracle.violations.isEmpty { oracle.violation("no start within five minutes") }
      let lifeNs = isSlow ? 1_500_000_000 : Int64.random(in: 0...60_000_000, using: &random)
      cutNs = kerb_monotonic_ns() + lifeNs
    }
    let isAlive = victim.listen(until: cutNs) { line in
      take(line)
      return false
    }
    if !isAlive { oracle.violation("it has ended by itself") }
    let endNs = kerb_monotonic_ns()
    if !isKill {
      let cutNs = kerb_monotonic_ns()
      if let problem = disk?.cut() { oracle.violation(problem) }
      longestCutNs = max(longestCutNs, kerb_monotonic_ns() - cutNs)
      oracle.powerIsGone(from: cutNs)
    }
    victim.end()
    _ = victim.listen(until: endNs + 60_000_000_000) { line in
      // After the cut a victim finds that nothing works, and may say so.
      if isKill || !line.hasPrefix("X") { take(line) }
      return false
    }
    oracle.ended(endNs)
    self.oracle = oracle
  }
}

func remove(_ path: String) {
  if let folder = opendir(path) {
    while let entry = readdir(folder) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != "." && name != ".." { remove(path + "/" + name) }
    }
    closedir(folder)
    rmdir(path)
  } else {
    unlink(path)
  }
}
