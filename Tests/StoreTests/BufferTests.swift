import CLinux
import Glibc
import StreamCore
import Testing

@testable import Store

/// A buffer on the test's own thread: what its failures lead to, step by step.
@Suite("The buffer, failure by failure")
struct BufferTests {
  private final class Bench {
    let folder = Folder()
    let memory = UnsafeMutableRawPointer.allocate(byteCount: BatchChannel.bytes, alignment: 64)
    let gate = kerb_gate_new()
    let channel: BatchChannel
    var next: Int64 = 1

    init() { channel = BatchChannel(memory: memory, bus: 0) }
    deinit {
      memory.deallocate()
      kerb_gate_free(gate)
    }

    func buffer() throws -> Buffer {
      let gate = try #require(gate)
      return try Buffer(
        configuration: configuration(folder), channels: [channel], interruption: Interruption(gate: gate))
    }

    func put(_ count: Int64, into buffer: Buffer) {
      for _ in 0..<count {
        if !channel.filling.append(numbered(next, series: Int(next))) {
          _ = channel.handOver()
          buffer.drain()
          _ = channel.filling.append(numbered(next, series: Int(next)))
        }
        next += 1
      }
      _ = channel.handOver()
      buffer.drain()
    }

    func raise(_ buffer: Buffer) {
      _ = channel.filling.append(event(0, .unacknowledged, at: next))
      _ = channel.handOver()
      buffer.drain()
    }
  }

  private func account(_ buffer: Buffer, after: Position = Position()) throws -> Account {
    var account = Account()
    var next = after
    while true {
      let request = ReadRequest(after: next, alarms: true, telemetry: true, recordsMax: 10_000)
      let answer = try buffer.read(request, for: nil).get()
      account.add(answer)
      if !answer.more { return account }
      guard answer.next != next else { throw Stuck() }
      next = answer.next
    }
  }

  @Test("After an I/O error the files are opened again and nothing that waited is lost or doubled")
  func reopen() throws {
    let bench = Bench()
    let buffer = try bench.buffer()
    bench.put(100, into: buffer)
    bench.raise(buffer)
    buffer.commit(all: true)
    bench.put(50, into: buffer)
    bench.raise(buffer)
    buffer.ringFailed(.io(code: 10))
    buffer.logFailed(.io(code: 10))
    #expect(buffer.state == .failing)
    #expect(buffer.durable == Position(alarms: 1, telemetry: 100))
    buffer.commit(all: true)
    #expect(buffer.state == .good)
    #expect(buffer.durable == Position(alarms: 2, telemetry: 150))
    let account = try account(buffer)
    #expect(account.samples.count == 150)
    #expect(account.events.count == 2)
    #expect(account.samples.allSatisfy { isRight($0.value, $0.key) })
    #expect(account.gaps.isEmpty && account.duplicates == 0)
    #expect(buffer.report().failures == 2)
  }

  @Test("A commit that was called failed but had reached the file is not repeated")
  func committedAfterAll() throws {
    let bench = Bench()
    let buffer = try bench.buffer()
    bench.put(10, into: buffer)
    bench.raise(buffer)
    try commitUnseen(buffer)
    buffer.ringFailed(.io(code: 10))
    buffer.logFailed(.io(code: 10))
    bench.put(5, into: buffer)
    bench.raise(buffer)
    for _ in 0..<3 { buffer.commit(all: true) }
    let account = try account(buffer)
    #expect(account.samples.count == 15)
    #expect(account.samples.allSatisfy { isRight($0.value, $0.key) })
    #expect(account.events.count == 2)
    #expect(buffer.durable == Position(alarms: 2, telemetry: 15))
  }

  /// Behind the buffer's back, as when a sync fails after the writes have arrived. Its references to the files end
  /// here.
  private func commitUnseen(_ buffer: Buffer) throws {
    let ring = try #require(buffer.ring)
    let log = try #require(buffer.log)
    let outcome = buffer.intake.withPending(withOpen: true) { (blocks) -> Result<Void, StoreFailure> in
      do throws(StoreFailure) { return .success(try ring.append(blocks)) } catch { return .failure(error) }
    }
    try #require(outcome).get()
    try log.append(buffer.intake.events, epoch: buffer.epoch, catalogueVersion: buffer.catalogueVersion)
  }

