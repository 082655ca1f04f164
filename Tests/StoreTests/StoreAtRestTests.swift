import Glibc
import StreamCore
import Testing

@testable import Store

@Suite("A store at rest, its check, its copies")
struct StoreAtRestTests {
  private func filled(_ folder: Folder, samples: Int64 = 300) async throws -> Site {
    let site = try Site(configuration(folder, samplesPerBlock: 20))
    await site.put(numbered(1..<(samples + 1)))
    await site.raise(event(0, .unacknowledged, at: 77))
    try await site.flush()
    return site
  }

  private func verify(_ site: Site) async throws -> VerifyAnswer {
    try await withCheckedContinuation { c in site.store.verify(from: nil) { c.resume(returning: $0) } }.get()
  }

  private func backUp(_ site: Site, to folder: String) async throws -> Int64 {
    try await withCheckedContinuation { c in site.store.backUp(to: folder) { c.resume(returning: $0) } }.get()
  }

  @Test("What stands in the files is read without an agent, and reading changes nothing")
  func atRest() async throws {
    let folder = Folder()
    var site: Site? = try await filled(folder)
    site?.store.clockKnown(offsetNs: 1_000_000_000_000_000_000)
    try await site?.flush()
    let epoch = try #require(site?.opening.epoch)
    site = nil
    let before = bytes(of: folder.file("telemetry.db"))
    do {
      let store = try StoreAtRest(configuration(folder))
      let answer = try store.read(
        ReadRequest(after: Position(), alarms: true, telemetry: true, recordsMax: 10_000))
      #expect(answer.batches.flatMap(\.samples).count == 300)
      #expect(answer.events.count == 1)
      #expect(store.report().consumers.map(\.name) == ["platform"])
      #expect(store.report().epoch == epoch)
      #expect(throws: StoreFailure.self) { try StoreAtRest(configuration(folder)) }
    }
    #expect(bytes(of: folder.file("telemetry.db")) == before)
    let again = try Site(configuration(folder))
    #expect(again.opening.epoch == epoch + 1)
    #expect(again.opening.storeID == site?.opening.storeID ?? again.opening.storeID)
  }

  @Test("Where there is no store, none is made")
  func nothing() {
    let folder = Folder()
    #expect(throws: StoreFailure.self) { try StoreAtRest(configuration(folder)) }
    #expect(access(folder.file("telemetry.db"), F_OK) != 0)
  }

  @Test("Reading may begin at a time on the wall: nothing that reaches it is left out")
  func since() async throws {
    let folder = Folder()
    let site = try await filled(folder)
    site.store.clockKnown(offsetNs: 5_000_000_000_000)
    try await site.flush()
    for number in [1, 2, 19, 20, 21, 150, 299, 300] as [Int64] {
      var request = ReadRequest(after: Position(), alarms: false, telemetry: true, recordsMax: 10_000)
      request.sinceNs = numbered(number).at.nanoseconds + 5_000_000_000_000
      let answer = try await withCheckedContinuation { c in
        site.store.read(request, for: nil) { c.resume(returning: $0) }
      }.get()
      let first = try #require(answer.batches.first?.firstSequence)
      #expect(first <= number && first > number - 20, "asked for \(number), begins at \(first)")
    }
  }

  @Test("28 Reading from a time on finds what an epoch with a wrong clock stands behind")
  func sinceOverEpochs() async throws {
    let folder = Folder()
    let right: Int64 = 1_800_000_000_000_000_000
    var next: Int64 = 1
    for offset in [right, right - 315_360_000_000_000_000, right, right + 315_360_000_000_000_000, right] {
      let site = try Site(configuration(folder, samplesPerBlock: 20))
      site.store.clockKnown(offsetNs: offset)
      await site.put(numbered(next..<(next + 200)))
      next += 200
      try await site.flush()
      site.stop()
    }
    let store = try StoreAtRest(configuration(folder))
    for number in [1, 150, 199, 450, 590, 900, 1_000] as [Int64] {
      var request = ReadRequest(after: Position(), alarms: false, telemetry: true, recordsMax: 10_000)
      request.sinceNs = numbered(number).at.nanoseconds + right
      let first = try #require(try store.read(request).batches.first?.firstSequence)
      #expect(first <= number, "asked for \(number), begins at \(first)")
    }
  }

  @Test("A look at everything counts what is whole, and names what is not")
  func check() async throws {
    let folder = Folder()
    var site: Site? = try await filled(folder)
    let whole = try await verify(try #require(site))
    #expect(whole.samples == 300 && whole.events == 1 && whole.damagedBlocks.isEmpty && whole.damagedEvents == 0)
    site = nil
    let connection = try Connection.open(path: folder.file("telemetry.db"), pagesMax: 256, cacheKiB: 64)
    try connection.execute("UPDATE ring SET block = zeroblob(4048) WHERE slot = 3")
    _ = consume connection
    let store = try StoreAtRest(configuration(folder))
    let answer = try store.verify(from: nil)
    #expect(answer.damagedBlocks == [3])
    #expect(answer.samples == 280)
  }

  @Test("A copy made while the store works is whole; put back, it has a new id and goes on behind what it holds")
  func backup() async throws {
    let folder = Folder()
    var site: Site? = try await filled(folder)
    let copy = Folder()
    #expect(try await backUp(try #require(site), to: copy.path) > 0)
    await site?.put(numbered(301..<351))
    try await site?.flush()
    let id = try #require(site?.opening.storeID)
    #expect(throws: StoreFailure.self) { try StoreAtRest.restore(from: copy.path, configuration(folder)) }
    site = nil
    let restored = try StoreAtRest.restore(from: copy.path, configuration(folder))
    #expect(restored.storedSamples == 300 && restored.storedEvents == 1)
    #expect(restored.storeID != id)
    #expect(access(folder.file("quarantine/1/telemetry.db"), F_OK) == 0)
    let again = try Site(configuration(folder))
    #expect(again.opening.storeID == restored.storeID)
    let account = try await again.readAll()
    #expect(account.samples.count == 300 && account.gaps.isEmpty)
    #expect(account.samples.allSatisfy { isRight($0.value, $0.key) })
  }

  @Test("What is no backup is refused, and the store stays as it was")
  func noBackup() async throws {
    let folder = Folder()
    var site: Site? = try await filled(folder)
    site = nil
    let empty = Folder()
    #expect(throws: StoreFailure.self) { try StoreAtRest.restore(from: empty.path, configuration(folder)) }
    write(Array("no database".utf8), to: empty.file("alarm.db"))
    write(Array("no database".utf8), to: empty.file("telemetry.db"))
    #expect(throws: StoreFailure.self) { try StoreAtRest.restore(from: empty.path, configuration(folder)) }
    site = try Site(configuration(folder))
    #expect(try await site?.readAll().samples.count == 300)
  }

  @Test("Damage that a tool meets is told as what it is, and nothing is moved")
  func damaged() async throws {
    let folder = Folder()
    var site: Site? = try await filled(folder)
    site = nil
    write([UInt8](repeating: 0, count: 8_192), to: folder.file("alarm.db"))
    do throws(StoreFailure) {
      _ = try StoreAtRest(configuration(folder))
      Issue.record("it was opened")
    } catch {
      guard case .damaged(let path, _) = error else { throw error }
      #expect(path == folder.path)
    }
    #expect(access(folder.file("quarantine"), F_OK) != 0)
    #expect(site == nil)
  }
}
