// What the demo's platform holds, counted: which sequences of each lane came, once or twice, and which were reported as
// never to come. Kept in a file with the cursor, so that a platform that was killed goes on where it was.
//
// Invariants:
//  1. Cursor and counts are written in one step: what the cursor acknowledges is in the counts, and nothing else is.
//  2. A sequence is delivered, or in a gap, or breaks the row: every one is counted in exactly one of them.

import FieldBus
import Gateway
import Glibc
import StreamCore

struct DemoLedger: Sendable, Equatable {
  struct LaneCount: Sendable, Equatable {
    /// The highest sequence so far; the next is one more.
    var last: Int64 = 0
    var delivered: Int64 = 0
    var reported: Int64 = 0
    /// Sequences that came twice, and that never came though nobody said so.
    var duplicates: Int64 = 0
    var missing: Int64 = 0
  }

  var cursor: String?
  var store = ""
  var answers: Int64 = 0
  var batches: Int64 = 0
  var lanes: [Lane: LaneCount] = [.alarms: LaneCount(), .telemetry: LaneCount()]

  var delivered: Int64 { lanes.values.reduce(0) { $0 + $1.delivered } }
  var reported: Int64 { lanes.values.reduce(0) { $0 + $1.reported } }
  var duplicates: Int64 { lanes.values.reduce(0) { $0 + $1.duplicates } }
  var missing: Int64 { lanes.values.reduce(0) { $0 + $1.missing } }

  /// A stretch of a lane that an answer accounts for.
  private struct Span {
    var from: Int64
    var to: Int64
    var isGap: Bool
  }

  /// Takes the answer of /v1/batches into account. False: it is not one.
  mutating func take(_ answer: JSONValue) -> Bool {
    guard let next = answer["next"]?.string, let batches = answer["batches"]?.array else { return false }
    var spans: [Lane: [Span]] = [:]
    for gap in answer["gaps"]?.array ?? [] {
      guard let lane = lane(gap), let from = gap["from"]?.integer, let to = gap["to"]?.integer else { return false }
      spans[lane, default: []].append(Span(from: from, to: to, isGap: true))
    }
    for batch in batches {
      guard let lane = lane(batch), let id = batch["id"]?.string, let records = batch["records"]?.array,
        let span = Self.span(of: id), span.to - span.from + 1 == Int64(records.count)
      else { return false }
      spans[lane, default: []].append(span)
    }
    for (lane, list) in spans {
      for span in list.sorted(by: { $0.from < $1.from }) { count(span, lane) }
    }
    cursor = next
    store = answer["store"]?.string ?? store
    answers += 1
    self.batches += Int64(batches.count)
    return true
  }

  private func lane(_ entry: JSONValue) -> Lane? {
    let name = entry["lane"]?.string
    return [Lane.alarms, .telemetry].first { $0.name == name }
  }

  /// "<store>.<epoch>.<lane>.<first>-<last>", or with one sequence only; of merged windows with "~10" behind.
  private static func span(of id: String) -> Span? {
    guard let numbers = id.split(separator: ".").last?.prefix(while: { $0 != "~" }).split(separator: "-"),
      let from = numbers.first.flatMap({ Int64($0) }), let to = numbers.last.flatMap({ Int64($0) }), from > 0,
      to >= from
    else { return nil }
    return Span(from: from, to: to, isGap: false)
  }

  private mutating func count(_ span: Span, _ lane: Lane) {
    var state = lanes[lane] ?? LaneCount()
    if span.from > state.last + 1 { state.missing += span.from - state.last - 1 }
    let fresh = Swift.max(0, span.to - Swift.max(span.from - 1, state.last))
    if span.isGap {
      state.reported += fresh
    } else {
      state.delivered += fresh
      state.duplicates += span.to - span.from + 1 - fresh
    }
    state.last = Swift.max(state.last, span.to)
    lanes[lane] = state
  }

  // MARK: In its file

  /// A new ledger if there is no file.
  init(path: String) {
    guard let text = try? TextFile.read(path, bytesMax: Limits.bodyBytesMax),
      let json = try? JSONParser.parse(text)
    else { return }
    cursor = json["cursor"]?.string
    store = json["store"]?.string ?? ""
    answers = json["answers"]?.integer ?? 0
    batches = json["batches"]?.integer ?? 0
    for lane in [Lane.alarms, .telemetry] {
      guard let entry = json[lane.name] else { continue }
      lanes[lane] = LaneCount(
        last: entry["last"]?.integer ?? 0, delivered: entry["delivered"]?.integer ?? 0,
        reported: entry["reported"]?.integer ?? 0, duplicates: entry["duplicates"]?.integer ?? 0,
        missing: entry["missing"]?.integer ?? 0)
    }
  }

  func write(_ writer: inout JSONWriter) {
    if let cursor { writer.member("cursor", cursor) }
    writer.member("store", store)
    writer.member("answers", answers)
    writer.member("batches", batches)
    for lane in [Lane.alarms, .telemetry] {
      let count = lanes[lane] ?? LaneCount()
      writer.key(lane.name)
      writer.object {
        $0.member("last", count.last)
        $0.member("delivered", count.delivered)
        $0.member("reported", count.reported)
        $0.member("duplicates", count.duplicates)
        $0.member("missing", count.missing)
      }
    }
  }

  /// Durably, and whole or not at all. False: errno says why.
  func save(path: String) -> Bool {
    var writer = JSONWriter()
    writer.object { write(&$0) }
    return DemoFiles.replace(path, writer.bytes + [0x0A], mode: 0o600)
  }
}

enum DemoFiles {
  /// Writes beside it, syncs, and renames.
  static func replace(_ path: String, _ bytes: [UInt8], mode: mode_t) -> Bool {
    let fresh = path + ".new"
    let fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
    guard fd >= 0 else { return false }
    let written = bytes.withUnsafeBytes { Glibc.write(fd, $0.baseAddress, $0.count) } == bytes.count
    let synced = fsync(fd) == 0
    close(fd)
    return written && synced && rename(fresh, path) == 0
  }
}
