import Glibc
import StreamCore
import Testing

@testable import Store

@Suite("23 A WAL that is not the database's own")
struct ForeignLogTests {
  private static let names = ["alarm.db", "telemetry.db"]

  /// What the log of another box, or one from before, would bring along.
  enum Origin: CaseIterable, Sendable { case otherBox, before, beforeTheLastStop }

  private struct Case {
    var folder: Folder
    /// That holds, beside a database that it is not of.
    var log: [UInt8]
    var report: StoreReport
    var course: Course
  }

  /// The store as a stop leaves it, and a log that others have written.
  private func made(_ origin: Origin, _ name: String) async throws -> Case {
    let folder = Folder()
    var course = Course()
    var log: [UInt8] = []
    var site = try Site(configuration(folder, samplesPerBlock: 20))
    await course.put(30, into: site)
    await course.raise(site)
    try await site.flush()
    if origin == .beforeTheLastStop {
      log = bytes(of: folder.file(name + "-wal"))
      site.stop()
      site = try Site(configuration(folder, samplesPerBlock: 20))
    }
    // One commit each after a start: nothing of it names its store.
    await course.put(25, into: site)
    await course.raise(site)
    try await site.flush()
    if origin == .before { log = bytes(of: folder.file(name + "-wal")) }
    for _ in 0..<10 {
      await course.put(25, into: site)
      await course.raise(site)
      try await site.flush()
    }
    let report = await site.report()
    site.stop()
    if origin == .otherBox {
      let otherFolder = Folder()
      let other = try Site(configuration(otherFolder, samplesPerBlock: 20))
      for number in 0..<6 as Range<Int64> {
        await other.put((0..<30).map { numbered(900_000 + 30 * number + $0, series: 5) })
        await other.raise(event(0, .unacknowledged, at: 777_000 + number))
      }
      log = bytes(of: otherFolder.file(name + "-wal"))
      try await other.flush()
      if name == "telemetry.db" { log = bytes(of: otherFolder.file(name + "-wal")) }
      other.stop()
    }
    #expect(LogScan(folder.file(name + "-wal"))?.commits == 0, "a stop leaves a log that holds something")
    write(log, to: folder.file(name + "-wal"))
    try #require(LogScan(folder.file(name + "-wal"))?.commits ?? 0 > 0, "the log brings nothing along")
    return Case(folder: folder, log: log, report: report, course: course)
  }

  @Test("A start moves it away and serves what the database has, whole", arguments: Origin.allCases, names)
  func start(_ origin: Origin, _ name: String) async throws {
    let made = try await made(origin, name)
    let site = try Site(configuration(made.folder, samplesPerBlock: 20))
    #expect(site.opening.storeID == made.report.storeID && site.opening.epoch > made.report.epoch)
    #expect(bytes(of: made.folder.file("quarantine/1/\(name)-wal")) == made.log)
    #expect(access(made.folder.file("quarantine/1/\(name)"), F_OK) != 0)
    try await made.course.expectBalance(site)
    #expect(try await site.readAll().gaps.isEmpty)
    // The states, too, are those of the last stop.
    #expect(site.opening.alarms.map(\.sequence).sorted() == [made.course.events - 1, made.course.events])
    // And it is said.
    let report = await site.report()
    #expect(report.failures == 1 && report.lastFailure.contains("quarantine/1"), "\(report.lastFailure)")
    site.stop()
  }

  @Test("A tool that looks at the files says which one it is, and changes nothing", arguments: Origin.allCases, names)
  func atRest(_ origin: Origin, _ name: String) async throws {
    let made = try await made(origin, name)
    func files() -> [[UInt8]] {
      Self.names.flatMap { [bytes(of: made.folder.file($0)), bytes(of: made.folder.file($0 + "-wal"))] }
    }
    let before = files()
    do throws(StoreFailure) {
      _ = try StoreAtRest(configuration(made.folder))
      Issue.record("it was taken")
    } catch {
      guard case .foreignLog(let path) = error else { throw error }
      #expect(path == made.folder.file(name) && "\(error)".hasPrefix(path + "-wal is not of the \(name)"))
    }
    #expect(files() == before)
  }

