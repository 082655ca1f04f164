// What the store's tests share: seeded randomness, a folder that goes away, and buses that hand batches over.

import CLinux
import Glibc
import StreamCore

import Store

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

final class Folder: @unchecked Sendable {
  // Unchecked: nothing changes after init.
  let path: String

  init() {
    var template = Array("/tmp/kerb-store-XXXXXX".utf8CString)
    path = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
  }

  deinit { Self.remove(path) }

  static func remove(_ path: String) {
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

  func file(_ name: String) -> String { path + "/" + name }
}

func bytes(of path: String) -> [UInt8] {
  guard let file = fopen(path, "r") else { return [] }
  defer { fclose(file) }
  var all: [UInt8] = []
  var part = [UInt8](repeating: 0, count: 1 << 16)
  while case let count = fread(&part, 1, part.count, file), count > 0 { all += part[..<count] }
  return all
}

func write(_ bytes: [UInt8], to path: String) {
  guard let file = fopen(path, "w") else { return }
  fwrite(bytes, 1, bytes.count, file)
  fclose(file)
}

func copyStore(from: Folder, to: Folder) {
  for name in ["telemetry.db", "alarm.db"] {
    // A file that is being made has a rollback journal first.
    for suffix in ["", "-wal", "-journal"] {
      let path = from.file(name + suffix)
      if access(path, F_OK) == 0 { write(bytes(of: path), to: to.file(name + suffix)) }
    }
  }
}

/// One that sees both lanes.
extension CursorOwner: ExpressibleByStringLiteral {
  public init(stringLiteral name: String) { self.init(name: name) }
}

func configuration(
  _ folder: Folder, telemetryBytes: Int = 1 << 20, alarmBytes: Int = 1 << 20, consumers: [CursorOwner] = ["platform"],
  catalogue: [UInt8] = Array("first".utf8), alarmNames: [String] = ["manhole-1/cover-open", "hall-2/smoke"],
  vfs: String? = nil, samplesPerBlock: Int = Limits.samplesPerBlockMax
) -> StoreConfiguration {
  var configuration = StoreConfiguration(
    statePath: folder.path, telemetryBytes: telemetryBytes, alarmBytes: alarmBytes, commitNs: 600_000_000_000,
    catalogue: catalogue, seriesCount: 64, alarmNames: alarmNames, consumers: consumers, vfs: vfs)
  configuration.samplesPerBlock = samplesPerBlock
  return configuration
}

/// Buses without devices, and a store that they hand over to.
final class Site: @unchecked Sendable {
  // Unchecked: a test uses it from one task at a time.
  let store: StoreThread
  let channels: [BatchChannel]
  private let memory: UnsafeMutableRawPointer
  private(set) var opening: StoreOpening
  private(set) var produced: Int64 = 0

  init(_ configuration: StoreConfiguration, buses: Int = 1) throws(StoreFailure) {
    memory = UnsafeMutableRawPointer.allocate(byteCount: BatchChannel.bytes * buses, alignment: 64)
    let base = memory
    channels = (0..<buses).map { BatchChannel(memory: base + $0 * BatchChannel.bytes, bus: $0) }
    store = StoreThread(configuration: configuration, channels: channels, onDurable: { _ in })
    do throws(StoreFailure) {
      opening = try store.start()
    } catch {
      memory.deallocate()
      throw error
    }
  }

  func stop() { store.stop() }

  deinit {
    store.stop()
    memory.deallocate()
  }

  func handOver(bus: Int = 0) -> Bool {
    let isTaken = channels[bus].handOver()
    kerb_gate_lock(store.wake)
    kerb_gate_signal(store.wake)
    kerb_gate_unlock(store.wake)
    return isTaken
  }

  /// Puts samples in, in batches, waiting for the store in between.
  func put(_ samples: [Sample], bus: Int = 0) async {
    for sample in samples {
      produced += 1
      if channels[bus].filling.append(sample) { continue }
      _ = handOver(bus: bus)
      await settle()
      _ = channels[bus].filling.append(sample)
    }
    _ = handOver(bus: bus)
    await settle()
  }

