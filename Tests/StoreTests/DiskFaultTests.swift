import CFaultVFS
import CLinux
import Glibc
import StreamCore
import Testing

@testable import Store

@Suite("Faults 19 to 21 and 24: disks that are full, fail, are read-only, or slow")
struct DiskFaultTests {
  private static let full: Int32 = 13  // SQLITE_FULL
  private static let readOnly: Int32 = 8  // SQLITE_READONLY

  /// Some of everything that a store does. Failures are what it is about: only the account counts.
  private func work(_ site: Site, _ course: inout Course) async {
    for step in 0..<6 {
      await course.put(30, into: site)
      if step % 2 == 0 { await course.raise(site) }
      _ = try? await site.flush()
      if step == 3, let answer = try? await site.read(for: "platform") {
        site.store.acknowledge(answer.next, by: "platform", at: .zero)
        _ = try? await site.flush()
      }
    }
  }

  /// Until it takes everything again.
  private func recover(_ site: Site) async {
    let isWell = await eventually {
      guard (try? await site.flush()) != nil else { return false }
      return await site.report().state == .good
    }
    let report = await site.report()
    #expect(isWell, "it stays \(report.state): \(report.lastFailure)")
  }

  @Test(
    "20 The Nth write, sync, open, read or truncation fails, once and for ever: the account balances",
    arguments: [FaultDisk.writes, FaultDisk.syncs, FaultDisk.opens, FaultDisk.reads, FaultDisk.truncates],
    [1, Int64.max])
  func nth(kind: Int32, times: Int64) async throws {
    let seed = UInt64.random(in: 1...(.max))
    print("seed \(seed)")
    var random = Seeded(seed)
    let disk = FaultDisk()
    let plain = Folder()
    var trial = Course()
    let first = try Site(configuration(plain, vfs: disk.name))
    await work(first, &trial)
    first.stop()
    let count = disk.count(kind)
    var hits = 0
    for round in 0..<6 as Range<Int64> {
      let folder = Folder()
      let disk = FaultDisk()
      var course = Course()
      // Half of them in the life of a store that was there before, start and end included.
      if round % 2 == 0 {
        let before = try Site(configuration(folder, vfs: disk.name))
        await work(before, &course)
        before.stop()
      }
      // The first at once; the others among what every run comes to, however slow the machine.
      let pass = round == 0 ? 0 : Int64.random(in: 0...min(count, 30), using: &random)
      disk.fail(kind, after: pass, times: times)
      var site = try? Site(configuration(folder, vfs: disk.name))
      if let site { await work(site, &course) }
      hits += disk.failed > 0 ? 1 : 0
      disk.heal()
      if site == nil { site = try Site(configuration(folder, vfs: disk.name)) }
      let running = try #require(site)
      await recover(running)
      await work(running, &course)
      try await running.flush()
      try await course.expectBalance(running)
      running.stop()
      let again = try Site(configuration(folder, vfs: disk.name))
      try await course.expectBalance(again)
      again.stop()
    }
    // A small store is never truncated; all others are met.
    #expect(hits > 0 || kind == FaultDisk.truncates)
  }

  @Test("20 A checkpoint whose sync fails is not tried again on its handle; the file is opened anew, nothing is lost")
  func failedCheckpoint() async throws {
    let folder = Folder()
    let disk = FaultDisk()
    disk.record()
    let site = try Site(configuration(folder, vfs: disk.name))
    var course = Course()
    await course.put(100, into: site)
    try await site.flush()
    #expect(await eventually { await site.report().isPrepared })
    let opens = disk.count(FaultDisk.opens)
    // One write, one sync a commit of the log; then one of the checkpoint.
    for _ in 0..<(Limits.walPages + 10) {
      await course.put(2, into: site)
      if disk.count(FaultDisk.opens) > opens { break }
      disk.fail(FaultDisk.syncs, after: 2, times: 1)
      _ = try? await site.flush()
      disk.heal()
    }
    #expect(disk.failed > 0)
    #expect(disk.count(FaultDisk.opens) > opens, "the handle that failed is still in use")
    #expect(await site.report().failures > 0)
    await recover(site)
    try await course.expectBalance(site)
    // What the failed sync lost is lost for good: were it not written anew, the cut would show it.
    let left = Folder()
    #expect(disk.image(disk.events, seed: 1, to: left))
    site.stop()
    let after = try Site(configuration(left))
    try await course.expectBalance(after)
    after.stop()
  }

