import CFaultVFS
import CLinux
import Glibc
import StreamCore
import Testing

@testable import Store

/// Cuts whose leavings are computed: all that was synced, and of the rest any sectors of any writes. Real ones: make
/// torture.
@Suite("18 Power cuts")
struct CutTests {
  private struct Promise {
    var events: Int64
    var durable: Position
    var epoch: UInt32
    var held: Position
  }

  /// Small blocks: the ring comes round, and gives its oldest blocks to a reserve; or only small files.
  private func plan(_ folder: Folder, hasReserve: Bool, vfs: String?) -> StoreConfiguration {
    hasReserve
      ? Worth.configuration(folder, reserveBytes: 128 << 10, vfs: vfs, samplesPerBlock: 4)
      : configuration(folder, vfs: vfs)
  }

  /// From the first start on: preparation, commits, alarms, cursors, checkpoints, a restart; what was promised when.
  private func life(_ disk: FaultDisk, _ folder: Folder, seed: UInt64, hasReserve: Bool) async throws -> [Promise] {
    var random = Seeded(seed)
    var promises: [Promise] = []
    for _ in 0..<2 {
      let site = try Site(plan(folder, hasReserve: hasReserve, vfs: disk.name))
      var next = await site.report().durable.telemetry + 1
      for step in 0..<(hasReserve ? 80 : 40) {
        let count = Int64.random(in: 1...30, using: &random)
        await site.put(numbered(next..<(next + count)))
        next += count
        if Bool.random(using: &random) { await site.raise(event(0, .unacknowledged, at: Int64(step))) }
        if step % 3 == 0 { try await site.flush() }
        if step % 8 == 0 {
          let answer = try await site.read(for: "platform")
          site.store.acknowledge(answer.next, by: "platform", at: .zero)
          try await site.flush()
        }
        let report = await site.report()
        let held = try #require(await site.position(of: "platform"))
        promises.append(
          Promise(events: disk.events, durable: report.durable, epoch: report.epoch, held: held))
      }
      site.stop()
    }
    return promises
  }

  /// What must hold of files that a cut left. Returns the events of a start over them.
  private func check(_ folder: Folder, _ promise: Promise?, hasReserve: Bool, _ trace: String) async throws {
    let site = try Site(plan(folder, hasReserve: hasReserve, vfs: nil))
    defer { site.stop() }
    #expect(access(folder.file("quarantine"), F_OK) != 0, "\(trace): taken for broken")
    let account = try await site.readAll()
    #expect(account.alarmGaps.isEmpty && (hasReserve || account.gaps.isEmpty), "\(trace): \(account.gaps)")
    #expect(account.gaps.allSatisfy { [.evicted, .thinned].contains($0.reason) }, "\(trace): \(account.gaps)")
    // Where the windows' series are, some were merged.
    for (sequence, sample) in account.samples where !(32...36).contains(sequence % 64) {
      #expect(isRight(sample, sequence), "\(trace)")
    }
    let end = Int64(account.samples.count) + account.missing
    for sequence in 1...max(1, end) where end > 0 && sequence % 64 < 8 {
      #expect(account.samples[sequence] != nil, "\(trace): \(sequence) was worth keeping")
    }
    let report = await site.report()
    #expect(report.storedSamples == Int64(account.samples.count), "\(trace)")
    #expect(report.losses.evicted + report.losses.thinned == account.missing, "\(trace)")
    guard let promise else { return }
    #expect(end >= promise.durable.telemetry, "\(trace)")
    #expect(Int64(account.events.count) >= promise.durable.alarms, "\(trace)")
    #expect(site.opening.epoch > promise.epoch, "\(trace)")
    let held = try #require(await site.position(of: "platform"))
    #expect(held.telemetry <= end, "\(trace)")
    // It goes on, too.
    let next = end + 1
    await site.put(numbered(next..<(next + 10)))
    #expect(try await site.flush().telemetry == next + 9, "\(trace)")
  }

