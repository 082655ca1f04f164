import StreamCore
import Testing

@testable import Store

@Suite("A consumer's cursor")
struct CursorTests {
  private let durable = Position(alarms: 10, telemetry: 1_000)

  private func gap(_ from: Int64, _ to: Int64) -> Gap {
    Gap(from: from, to: to, epoch: 1, start: nil, end: nil, reason: .evicted)
  }

  @Test("Invariant 1: it moves forwards only, each lane by itself")
  func monotone() {
    var cursor = Cursor(held: Position(alarms: 3, telemetry: 300))
    cursor.acknowledge(Position(alarms: 2, telemetry: 400), durable: durable, at: .zero)
    #expect(cursor.held == Position(alarms: 3, telemetry: 400))
    cursor.acknowledge(Position(alarms: -5, telemetry: .min), durable: durable, at: .zero)
    #expect(cursor.held == Position(alarms: 3, telemetry: 400))
  }

  @Test("Invariant 2: a forged position is cut to what is durable")
  func forged() {
    var cursor = Cursor(held: Position())
    cursor.acknowledge(Position(alarms: .max, telemetry: .max), durable: durable, at: .zero)
    #expect(cursor.held == durable)
  }

  @Test("Invariant 3: a gap told twice, and once longer, is counted once and only as far as acknowledged")
  func gapsOnce() {
    var cursor = Cursor(held: Position())
    cursor.told(alarmGaps: [gap(1, 2)], telemetryGaps: [gap(1, 50)])
    cursor.told(alarmGaps: [gap(1, 2)], telemetryGaps: [gap(1, 80), gap(200, 210)])
    #expect(cursor.gapRecords == 0)
    cursor.acknowledge(Position(alarms: 2, telemetry: 60), durable: durable, at: .zero)
    #expect(cursor.gapRecords == 62)
    cursor.acknowledge(Position(alarms: 2, telemetry: 1_000), durable: durable, at: .zero)
    #expect(cursor.gapRecords == 62 + 20 + 11)
    cursor.acknowledge(Position(alarms: 2, telemetry: 1_000), durable: durable, at: .zero)
    #expect(cursor.gapRecords == 93)
  }

  @Test("Its row comes back the same, and a flipped bit in it is noticed")
  func row() {
    var cursor = Cursor(held: Position(alarms: 77, telemetry: 1 << 40), gapRecords: 12)
    cursor.acknowledge(Position(), durable: durable, at: .zero)
    var record = [UInt8](repeating: 0, count: CursorRecord.bytes)
    record.withUnsafeMutableBytes { CursorRecord.write(cursor, to: $0) }
    let read = record.withUnsafeBytes { CursorRecord.read($0) }
    #expect(read?.held == cursor.held)
    #expect(read?.gapRecords == 12)
    for bit in 0..<(record.count * 8) {
      var flipped = record
      flipped[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(flipped.withUnsafeBytes { CursorRecord.read($0) } == nil, "bit \(bit)")
    }
  }
}