  @Test("A restore refuses it and names it; nothing is left of the attempt", arguments: Origin.allCases, names)
  func restore(_ origin: Origin, _ name: String) async throws {
    let made = try await made(origin, name)
    let target = Folder()
    let own = try Site(configuration(target))
    own.stop()
    unlink(made.folder.file("lock"))
    do throws(StoreFailure) {
      _ = try StoreAtRest.restore(from: made.folder.path, configuration(target))
      Issue.record("it was taken")
    } catch {
      switch error {
      case .mixedBackup(let path, let log, let database):
        #expect(path == made.folder.path && log.hasPrefix("\(name)-wal of store "))
        #expect(database == "\(name) of store \(made.report.storeID)" && !log.hasSuffix(made.report.storeID))
      case .strangeBackup(let path):
        #expect(path == "\(made.folder.path)/\(name)" && "\(error)".hasPrefix(path + "-wal is not of the \(name)"))
      default: throw error
      }
    }
    #expect(access(target.file("restoring"), F_OK) != 0 && access(target.file("quarantine"), F_OK) != 0)
    #expect(try Site(configuration(target)).opening.storeID == own.opening.storeID)
    // The step that the message names.
    unlink(made.folder.file(name + "-wal"))
    #expect(try StoreAtRest.restore(from: made.folder.path, configuration(target)).storedSamples == made.course.samples)
  }

  @Test("A copy that was made while it runs goes with no log from before it", arguments: names)
  func backup(_ name: String) async throws {
    let (folder, copy, target) = (Folder(), Folder(), Folder())
    let site = try Site(configuration(folder))
    await site.put(numbered(1..<31))
    await site.raise(event(0, .unacknowledged, at: 1))
    try await site.flush()
    let log = bytes(of: folder.file(name + "-wal"))
    await site.put(numbered(31..<61))
    await site.raise(event(0, .unacknowledged, at: 2))
    try await site.flush()
    _ = try await withCheckedContinuation { c in site.store.backUp(to: copy.path) { c.resume(returning: $0) } }.get()
    site.stop()
    write(log, to: copy.file(name + "-wal"))
    do throws(StoreFailure) {
      _ = try StoreAtRest.restore(from: copy.path, configuration(target))
      Issue.record("it was taken")
    } catch {
      guard case .strangeBackup(copy.file(name)) = error else { throw error }
    }
  }

  private struct Snapshot {
    var files: [String: [UInt8]]
    var events: Int64
    var samples: Int64
  }

  @Test("Any database of a store with any log of it: nothing wrong is served, and its own is never moved away")
  func any() async throws {
    let seed = UInt64.random(in: 1...(.max))
    print("seed \(seed)")
    var random = Seeded(seed)
    let folder = Folder()
    var course = Course()
    var moments: [Snapshot] = []
    for _ in 0..<3 {
      let site = try Site(configuration(folder, samplesPerBlock: 20))
      for _ in 0..<20 {
        await course.put(Int64.random(in: 1...60, using: &random), into: site)
        if Bool.random(using: &random) { await course.raise(site) }
        try await site.flush()
        let names = Self.names.flatMap { [$0, $0 + "-wal"] }
        let files = Dictionary(uniqueKeysWithValues: names.map { ($0, bytes(of: folder.file($0))) })
        moments.append(Snapshot(files: files, events: course.events, samples: course.samples))
      }
      site.stop()
    }
    var moved = 0
    for round in 0..<40 {
      let here = Int.random(in: moments.indices, using: &random)
      // Every fourth time its own.
      let there = round % 4 == 0 ? here : Int.random(in: moments.indices, using: &random)
      let name = Self.names[round % 2]
      let left = Folder()
      for (file, content) in moments[here].files {
        write(file == name + "-wal" ? moments[there].files[file] ?? [] : content, to: left.file(file))
      }
      let trace: Comment = "seed \(seed), \(name) of \(here) with the log of \(there)"
      let site = try Site(configuration(left, samplesPerBlock: 20))
      let isMoved = access(left.file("quarantine"), F_OK) == 0
      moved += isMoved ? 1 : 0
      #expect(!isMoved || here != there, trace)
      let account = try await site.readAll()
      #expect(account.samples.allSatisfy { isRight($0.value, $0.key) }, trace)
      #expect(account.events.allSatisfy { $0.value.event.at == Instant(milliseconds: $0.key) }, trace)
      #expect(account.gaps.allSatisfy { $0.reason == .damaged } && account.alarmGaps.isEmpty, trace)
      if here == there {
        #expect(account.gaps.isEmpty && Int64(account.samples.count) == moments[here].samples, trace)
        #expect(Int64(account.events.count) == moments[here].events, trace)
      }
      // States and log are of one moment.
      let states = site.opening.alarms.map(\.sequence).sorted()
      #expect(states == Array(account.events.keys.sorted().suffix(2)), trace)
      site.stop()
    }
    #expect(moved > 5)
  }
}
