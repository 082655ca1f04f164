// Disks that fail as a test wants: in SQLite's file system, by a mount of their own size, and a run over them whose
// account must balance whatever happened.

import CFaultVFS
import CLinux
import Glibc
import StreamCore
import Synchronization
import Testing

@testable import Store

/// A file system for SQLite whose faults are chosen. Outlives every file on it.
final class FaultDisk: @unchecked Sendable {
  // Unchecked: the C side locks.
  private static let count = Atomic(0)
  let name: String
  private let vfs: OpaquePointer

  init() {
    name = "fault-\(Self.count.add(1, ordering: .relaxed).newValue)"
    vfs = fault_vfs_new(name)
  }

  deinit { fault_vfs_free(vfs) }

  static let opens = Int32(FAULT_OPEN)
  static let reads = Int32(FAULT_READ)
  static let writes = Int32(FAULT_WRITE)
  static let syncs = Int32(FAULT_SYNC)
  static let truncates = Int32(FAULT_TRUNCATE)

  func fail(_ kinds: Int32, after pass: Int64, times: Int64, code: Int32 = 0) {
    fault_vfs_fail(vfs, kinds, pass, times, code)
  }
  func heal() { fault_vfs_fail(vfs, 0, 0, 0, 0) }
  func count(_ kinds: Int32) -> Int64 { fault_vfs_count(vfs, kinds) }
  var failed: Int64 { fault_vfs_failed(vfs) }
  func quota(_ bytes: Int64) { fault_vfs_quota(vfs, bytes) }
  func hold(_ kinds: Int32) { fault_vfs_hold(vfs, kinds) }
  func isHeld(within ns: Int64) -> Bool { fault_vfs_held(vfs, ns) == 1 }
  func release() { fault_vfs_release(vfs) }
  func record() { fault_vfs_record(vfs) }
  var events: Int64 { fault_vfs_events(vfs) }
  func image(_ events: Int64, seed: UInt64, to folder: Folder) -> Bool {
    fault_vfs_image(vfs, events, seed, folder.path) == 0
  }
}

/// A file system of its own size in RAM; root only.
final class SmallDisk {
  let folder = Folder()
  private static func mountAt(_ path: String, bytes: Int) -> Bool {
    mount("none", path, "tmpfs", 0, "size=\(bytes)") == 0
  }

  /// Says so once where it is not: a test that did not run must not look like one that did.
  static let isPossible: Bool = {
    let folder = Folder()
    guard mountAt(folder.path, bytes: 1 << 20) else {
      let text = "NOT TESTED HERE: a really full and a really read-only file system need root. Simulated ones are.\n"
      _ = text.utf8.withContiguousStorageIfAvailable { Glibc.write(2, $0.baseAddress, $0.count) }
      return false
    }
    umount(folder.path)
    return true
  }()

  init?(bytes: Int) {
    guard Self.mountAt(folder.path, bytes: bytes) else { return nil }
  }

  /// Beside what fills it already: not for a moment is there more room than before.
  func fill(_ pageBytes: Int, pages: Int) {
    guard let file = fopen(folder.file("ballast"), "a") else { return }
    let part = [UInt8](repeating: 1, count: pageBytes)
    for _ in 0..<pages where fwrite(part, 1, part.count, file) < part.count { break }
    fclose(file)
  }

  func remount(isReadOnly: Bool) -> Bool {
    let flags = UInt(MS_REMOUNT) | (isReadOnly ? UInt(MS_RDONLY) : 0)
    return mount("none", folder.path, "tmpfs", flags, nil) == 0
  }

  func free() { unlink(folder.file("ballast")) }

  deinit { umount2(folder.path, 2) }
}

/// What was put into a store, however many starts that took, and what must be true of it at any time.
struct Course {
  private(set) var samples: Int64 = 0
  private(set) var events: Int64 = 0

  mutating func put(_ count: Int64, into site: Site) async {
    await site.put(numbered((samples + 1)..<(samples + 1 + count)))
    samples += count
  }

  mutating func raise(_ site: Site) async {
    events += 1
    await site.raise(event(UInt16(events % 2), .unacknowledged, at: events))
  }

  /// Every sample and event is there once and right, or is counted in a gap.
  func expectBalance(_ site: Site, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    let account = try await site.readAll()
    var seen = Set<Int64>()
    for (sequence, sample) in account.samples {
      let number = sample.raw / 7919
      #expect(isRight(sample, number), "sequence \(sequence)", sourceLocation: sourceLocation)
      seen.insert(number)
    }
    #expect(seen.count == account.samples.count, "a sample came twice", sourceLocation: sourceLocation)
    #expect(
      Int64(seen.count) + account.missing == samples, "\(account.gaps)", sourceLocation: sourceLocation)
    let alarms = Set(account.events.values.map { $0.event.at.nanoseconds / 1_000_000 })
    #expect(alarms.count == account.events.count, "an event came twice", sourceLocation: sourceLocation)
    #expect(account.alarmGaps.isEmpty && Int64(alarms.count) == events, sourceLocation: sourceLocation)
  }
}

/// Asks until it is so. Each question makes the store thread go round. Only what fails waits that long.
func eventually(_ seconds: Int64 = 120, _ isSo: () async -> Bool) async -> Bool {
  let deadline = kerb_monotonic_ns() + seconds * 1_000_000_000
  while !(await isSo()) {
    guard kerb_monotonic_ns() < deadline else { return false }
  }
  return true
}
