// `kerb demo-client`: the platform of the demo. Pulls with long polls, keeps what it holds in a ledger, and says on
// standard output, one JSON object a line, what came. On SIGTERM it pulls until nothing is left, prints its account
// and ends.

import ArgumentParser
import CLinux
import FieldBus
import Gateway
import Glibc
import StreamCore
import Synchronization
import VirtualSite

struct DemoClient: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo-client", abstract: "The demo's platform: pulls, counts, accounts.", shouldDisplay: false)

  @Option var port: Int
  /// The first line of this file.
  @Option var tokenFile: String
  @Option var ledger: String

  func run() throws {
    kerb_block_signals()
    let token: String
    do {
      let text = try TextFile.read(tokenFile, bytesMax: Limits.headerBytesMax)
      token = text.split(separator: "\n").first.map(String.init) ?? ""
    } catch {
      complain("kerb demo-client: \(tokenFile) \(error.message)")
      throw ExitCode(SysExit.noInput)
    }
    let puller = DemoPuller(port: port, token: token, ledgerPath: ledger)
    let thread: LineThread
    do {
      thread = try LineThread(name: "puller") { puller.run() }
    } catch {
      complain("kerb demo-client: \(error.explanation)")
      throw ExitCode(error.exitCode)
    }
    while !puller.hasEnded {
      let signal = kerb_wait_signal(100)
      if signal == SIGTERM || signal == SIGINT || !StandardOutput.isOpen { puller.finish() }
      puller.endLongPoll()
    }
    thread.join()
    if let problem = puller.problem {
      complain("kerb demo-client: \(problem)")
      throw ExitCode(SysExit.unavailable)
    }
  }
}

/// The pulling itself, on a thread of its own.
final class DemoPuller: Sendable {
  private let connection: PullConnection
  private let ledgerPath: String
  private let state = Mutex(State())

  private struct State: Sendable {
    /// Monotonic: from then on nothing is waited for.
    var finishingSince: Int64?
    /// A request that the platform may hold is on its way, or about to be.
    var longPolling = false
    var hasEnded = false
    var problem: String?
  }

  /// After this long without an answer there is nobody who could answer.
  private static let patienceNs: Int64 = 5_000_000_000
  private static let pauseNs: Int64 = 50_000_000
  private static let waitSeconds = 20

  init(port: Int, token: String, ledgerPath: String) {
    connection = PullConnection(host: "127.0.0.1", port: port, token: token)
    self.ledgerPath = ledgerPath
  }

  var hasEnded: Bool { state.withLock { $0.hasEnded } }
  var problem: String? { state.withLock { $0.problem } }

  /// From now on what is left is pulled without waiting.
  func finish() {
    state.withLock { $0.finishingSince = $0.finishingSince ?? kerb_monotonic_ns() }
  }

  /// After `finish`: called until it ends, as a long poll may have begun just then.
  func endLongPoll() {
    if state.withLock({ $0.finishingSince != nil && $0.longPolling }) { connection.close() }
  }

  func run() {
    var ledger = DemoLedger(path: ledgerPath)
    let problem = pull(&ledger)
    var writer = JSONWriter()
    writer.object {
      $0.member("event", "account")
      $0.member("delivered", ledger.delivered)
      $0.member("reported", ledger.reported)
      $0.member("duplicates", ledger.duplicates)
      $0.member("missing", ledger.missing)
      ledger.write(&$0)
    }
    show(writer)
    state.withLock {
      $0.problem = problem
      $0.hasEnded = true
    }
  }

  /// Nil: everything was pulled; else what is in the way.
  private func pull(_ ledger: inout DemoLedger) -> String? {
    var lastAnswerAt = kerb_monotonic_ns()
    while true {
      let finishingSince = state.withLock { state in
        state.longPolling = state.finishingSince == nil
        return state.finishingSince
      }
      let wait = finishingSince == nil ? DemoPuller.waitSeconds : 0
      let after = ledger.cursor.map { "&after=\($0)" } ?? ""
      do {
        let reply = try connection.get("/v1/batches?limit=2000&wait=\(wait)\(after)", withinSeconds: Int64(wait) + 10)
        let receivedAt = kerb_monotonic_ns()
        lastAnswerAt = receivedAt
        switch reply.status {
        case 200:
          guard let answer = reply.json, ledger.take(answer) else {
            return "an answer that is none: \(String(decoding: reply.body.prefix(200), as: UTF8.self))"
          }
          // Told first: who is killed in between tells it twice, and not never.
          tell(answer, receivedAt: receivedAt)
          acknowledge(answer)
          guard ledger.save(path: ledgerPath) else {
            return "can't write \(ledgerPath): \(String(cString: strerror(errno)))"
          }
        case 204: if finishingSince != nil { return nil }
        case 429, 503: pause()
        default: return "status \(reply.status): \(String(decoding: reply.body.prefix(300), as: UTF8.self))"
        }
      } catch {
        let since = Swift.max(lastAnswerAt, finishingSince ?? 0)
        if finishingSince != nil, kerb_monotonic_ns() - since > DemoPuller.patienceNs {
          return "nobody answers any more: \(error)"
        }
        pause()
      }
    }
  }

  /// Somebody sits at the platform: what is critical and new is acknowledged at once. One that has changed
  /// meanwhile comes again with its new state.
  private func acknowledge(_ answer: JSONValue) {
    for batch in answer["batches"]?.array ?? [] {
      for record in batch["records"]?.array ?? [] {
        guard record["state"]?.string == "unacknowledged", record["severity"]?.string == "critical",
          let id = record["id"]?.string
        else { continue }
        var body = JSONWriter()
        body.object {
          $0.member("by", "demo platform")
          $0.member("note", "a crew is on its way")
        }
        _ = try? connection.post("/v1/alarms/\(id)/ack", body.bytes, withinSeconds: 10)
      }
    }
  }

  private func pause() {
    _ = waitForInput([], until: kerb_monotonic_ns() + DemoPuller.pauseNs)
  }

  // MARK: Telling

  private func tell(_ answer: JSONValue, receivedAt: Int64) {
    var records = 0
    let batches = answer["batches"]?.array ?? []
    for batch in batches {
      let list = batch["records"]?.array ?? []
      records += list.count
      for record in list {
        let isAlarm = record["alarm"] != nil
        // Cards are shown seldom, and say what privacy means here.
        guard isAlarm || record["n"]?.string?.hasSuffix("/card") == true else { continue }
        var writer = JSONWriter()
        writer.object {
          $0.member("event", isAlarm ? "alarm" : "card")
          $0.member("received_ns", receivedAt)
          $0.key("record")
          $0.value(record)
        }
        show(writer)
      }
    }
    var writer = JSONWriter()
    writer.object {
      $0.member("event", "answer")
      $0.member("received_ns", receivedAt)
      $0.member("batches", batches.count)
      $0.member("records", records)
      $0.member("gaps", answer["gaps"]?.array?.count ?? 0)
    }
    show(writer)
  }
}
