import CLinux
import Glibc
import StreamCore
import Testing

@testable import Store

@Suite("The store, from hand-over to acknowledgement")
struct StoreThreadTests {
  @Test("What was handed over is served once it is durable, in order, and survives a restart under a new epoch")
  func restart() async throws {
    let folder = Folder()
    var site: Site? = try Site(configuration(folder))
    let first = try #require(site)
    await first.put(numbered(1..<501))
    #expect(try await first.read().batches.isEmpty, "not durable yet, so not served")
    #expect(await first.report().pendingSamples == 500)
    #expect(try await first.flush() == Position(alarms: 0, telemetry: 500))
    let id = first.opening.storeID
    let epoch = first.opening.epoch
    await first.put(numbered(501..<601))
    first.stop()
    site = nil

    let second = try Site(configuration(folder))
    #expect(second.opening.storeID == id)
    #expect(second.opening.epoch > epoch)
    #expect(second.opening.catalogueVersion == first.opening.catalogueVersion)
    await second.put(numbered(601..<700))
    try await second.flush()
    let account = try await second.readAll(recordsMax: 37)
    #expect(account.duplicates == 0)
    #expect(account.gaps.isEmpty)
    #expect(account.samples.count == 699)
    for (sequence, sample) in account.samples { #expect(isRight(sample, sequence)) }
    #expect(account.epochs[600] == epoch)
    #expect(account.epochs[601] == second.opening.epoch)
  }

  @Test("An alarm is durable without waiting for the telemetry, and its state is found after a restart")
  func alarms() async throws {
    let folder = Folder()
    let durable = Answered<Position>()
    let memory = UnsafeMutableRawPointer.allocate(byteCount: BatchChannel.bytes, alignment: 64)
    defer { memory.deallocate() }
    let channel = BatchChannel(memory: memory, bus: 0)
    let store = StoreThread(configuration: configuration(folder), channels: [channel]) { durable.set($0) }
    _ = try store.start()
    _ = channel.filling.append(numbered(1))
    _ = channel.filling.append(event(1, .unacknowledged, at: 5_000))
    _ = channel.handOver()
    kerb_gate_lock(store.wake)
    kerb_gate_signal(store.wake)
    kerb_gate_unlock(store.wake)
    #expect(durable.wait(ns: 120_000_000_000) == Position(alarms: 1, telemetry: 0))
    store.stop()

    let site = try Site(configuration(folder, alarmNames: ["new/alarm", "hall-2/smoke"]))
    let alarm = try #require(site.opening.alarms.first)
    #expect(site.opening.alarms.count == 1)
    #expect(alarm.name == "hall-2/smoke")
    #expect(alarm.sequence == 1)
    #expect(alarm.event.state == .unacknowledged)
    #expect(alarm.event.at == Instant(milliseconds: 5_000))
    #expect(alarm.event.cause(0).raw == 312)
    await site.raise(event(1, .returnedUnacknowledged, at: 9_000))
    let answer = try await site.read()
    #expect(answer.events.map { $0.sequence } == [1, 2])
    #expect(answer.events.map { $0.event.state } == [.unacknowledged, .returnedUnacknowledged])
    #expect(answer.next == Position(alarms: 2, telemetry: 1))
  }

  @Test("A second process is refused by the name of the first")
  func held() async throws {
    let folder = Folder()
    let site = try Site(configuration(folder))
    #expect {
      _ = try Site(configuration(folder))
    } throws: {
      if case .held(let holder) = $0 as? StoreFailure { return holder == "kerb run, process \(getpid())" }
      return false
    }
    site.stop()
    _ = try Site(configuration(folder))
  }

