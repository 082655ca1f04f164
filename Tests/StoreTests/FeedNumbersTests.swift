import CLinux
import StreamCore
import Testing

@testable import Store

/// A bus that goes on through a reload gives the numbers that it began with; the store keeps what they mean now.
@Suite("Batches under other numbers")
struct FeedNumbersTests {
  private func take(_ fill: (Batch) -> Void, _ numbers: FeedNumbers?) throws -> Intake {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: Batch.bytes, alignment: 64)
    defer { memory.deallocate() }
    let batch = Batch(memory: memory)
    batch.clear(bus: 1)
    fill(batch)
    var place = BlockInfo()
    place.firstSequence = 1
    var intake = Intake(seriesCount: 64, place: place)
    let isTaken = intake.take(batch, numbers: numbers, nowNs: 1)
    #expect(isTaken)
    return intake
  }

  private func samples(_ intake: inout Intake) throws -> (batches: [StoredBatch], loss: Loss?) {
    var reader = BlockReader(seriesCount: 64)
    let block = intake.withPending(withOpen: true) { memory in try? reader.read(memory) }
    guard case .some(.some(let (info, batches))) = block else { throw Stuck() }
    return (batches, info.loss)
  }

  private func fill(_ batch: Batch) {
    for series in 2...4 { #expect(batch.append(numbered(Int64(series), series: series))) }
    var raised = event(3, .unacknowledged, at: 5)
    raised.add(AlarmCause(series: 2, quality: .good, raw: 7))
    raised.add(AlarmCause(series: 4, quality: .good, raw: 8))
    #expect(batch.append(raised))
  }

  @Test("are kept under those that are in force: samples, alarms, what caused them, and the bus")
  func renumbered() throws {
    let none = FeedNumbers.none
    let numbers = FeedNumbers(bus: 0, series: [none, none, 9, 0, 63], alarms: [none, none, none, 1])
    var intake = try take(fill, numbers)
    let event = try #require(intake.events.first?.event)
    #expect(event.alarm == 1 && event.causeCount == 3)
    #expect((0..<3).map { event.cause($0).series } == [0, 9, 63])
    let (batches, loss) = try samples(&intake)
    let series = batches.flatMap(\.samples).map(\.series)
    #expect(series == [9, 0, 63] && loss == nil && intake.lostSamples == 0)

    var plain = try take(fill, nil)
    let (before, _) = try samples(&plain)
    let kept = before.flatMap(\.samples)
    #expect(kept.map(\.series) == [2, 3, 4] && kept.map(\.raw) == batches.flatMap(\.samples).map(\.raw))
  }

  @Test("that mean nothing are counted as lost, and keep nothing else back")
  func unknown() throws {
    let none = FeedNumbers.none
    var intake = try take(fill, FeedNumbers(bus: 0, series: [0, 1, none, 5], alarms: [0]))
    #expect(intake.events.isEmpty && intake.lostSamples == 3)
    let (batches, _) = try samples(&intake)
    #expect(batches.flatMap(\.samples).map(\.series) == [5])
  }
}
