// How much this process has made the flash write, by day: as the kernel counts it, kept in telemetry.db's meta. On the
// store thread.
//
// Invariants:
//  1. It is written along with commits that happen anyway, at most once an hour, and at the end.
//  2. Bytes belong to the day on the wall in which they are seen; as long as that is not known they wait.

import CLinux
import Glibc
import StreamCore

struct FlashBook {
  /// By day since 1970 (UTC), the newest `Limits.flashDaysMax`.
  private(set) var days: [Int64: Int64] = [:]
  /// Since the file was made.
  private(set) var totalBytes: Int64 = 0
  private var seenBytes: Int64
  private var undated: Int64 = 0
  private var keptNs: Int64
  private var changed: Set<Int64> = []

  init(_ connection: borrowing Connection) throws(StoreFailure) {
    seenBytes = Self.written()
    keptNs = kerb_monotonic_ns()
    var found: [Int64: Int64] = [:]
    let statement = try Statement(
      "SELECT CAST(substr(name, 7) AS INTEGER), value FROM meta WHERE name GLOB 'flash:*'", on: connection)
    try statement.forEach { (row) throws(StoreFailure) in found[row.integer(0)] = max(0, row.integer(1)) }
    totalBytes = found.removeValue(forKey: -1) ?? 0
    days = found
  }

  /// `write_bytes` of the kernel's count for this process: what it made dirty (Documentation/filesystems/proc.rst,
  /// 3.3).
  static func written() -> Int64 {
    let descriptor = open("/proc/self/io", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return 0 }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 512)
    let count = read(descriptor, &bytes, bytes.count)
    let text = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    let line = text.split(separator: "\n").first { $0.hasPrefix("write_bytes: ") }
    return line.flatMap { Int64($0.dropFirst(13)) } ?? 0
  }

  /// Takes what was written since the last time. `unixNs`: nil while nobody knows.
  mutating func note(written: Int64, unixNs: Int64?) {
    let fresh = max(0, written - seenBytes)
    seenBytes = written
    totalBytes += fresh
    undated += fresh
    guard let unixNs, undated > 0 else { return }
    let day = unixNs / 86_400_000_000_000
    days[day, default: 0] += undated
    undated = 0
    changed.insert(day)
    for old in days.keys.sorted().dropLast(Limits.flashDaysMax) { days[old] = nil }
  }

  /// What goes along into another file.
  var notes: [(name: String, value: Int64)] {
    days.map { (name: "flash:\($0.key)", value: $0.value) } + [(name: "flash:-1", value: totalBytes)]
  }

  func isDue(_ nowNs: Int64) -> Bool { !changed.isEmpty && nowNs - keptNs >= Limits.flashKeepNs }

  /// In the caller's transaction.
  func keep(in connection: borrowing Connection) throws(StoreFailure) {
    let statement = try Statement("INSERT OR REPLACE INTO meta VALUES (?, ?)", on: connection)
    for (day, bytes) in days where changed.contains(day) {
      statement.bind(1, "flash:\(day)")
      statement.bind(2, bytes)
      try statement.run()
    }
    statement.bind(1, "flash:-1")
    statement.bind(2, totalBytes)
    try statement.run()
    guard let oldest = days.keys.min() else { return }
    try connection.execute(
      "DELETE FROM meta WHERE name GLOB 'flash:[0-9]*' AND CAST(substr(name, 7) AS INTEGER) < \(oldest)")
  }

  mutating func kept(_ nowNs: Int64) {
    changed.removeAll(keepingCapacity: true)
    keptNs = nowNs
  }
}
