import Glibc
import StreamCore
import Testing

@testable import Store

@Suite("A backup in the place of the store")
struct RestoringTests {
  /// A backup of 300 samples, and the store that it is of, with 50 more.
  private func backedUp() async throws -> (folder: Folder, copy: Folder, id: String) {
    let folder = Folder()
    let copy = Folder()
    let site = try Site(configuration(folder, samplesPerBlock: 20))
    await site.put(numbered(1..<301))
    try await site.flush()
    _ = try await withCheckedContinuation { c in site.store.backUp(to: copy.path) { c.resume(returning: $0) } }.get()
    await site.put(numbered(301..<351))
    try await site.flush()
    site.stop()
    return (folder, copy, site.opening.storeID)
  }

  private func names(_ folder: String) -> [String] {
    guard let open = opendir(folder) else { return [] }
    defer { closedir(open) }
    var names: [String] = []
    while let entry = readdir(open) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if !name.hasPrefix(".") { names.append(name) }
    }
    return names.sorted()
  }

  @Test("The backup is only read: it may be on a medium that can't be written, and be needed again")
  func source() async throws {
    let (folder, copy, _) = try await backedUp()
    let before = [bytes(of: copy.file("alarm.db")), bytes(of: copy.file("telemetry.db"))]
    _ = try StoreAtRest.restore(from: copy.path, configuration(folder))
    #expect(names(copy.path) == ["alarm.db", "telemetry.db"])
    #expect([bytes(of: copy.file("alarm.db")), bytes(of: copy.file("telemetry.db"))] == before)
    #expect(!names(folder.path).contains { $0.hasPrefix("restor") })
  }

  @Test(
    "A backup that is not whole is refused, and said to be that; nothing is left of the attempt",
    arguments: [0, 3 * 4_096])
  func torn(_ bytes: Int) async throws {
    let (folder, copy, id) = try await backedUp()
    truncate(copy.file("telemetry.db"), bytes)
    do throws(StoreFailure) {
      _ = try StoreAtRest.restore(from: copy.path, configuration(folder))
      Issue.record("it was taken")
    } catch {
      guard case .noBackup = error else { throw error }
    }
    #expect(!names(folder.path).contains { $0.hasPrefix("restor") || $0 == "quarantine" })
    #expect(try Site(configuration(folder)).opening.storeID == id)
  }

  private func backUp(_ site: Site, to copy: Folder) async throws {
    _ = try await withCheckedContinuation { c in site.store.backUp(to: copy.path) { c.resume(returning: $0) } }.get()
  }

  @Test(
    "Files of two boxes are refused whole, and both stores are named",
    arguments: ["alarm.db", "telemetry.db", "alarm.db-wal"])
  func mixed(_ name: String) async throws {
    let (folder, copy, id) = try await backedUp()
    let otherFolder = Folder()
    var itsConfiguration = configuration(otherFolder)
    itsConfiguration.gateway = "box-of-the-other"
    let other = try Site(itsConfiguration)
    await other.put(numbered(1..<31))
    await other.raise(event(0, .unacknowledged, at: 77))
    try await other.flush()
    let itsCopy = Folder()
    if name.hasSuffix("-wal") {
      await other.copyFiles(from: otherFolder, to: itsCopy)
    } else {
      try await backUp(other, to: itsCopy)
    }
    write(bytes(of: itsCopy.file(name)), to: copy.file(name))
    do throws(StoreFailure) {
      _ = try StoreAtRest.restore(from: copy.path, configuration(folder))
      Issue.record("it was taken")
    } catch {
      guard case .mixedBackup = error else { throw error }
      #expect("\(error)".contains(id) && "\(error)".contains(other.opening.storeID))
      if !name.hasSuffix("-wal") { #expect("\(error)".contains("box-of-the-other")) }
    }
    #expect(!names(folder.path).contains { $0.hasPrefix("restor") || $0 == "quarantine" })
    #expect(try Site(configuration(folder)).opening.storeID == id)
  }

  @Test("The folder of a running agent is no backup, and is left as it is; of one that has ended it is")
  func live() async throws {
    let (folder, _, id) = try await backedUp()
    let otherFolder = Folder()
    let other = try Site(configuration(otherFolder))
    await other.put(numbered(1..<31))
    try await other.flush()
    do throws(StoreFailure) {
      _ = try StoreAtRest.restore(from: otherFolder.path, configuration(folder))
      Issue.record("it was taken")
    } catch {
      guard case .liveBackup(_, let holder) = error else { throw error }
      #expect(holder == "kerb run, process \(getpid())")
    }
    #expect(!names(folder.path).contains { $0.hasPrefix("restor") || $0 == "quarantine" })
    other.stop()
    #expect(try StoreAtRest.restore(from: otherFolder.path, configuration(folder)).storedSamples == 30)
    #expect(try Site(configuration(folder)).opening.storeID != id)
    // Back into its own place: the lock is the restore's own.
    #expect(try StoreAtRest.restore(from: otherFolder.path, configuration(otherFolder)).storedSamples == 30)
  }

  @Test(
    "Where there is no room for the copy, that is what is said; the store stays as it was",
    .enabled(if: SmallDisk.isPossible))
  func fullDisk() async throws {
    let (_, copy, _) = try await backedUp()
    let disk = try #require(SmallDisk(bytes: 8 << 20))
    let site = try Site(configuration(disk.folder))
    site.stop()
    let before = names(disk.folder.path)
    disk.fill(4_096, pages: 1 << 16)
    let ballast = disk.folder.file("ballast")
    var filled = stat()
    stat(ballast, &filled)
    // Room for a part of one write: the disk takes it, and says that it is full at the next.
    truncate(ballast, filled.st_size - 5 * 4_096)
    do throws(StoreFailure) {
      _ = try StoreAtRest.restore(from: copy.path, configuration(disk.folder))
      Issue.record("it was taken")
    } catch {
      guard case .full = error else { throw error }
    }
    disk.free()
    #expect(names(disk.folder.path) == before)
    #expect(try Site(configuration(disk.folder)).opening.storeID == site.opening.storeID)
  }

  @Test("Files that were copied with their logs come back with what only the logs have")
  func logs() async throws {
    let folder = Folder()
    let copy = Folder()
    let site = try Site(configuration(folder, samplesPerBlock: 20))
    await site.put(numbered(1..<301))
    try await site.flush()
    await site.copyFiles(from: folder, to: copy)
    site.stop()
    let target = Folder()
    #expect(try StoreAtRest.restore(from: copy.path, configuration(target)).storedSamples == 300)
    #expect(names(copy.path).contains("telemetry.db-wal"))
  }

  /// 0: while it is copied; 1: before the old files went; 2, 3: behind the first and the second; 4: behind the first
  /// new one.
  @Test("A cut leaves the old store or the restored one, with an id of its own", arguments: 0...4)
  func cut(at step: Int) async throws {
    let (folder, copy, id) = try await backedUp()
    let old = Folder()
    copyStore(from: folder, to: old)
    let restored = try StoreAtRest.restore(from: copy.path, configuration(folder)).storeID
    #expect(restored != id)
    let place = folder.file(step == 0 ? "restoring" : "restored")
    mkdir(place, 0o700)
    for name in ["alarm.db", "telemetry.db"] { rename(folder.file(name), "\(place)/\(name)") }
    unlink(folder.file("alarm.db-wal"))
    unlink(folder.file("telemetry.db-wal"))
    if step < 2 {
      Folder.remove(folder.file("quarantine"))
      copyStore(from: old, to: folder)
    }
    if step == 2 { rename(folder.file("quarantine/1/telemetry.db"), folder.file("telemetry.db")) }
    if step == 4 { rename("\(place)/alarm.db", folder.file("alarm.db")) }
    let site = try Site(configuration(folder))
    #expect(site.opening.storeID == (step == 0 ? id : restored))
    #expect(try await site.readAll().samples.count == (step == 0 ? 350 : 300))
    #expect(!names(folder.path).contains { $0.hasPrefix("restor") })
  }

  @Test(
    "What root restores belongs to whoever runs the agent",
    .enabled(if: geteuid() == 0, "NOT TESTED HERE: only root can give files away"))
  func owner() async throws {
    let (folder, copy, _) = try await backedUp()
    chown(folder.path, 65_534, 65_534)
    unlink(folder.file("lock"))
    _ = try StoreAtRest.restore(from: copy.path, configuration(folder))
    _ = try StoreAtRest(configuration(folder))
    let made = ["alarm.db", "telemetry.db", "alarm.db-wal", "lock", "quarantine", "quarantine/1"]
    for name in made {
      var status = stat()
      #expect(stat(folder.file(name), &status) == 0 && status.st_uid == 65_534, "\(name)")
    }
  }
}