  @Test(
    "Wherever the cut falls, and again in the start after it, all that was promised is there", arguments: [false, true])
  func anywhere(hasReserve: Bool) async throws {
    let rounds = getenv("KERB_CUTS").flatMap { Int(String(cString: $0)) } ?? (hasReserve ? 12 : 25)
    let seed = UInt64.random(in: 1...(.max))
    print("seed \(seed)")
    var random = Seeded(seed)
    let folder = Folder()
    let disk = FaultDisk()
    disk.record()
    let promises = try await life(disk, folder, seed: seed, hasReserve: hasReserve)
    #expect(disk.events > 600, "too little happened to be cut: \(disk.events)")
    for round in 0..<rounds {
      // The very first events now and then: the first start.
      let cut = Int64.random(in: 0...(round % 5 == 0 ? 60 : disk.events), using: &random)
      let promise = promises.last { $0.events <= cut }
      let left = Folder()
      #expect(disk.image(cut, seed: random.next(), to: left))
      let again = Folder()
      let recovering = FaultDisk()
      copyStore(from: left, to: again)
      recovering.record()
      try await check(left, promise, hasReserve: hasReserve, "cut at \(cut)")
      // The same leavings once more, and the power goes in the middle of the recovery.
      _ = try await startOnly(again, recovering, hasReserve: hasReserve)
      let second = Int64.random(in: 0...recovering.events, using: &random)
      let leftAgain = Folder()
      #expect(recovering.image(second, seed: random.next(), to: leftAgain))
      try await check(
        leftAgain, promise, hasReserve: hasReserve, "cut at \(cut), and at \(second) of the recovery")
    }
  }

  private func startOnly(_ folder: Folder, _ disk: FaultDisk, hasReserve: Bool) async throws {
    let site = try Site(plan(folder, hasReserve: hasReserve, vfs: disk.name))
    site.stop()
  }

  @Test("A migration is done or not begun, step by step, wherever the cut falls")
  func migration() throws {
    let steps = [
      "CREATE TABLE one(a INTEGER PRIMARY KEY, b BLOB); INSERT INTO one VALUES (1, zeroblob(30000))",
      "CREATE TABLE two(a); INSERT INTO two SELECT length(b) FROM one",
      "ALTER TABLE one RENAME TO three; UPDATE two SET a = a + 1",
    ]
    let schemas = (1...3).map { Schema(applicationID: 77, steps: Array(steps[..<$0]), tables: []) }
    let disk = FaultDisk()
    disk.record()
    let folder = Folder()
    for schema in schemas { try migrate(folder.file("m.db"), schema, vfs: disk.name) }
    var seen = Set<Int64>()
    for cut in 0...disk.events {
      for seed in 1...3 as ClosedRange<UInt64> {
        let left = Folder()
        #expect(disk.image(cut, seed: seed, to: left))
        seen.insert(try inspect(left.file("m.db")))
        try migrate(left.file("m.db"), schemas[2], vfs: nil)
        #expect(try inspect(left.file("m.db")) == 3)
      }
    }
    #expect(seen == [0, 1, 2, 3])
  }

  private func migrate(_ path: String, _ schema: Schema, vfs: String?) throws {
    try schema.apply(to: Connection.open(path: path, vfs: vfs, pagesMax: 1_000, cacheKiB: 64))
  }

  /// The version, which has exactly its tables and rows.
  private func inspect(_ path: String) throws -> Int64 {
    let file = try Connection.open(path: path, pagesMax: 1_000, cacheKiB: 64)
    let version = try file.integer(of: "PRAGMA user_version") ?? 0
    let names = try file.text(of: "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema ORDER BY name)")
    #expect(names == [nil, "one", "one,two", "three,two"][Int(version)] ?? "")
    if version > 1 { #expect(try file.integer(of: "SELECT a FROM two") == (version == 3 ? 30_001 : 30_000)) }
    return version
  }
}
