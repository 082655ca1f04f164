// What the store costs, beside plain rows in SQLite on the same machine. Called by Benchmarks/store, which
// mounts the disk.
//
//   StoreBench pack PROFILES              the demo's data in blocks and in rows: bytes a sample, samples a second
//   StoreBench minutes PROFILES FOLDER ring|rows COUNT SPACING_MS
//                                         commits COUNT minutes of ten samples a second, each SPACING_MS after the last
//   StoreBench ingest PROFILES FOLDER ring|rows
//                                         as fast as it goes, with a commit a minute or when much waits
//   StoreBench jitter FOLDER ROUNDS       the intervals of a bus's polls, with and without a sync of 5 s in the store
//   StoreBench fill FOLDER BYTES          makes a ring and fills it
//   StoreBench start FOLDER BYTES         starts a store on it, lets every part of it work, and looks at its memory
//
// Each prints one JSON object.

import CLinux
import Glibc
import Store
import StreamCore

func seconds() -> Double { Double(kerb_monotonic_ns()) / 1e9 }
func rounded(_ value: Double) -> Double { (value * 1_000).rounded() / 1_000 }
nonisolated(unsafe) let nothing = UnsafeBufferPointer<UInt8>(start: nil, count: 0)

let arguments = Array(CommandLine.arguments.dropFirst())
switch arguments.first {
case "pack": try pack(try DemoData(profiles: arguments[1], seconds: 6 * 3_600))
case "minutes":
  try minutes(
    try DemoData(profiles: arguments[1], seconds: 24 * 3_600), folder: arguments[2], isRing: arguments[3] == "ring",
    count: Int(arguments[4]) ?? 0, spacingMs: Int(arguments[5]) ?? 0)
case "ingest":
  try ingest(
    try DemoData(profiles: arguments[1], seconds: 6 * 3_600), folder: arguments[2], isRing: arguments[3] == "ring")
case "jitter": try jitter(folder: arguments[1], rounds: Int(arguments[2]) ?? 1)
case "fill": try fill(folder: arguments[1], bytes: Int(arguments[2]) ?? 0)
case "start": try start(folder: arguments[1], bytes: Int(arguments[2]) ?? 0)
default: preconditionFailure("pack, minutes, ingest, jitter, fill or start")
}

// MARK: Packing

func pack(_ data: DemoData) throws {
  let writer = BlockWriter(seriesCount: data.seriesCount)
  var blocks: [[UInt8]] = []
  var place = BlockInfo()
  var minute = data.samples.first?.at.nanoseconds ?? 0
  func seal() {
    var bytes = [UInt8](repeating: 0, count: Limits.blockBytes)
    let info = bytes.withUnsafeMutableBytes { writer.write(as: place, into: $0) }
    place.number += 1
    place.firstSequence = info.last + 1
    writer.clear()
    blocks.append(bytes)
  }
  var inFullBlocks = 0
  for (index, sample) in data.samples.enumerated() {
    let source = Int(data.sources[index])
    if !writer.append(sample, text: nothing, source: source) {
      seal()
      inFullBlocks = index
      _ = writer.append(sample, text: nothing, source: source)
    }
    if sample.at.nanoseconds > minute + 60_000_000_000 {
      // A commit a minute, as the agent makes them.
      minute = sample.at.nanoseconds
      writer.committed(writer.sampleCount)
    }
  }
  let pageBytes = Double(blocks.count * Limits.pageBytes) / Double(inFullBlocks)

  var reader = BlockReader(seriesCount: data.seriesCount)
  // Nothing is worth anything that does not come out the same.
  var checked = 0
  for block in blocks {
    let (_, batches) = try block.withUnsafeBytes { try reader.read($0) }
    for sample in batches.flatMap(\.samples) {
      let own = data.samples[checked]
      precondition(
        sample.raw == own.raw && sample.series == own.series && sample.quality == own.quality
          && sample.at == Instant(milliseconds: own.at.milliseconds), "sample \(checked): \(own) came out as \(sample)")
      checked += 1
    }
  }
  var read = 0
  var began = seconds()
  while seconds() - began < 1 {
    for block in blocks {
      let (_, batches) = try block.withUnsafeBytes { try reader.read($0) }
      for batch in batches { read += batch.samples.count }
    }
  }
  let readPerSecond = Double(read) / (seconds() - began)
  var packed = 0
  began = seconds()
  while seconds() - began < 1 {
    writer.clear()
    for (sample, bus) in zip(data.samples, data.sources) {
      let source = Int(bus)
      if !writer.append(sample, text: nothing, source: source) {
        writer.clear()
        _ = writer.append(sample, text: nothing, source: source)
      }
    }
    packed += data.samples.count
  }
  let packedPerSecond = Double(packed) / (seconds() - began)
  let floats = data.samples.filter { abs($0.raw) > 1 << 28 }.count

  let rows = try Rows(path: "/tmp/kerb-rows-\(getpid()).db")
  defer { rows.remove() }
  began = seconds()
  try rows.insert(data.samples)
  let rowsIn = Double(data.samples.count) / (seconds() - began)
  began = seconds()
  let rowsOut = Double(try rows.readAll()) / (seconds() - began)
  let rowBytes = Double(try rows.bytes()) / Double(data.samples.count)
  print(
    "{\"samples\":\(data.samples.count),\"samples_per_second_of_the_site\":"
      + "\(rounded(Double(data.samples.count) / Double(data.seconds))),\"share_of_floats\":"
      + "\(rounded(Double(floats) / Double(data.samples.count))),\"samples_per_block\":\(inFullBlocks / blocks.count),"
      + "\"block_bytes_per_sample\":\(rounded(pageBytes)),\"row_bytes_per_sample\":\(rounded(rowBytes)),"
      + "\"bytes_ratio\":\(rounded(pageBytes / rowBytes)),"
      + "\"packed_per_second\":\(Int(packedPerSecond)),\"rows_inserted_per_second\":\(Int(rowsIn)),"
      + "\"unpacked_per_second\":\(Int(readPerSecond)),\"rows_read_per_second\":\(Int(rowsOut))}")
}

