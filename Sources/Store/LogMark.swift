// Which log goes with a database. SQLite applies any WAL that is right in itself (sqlite.org/fileformat2.html, section
// 4): one of another box, or one from before, as readily as the right one. So the first commit of each log writes a
// mark into the database's `meta`, and the last one before it is brought home another:
//
//   in the database    in its log
//        9             9>4 … 9>7      the log begins where the database is: it is brought home
//        7             9>4 … 9>7      it was brought home, or half of it: once more
//        7             9>4            a copy from before its end: not its log, nor is any other
//
// Invariants:
//  1. A log that has committed anything has a mark in its first commit, and its base is what the database then has.
//  2. A database that was brought home whole has a mark that no earlier part of any log has.

import CSQLite
import Glibc
import StreamCore

/// The row `log` of `meta`: 24 bytes.
struct LogMark: Equatable {
  /// The database's mark when the log began; 0: it had none.
  var base: UInt64
  var own: UInt64

  static let magic: UInt32 = 0x4B42_4C47  // "GLBK" in a dump
  static let bytes = 24
  private static let checkedFrom = 8

  init(base: UInt64) {
    self.base = base
    own = UInt64.random(in: 1 ... .max)
  }

  /// Nil: these bytes are none.
  init?(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count == Self.bytes, bytes.number(UInt32.self, at: 0) == Self.magic,
      Checksum.crc32c(UnsafeRawBufferPointer(rebasing: bytes[Self.checkedFrom...])) == bytes.number(UInt32.self, at: 4)
    else { return nil }
    base = bytes.number(UInt64.self, at: 8)
    own = bytes.number(UInt64.self, at: 16)
  }

  var record: [UInt8] {
    var record = [UInt8](repeating: 0, count: Self.bytes)
    let (base, own) = (self.base, self.own)
    record.withUnsafeMutableBytes { bytes in
      bytes.put(Self.magic, at: 0)
      bytes.put(base, at: 8)
      bytes.put(own, at: 16)
      let checked = UnsafeRawBufferPointer(rebasing: bytes[Self.checkedFrom...])
      bytes.put(Checksum.crc32c(checked), at: 4)
    }
    return record
  }

  /// Whether a log with this mark goes with a database that has the other.
  func follows(_ database: LogMark) -> Bool { base == database.own || own == database.own }

  /// Every mark in a page, wherever it stands: what is left of a row from before only says what was.
  static func all(in page: UnsafeRawBufferPointer) -> [LogMark] {
    var found: [LogMark] = []
    let firstByte = Int32(magic & 0xFF)
    var from = 0
    while from + bytes <= page.count, let start = page.baseAddress,
      let hit = memchr(start + from, firstByte, page.count - bytes + 1 - from)
    {
      let at = UnsafeRawPointer(hit) - start
      if let mark = LogMark(UnsafeRawBufferPointer(rebasing: page[at..<(at + bytes)])) { found.append(mark) }
      from = at + 1
    }
    return found
  }
}

/// What SQLite would take out of a log: its committed frames, read without it.
struct LogScan {
  private(set) var commits = 0
  private(set) var marks: [LogMark] = []

  private static let headerBytes = 32
  private static let frameHeaderBytes = 24

  /// Nil: it can't be opened.
  init?(_ path: String) {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var header = [UInt8](repeating: 0, count: Self.headerBytes)
    guard pread(file, &header, header.count, 0) == header.count else { return }
    var sum = LogChecksum()
    let salts = header.withUnsafeBytes { bytes -> UInt64? in
      guard let sums = LogChecksum(bytes.number(UInt32.self, at: 0).byteSwapped) else { return nil }
      sum = sums
      sum.add(UnsafeRawBufferPointer(rebasing: bytes[..<24]))
      let isRight = sum.matches(bytes, at: 24) && bytes.number(UInt32.self, at: 8).byteSwapped == Limits.pageBytes
      return isRight ? bytes.number(UInt64.self, at: 16) : nil
    }
    guard let salts else { return }
    var frame = [UInt8](repeating: 0, count: Self.frameHeaderBytes + Limits.pageBytes)
    var offset = off_t(Self.headerBytes)
    var pending: [LogMark] = []
    while pread(file, &frame, frame.count, offset) == frame.count {
      let isCommit = frame.withUnsafeBytes { bytes -> Bool? in
        let page = UnsafeRawBufferPointer(rebasing: bytes[Self.frameHeaderBytes...])
        guard bytes.number(UInt64.self, at: 8) == salts, bytes.number(UInt32.self, at: 0) != 0 else { return nil }
        sum.add(UnsafeRawBufferPointer(rebasing: bytes[..<8]))
        sum.add(page)
        guard sum.matches(bytes, at: 16) else { return nil }
        pending += LogMark.all(in: page)
        return bytes.number(UInt32.self, at: 4) != 0
      }
      guard let isCommit else { return }
      if isCommit {
        commits += 1
        marks += pending
        pending.removeAll(keepingCapacity: true)
      }
      offset += off_t(frame.count)
    }
  }
}

/// The running sum of a WAL (section 4.2), in the order of bytes that its magic number names.
private struct LogChecksum {
  private var first: UInt32 = 0
  private var second: UInt32 = 0
  private var isBigEndian = false

  init() {}

  init?(_ magic: UInt32) {
    guard magic & ~1 == 0x377F_0682 else { return nil }
    isBigEndian = magic & 1 == 1
  }

  mutating func add(_ bytes: UnsafeRawBufferPointer) {
    var at = 0
    while at + 8 <= bytes.count {
      first = first &+ word(bytes, at) &+ second
      second = second &+ word(bytes, at + 4) &+ first
      at += 8
    }
  }

  private func word(_ bytes: UnsafeRawBufferPointer, _ at: Int) -> UInt32 {
    let word = bytes.number(UInt32.self, at: at)
    return isBigEndian ? word.byteSwapped : word
  }

  func matches(_ bytes: UnsafeRawBufferPointer, at: Int) -> Bool {
    bytes.number(UInt32.self, at: at).byteSwapped == first
      && bytes.number(UInt32.self, at: at + 4).byteSwapped == second
  }
}

extension Connection {
  /// From now on each log is marked: the file has a `meta`, or the first transaction makes it.
  func keepMarks() throws(StoreFailure) {
    let state = state
    state.isMarked = true
    guard try integer(of: "SELECT 1 FROM sqlite_schema WHERE name = 'meta'") != nil else { return }
    let found = try mark()
    state.mark = found
  }

  /// Nil: there is none, or it is damaged.
  func mark() throws(StoreFailure) -> LogMark? {
    let statement = try Statement("SELECT value FROM meta WHERE name = 'log'", on: self)
    let found = try statement.first { (row) throws(StoreFailure) -> LogMark? in LogMark(row.bytes(0)) }
    return found ?? nil
  }

  /// In the caller's transaction; `HandleState.marked` when it stands.
  func write(_ mark: LogMark) throws(StoreFailure) {
    let statement = try Statement(
      "INSERT INTO meta VALUES ('log', ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value", on: self)
    try statement.run(1, bytes: mark.record)
  }
}
