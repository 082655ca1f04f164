import CSQLite
import Glibc
import StreamCore
import Testing

@testable import Store

@Suite("The ring of telemetry.db")
struct TelemetryRingTests {
  private static func ring(_ folder: Folder, bytes: Int = 1 << 20) throws -> TelemetryRing {
    try TelemetryRing(path: folder.file("telemetry.db"), bytes: bytes, seriesCount: 64, interruption: nil)
  }

  /// Appends `count` blocks of `samples` each; returns the next sample's number.
  @discardableResult
  private static func fill(_ ring: TelemetryRing, blocks: Int, samples: Int = 10) throws -> Int64 {
    var intake = Intake(seriesCount: 64, place: ring.nextPlace(epoch: 1, catalogueVersion: 1))
    let memory = UnsafeMutableRawPointer.allocate(byteCount: Batch.bytes, alignment: 64)
    defer { memory.deallocate() }
    var number = ring.newest?.last ?? 0
    for _ in 0..<blocks {
      let batch = Batch(memory: memory)
      for _ in 0..<samples {
        number += 1
        _ = batch.append(numbered(number, series: Int(number)))
      }
      _ = intake.take(batch, nowNs: 0)
      _ = intake.seal()
      try intake.withPending(withOpen: false) { (blocks) -> Result<Void, StoreFailure> in
        do throws(StoreFailure) { return .success(try ring.append(blocks)) } catch { return .failure(error) }
      }?.get()
      intake.pendingCommitted(withOpen: false)
    }
    return number + 1
  }

  @Test("The open handle has every pragma that the flash and the power cuts ask for")
  func pragmas() throws {
    let folder = Folder()
    for _ in 0..<2 {
      let connection = try Connection.open(path: folder.file("any.db"), pagesMax: 300, cacheKiB: 64)
      #expect(try connection.integer(of: "PRAGMA page_size") == 4_096)
      #expect(try connection.text(of: "PRAGMA locking_mode") == "exclusive")
      #expect(try connection.text(of: "PRAGMA journal_mode") == "wal")
      #expect(try connection.integer(of: "PRAGMA synchronous") == 2)
      #expect((200...1_000).contains(Limits.walPages))
      #expect(try connection.integer(of: "PRAGMA journal_size_limit") == Int64(Limits.walBytesKept))
      #expect(Limits.walBytesKept >= Limits.walPages * 4_120)
      #expect(try connection.integer(of: "PRAGMA auto_vacuum") == 0)
      #expect(try connection.integer(of: "PRAGMA max_page_count") == 300)
      #expect(try connection.integer(of: "PRAGMA cell_size_check") == 1)
      #expect(try connection.integer(of: "PRAGMA trusted_schema") == 0)
      #expect(try connection.integer(of: "PRAGMA mmap_size") ?? 0 == 0)
      #expect(try connection.integer(of: "PRAGMA temp_store") == 2)
      #expect(try connection.integer(of: "PRAGMA cache_size") == -64)
      try connection.execute("CREATE TABLE IF NOT EXISTS t(x)")
      #expect(access(folder.file("any.db-shm"), F_OK) != 0)
    }
    #expect(access(folder.file("any.db-wal"), F_OK) == 0, "the prepared WAL is kept")
  }

  @Test("One block is one row on one leaf page, in the whole range of slots")
  func onePage() throws {
    let folder = Folder()
    let ring = try Self.ring(folder)
    try Self.fill(ring, blocks: 40, samples: 200)
    while !ring.isPrepared { try ring.prepare(100) }
    let pages = try ring.fileBytes / 4_096
    #expect(pages <= (1 << 20) / 4_096)
    let connection = try Connection.open(path: folder.file("pages.db"), pagesMax: 100, cacheKiB: 64)
    try connection.execute("CREATE TABLE ring(slot INTEGER PRIMARY KEY, block BLOB NOT NULL)")
    for slot in [0, 1, 127, 128, 16_383, 16_384, (64 << 30) / 4_096] {
      try connection.execute("INSERT INTO ring VALUES (\(slot), randomblob(\(Limits.blockBytes)))")
    }
    let sql = "SELECT count(*) FROM dbstat WHERE name = 'ring' AND pagetype = "
    #expect(try connection.integer(of: sql + "'leaf'") == 7)
    #expect(try connection.integer(of: sql + "'overflow'") == 0)
    #expect(try connection.integer(of: "SELECT max(ncell) FROM dbstat WHERE name='ring' AND pagetype='leaf'") == 1)
  }