  @Test("A damaged ring goes to quarantine while running: a new id, its good blocks come back, sequences go on")
  func damagedRing() throws {
    let bench = Bench()
    let buffer = try bench.buffer()
    bench.put(100, into: buffer)
    bench.raise(buffer)
    buffer.commit(all: true)
    let id = buffer.storeID
    bench.put(30, into: buffer)
    buffer.ringFailed(.corrupt(code: 11))
    buffer.commit(all: true)
    #expect(buffer.state == .good)
    #expect(buffer.storeID != id)
    #expect(access(bench.folder.file("quarantine/1/telemetry.db"), F_OK) == 0)
    let account = try account(buffer)
    #expect(account.samples.count == 130)
    #expect(account.samples.allSatisfy { isRight($0.value, $0.key) })
    #expect(account.gaps.isEmpty && account.duplicates == 0)
    #expect(account.events.count == 1)
  }

  @Test("A damaged alarm log goes to quarantine alone: a new id and epoch, and what was good in it comes back")
  func damagedLog() throws {
    let bench = Bench()
    let buffer = try bench.buffer()
    bench.put(100, into: buffer)
    bench.raise(buffer)
    buffer.commit(all: true)
    buffer.clockKnown(77)
    buffer.acknowledge(buffer.durable, by: "platform", at: .zero)
    let (id, epoch) = (buffer.storeID, buffer.epoch)
    bench.put(30, into: buffer)
    bench.raise(buffer)
    buffer.logFailed(.corrupt(code: 11))
    for _ in 0..<2 { buffer.commit(all: true) }
    #expect(buffer.state == .good)
    #expect(buffer.storeID != id)
    #expect(buffer.epoch > epoch)
    #expect(buffer.durable == Position(alarms: 2, telemetry: 130))
    let answer = try buffer.read(
      ReadRequest(after: Position(alarms: 1, telemetry: 100), alarms: true, telemetry: true, recordsMax: 1_000),
      for: "platform"
    ).get()
    #expect(answer.storeID == buffer.storeID)
    #expect(answer.batches.flatMap { $0.samples }.count == 30)
    #expect(answer.events.map { $0.sequence } == [2])
    #expect(answer.clocks.map { $0.offsetNs } == [77])
    #expect(answer.telemetryGaps.isEmpty && answer.alarmGaps.isEmpty)
    #expect(buffer.cursors["platform"]?.held == Position(alarms: 1, telemetry: 100))
  }

  @Test("Without its files the buffer keeps what fits, counts the rest, and never drops an alarm")
  func withoutFiles() throws {
    let bench = Bench()
    let buffer = try bench.buffer()
    bench.put(10, into: buffer)
    buffer.commit(all: true)
    let telemetry = bench.folder.file("telemetry.db")
    buffer.ringFailed(.io(code: 10))
    rename(telemetry, telemetry + ".away")
    mkdir(telemetry, 0o755)
    var raised: Int64 = 0
    while buffer.intake.lostSamples == 0, bench.next < 1_000_000 {
      bench.put(2_000, into: buffer)
      bench.raise(buffer)
      raised += 1
      buffer.commit(all: true)
    }
    #expect(buffer.state == .failing)
    #expect(buffer.durable == Position(alarms: raised, telemetry: 10))
    rmdir(telemetry)
    rename(telemetry + ".away", telemetry)
    for _ in 0..<2 { buffer.commit(all: true) }
    #expect(buffer.state == .good)
    let account = try account(buffer)
    #expect(Int64(account.samples.count) + account.missing(.overflow) == bench.next - 1)
    #expect(account.missing == buffer.intake.lostSamples)
    #expect(Int64(account.events.count) == raised)
  }
}
