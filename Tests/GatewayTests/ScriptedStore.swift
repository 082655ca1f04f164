// A buffer in memory that the tests fill by hand: it answers on a thread of its own, as the store does.

import Dispatch
import Gateway
import Store
import StreamCore
import Synchronization

final class ScriptedStore: BatchSource {
  struct Contents {
    var batches: [StoredBatch] = []
    var events: [StoredEvent] = []
    var alarmGaps: [Gap] = []
    var telemetryGaps: [Gap] = []
    var cursors: [String: Position] = [:]
    var acknowledged: [(consumer: String, position: Position)] = []
    var catalogues: [UInt32: [UInt8]] = [:]
    var clocks: [EpochClock] = []
    var alarms: [StoredAlarm] = []
    var report = StoreReport()
    var failure: StoreFailure?
    var isMute = false
    var isLogFull = false
    var reads = 0
    var flushes = 0

    var durable: Position {
      Position(
        alarms: max(events.last?.sequence ?? 0, alarmGaps.map(\.to).max() ?? 0),
        telemetry: max(
          batches.last.map { $0.firstSequence + Int64($0.samples.count) - 1 } ?? 0, telemetryGaps.map(\.to).max() ?? 0))
    }
  }

  let contents = Mutex(Contents())
  private let thread = DispatchQueue(label: "store")

  func change<T: Sendable>(_ body: (inout Contents) -> T) -> T { contents.withLock { body(&$0) } }

  private func onThread(_ body: @escaping @Sendable (Contents) -> Void) {
    thread.async { body(self.contents.withLock { $0 }) }
  }

  func read(
    _ request: ReadRequest, for consumer: String?,
    _ completion: @escaping @Sendable (Result<ReadAnswer, StoreFailure>) -> Void
  ) {
    change { $0.reads += 1 }
    onThread { contents in
      if contents.isMute { return }
      if let failure = contents.failure { return completion(.failure(failure)) }
      completion(.success(Self.answer(request, contents)))
    }
  }

  private static func answer(_ request: ReadRequest, _ contents: Contents) -> ReadAnswer {
    var answer = ReadAnswer()
    answer.storeID = contents.report.storeID
    answer.next = request.after
    answer.clocks = contents.clocks
    var left = request.recordsMax
    if request.alarms {
      for event in contents.events where event.sequence > request.after.alarms && left > 0 {
        answer.events.append(event)
        left -= 1
      }
      answer.next.alarms = answer.events.last?.sequence ?? request.after.alarms
      if left > 0 { answer.next.alarms = max(answer.next.alarms, contents.durable.alarms) }
      answer.alarmGaps = contents.alarmGaps.filter {
        $0.from > request.after.alarms && $0.to <= answer.next.alarms
      }
      if answer.next.alarms < contents.durable.alarms { answer.more = true }
    }
    if request.telemetry, left > 0 {
      for batch in contents.batches where left > 0 {
        let skip = max(0, Int(request.after.telemetry - batch.firstSequence + 1))
        guard skip < batch.samples.count else { continue }
        let taken = batch.samples[skip...].prefix(left)
        answer.batches.append(
          StoredBatch(
            firstSequence: batch.firstSequence + Int64(skip), epoch: batch.epoch,
            catalogueVersion: batch.catalogueVersion, samples: Array(taken), texts: batch.texts))
        left -= taken.count
        answer.next.telemetry = batch.firstSequence + Int64(skip + taken.count) - 1
      }
      if left > 0 { answer.next.telemetry = max(answer.next.telemetry, contents.durable.telemetry) }
      answer.telemetryGaps = contents.telemetryGaps.filter {
        $0.from > request.after.telemetry && $0.to <= answer.next.telemetry
      }
    }
    if request.telemetry, answer.next.telemetry < contents.durable.telemetry { answer.more = true }
    return answer
  }

  func acknowledge(_ position: Position, by consumer: String, at: Instant) {
    change {
      $0.acknowledged.append((consumer, position))
      let old = $0.cursors[consumer] ?? Position()
      $0.cursors[consumer] = Position(
        alarms: max(old.alarms, position.alarms), telemetry: max(old.telemetry, position.telemetry))
    }
  }

  func serve(_ consumers: [CursorOwner], _ completion: @escaping @Sendable (StoreFailure?) -> Void) {
    onThread { completion($0.failure) }
  }

  func position(of consumer: String, _ completion: @escaping @Sendable (Position?) -> Void) {
    onThread { completion($0.cursors[consumer] ?? Position()) }
  }
  func catalogue(version: UInt32, _ completion: @escaping @Sendable ([UInt8]?) -> Void) {
    onThread { completion($0.catalogues[version]) }
  }
  func clocks(of epochs: [UInt32], _ completion: @escaping @Sendable ([EpochClock]) -> Void) {
    onThread { contents in completion(contents.clocks.filter { epochs.contains($0.epoch) }) }
  }
  func log(_ events: [NewEvent], _ completion: @escaping @Sendable (Bool) -> Void) {
    if change({ $0.isLogFull }) { return onThread { _ in completion(false) } }
    change { contents in
      for new in events {
        let sequence = contents.durable.alarms + 1
        var stored = StoredEvent(sequence: sequence, epoch: 3, catalogueVersion: 1, event: new.event)
        stored.by = new.by
        stored.note = new.note
        contents.events.append(stored)
      }
    }
    onThread { _ in completion(true) }
  }

  func alarms(_ completion: @escaping @Sendable ([StoredAlarm]) -> Void) { onThread { completion($0.alarms) } }
  func report(_ completion: @escaping @Sendable (StoreReport) -> Void) {
    onThread { contents in
      if contents.isMute { return }
      var report = contents.report
      report.durable = contents.durable
      completion(report)
    }
  }
  func flush(_ completion: @escaping @Sendable (Result<Position, StoreFailure>) -> Void) {
    change { $0.flushes += 1 }
    onThread { contents in completion(contents.failure.map { .failure($0) } ?? .success(contents.durable)) }
  }

  // MARK: Filling it

  /// Appends a block; returns its first sequence.
  @discardableResult
  func add(_ samples: [Sample], texts: [UInt8] = [], epoch: UInt32 = 3, version: UInt32 = 1) -> Int64 {
    change {
      let first = $0.durable.telemetry + 1
      $0.batches.append(
        StoredBatch(firstSequence: first, epoch: epoch, catalogueVersion: version, samples: samples, texts: texts))
      return first
    }
  }

  @discardableResult
  func add(_ event: AlarmEvent, epoch: UInt32 = 3, version: UInt32 = 1) -> Int64 {
    change {
      let sequence = $0.durable.alarms + 1
      $0.events.append(StoredEvent(sequence: sequence, epoch: epoch, catalogueVersion: version, event: event))
      return sequence
    }
  }
}
