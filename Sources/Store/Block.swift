// One block of telemetry as it stands in the ring: `Limits.blockBytes` bytes, one row, one page of the file. The format
// byte by byte: docs/storage-format.md.
//
// Invariants:
//  1. The checksum covers every byte that is not the magic or the checksum itself, the padding included.
//  2. The ranges of neighbouring blocks touch: `from` of a block is `last` + 1 of the one before it.
//  3. A block of which something was taken out covers the same sequences as before: its map says which are left.

import StreamCore

/// Samples that took their sequences and were lost before they could be stored. Times in milliseconds.
package struct Loss: Equatable, Sendable {
  package var count: Int64
  package var fromMs: Int64
  package var toMs: Int64
  package var reason: GapReason

  package init(count: Int64, fromMs: Int64, toMs: Int64, reason: GapReason) {
    self.count = count
    self.fromMs = fromMs
    self.toMs = toMs
    self.reason = reason
  }

  func joined(with more: Loss) -> Loss {
    Loss(
      count: count &+ more.count, fromMs: min(fromMs, more.fromMs), toMs: max(toMs, more.toMs),
      reason: reason.joined(with: more.reason))
  }
}

/// What a block's header says.
package struct BlockInfo: Equatable, Sendable {
  package var number: Int64 = 0
  /// Of its first sample; what was lost in front of it has the sequences below.
  package var firstSequence: Int64 = 1
  package var count = 0
  /// Samples that the store took in before this block, ever.
  package var ordinal: Int64 = 0
  package var epoch: UInt32 = 0
  package var catalogueVersion: UInt32 = 0
  /// Says which ring the block was written for: a page of another box's file is not taken for one of ours.
  package var mark: UInt32 = 0
  /// Of the earliest and the latest sample; in a block without samples those of the loss.
  package var earliestMs: Int64 = 0
  package var latestMs: Int64 = 0
  package var loss: Loss?
  /// Sequences that a block covers of which some are missing; nil: none is.
  package var span: Int64?
  /// It stands in the reserve, not in the ring.
  package var isReserve = false

  package init() {}

  package var from: Int64 { firstSequence &- (loss?.count ?? 0) }
  package var last: Int64 { firstSequence &+ (span ?? Int64(truncatingIfNeeded: count)) &- 1 }
  /// Samples that were taken out of it.
  package var removed: Int64 { span.map { $0 &- Int64(truncatingIfNeeded: count) } ?? 0 }
  package var earliest: Instant { Instant(milliseconds: earliestMs) }
  package var latest: Instant { Instant(milliseconds: latestMs) }
}

/// Why stored bytes are not a block.
package enum BlockDamage: Error, Equatable, Sendable {
  /// All zero: prepared, never written.
  case empty
  case length, magic, checksum, version
  /// The checksum is right and the contents are impossible: it was not written by this program.
  case contents
}

extension Instant {
  /// Saturates.
  package init(milliseconds: Int64) {
    let (product, overflow) = milliseconds.multipliedReportingOverflow(by: 1_000_000)
    self.init(nanoseconds: overflow ? (milliseconds > 0 ? .max : .min) : product)
  }

  /// Cut, not rounded: never later than it was. Also not for the smallest Int64, which has no millisecond below it.
  package var milliseconds: Int64 { nanoseconds / 1_000_000 }
}

/// Places in a block; all numbers are little-endian.
enum BlockLayout {
  static let magic: UInt32 = 0x4B42_524B  // "KRBK" in a dump
  static let version: UInt8 = 3
  /// Still read.
  static let learnedVersion: UInt8 = 2
  static let tokenVersion: UInt8 = 1
  static let checksum = 4
  static let checkedFrom = 8
  static let versionAt = 8
  static let reason = 9
  static let count = 10
  static let epoch = 12
  static let number = 16
  static let firstSequence = 24
  static let ordinal = 32
  static let catalogueVersion = 40
  static let mark = 44
  static let earliest = 48
  static let latest = 56
  static let lossCount = 64
  static let lossFrom = 72
  static let lossTo = 80
  static let columnLengths = 88
  static let columns = 5
  /// From version 2 on, in the place of the columns' lengths.
  static let streamLength = 88
  /// Before version 3, with the columns' lengths and some zeros.
  static let oldHeaderBytes = 104
  static let headerBytes = 90
  /// In the byte of the reason: something was taken out, and the block ends with a trailer. Behind the map: its length,
  /// which ring, the span.
  static let sparse: UInt8 = 0x80
  static let trailerBytes = 12
  static let mapLength = Limits.blockBytes - 12
  static let reserve = Limits.blockBytes - 10
  static let span = Limits.blockBytes - 8
}

extension UnsafeMutableRawBufferPointer {
  func put<Number: FixedWidthInteger>(_ number: Number, at offset: Int) {
    storeBytes(of: number.littleEndian, toByteOffset: offset, as: Number.self)
  }
}