  @Test("After any number of blocks, reopened, it goes on where it was and evicts the oldest")
  func wrap() throws {
    let folder = Folder()
    let slots = TelemetryRing.slots(bytes: 1 << 20)
    var written: Int64 = 0
    for blocks in [1, Int(slots) - 2, 1, 1, 100, Int(slots) * 2 + 3] {
      let ring = try Self.ring(folder)
      #expect(ring.newest?.number ?? -1 == written - 1)
      try Self.fill(ring, blocks: blocks)
      written += Int64(blocks)
      let oldest = try #require(try ring.oldest())
      #expect(oldest.number == max(0, written - slots))
      #expect(oldest.ordinal == oldest.number * 10)
    }
    let ring = try Self.ring(folder)
    var place: ReadingPlace?
    let answer = try ring.read(after: 5, recordsMax: 100, place: &place)
    let first = (written - slots) * 10 + 1
    #expect(
      answer.gaps == [
        Gap(
          from: 6, to: first - 1, epoch: 1, start: nil, end: numbered(first).at, reason: .evicted)
      ])
    #expect(answer.batches.first?.firstSequence == first)
    #expect(answer.records == 100)
    let next = try ring.read(after: answer.next, recordsMax: 100, place: &place)
    #expect(next.batches.first?.firstSequence == answer.next + 1)
    #expect(next.gaps.isEmpty)
  }

  @Test("A reader may begin at any sequence and take any number")
  func anywhere() throws {
    let folder = Folder()
    let ring = try Self.ring(folder)
    let end = try Self.fill(ring, blocks: 30, samples: 7)
    var random = Seeded(9)
    var place: ReadingPlace?
    for _ in 0..<300 {
      let after = Int64.random(in: 0..<end, using: &random)
      let count = Int.random(in: 1...40, using: &random)
      let answer = try ring.read(after: after, recordsMax: count, place: &place)
      var expected = after + 1
      for batch in answer.batches {
        #expect(batch.firstSequence == expected)
        for sample in batch.samples {
          #expect(isRight(sample, expected))
          expected += 1
        }
      }
      #expect(answer.next == expected - 1)
      #expect(answer.next == min(after + Int64(count), end - 1))
    }
  }

  @Test("A damaged block is a gap between its neighbours; at the end it reaches to the newest sequence")
  func damaged() throws {
    let folder = Folder()
    var ring: TelemetryRing? = try Self.ring(folder)
    try Self.fill(try #require(ring), blocks: 10)
    ring = nil
    let connection = try Connection.open(path: folder.file("telemetry.db"), pagesMax: 256, cacheKiB: 64)
    for slot in [0, 3, 4] { try connection.execute("UPDATE ring SET block = zeroblob(4048) WHERE slot = \(slot)") }
    _ = consume connection
    let again = try Self.ring(folder)
    var place: ReadingPlace?
    let answer = try again.read(after: 0, recordsMax: 1_000, place: &place)
    #expect(answer.gaps.map { [$0.from, $0.to] } == [[1, 10], [31, 50]])
    #expect(answer.gaps.allSatisfy { $0.reason == .damaged })
    #expect(answer.gaps.last?.start == numbered(30).at)
    #expect(answer.gaps.last?.end == numbered(51).at)
    #expect(answer.batches.flatMap { $0.samples }.count == 70)
    #expect(answer.next == 100)
  }

  @Test("A quota that is used up refuses the commit as «full» and spares what is stored")
  func quota() throws {
    let folder = Folder()
    let connection = try Connection.open(path: folder.file("small.db"), pagesMax: 12, cacheKiB: 64)
    try connection.execute("CREATE TABLE ring(slot INTEGER PRIMARY KEY, block BLOB NOT NULL)")
    var stored: Int64 = 0
    var failure: StoreFailure?
    while failure == nil, stored < 100 {
      do throws(StoreFailure) {
        let slot = stored
        try connection.transaction { () throws(StoreFailure) in
          try connection.execute("INSERT INTO ring VALUES (\(slot), randomblob(4048))")
        }
        stored += 1
      } catch { failure = error }
    }
    guard case .full = failure else {
      Issue.record("expected «full», got \(String(describing: failure))")
      return
    }
    #expect(try connection.integer(of: "SELECT count(*) FROM ring") == stored)
    try connection.execute("UPDATE ring SET block = randomblob(4048) WHERE slot = 0")
  }

  @Test("A file of a newer format, and one of another program, are not touched")
  func otherFormats() throws {
    let folder = Folder()
    _ = try Self.ring(folder)
    var connection = try Connection.open(path: folder.file("telemetry.db"), pagesMax: 256, cacheKiB: 64)
    try connection.execute(
      "PRAGMA user_version = 9; UPDATE meta SET value = '\(Schema.format(9))' WHERE name = 'format'")
    _ = consume connection
    #expect { try Self.ring(folder) } throws: {
      if case .newer(_, 9) = $0 as? StoreFailure { return true } else { return false }
    }
    connection = try Connection.open(path: folder.file("telemetry.db"), pagesMax: 256, cacheKiB: 64)
    try connection.execute(
      "PRAGMA application_id = 77; UPDATE meta SET value = '\(Schema.format(2))' WHERE name = 'format'")
    _ = consume connection
    #expect { try Self.ring(folder) } throws: { ($0 as? StoreFailure)?.isCorrupt == true }
  }

  @Test("22 A flipped bit in the number of the format makes no newer file: the other one is right", arguments: 0..<32)
  func flippedVersion(bit: Int) throws {
    let folder = Folder()
    let path = folder.file("telemetry.db")
    let ring = try Self.ring(folder)
    try Self.fill(ring, blocks: 3)
    let mark = ring.mark
    _ = consume ring
    let connection = try Connection.open(path: path, pagesMax: 256, cacheKiB: 64)
    let flipped = 2 ^ Int64(Int32(truncatingIfNeeded: 1 << bit))
    try connection.execute("PRAGMA user_version = \(flipped)")
    _ = consume connection
    let again = try Self.ring(folder)
    #expect(again.mark == mark && again.newest?.number == 2)
    #expect(try again.connection.integer(of: "PRAGMA user_version") == 2)
  }

  @Test("22 Neither does one in its copy; and without a copy a number beyond all known ones is damage")
  func flippedFormat() throws {
    let folder = Folder()
    let path = folder.file("telemetry.db")
    _ = try Self.ring(folder)
    for text in ["3 \(Schema.format(2).split(separator: " ")[1])", "", "2", "2 17"] {
      let connection = try Connection.open(path: path, pagesMax: 256, cacheKiB: 64)
      try connection.execute("UPDATE meta SET value = '\(text)' WHERE name = 'format'")
      _ = consume connection
      let again = try Self.ring(folder)
      #expect(try again.connection.text(of: "SELECT value FROM meta WHERE name = 'format'") == Schema.format(2))
    }
    for stored in [0, 3, 17, 1_000] {
      let connection = try Connection.open(path: path, pagesMax: 256, cacheKiB: 64)
      try connection.execute("DELETE FROM meta WHERE name = 'format'; PRAGMA user_version = \(stored)")
      _ = consume connection
      #expect { try Self.ring(folder) } throws: { ($0 as? StoreFailure)?.isCorrupt == true }
    }
  }
}
