// Which sequences of a block are left, where some were taken out: runs of samples and of what is missing between them,
// in bits. The format: docs/storage-format.md.
//
// Invariants:
//  1. Runs come in order and cover the block's sequences without a hole; one is never empty on both sides.
//  2. Whatever the bytes are, reading ends with the runs or with `BlockDamage`.

import StreamCore

/// First what is missing, then samples that are there.
struct SparseRun: Equatable {
  var missing: Int64 = 0
  var reason = GapReason.evicted
  var samples = 0
  /// The samples are merged windows.
  var isMerged = false
}

struct SparseMapWriter {
  private(set) var bytes: [UInt8] = []
  private var used = 0
  private var reason = GapReason.evicted
  private var isMerged = false

  /// Of one run at the most: two numbers of 63 bits, and what they mean.
  static let growthMax = 33

  init() { bytes.reserveCapacity(Limits.blockBytes / 4) }

  mutating func append(_ run: SparseRun) {
    let isSame = run.reason == reason && run.isMerged == isMerged
    put(isSame ? 1 : 0, bits: 1)
    if !isSame {
      put(UInt64(run.reason.rawValue), bits: 3)
      put(run.isMerged ? 1 : 0, bits: 1)
      (reason, isMerged) = (run.reason, run.isMerged)
    }
    gamma(UInt64(run.missing) + 1)
    gamma(UInt64(run.samples) + 1)
  }

  /// Elias' gamma code: as many zeros as bits follow the first one.
  private mutating func gamma(_ number: UInt64) {
    let length = 63 - number.leadingZeroBitCount
    put(0, bits: length)
    put(number, bits: length + 1)
  }

  private mutating func put(_ value: UInt64, bits: Int) {
    for place in stride(from: bits - 1, through: 0, by: -1) {
      if used & 7 == 0 { bytes.append(0) }
      if value >> UInt64(place) & 1 == 1 { bytes[used >> 3] |= 0x80 >> UInt8(used & 7) }
      used += 1
    }
  }
}

struct SparseMapReader {
  private let bytes: UnsafeRawBufferPointer
  private var used = 0

  /// The runs of a block that covers `span` sequences and has `count` samples.
  static func read(
    _ bytes: UnsafeRawBufferPointer, span: Int64, count: Int
  ) throws(BlockDamage) -> [SparseRun] {
    var reader = SparseMapReader(bytes: bytes)
    var runs: [SparseRun] = []
    var run = SparseRun()
    var covered: Int64 = 0
    var samples = 0
    while covered < span {
      if try reader.take(1) == 0 {
        guard let reason = GapReason(rawValue: UInt8(try reader.take(3))) else { throw .contents }
        run.reason = reason
        run.isMerged = try reader.take(1) == 1
      }
      let (missing, present) = (try reader.gamma() - 1, try reader.gamma() - 1)
      guard missing + present > 0, missing <= UInt64(span - covered), present <= UInt64(count - samples) else {
        throw .contents
      }
      run.missing = Int64(missing)
      run.samples = Int(present)
      covered += run.missing + Int64(run.samples)
      samples += run.samples
      runs.append(run)
    }
    guard covered == span, samples == count else { throw .contents }
    return runs
  }

  private init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  private mutating func gamma() throws(BlockDamage) -> UInt64 {
    var length = 0
    while try take(1) == 0 {
      length += 1
      // Numbers stay below 2^62, so that sums of two can't overflow.
      guard length < 62 else { throw .contents }
    }
    return try 1 << UInt64(length) | take(length)
  }

  private mutating func take(_ bits: Int) throws(BlockDamage) -> UInt64 {
    guard used + bits <= bytes.count * 8 else { throw .contents }
    var value: UInt64 = 0
    for _ in 0..<bits {
      value = value << 1 | UInt64(bytes[used >> 3] >> UInt8(7 - used & 7) & 1)
      used += 1
    }
    return value
  }
}
