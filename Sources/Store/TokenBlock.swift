// Blocks of version 1, which older stores hold: five columns, one behind the other. Only read. Pure:
// whatever the bytes are, it answers with a batch or with a `BlockDamage`, never with a trap.
//
// A column has unsigned numbers, nearly all small, most of them zero:
//
//   0 ... 7      a run of 1 to 8 zeros
//   8, n         a run of n + 9 zeros (n as a variable-length number)
//   9, 8 bytes   any number, little-endian
//   v >= 10      the number v - 9, as a variable-length number of at most 8 bytes
//
// Variable-length: seven bits a byte, lowest first, the top bit says that more follow.

import StreamCore

struct TokenBlock {
  private var table: SeriesTable

  init(seriesCount: Int) { table = SeriesTable(seriesCount: seriesCount) }

  mutating func read(_ block: UnsafeRawBufferPointer, _ info: BlockInfo) throws(BlockDamage) -> StoredBatch {
    var start = BlockLayout.oldHeaderBytes
    var columns: [UnsafeRawBufferPointer] = []
    columns.reserveCapacity(BlockLayout.columns)
    for column in 0..<BlockLayout.columns {
      let length = Int(block.number(UInt16.self, at: BlockLayout.columnLengths + 2 * column))
      guard length <= block.count - start else { throw .contents }
      columns.append(UnsafeRawBufferPointer(rebasing: block[start..<(start + length)]))
      start += length
    }
    defer { table.clear() }
    var batch = StoredBatch(
      firstSequence: info.firstSequence, epoch: info.epoch, catalogueVersion: info.catalogueVersion, samples: [],
      texts: [UInt8](columns[4]))
    try readSamples(info.count, columns, into: &batch)
    return batch
  }

  private mutating func readSamples(
    _ count: Int, _ columns: [UnsafeRawBufferPointer], into batch: inout StoredBatch
  ) throws(BlockDamage) {
    var times = TokenReader(columns[0])
    var series = TokenReader(columns[1])
    var values = TokenReader(columns[2])
    var marks = TokenReader(columns[3])
    var ms: Int64 = 0
    var step: Int64 = 0
    var mark: UInt64 = 0
    var textPlace = 0
    batch.samples.reserveCapacity(count)
    for index in 0..<count {
      let change = unzigzag(try times.next())
      if index == 0 {
        ms = change
      } else {
        step = step &+ change
        ms = ms &+ step
      }
      let (nanoseconds, isTooFar) = ms.multipliedReportingOverflow(by: 1_000_000)
      guard !isTooFar else { throw .contents }

      let (number, isTooLarge) = Int64(table.expected).addingReportingOverflow(unzigzag(try series.next()))
      guard !isTooLarge, let place = UInt16(exactly: number) else { throw .contents }
      table.pass(to: place)

      mark ^= try marks.next()
      guard mark < 8, let quality = Quality(rawValue: UInt8(mark & 3)) else { throw .contents }
      let token = try values.next()
      let hasText = mark & 4 != 0
      let raw: Int64
      if hasText {
        guard token <= UInt64(batch.texts.count - textPlace) else { throw .contents }
        let length = Int(token)
        raw = Sample.textPlace(offset: textPlace, length: length)
        textPlace += length
      } else {
        raw = table[place] &+ unzigzag(token)
        table[place] = raw
      }
      batch.samples.append(
        Sample(at: Instant(nanoseconds: nanoseconds), raw: raw, series: place, quality: quality, hasText: hasText))
    }
    guard times.isAtEnd, series.isAtEnd, values.isAtEnd, marks.isAtEnd, textPlace == batch.texts.count else {
      throw .contents
    }
  }
}

enum Token {
  static let run: UInt64 = 8
  static let whole: UInt64 = 9
  /// From a number that is not zero to its token.
  static let shift: UInt64 = 9
}

/// Reads a column; whatever the bytes are, it ends.
struct TokenReader {
  private let bytes: UnsafeRawBufferPointer
  private var place = 0
  private var zeros: UInt64 = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  var isAtEnd: Bool { place == bytes.count && zeros == 0 }

  mutating func next() throws(BlockDamage) -> UInt64 {
    if zeros > 0 {
      zeros -= 1
      return 0
    }
    switch try variable() {
    case let short where short < Token.run:
      zeros = short
      return 0
    case Token.run:
      zeros = try variable() + Token.run
      guard zeros < UInt64(Limits.samplesPerBlockMax) else { throw .contents }
      return 0
    case Token.whole:
      guard bytes.count - place >= 8 else { throw .contents }
      defer { place += 8 }
      return bytes.number(UInt64.self, at: place)
    case let token: return token - Token.shift
    }
  }

  private mutating func variable() throws(BlockDamage) -> UInt64 {
    var number: UInt64 = 0
    var shift: UInt64 = 0
    while shift < 56 {
      guard place < bytes.count else { throw .contents }
      let byte = bytes[place]
      place += 1
      number |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return number }
      shift += 7
    }
    throw .contents
  }
}

/// Small magnitudes of either sign become small unsigned numbers.
func zigzag(_ number: Int64) -> UInt64 { UInt64(bitPattern: (number &<< 1) ^ (number >> 63)) }
func unzigzag(_ number: UInt64) -> Int64 { Int64(bitPattern: number >> 1) ^ -Int64(bitPattern: number & 1) }