  @Test("19 A disk that is full at any point: alarms that have room are stored, telemetry waits, the account balances")
  func full() async throws {
    var outcomes = Set<StoreState>()
    for kib in stride(from: 0, through: 6_000, by: 600) {
      let folder = Folder()
      let disk = FaultDisk()
      disk.quota(Int64(kib) << 10)
      var course = Course()
      var site = try? Site(configuration(folder, vfs: disk.name))
      if let site {
        await work(site, &course)
        // With all the room it needs it gets there; with less it finds that out.
        _ = await eventually {
          let report = await site.report()
          return report.isPrepared || report.state == .full
        }
        outcomes.insert(await site.report().state)
      }
      disk.quota(.max)
      if site == nil { site = try Site(configuration(folder, vfs: disk.name)) }
      let running = try #require(site)
      await recover(running)
      await work(running, &course)
      try await running.flush()
      try await course.expectBalance(running)
      running.stop()
    }
    #expect(outcomes.contains(.full) && outcomes.contains(.good))
  }

  @Test("19 A prepared store on a disk that is 100 % full stores on, alarms and telemetry, over restarts")
  func fullWhenPrepared() async throws {
    let folder = Folder()
    let disk = FaultDisk()
    var course = Course()
    let site = try Site(configuration(folder, vfs: disk.name))
    #expect(await eventually { await site.report().isPrepared })
    // The WALs have their size from the preparation.
    disk.quota(0)
    for _ in 0..<3 { await work(site, &course) }
    #expect(await site.report().state == .good)
    try await course.expectBalance(site)
    site.stop()
    let again = try Site(configuration(folder, vfs: disk.name))
    await work(again, &course)
    let report = await again.report()
    #expect(report.state == .good, "\(report.lastFailure) \(report.isPrepared)")
    #expect(report.durable == Position(alarms: course.events, telemetry: course.samples))
    try await course.expectBalance(again)
    again.stop()
  }

  @Test("19 What a stop on a full disk could not save is a gap at the next start")
  func stopOnFull() async throws {
    let folder = Folder()
    let disk = FaultDisk()
    var course = Course()
    let site = try Site(configuration(folder, vfs: disk.name))
    await work(site, &course)
    #expect(await eventually { await site.report().isPrepared })
    // The telemetry takes nothing more; what the alarm lane has is updated in place.
    let telemetry = folder.file("telemetry.db")
    rename(telemetry, telemetry + ".away")
    mkdir(telemetry, 0o755)
    await course.put(77, into: site)
    disk.fail(FaultDisk.writes, after: 0, times: 1)
    _ = try? await site.flush()
    disk.heal()
    #expect(await site.report().pendingSamples == 77)
    site.stop()
    rmdir(telemetry)
    rename(telemetry + ".away", telemetry)
    let again = try Site(configuration(folder, vfs: disk.name))
    try await again.flush()
    let account = try await again.readAll()
    #expect(account.missing(.overflow) == 77)
    await course.put(5, into: again)
    try await again.flush()
    try await course.expectBalance(again)
    again.stop()
  }

  @Test("19 A file system that is really full: alarms are still stored", .enabled(if: SmallDisk.isPossible))
  func reallyFull() async throws {
    let disk = try #require(SmallDisk(bytes: 12 << 20))
    disk.fill(4_096, pages: 1_792)
    // The alarm lane is prepared first and fits; the telemetry does not.
    let site = try Site(configuration(disk.folder, telemetryBytes: 8 << 20, samplesPerBlock: 3))
    var course = Course()
    #expect(await eventually { await site.report().state == .full })
    let isStuck = await eventually {
      await course.put(3, into: site)
      _ = try? await site.flush()
      return await site.report().pendingSamples > 0
    }
    #expect(isStuck)
    // Not a byte more: nothing is left to anybody.
    disk.fill(512, pages: 1 << 16)
    let isRefused = await eventually {
      await course.put(3, into: site)
      do {
        try await site.flush()
        return false
      } catch { return (error as? StoreFailure)?.isFull == true }
    }
    #expect(isRefused)
    for _ in 0..<50 { await course.raise(site) }
    #expect(await site.report().durable.alarms == course.events)
    #expect(try await site.read().events.count == 50)
    let hasOverflown = await eventually {
      await course.put(2_000, into: site)
      return await site.report().lostSamples > 0
    }
    #expect(hasOverflown)
    disk.free()
    await recover(site)
    try await site.flush()
    try await course.expectBalance(site)
    site.stop()
  }

