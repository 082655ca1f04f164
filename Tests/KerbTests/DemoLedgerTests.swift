import FieldBus
import Gateway
import Glibc
import Testing

@testable import kerb

/// What the demo's account rests on: the platform's own count.
@Suite("The platform's ledger")
struct DemoLedgerTests {
  private func answer(
    _ next: String, gaps: [(String, Int, Int)] = [], batches: [(String, Int, Int)] = []
  ) throws -> JSONValue {
    let gapList = gaps.map { "{\"lane\":\"\($0.0)\",\"from\":\($0.1),\"to\":\($0.2)}" }
    let batchList = batches.map { lane, from, to in
      let records = Array(repeating: "{}", count: to - from + 1).joined(separator: ",")
      let id = lane == "alarms" ? "\(from)" : "\(from)-\(to)"
      return "{\"id\":\"6f1c-22.1.\(lane).\(id)\",\"lane\":\"\(lane)\",\"records\":[\(records)]}"
    }
    return try JSONParser.parse(
      "{\"store\":\"6f1c-22\",\"next\":\"\(next)\",\"gaps\":[\(gapList.joined(separator: ","))],"
        + "\"batches\":[\(batchList.joined(separator: ","))]}")
  }

  private func fresh() -> DemoLedger { DemoLedger(path: "/nonexistent/ledger") }

  @Test("counts each sequence once: delivered or reported")
  func once() throws {
    var ledger = fresh()
    #expect(ledger.take(try answer("a", batches: [("telemetry", 1, 64), ("alarms", 1, 1)])))
    #expect(ledger.take(try answer("b", gaps: [("telemetry", 65, 100)], batches: [("telemetry", 101, 110)])))
    #expect(ledger.delivered == 75 && ledger.reported == 36)
    #expect(ledger.duplicates == 0 && ledger.missing == 0)
    #expect(ledger.cursor == "b" && ledger.batches == 3)
  }

  @Test("sees what comes twice")
  func twice() throws {
    var ledger = fresh()
    #expect(ledger.take(try answer("a", batches: [("telemetry", 1, 10)])))
    #expect(ledger.take(try answer("b", batches: [("telemetry", 6, 15)])))
    #expect(ledger.delivered == 15 && ledger.duplicates == 5 && ledger.missing == 0)
  }

  @Test("sees what never comes though nobody said so")
  func missing() throws {
    var ledger = fresh()
    #expect(ledger.take(try answer("a", batches: [("telemetry", 1, 10)])))
    #expect(ledger.take(try answer("b", batches: [("telemetry", 13, 15), ("alarms", 2, 2)])))
    #expect(ledger.missing == 3 && ledger.delivered == 14)
  }

  @Test("takes nothing of what is no answer, or whose records don't fit their id")
  func nonsense() throws {
    var ledger = fresh()
    let before = ledger
    #expect(!ledger.take(try JSONParser.parse("{\"next\":\"a\"}")))
    let short = "{\"next\":\"a\",\"batches\":[{\"id\":\"s.1.telemetry.1-3\",\"lane\":\"telemetry\",\"records\":[{}]}]}"
    #expect(!ledger.take(try JSONParser.parse(short)))
    #expect(ledger == before)
  }

  @Test("goes on after a kill where its file stands")
  func file() throws {
    var template = Array("/tmp/kerb-ledger-XXXXXX".utf8CString)
    let folder = template.withUnsafeMutableBufferPointer { buffer in
      buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) } ?? ""
    }
    let path = folder + "/ledger.json"
    var ledger = DemoLedger(path: path)
    #expect(ledger.cursor == nil)
    let batches = [("telemetry", 6, 9), ("alarms", 1, 1)]
    #expect(ledger.take(try answer("c-17", gaps: [("telemetry", 1, 5)], batches: batches)))
    #expect(ledger.save(path: path))
    #expect(DemoLedger(path: path) == ledger)
    unlink(path)
    rmdir(folder)
  }

  @Test("balances only what adds up, with nothing twice and nothing missing")
  func balance() {
    var account = DemoAccount()
    #expect(!account.balanced)
    (account.produced, account.delivered, account.reported, account.stored) = (100, 90, 4, 6)
    #expect(account.balanced)
    account.stored = 5
    #expect(!account.balanced)
    (account.stored, account.duplicates) = (6, 1)
    #expect(!account.balanced)
    (account.duplicates, account.missing) = (0, 1)
    #expect(!account.balanced)
  }
}
