// The process that is killed, or whose disk is: the store with one bus, at compressed time. What it writes to its
// output is all that its parent may count on.
//
//   S store epoch alarms telemetry held-alarms held-telemetry   the store is open
//   O epoch offset     records of that epoch: sequence = number in its run + offset
//   V samples missing events   all that was stored has been read and is right
//   P n ns             n samples are handed over, the last one at ns
//   D alarms telemetry these are durable
//   A alarms telemetry the platform has these, and is about to say so
//   X text             something does not hold

import CLinux
import Glibc
import StreamCore
import Synchronization

import Store

struct Order {
  var path: String
  var telemetryBytes: Int
  /// Of these; 0: what the ring writes over is gone.
  var reserveBytes: Int
  var commitNs: Int64
  var seed: UInt64
  /// Where the platform reads on.
  var held: Position
  /// Events are read from here on, once in a while all of them.
  var eventsAfter: Int64
  /// It has little to say: nothing but the time makes a commit due.
  var isSlow: Bool
}

/// SplitMix64: the same numbers for the same seed, everywhere.
struct Seeded: RandomNumberGenerator {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// One line, one write: what arrived is whole.
func tell(_ line: String) {
  var bytes = Array(line.utf8)
  bytes.append(0x0A)
  _ = write(1, bytes, bytes.count)
}

/// Does what a sample or event says of itself agree with where it was found?
struct Verifier {
  private(set) var offsets: [UInt32: Int64] = [:]
  private(set) var samples: Int64 = 0
  private(set) var events: Int64 = 0
  private(set) var missing: Int64 = 0
  private(set) var next: Position

  init(after: Position) { next = after }

  static func sample(_ number: Int64, epoch: UInt32) -> Sample {
    Sample(
      at: Instant(milliseconds: 1_000 + number * 7), raw: Int64(epoch) << 32 | number,
      series: UInt16(truncatingIfNeeded: number % 64), quality: .good)
  }

  static func event(_ number: Int64, epoch: UInt32) -> AlarmEvent {
    AlarmEvent(
      alarm: UInt16(number % 2), state: .unacknowledged, severity: .major, at: Instant(nanoseconds: number),
      since: Instant(nanoseconds: Int64(epoch)))
  }

  mutating func add(_ answer: ReadAnswer) {
    for gap in answer.telemetryGaps {
      if gap.reason != .evicted, gap.reason != .thinned {
        tell("X samples \(gap.from) to \(gap.to) are \(gap.reason.name)")
      }
      missing += gap.count
    }
    for gap in answer.alarmGaps where gap.reason != .evicted {
      tell("X events \(gap.from) to \(gap.to) are \(gap.reason.name)")
    }
    for batch in answer.batches {
      for (index, sample) in batch.samples.enumerated() {
        check(sample, batch.firstSequence + Int64(index), batch.epoch)
      }
    }
    for stored in answer.events {
      let wanted = Self.event(stored.event.at.nanoseconds, epoch: stored.epoch)
      if stored.event.since != wanted.since || stored.event.alarm != wanted.alarm {
        tell("X event \(stored.sequence) of epoch \(stored.epoch) is another one")
      }
      events += 1
    }
    next = answer.next
  }

  private mutating func check(_ sample: Sample, _ sequence: Int64, _ epoch: UInt32) {
    samples += 1
    let number = sample.raw & 0xFFFF_FFFF
    let wanted = Self.sample(number, epoch: epoch)
    let isRight = sample.raw == wanted.raw && sample.at == wanted.at && sample.series == wanted.series
    let offset = offsets[epoch] ?? sequence - number
    if offsets[epoch] == nil { offsets[epoch] = offset }
    if !isRight || sequence - number != offset {
      tell("X sample \(sequence) of epoch \(epoch) is another one: \(sample.raw >> 32)/\(number)")
    }
  }
}

final class Victim: @unchecked Sendable {
  // Unchecked: the main thread makes it; `reading` changes only in answers of the store thread, one at a time.
  private let order: Order
  private let channel: BatchChannel
  private let store: StoreThread
  private var epoch: UInt32 = 0
  private var reading: Verifier
  private let isReading = Atomic(false)

