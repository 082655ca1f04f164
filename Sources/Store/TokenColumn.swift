// One column of a block: unsigned numbers, nearly all small, most of them zero.
//
//   0 ... 7      a run of 1 to 8 zeros
//   8, n         a run of n + 9 zeros (n as a variable-length number)
//   9, 8 bytes   any number, little-endian
//   v >= 10      the number v - 9, as a variable-length number of at most 8 bytes
//
// Variable-length: seven bits a byte, lowest first, the top bit says that more follow.

import StreamCore

enum Token {
  static let shortRunMax = 8
  static let run: UInt64 = 8
  static let whole: UInt64 = 9
  /// From a number that is not zero to its token.
  static let shift: UInt64 = 9
}

/// Writes a column into memory taken once.
struct TokenColumn {
  /// A pending run, and the longest token.
  static let growthMax = 4 + 9
  private static let plainMax: UInt64 = (1 << 56) - 1 - Token.shift

  private var bytes = [UInt8](repeating: 0, count: Limits.blockBytes)
  private var used = 0
  private var zeros = 0

  /// With a pending run at its longest.
  var countMax: Int { used + (zeros == 0 ? 0 : 4) }

  /// The caller has made sure that `countMax + growthMax` stays within a block.
  mutating func append(_ number: UInt64) {
    if number == 0 {
      zeros += 1
      return
    }
    endRun()
    if number <= Self.plainMax {
      put(variable: number + Token.shift)
    } else {
      put(variable: Token.whole)
      for shift in 0..<8 { put(UInt8(truncatingIfNeeded: number >> UInt64(8 * shift))) }
    }
  }

  private mutating func endRun() {
    if zeros > Token.shortRunMax {
      put(variable: Token.run)
      put(variable: UInt64(zeros - Token.shortRunMax - 1))
    } else if zeros > 0 {
      put(UInt8(zeros - 1))
    }
    zeros = 0
  }

  private mutating func put(_ byte: UInt8) {
    bytes[used] = byte
    used += 1
  }

  private mutating func put(variable: UInt64) {
    var rest = variable
    while rest >= 0x80 {
      put(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    put(UInt8(truncatingIfNeeded: rest))
  }

  /// Ends the column, hands it out, begins anew. Returns its length.
  mutating func take(into block: UnsafeMutableRawBufferPointer, at offset: Int) -> Int {
    endRun()
    let length = used
    bytes.withUnsafeBytes { column in
      UnsafeMutableRawBufferPointer(rebasing: block[offset...]).copyMemory(
        from: UnsafeRawBufferPointer(rebasing: column[..<length]))
    }
    used = 0
    return length
  }
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