  func lose(_ count: Int, at: Instant, bus: Int = 0) async {
    produced += Int64(count)
    channels[bus].filling.addLost(count, from: at, to: at)
    _ = handOver(bus: bus)
    await settle()
  }

  func raise(_ event: AlarmEvent, bus: Int = 0) async {
    _ = channels[bus].filling.append(event)
    _ = handOver(bus: bus)
    await settle()
  }

  /// The store has taken over everything that was handed over.
  func settle() async { _ = await report() }

  func report() async -> StoreReport { await withCheckedContinuation { c in store.report { c.resume(returning: $0) } } }

  @discardableResult
  func flush() async throws -> Position {
    try await withCheckedContinuation { c in store.flush { c.resume(returning: $0) } }.get()
  }

  /// The files as they are at one moment: on the store's own thread, which writes also when nobody asks it anything.
  @discardableResult
  func copyFiles(from folder: Folder, to copy: Folder) async -> StoreReport {
    await withCheckedContinuation { c in
      store.report {
        copyStore(from: folder, to: copy)
        c.resume(returning: $0)
      }
    }
  }

  func read(
    after: Position = Position(), recordsMax: Int = 10_000, for consumer: String? = nil
  ) async throws -> ReadAnswer {
    let request = ReadRequest(after: after, alarms: true, telemetry: true, recordsMax: recordsMax)
    return try await withCheckedContinuation { c in
      store.read(request, for: consumer) { c.resume(returning: $0) }
    }.get()
  }

  func position(of consumer: String) async -> Position? {
    await withCheckedContinuation { c in store.position(of: consumer) { c.resume(returning: $0) } }
  }

  /// Everything from `after` on.
  func readAll(after: Position = Position(), recordsMax: Int = 10_000) async throws -> Account {
    var account = Account()
    var next = after
    while true {
      let answer = try await read(after: next, recordsMax: recordsMax)
      account.add(answer)
      if !answer.more { return account }
      guard answer.next != next else { throw Stuck() }
      next = answer.next
    }
  }
}

struct Stuck: Error {}

/// What a consumer got.
struct Account {
  var samples: [Int64: Sample] = [:]
  var epochs: [Int64: UInt32] = [:]
  var events: [Int64: StoredEvent] = [:]
  var gaps: [Gap] = []
  var alarmGaps: [Gap] = []
  var duplicates = 0

  mutating func add(_ answer: ReadAnswer) {
    for batch in answer.batches {
      for (index, sample) in batch.samples.enumerated() {
        let sequence = batch.firstSequence + Int64(index)
        if samples.updateValue(sample, forKey: sequence) != nil { duplicates += 1 }
        epochs[sequence] = batch.epoch
      }
    }
    for event in answer.events where events.updateValue(event, forKey: event.sequence) != nil { duplicates += 1 }
    gaps += answer.telemetryGaps
    alarmGaps += answer.alarmGaps
  }

  var missing: Int64 { gaps.reduce(0) { $0 + $1.count } }
  func missing(_ reason: GapReason) -> Int64 { gaps.filter { $0.reason == reason }.reduce(0) { $0 + $1.count } }
}

/// A sample whose value says which one it is, so that a wrong one shows.
func numbered(_ number: Int64, series: Int = 0) -> Sample {
  Sample(
    at: Instant(milliseconds: 1_000_000 + number * 100), raw: number &* 7919, series: UInt16(series % 64),
    quality: .good)
}

func numbered(_ range: Range<Int64>) -> [Sample] { range.map { numbered($0, series: Int($0)) } }

func isRight(_ sample: Sample, _ number: Int64) -> Bool {
  sample.raw == number &* 7919 && Int64(sample.series) == number % 64
    && sample.at == Instant(milliseconds: 1_000_000 + number * 100)
}

func event(_ alarm: UInt16, _ state: AlarmState, at ms: Int64) -> AlarmEvent {
  var event = AlarmEvent(
    alarm: alarm, state: state, severity: .critical, at: Instant(milliseconds: ms),
    since: Instant(milliseconds: ms - 2_000))
  event.add(AlarmCause(series: 3, quality: .good, raw: 312))
  return event
}