  init(_ order: Order) {
    self.order = order
    let memory = UnsafeMutableRawPointer.allocate(byteCount: BatchChannel.bytes, alignment: 64)
    channel = BatchChannel(memory: memory, bus: 0)
    reading = Verifier(after: order.held)
    var configuration = StoreConfiguration(
      statePath: order.path, telemetryBytes: order.telemetryBytes, alarmBytes: 1 << 20, commitNs: order.commitNs,
      catalogue: Array("torture".utf8), seriesCount: 64, alarmNames: ["a/one", "a/two"],
      consumers: [CursorOwner(name: "platform")])
    // Small blocks: the ring comes round within a few lives, and gives what is worth it to the reserve.
    configuration.samplesPerBlock = 24
    configuration.reserveBytes = order.reserveBytes
    configuration.isThinning = true
    configuration.rules = { _ in
      (0..<64).map { series in
        var rule = SeriesRule()
        rule.keep = [.long, .normal, .short][series % 3]
        return rule
      }
    }
    store = StoreThread(
      configuration: configuration, channels: [channel],
      onDurable: { tell("D \($0.alarms) \($0.telemetry) \(kerb_monotonic_ns())") })
  }

  /// Until it is killed.
  func run() -> Never {
    do throws(StoreFailure) {
      epoch = try store.start().epoch
    } catch {
      tell("X the store does not start: \(error)")
      exit(1)
    }
    verify()
    produce()
  }

  private func wait<Answer: Sendable>(_ ask: (@escaping @Sendable (Answer) -> Void) -> Void) -> Answer? {
    let answered = Answered<Answer>()
    ask { answered.set($0) }
    return answered.wait(ns: 120_000_000_000)
  }

  private func verify() {
    guard let report: StoreReport = wait({ store.report($0) }),
      let held: Position? = wait({ store.position(of: "platform", $0) }), let held
    else { return tell("X the store does not answer") }
    tell(
      "S \(report.storeID) \(report.epoch) \(report.durable.alarms) \(report.durable.telemetry) "
        + "\(held.alarms) \(held.telemetry)")
    var verifier = Verifier(after: Position(alarms: order.eventsAfter))
    while true {
      let request = ReadRequest(after: verifier.next, alarms: true, telemetry: true, recordsMax: 10_000)
      let answer: Result<ReadAnswer, StoreFailure>? = wait { store.read(request, for: nil, $0) }
      guard case .success(let found) = answer else { return tell("X reading fails: \(answer as Any)") }
      verifier.add(found)
      if !found.more { break }
    }
    if verifier.samples + verifier.missing != report.durable.telemetry {
      tell("X \(verifier.samples) read + \(verifier.missing) missing is not \(report.durable.telemetry)")
    }
    for (epoch, offset) in verifier.offsets { tell("O \(epoch) \(offset)") }
    tell("V \(verifier.samples) \(verifier.missing) \(verifier.events)")
  }

  private func produce() -> Never {
    var random = Seeded(order.seed)
    var number: Int64 = 0
    var events: Int64 = 0
    while true {
      let count = Int.random(in: 1...(order.isSlow ? 2 : 30), using: &random)
      for _ in 0..<count where channel.filling.append(Verifier.sample(number + 1, epoch: epoch)) { number += 1 }
      let isEvent = !order.isSlow && Int.random(in: 0..<4, using: &random) == 0
      if isEvent, channel.filling.append(Verifier.event(events + 1, epoch: epoch)) { events += 1 }
      // The time before the hand-over: what is younger than a commit may go.
      let now = kerb_monotonic_ns()
      if channel.handOver() {
        tell("P \(number) \(now)")
        kerb_gate_lock(store.wake)
        kerb_gate_signal(store.wake)
        kerb_gate_unlock(store.wake)
      }
      pull()
      let rest = Int64.random(in: 100_000...2_000_000, using: &random) * (order.isSlow ? 20 : 1)
      _ = kerb_poll_until(nil, 0, kerb_monotonic_ns() + rest)
    }
  }

  /// What a platform does: reads on, holds it, says so.
  private func pull() {
    guard isReading.exchange(true, ordering: .acquiring) == false else { return }
    let request = ReadRequest(after: reading.next, alarms: true, telemetry: true, recordsMax: 2_000)
    store.read(request, for: "platform") { answer in
      if case .success(let found) = answer, found.next != self.reading.next {
        self.reading.add(found)
        tell("A \(found.next.alarms) \(found.next.telemetry)")
        self.store.acknowledge(found.next, by: "platform", at: .zero)
      }
      self.isReading.store(false, ordering: .releasing)
    }
  }
}
