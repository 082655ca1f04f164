// How far one consumer has come on both lanes. In RAM between commits: after a power cut it is older, never newer.
//
// Invariants:
//  1. It moves only forwards, and only when the consumer has said that it holds everything before.
//  2. It is never past what is durable, whatever the consumer claims.
//  3. A gap is counted once, when the consumer has acknowledged it.
//  4. Of a lane that the consumer may not see nothing waits for it; what it holds of it stays, for when it may.

import StreamCore

struct Cursor {
  private(set) var held: Position
  private(set) var gapRecords: Int64 = 0
  private(set) var lastSeen: Instant?
  private(set) var isChanged = true
  /// The lanes that the consumer may see. The configuration says so at every start: the row doesn't.
  private var seesAlarms = true
  private var seesTelemetry = true
  private var alarmGaps: [ClosedRange<Int64>] = []
  private var telemetryGaps: [ClosedRange<Int64>] = []
  /// Where it reads on.
  var place: ReadingPlace?

  init(held: Position, gapRecords: Int64 = 0) {
    self.held = held
    self.gapRecords = gapRecords
  }

  mutating func belong(to owner: CursorOwner) {
    seesAlarms = owner.alarms
    seesTelemetry = owner.telemetry
  }

  /// What lies behind this waits for it.
  func reach(durable: Position) -> Position {
    Position(
      alarms: seesAlarms ? held.alarms : max(held.alarms, durable.alarms),
      telemetry: seesTelemetry ? held.telemetry : max(held.telemetry, durable.telemetry))
  }

  mutating func told(alarmGaps: [Gap], telemetryGaps: [Gap]) {
    Self.join(alarmGaps, to: &self.alarmGaps, after: held.alarms)
    Self.join(telemetryGaps, to: &self.telemetryGaps, after: held.telemetry)
  }

  mutating func acknowledge(_ position: Position, durable: Position, at: Instant) {
    lastSeen = at
    let next = Position(
      alarms: max(held.alarms, min(position.alarms, durable.alarms)),
      telemetry: max(held.telemetry, min(position.telemetry, durable.telemetry)))
    guard next != held else { return }
    gapRecords += Self.settle(&alarmGaps, upTo: next.alarms) + Self.settle(&telemetryGaps, upTo: next.telemetry)
    held = next
    isChanged = true
  }

  mutating func committed() { isChanged = false }

  /// The union of what was told before and now, ascending; the same gap told twice stays one.
  private static func join(_ gaps: [Gap], to known: inout [ClosedRange<Int64>], after: Int64) {
    for gap in gaps where gap.to > after && gap.from <= gap.to { known.append(max(gap.from, after + 1)...gap.to) }
    guard known.count > 1 else { return }
    known.sort { $0.lowerBound < $1.lowerBound }
    var joined: [ClosedRange<Int64>] = []
    for range in known {
      if let last = joined.last, range.lowerBound <= last.upperBound {
        joined[joined.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
      } else {
        joined.append(range)
      }
    }
    known = Array(joined.prefix(Limits.gapsPendingMax))
  }

  /// Takes out what is now acknowledged and counts it.
  private static func settle(_ known: inout [ClosedRange<Int64>], upTo position: Int64) -> Int64 {
    var count: Int64 = 0
    var rest: [ClosedRange<Int64>] = []
    for range in known {
      if range.lowerBound <= position { count += min(range.upperBound, position) - range.lowerBound + 1 }
      if range.upperBound > position { rest.append(max(range.lowerBound, position + 1)...range.upperBound) }
    }
    known = rest
    return count
  }
}

/// Where a consumer will read on: saves the search.
struct ReadingPlace {
  var sequence: Int64
  var block: Int64
  var isReserve = false
}

/// A cursor's row: 32 bytes with a checksum.
enum CursorRecord {
  static let bytes = 32

  static func write(_ cursor: Cursor, to record: UnsafeMutableRawBufferPointer) {
    record.initializeMemory(as: UInt8.self, repeating: 0)
    record.put(cursor.held.alarms, at: 8)
    record.put(cursor.held.telemetry, at: 16)
    record.put(cursor.gapRecords, at: 24)
    record.put(Checksum.crc32c(UnsafeRawBufferPointer(rebasing: record[8...])), at: 4)
  }

  /// Nil: damaged.
  static func read(_ record: UnsafeRawBufferPointer) -> Cursor? {
    guard record.count == bytes, record.number(UInt32.self, at: 0) == 0,
      Checksum.crc32c(UnsafeRawBufferPointer(rebasing: record[8...])) == record.number(UInt32.self, at: 4)
    else { return nil }
    let held = Position(alarms: record.number(Int64.self, at: 8), telemetry: record.number(Int64.self, at: 16))
    let gaps = record.number(Int64.self, at: 24)
    let bound = Int64.max / 2
    guard (0..<bound).contains(held.alarms), (0..<bound).contains(held.telemetry), (0..<bound).contains(gaps) else {
      return nil
    }
    return Cursor(held: held, gapRecords: gaps)
  }
}