  @Test("A folder that isn't there is refused with its path")
  func missingFolder() throws {
    var wrong = configuration(Folder())
    wrong.statePath = "/nonexistent/kerb"
    #expect {
      _ = try Site(wrong)
    } throws: {
      if case .unusable(let path, let code) = $0 as? StoreFailure {
        return path == "/nonexistent/kerb/lock" && code == -ENOENT
      }
      return false
    }
  }

  @Test("Only acknowledged positions move a cursor; forged ones stop at what is durable; a restart keeps it")
  func acknowledgement() async throws {
    let folder = Folder()
    let site = try Site(configuration(folder, consumers: ["platform", "other"]))
    await site.put(numbered(1..<101))
    try await site.flush()
    _ = try await site.read(for: "platform")
    #expect(await site.position(of: "platform") == Position())
    site.store.acknowledge(Position(alarms: 0, telemetry: 60), by: "platform", at: .zero)
    site.store.acknowledge(Position(alarms: 0, telemetry: 40), by: "platform", at: .zero)
    #expect(await site.position(of: "platform")?.telemetry == 60)
    site.store.acknowledge(Position(alarms: 99, telemetry: .max), by: "platform", at: .zero)
    #expect(await site.position(of: "platform") == Position(alarms: 0, telemetry: 100))
    #expect(await site.position(of: "other") == Position())
    #expect(await site.position(of: "nobody") == nil)
    let forged = try await site.read(after: Position(alarms: .max, telemetry: .max))
    #expect(forged.next == Position(alarms: 0, telemetry: 100))
    let negative = try await site.read(after: Position(alarms: -1, telemetry: .min))
    #expect(negative.batches.first?.firstSequence == 1)
    site.stop()
    let again = try Site(configuration(folder, consumers: ["platform", "other"]))
    #expect(await again.position(of: "platform") == Position(alarms: 0, telemetry: 100))
  }

  @Test("A consumer that is new begins at the oldest that is stored, without a gap from before its time")
  func newConsumer() async throws {
    let folder = Folder()
    let site = try Site(configuration(folder, samplesPerBlock: 3))
    let slots = TelemetryRing.slots(bytes: 1 << 20)
    for block in 0..<(slots + 20) {
      await site.put(numbered((block * 3 + 1)..<(block * 3 + 4)))
      try await site.flush()
    }
    site.stop()
    let again = try Site(configuration(folder, consumers: ["platform", "late"], samplesPerBlock: 3))
    let late = try #require(await again.position(of: "late"))
    #expect(late.telemetry == 20 * 3)
    #expect(try await again.read(after: late, for: "late").telemetryGaps.isEmpty)
    let platform = try #require(await again.position(of: "platform"))
    let answer = try await again.read(after: platform, for: "platform")
    #expect(answer.telemetryGaps.map { [$0.from, $0.to] } == [[1, 60]])
    again.store.acknowledge(answer.next, by: "platform", at: Instant(milliseconds: 7))
    let consumer = try #require(await again.report().consumers.first { $0.name == "platform" })
    #expect(consumer.gapRecords == 60)
    #expect(consumer.lastSeen == Instant(milliseconds: 7))
  }

  @Test("A consumer that goes and comes back while the store runs, or over a restart, goes on where it stopped")
  func servedAnew() async throws {
    let folder = Folder()
    let site = try Site(configuration(folder, consumers: ["platform", "other"]))
    await site.put(numbered(1..<10))
    try await site.flush()
    site.store.acknowledge(Position(alarms: 0, telemetry: 4), by: "platform", at: Instant(milliseconds: 7))
    func serve(_ names: [CursorOwner]) async -> StoreFailure? {
      await withCheckedContinuation { done in site.store.serve(names) { done.resume(returning: $0) } }
    }
    #expect(await serve(["other", "new"]) == nil)
    #expect(await site.position(of: "platform") == nil)
    #expect(try #require(await site.position(of: "new")).telemetry == 0)
    #expect(await site.report().consumers.map(\.name) == ["new", "other"])
    #expect(await serve(["platform"]) == nil)
    #expect(try #require(await site.position(of: "platform")).telemetry == 4)
    #expect(await serve([]) == nil)
    site.stop()
    let again = try Site(configuration(folder, consumers: ["platform"]))
    #expect(try #require(await again.position(of: "platform")).telemetry == 4)
    again.stop()
  }

  @Test("What a bus lost is a gap with its times, and its sequences never come again")
  func overflow() async throws {
    let folder = Folder()
    let site = try Site(configuration(folder))
    await site.put(numbered(1..<11))
    try await site.flush()
    await site.lose(5, at: Instant(milliseconds: 42))
    try await site.flush()
    await site.put(numbered(16..<21))
    try await site.flush()
    let account = try await site.readAll()
    #expect(
      account.gaps == [
        Gap(
          from: 11, to: 15, epoch: site.opening.epoch, start: Instant(milliseconds: 42), end: Instant(milliseconds: 42),
          reason: .overflow)
      ])
    #expect(account.samples.count == 15)
    for (sequence, sample) in account.samples { #expect(isRight(sample, sequence)) }
    #expect(await site.report().lostSamples == 5)
  }

  @Test("Texts come back with the sample they belong to")
  func texts() async throws {
    let folder = Folder()
    let site = try Site(configuration(folder))
    for index in 0..<300 {
      let sample = Sample(at: Instant(milliseconds: Int64(index)), raw: 0, series: 2, quality: .good)
      let text = Array("card \(index)".utf8)
      _ = text.withUnsafeBufferPointer { site.channels[0].filling.append(sample, text: $0) }
      if index % 50 == 49 {
        _ = site.handOver()
        await site.settle()
      }
    }
    try await site.flush()
    var texts: [String] = []
    for batch in try await site.read().batches {
      for sample in batch.samples {
        let bytes = batch.texts[sample.textOffset..<(sample.textOffset + sample.textLength)]
        texts.append(String(decoding: bytes, as: UTF8.self))
      }
    }
    #expect(texts == (0..<300).map { "card \($0)" })
  }

  @Test("Wall time, once known, holds for everything of the epoch, and of earlier epochs of the same boot")
  func clocks() async throws {
    let folder = Folder()
    var site: Site? = try Site(configuration(folder))
    let first = try #require(site?.opening.epoch)
    await site?.put(numbered(1..<5))
    site?.stop()
    site = try Site(configuration(folder))
    let second = try #require(site)
    await second.put(numbered(5..<9))
    try await second.flush()
    #expect(try await second.read().clocks.map { $0.offsetNs } == [nil, nil])
    second.store.clockKnown(offsetNs: 1_700_000_000_000_000_000)
    let clocks = try await second.read().clocks
    #expect(clocks.map { $0.epoch } == [first, second.opening.epoch])
    #expect(clocks.map { $0.offsetNs } == [1_700_000_000_000_000_000, 1_700_000_000_000_000_000])
    second.stop()
    site = try Site(configuration(folder))
    let third = try #require(site)
    await third.put(numbered(9..<10))
    try await third.flush()
    #expect(try await third.read().clocks.allSatisfy { $0.offsetNs == 1_700_000_000_000_000_000 })
  }

  @Test("Each catalogue is stored once and found by its version for as long as a block needs it")
  func catalogues() async throws {
    let folder = Folder()
    var versions: [UInt32] = []
    for text in ["first", "first", "second", "first"] {
      let site = try Site(configuration(folder, catalogue: Array(text.utf8)))
      versions.append(site.opening.catalogueVersion)
      await site.put([numbered(Int64(versions.count))])
      site.stop()
    }
    #expect(versions == [1, 1, 2, 3])
    let site = try Site(configuration(folder))
    #expect(try await site.read().batches.map { $0.catalogueVersion } == versions)
    for (version, text) in [(1, "first"), (2, "second"), (3, "first")] {
      let stored = await withCheckedContinuation { c in
        site.store.catalogue(version: UInt32(version)) { c.resume(returning: $0) }
      }
      #expect(stored == Array(text.utf8))
    }
    let none = await withCheckedContinuation { c in site.store.catalogue(version: 9) { c.resume(returning: $0) } }
    #expect(none == nil)
  }

  @Test("The files are brought to their full size in the background, also over a restart")
  func preparation() async throws {
    let folder = Folder()
    var site: Site? = try Site(configuration(folder))
    await site?.put(numbered(1..<100))
    site?.stop()
    site = try Site(configuration(folder))
    let running = try #require(site)
    let deadline = kerb_monotonic_ns() + 60_000_000_000
    var report = await running.report()
    while !report.isPrepared, kerb_monotonic_ns() < deadline { report = await running.report() }
    #expect(report.isPrepared)
    #expect(report.state == .good)
    let before = report.fileBytes
    for block in 0..<300 {
      await running.put(numbered(Int64(100 + block)..<Int64(101 + block)))
      try await running.flush()
    }
    #expect(await running.report().fileBytes == before, "a prepared ring does not grow")
  }

  @Test("The heart tells when it beat last, while nothing happens, and requests after the end are refused")
  func heartbeat() async throws {
    let folder = Folder()
    let site = try Site(configuration(folder))
    let before = kerb_monotonic_ns()
    let deadline = before + 120_000_000_000
    while site.store.heartbeat < before, kerb_monotonic_ns() < deadline { sched_yield() }
    let beat = site.store.heartbeat
    #expect(beat >= before && beat <= kerb_monotonic_ns(), "a moment of the clock that the watch reads")
    site.stop()
    await #expect { try await site.read() } throws: {
      if case .closed = $0 as? StoreFailure { return true } else { return false }
    }
    #expect(await site.position(of: "platform") == nil)
  }
}