  @Test("21 A store that can't be written any more serves what it has, keeps what comes, and goes on by itself")
  func readOnly() async throws {
    let folder = Folder()
    let disk = FaultDisk()
    var course = Course()
    let site = try Site(configuration(folder, vfs: disk.name))
    await work(site, &course)
    let durable = await site.report().durable
    disk.fail(FaultDisk.writes | FaultDisk.truncates, after: 0, times: .max, code: Self.readOnly)
    await course.put(40, into: site)
    await course.raise(site)
    _ = try? await site.flush()
    #expect(await site.report().state == .readOnly)
    #expect(await site.report().durable == durable)
    #expect(await site.report().lastFailure.contains("read-only"))
    let served = try await site.readAll()
    #expect(Int64(served.samples.count) == durable.telemetry && Int64(served.events.count) == durable.alarms)
    site.stop()
    // Also from a start on.
    course = Course()
    let second = try Site(configuration(folder, vfs: disk.name))
    #expect(await second.report().state == .readOnly)
    #expect(try await second.readAll().samples.count == Int(durable.telemetry))
    await second.put(numbered(1_000..<1_040))
    await second.raise(event(0, .unacknowledged, at: 99))
    #expect(await second.report().durable == durable)
    disk.heal()
    await recover(second)
    let account = try await second.readAll()
    #expect(account.samples.values.filter { $0.raw >= 1_000 * 7919 }.count == 40)
    #expect(account.events.values.filter { $0.event.at == Instant(milliseconds: 99) }.count == 1)
    #expect(await second.report().epoch > second.opening.epoch - 1)
    second.stop()
  }

  @Test("21 A file system that is really read-only at a start, and is not any more", .enabled(if: SmallDisk.isPossible))
  func reallyReadOnly() async throws {
    let disk = try #require(SmallDisk(bytes: 12 << 20))
    var course = Course()
    var site = try Site(configuration(disk.folder))
    await work(site, &course)
    let durable = await site.report().durable
    site.stop()
    #expect(disk.remount(isReadOnly: true))
    site = try Site(configuration(disk.folder))
    #expect(await site.report().state == .readOnly)
    #expect(Int64(try await site.readAll().samples.count) == durable.telemetry)
    await course.put(20, into: site)
    await course.raise(site)
    #expect(await site.report().pendingSamples == 20)
    #expect(disk.remount(isReadOnly: false))
    await recover(site)
    try await course.expectBalance(site)
    // Files that are open for writing keep a file system from turning; an error of the medium does not ask.
    site.stop()
    site = try Site(configuration(disk.folder))
    try await course.expectBalance(site)
    site.stop()
  }

  @Test("24 While a sync hangs, no bus waits: it hands over until its memory is full, and then counts")
  func slowSync() async throws {
    let folder = Folder()
    let disk = FaultDisk()
    let site = try Site(configuration(folder, vfs: disk.name))
    #expect(await eventually { await site.report().isPrepared })
    let channel = site.channels[0]
    disk.hold(FaultDisk.syncs)
    _ = channel.filling.append(event(0, .unacknowledged, at: 1))
    #expect(site.handOver())
    #expect(disk.isHeld(within: 120_000_000_000), "no sync came")
    // A bus does no more than this; none of it touches anything that the store thread holds.
    var given = 0
    var number: Int64 = 0
    for _ in 0..<100 {
      for _ in 0..<Limits.samplesPerBatchMax {
        number += 1
        if channel.filling.append(numbered(number, series: Int(number))) { continue }
        channel.filling.addLost(1, from: numbered(number).at, to: numbered(number).at)
      }
      if site.handOver() { given += 1 }
    }
    #expect(disk.isHeld(within: 0), "the sync has ended meanwhile: nothing was shown")
    #expect(given >= Limits.batchesPerBus - 2)
    disk.release()
    await site.settle()
    #expect(site.handOver())
    await site.settle()
    try await site.flush()
    let account = try await site.readAll()
    #expect(account.events.count == 1)
    #expect(Int64(account.samples.count) + account.missing(.overflow) == number)
    #expect(account.missing == account.missing(.overflow))
    site.stop()
  }
}