/// One row a sample, in transactions of six hundred, with the same pragmas.
final class Rows {
  let path: String
  private let connection: Connection

  init(path: String) throws {
    self.path = path
    connection = try Connection.open(path: path, pagesMax: 1 << 20, cacheKiB: 64)
    try connection.execute(
      """
      CREATE TABLE IF NOT EXISTS sample(
        sequence INTEGER PRIMARY KEY, at INTEGER, series INTEGER, raw INTEGER, quality INTEGER)
      """)
  }

  /// How many commits it were.
  @discardableResult
  func insert(_ samples: some Collection<Sample>, perCommit: Int = 600) throws -> Int64 {
    var commits: Int64 = 0
    let statement = try Statement("INSERT INTO sample VALUES (NULL, ?, ?, ?, ?)", on: connection)
    var rest = samples[...]
    while !rest.isEmpty {
      let part = rest.prefix(perCommit)
      rest = rest.dropFirst(perCommit)
      commits += 1
      try connection.transaction { () throws(StoreFailure) in
        for sample in part {
          statement.bind(1, sample.at.milliseconds)
          statement.bind(2, Int64(sample.series))
          statement.bind(3, sample.raw)
          statement.bind(4, Int64(sample.quality.rawValue))
          try statement.run()
        }
      }
    }
    return commits
  }

  func readAll() throws -> Int {
    var count = 0
    let statement = try Statement("SELECT at, series, raw, quality FROM sample", on: connection)
    var sum: Int64 = 0
    try statement.forEach { (row) throws(StoreFailure) in
      for column in 0..<4 as Range<Int32> { sum &+= row.integer(column) }
      count += 1
    }
    precondition(sum != 0)
    return count
  }

  func bytes() throws -> Int64 { (try connection.integer(of: "PRAGMA page_count") ?? 0) * 4_096 }

  func remove() { for suffix in ["", "-wal"] { unlink(path + suffix) } }
}

// MARK: A store at work


func minutes(_ data: DemoData, folder: String, isRing: Bool, count: Int, spacingMs: Int) throws {
  // Due as soon as it is there: what a store with `commit_every = "60s"` commits, without the minute.
  let bench =
    isRing
    ? try Bench(configuration(folder, telemetryBytes: 32 << 20, commitNs: 1, series: data.seriesCount)) : nil
  let rows = try Rows(path: folder + "/rows.db")
  while let bench, !bench.report().isPrepared {}
  sync()
  let device = BlockDevice(of: folder)
  let own = ownWriteBytes()
  let before = device.writtenBytes
  let commits = bench?.report().commits ?? 0
  let began = seconds()
  for minute in 0..<count {
    let from = minute * 600 % (data.samples.count - 600)
    if let bench {
      bench.hand(data.samples[from..<(from + 600)], of: data.sources[from..<(from + 600)])
      _ = bench.report()
    } else {
      try rows.insert(data.samples[from..<(from + 600)])
    }
    if spacingMs > 0 { usleep(UInt32(spacingMs) * 1_000) }
  }
  let perSecond = Double(count * 600) / (seconds() - began)
  let written = device.writtenBytes - before
  let ownWritten = ownWriteBytes() - own
  let made = (bench?.report().commits ?? commits + Int64(count)) - commits
  print(
    "{\"way\":\"\(isRing ? "ring" : "rows")\",\"minutes\":\(count),\"commits\":\(made),\"device\":\"\(device.name)\","
      + "\"device_bytes_per_sample\":\(rounded(Double(written) / Double(count * 600))),"
      + "\"process_write_bytes_per_sample\":\(rounded(Double(ownWritten) / Double(count * 600))),"
      + "\"samples_per_second\":\(Int(perSecond))}")
}