extension UnsafeRawBufferPointer {
  func number<Number: FixedWidthInteger>(_ type: Number.Type, at offset: Int) -> Number {
    Number(littleEndian: loadUnaligned(fromByteOffset: offset, as: Number.self))
  }
}

extension BlockInfo {
  /// Writes everything but the stream's length and the checksum.
  func write(to block: UnsafeMutableRawBufferPointer) {
    block.put(BlockLayout.magic, at: 0)
    block.put(BlockLayout.version, at: BlockLayout.versionAt)
    block.put(loss?.reason.rawValue ?? 0, at: BlockLayout.reason)
    block.put(UInt16(truncatingIfNeeded: count), at: BlockLayout.count)
    block.put(epoch, at: BlockLayout.epoch)
    block.put(number, at: BlockLayout.number)
    block.put(firstSequence, at: BlockLayout.firstSequence)
    block.put(ordinal, at: BlockLayout.ordinal)
    block.put(catalogueVersion, at: BlockLayout.catalogueVersion)
    block.put(mark, at: BlockLayout.mark)
    block.put(earliestMs, at: BlockLayout.earliest)
    block.put(latestMs, at: BlockLayout.latest)
    block.put(loss?.count ?? 0, at: BlockLayout.lossCount)
    block.put(loss?.fromMs ?? 0, at: BlockLayout.lossFrom)
    block.put(loss?.toMs ?? 0, at: BlockLayout.lossTo)
    guard let span else { return }
    block.put((loss?.reason.rawValue ?? 0) | BlockLayout.sparse, at: BlockLayout.reason)
    block.put(isReserve ? UInt8(1) : 0, at: BlockLayout.reserve)
    block.put(span, at: BlockLayout.span)
  }

  static func close(_ block: UnsafeMutableRawBufferPointer) {
    let checked = UnsafeRawBufferPointer(rebasing: block[BlockLayout.checkedFrom...])
    block.put(Checksum.crc32c(checked), at: BlockLayout.checksum)
  }

  /// Reads a header from bytes whose checksum it has verified.
  package init(of block: UnsafeRawBufferPointer) throws(BlockDamage) {
    self.init()
    guard block.count == Limits.blockBytes else { throw .length }
    let magic = block.number(UInt32.self, at: 0)
    if magic == 0, !block.contains(where: { $0 != 0 }) { throw .empty }
    guard magic == BlockLayout.magic else { throw .magic }
    let checked = UnsafeRawBufferPointer(rebasing: block[BlockLayout.checkedFrom...])
    guard Checksum.crc32c(checked) == block.number(UInt32.self, at: BlockLayout.checksum) else { throw .checksum }
    let version = block.number(UInt8.self, at: BlockLayout.versionAt)
    guard (BlockLayout.tokenVersion...BlockLayout.version).contains(version) else { throw .version }
    number = block.number(Int64.self, at: BlockLayout.number)
    firstSequence = block.number(Int64.self, at: BlockLayout.firstSequence)
    count = Int(block.number(UInt16.self, at: BlockLayout.count))
    ordinal = block.number(Int64.self, at: BlockLayout.ordinal)
    epoch = block.number(UInt32.self, at: BlockLayout.epoch)
    catalogueVersion = block.number(UInt32.self, at: BlockLayout.catalogueVersion)
    mark = block.number(UInt32.self, at: BlockLayout.mark)
    earliestMs = block.number(Int64.self, at: BlockLayout.earliest)
    latestMs = block.number(Int64.self, at: BlockLayout.latest)
    let lost = block.number(Int64.self, at: BlockLayout.lossCount)
    let flags = block.number(UInt8.self, at: BlockLayout.reason)
    let reason = flags & ~BlockLayout.sparse
    if lost != 0 {
      guard let reason = GapReason(rawValue: reason) else { throw .contents }
      loss = Loss(
        count: lost, fromMs: block.number(Int64.self, at: BlockLayout.lossFrom),
        toMs: block.number(Int64.self, at: BlockLayout.lossTo), reason: reason)
    } else if reason != 0 {
      throw .contents
    }
    var covered: Int64 = 0
    if flags & BlockLayout.sparse != 0 {
      covered = block.number(Int64.self, at: BlockLayout.span)
      guard covered > 0 else { throw .contents }
      span = covered
      isReserve = block.number(UInt8.self, at: BlockLayout.reserve) != 0
    }
    // Half of the range of Int64 is beyond what any box will ever count, and leaves room to add.
    let bound = Int64.max / 2
    guard number >= 0, number < bound, lost >= 0, firstSequence > lost, firstSequence < bound, ordinal >= 0,
      ordinal < bound, count <= Limits.samplesPerBlockMax, count > 0 || lost > 0 || covered > 0,
      covered == 0 || (covered >= count && covered < bound - firstSequence)
    else { throw .contents }
  }
}