/// write_bytes of /proc/self/io: what this process made dirty; no journal.
func ownWriteBytes() -> Int64 {
  for line in text("/proc/self/io").split(separator: "\n") where line.hasPrefix("write_bytes: ") {
    return Int64(line.dropFirst(13)) ?? 0
  }
  return 0
}

func text(_ path: String) -> String {
  guard let file = fopen(path, "r") else { return "" }
  defer { fclose(file) }
  var bytes = [UInt8](repeating: 0, count: 8_192)
  let count = fread(&bytes, 1, bytes.count, file)
  return String(decoding: bytes[..<count], as: UTF8.self)
}

struct BlockDevice {
  let name: String
  private let path: String

  init(of folder: String) {
    var status = stat()
    stat(folder, &status)
    let number = UInt64(status.st_dev)
    path = "/sys/dev/block/\(number >> 8 & 0xFFF):\(number & 0xFF | number >> 12 & 0xFFF00)"
    let target = realpath(path, nil)
    name = target.map { String(cString: $0).split(separator: "/").last.map(String.init) ?? "" } ?? "none"
    free(target)
  }

  /// Of everybody: only a disk of its own says something.
  var writtenBytes: Int64 {
    let words = text(path + "/stat").split(separator: " ")
    return words.count > 6 ? (Int64(words[6]) ?? 0) * 512 : 0
  }
}

// MARK: Starting

func start(folder: String, bytes: Int) throws {
  let own = privateBytes()
  let began = seconds()
  let bench = try Bench(configuration(folder, telemetryBytes: bytes, commitNs: 1, series: 300))
  let startMs = (seconds() - began) * 1_000
  let report = bench.report()
  // Every part of it has worked once.
  for round in 0..<20 {
    bench.hand(
      (0..<600).map {
        Sample(
          at: Instant(milliseconds: Int64(round * 600 + $0)), raw: Int64($0), series: UInt16($0 % 300), quality: .good)
      }, of: repeatElement(0, count: 600))
    let settled = Answered<Bool>()
    bench.store.read(
      ReadRequest(after: Position(), alarms: true, telemetry: true, recordsMax: 1_000), for: "platform"
    ) { _ in settled.set(true) }
    _ = settled.wait(ns: patienceNs)
  }
  print(
    "{\"ring_bytes\":\(bytes),\"stored_blocks\":\(report.storedSamples),\"start_ms\":\(rounded(startMs)),"
      + "\"private_bytes\":\(privateBytes() - own)}")
}

/// Every slot with a block of its own; the newest stands in the middle.
func fill(folder: String, bytes: Int) throws {
  _ = try Bench(configuration(folder, telemetryBytes: bytes, commitNs: 1, series: 300))
  let connection = try Connection.open(path: folder + "/telemetry.db", pagesMax: 1 << 30, cacheKiB: 1_024)
  let slots = try connection.integer(of: "SELECT value FROM meta WHERE name = 'slots'") ?? 0
  let mark = try connection.integer(of: "SELECT value FROM meta WHERE name = 'mark'") ?? 0
  let statement = try Statement("INSERT OR REPLACE INTO ring(slot, block) VALUES (?, ?)", on: connection)
  let writer = BlockWriter(seriesCount: 1)
  var block = [UInt8](repeating: 0, count: Limits.blockBytes)
  var slot: Int64 = 0
  while slot < slots {
    try connection.transaction { () throws(StoreFailure) in
      for _ in 0..<1_024 where slot < slots {
        var info = BlockInfo()
        info.number = slot < slots / 3 ? slot + slots : slot
        info.firstSequence = info.number + 1
        info.ordinal = info.number
        info.epoch = 1
        info.mark = UInt32(truncatingIfNeeded: mark)
        _ = writer.append(
          Sample(at: Instant(milliseconds: info.number), raw: info.number, series: 0, quality: .good), text: nothing)
        _ = block.withUnsafeMutableBytes { writer.write(as: info, into: $0) }
        writer.clear()
        statement.bind(1, slot)
        try statement.run(2, bytes: block)
        slot += 1
      }
    }
  }
  print("{\"blocks\":\(slots)}")
}

func privateBytes() -> Int {
  for line in text("/proc/self/smaps_rollup").split(separator: "\n") where line.hasPrefix("Private_Dirty:") {
    return (Int(line.split(separator: " ")[1]) ?? 0) * 1_024
  }
  return 0
}
