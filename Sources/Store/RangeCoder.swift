// Arithmetic coding of decisions whose chances are learned on the way: the binary range coder of the LZMA
// SDK (after G. N. N. Martin, «Range encoding», 1979), with 12 bits of precision and a rate of learning
// that slows down. Pure.
//
// A chance is 16 bits: the upper twelve are the chance of «no» in 4096ths, the lower four count how often
// it was asked, up to 15.
//
// Invariants:
//  1. Encoder and decoder go through the same ranges; whatever the bytes are, the decoder never reads outside of them.
//  2. A chance stays between 1 and 4095, so every decision costs less than 12 bits.

import StreamCore

/// One direction of the coder: what it is given it writes, or it gives what it reads.
protocol Coder {
  static var isReading: Bool { get }
  /// One decision; the answer is what it was.
  mutating func decide(_ answer: Bool, _ chance: inout UInt16) -> Bool
  /// The low `count` bits, at most 16, each way as likely.
  mutating func plain(_ bits: UInt64, count: UInt32) -> UInt64
}

enum Chance {
  static let even: UInt16 = 2_048 << 4
  /// By how often it was asked: the share of the way to certainty is 1 / 2^shift.
  private static let shifts: UInt64 = 0x5444_4444_4333_3221

  @inline(__always)
  static func update(_ chance: inout UInt16, _ answer: Bool) {
    let asked = chance & 15
    let shift = UInt16(truncatingIfNeeded: shifts &>> (4 * UInt64(asked))) & 15
    var no = chance &>> 4
    if answer { no &-= no &>> shift } else { no &+= (4_096 &- no) &>> shift }
    chance = no &<< 4 | (asked == 15 ? 15 : asked &+ 1)
  }
}

private let carryless: UInt32 = 1 << 24

/// Writes to memory that the owner keeps: room for what `bytesMax` has said.
struct RangeEncoder: Coder {
  static var isReading: Bool { false }
  private let out: UnsafeMutablePointer<UInt8>
  private(set) var used = 0
  private var low: UInt64 = 0
  private var range = UInt32.max
  private var held: UInt8 = 0
  private var heldCount = 1

  init(into out: UnsafeMutablePointer<UInt8>) { self.out = out }

  /// When it is ended now.
  var bytesMax: Int { used + heldCount + 4 }

  @inline(__always)
  mutating func decide(_ answer: Bool, _ chance: inout UInt16) -> Bool {
    let bound = (range &>> 12) &* UInt32(chance &>> 4)
    if answer {
      low &+= UInt64(bound)
      range &-= bound
    } else {
      range = bound
    }
    Chance.update(&chance, answer)
    while range < carryless { shift() }
    return answer
  }

  @inline(__always)
  mutating func plain(_ bits: UInt64, count: UInt32) -> UInt64 {
    range &>>= count
    low &+= bits &* UInt64(range)
    while range < carryless { shift() }
    return bits
  }

  private mutating func shift() {
    range &<<= 8
    put()
  }

  /// A byte that a carry may still change is held back, with the 0xFF that follow it.
  private mutating func put() {
    if UInt32(truncatingIfNeeded: low) < 0xFF00_0000 || low >> 32 != 0 {
      let carry = UInt8(truncatingIfNeeded: low >> 32)
      while heldCount > 0 {
        out[used] = held &+ carry
        used += 1
        held = 0xFF
        heldCount -= 1
      }
      held = UInt8(truncatingIfNeeded: low >> 24)
    }
    heldCount += 1
    low = (low & 0x00FF_FFFF) << 8
  }

  /// The stream as it would be if it ended here; this one goes on.
  func ended() -> Int {
    var copy = self
    for _ in 0..<5 { copy.put() }
    return copy.used
  }
}

struct RangeDecoder: Coder {
  static var isReading: Bool { true }
  private let bytes: UnsafeRawBufferPointer
  private var place = 5
  private var code: UInt32 = 0
  private var range = UInt32.max
  /// It read what no encoder writes.
  private(set) var isImpossible = false

  init(_ bytes: UnsafeRawBufferPointer) {
    self.bytes = bytes
    guard bytes.count >= 5, bytes[0] == 0 else {
      isImpossible = true
      return
    }
    for index in 1..<5 { code = code << 8 | UInt32(bytes[index]) }
  }

  /// All bytes are read, and none beyond.
  var isAtEnd: Bool { place == bytes.count }

  @inline(__always)
  mutating func decide(_ answer: Bool, _ chance: inout UInt16) -> Bool {
    let bound = (range &>> 12) &* UInt32(chance &>> 4)
    let answer = code >= bound
    if answer {
      code &-= bound
      range &-= bound
    } else {
      range = bound
    }
    Chance.update(&chance, answer)
    while range < carryless { shift() }
    return answer
  }

  @inline(__always)
  mutating func plain(_ bits: UInt64, count: UInt32) -> UInt64 {
    range &>>= count
    var number = code / range
    if number >> count != 0 {
      isImpossible = true
      number = 0
      code = 0
    }
    code &-= number &* range
    while range < carryless { shift() }
    return UInt64(number)
  }

  @inline(__always)
  private mutating func shift() {
    range &<<= 8
    code &<<= 8
    if place < bytes.count { code |= UInt32(bytes[place]) }
    place &+= 1
  }
}

/// Learned chances of numbers of one kind: how long they are in bits, and what their first bits below the top are.
enum NumberChances {
  /// Lengths up to here are counted one by one, longer ones are read from a tree.
  static let countedMax = 10
  private static let tree = countedMax
  private static let first = tree + 64
  private static let second = first + 65
  static let count = second + 2 * 65

  /// `chances`: `count` of them. A number of `n` bits costs about as much as it is rare.
  @inline(__always)
  static func pass<Side: Coder>(
    _ number: UInt64, _ chances: UnsafeMutablePointer<UInt16>, _ side: inout Side
  ) -> UInt64 {
    let length = passLength(64 - number.leadingZeroBitCount, chances, &side)
    guard length > 1 else { return UInt64(truncatingIfNeeded: length) }
    // The top bit is known.
    var rest = length - 1
    var result: UInt64 = 1
    rest -= 1
    let top = side.decide(number &>> UInt64(truncatingIfNeeded: rest) & 1 == 1, &chances[first + length])
    result = result &<< 1 | (top ? 1 : 0)
    if rest > 0 {
      rest -= 1
      let next = side.decide(
        number &>> UInt64(truncatingIfNeeded: rest) & 1 == 1, &chances[second + 2 * length + (top ? 1 : 0)])
      result = result &<< 1 | (next ? 1 : 0)
    }
    while rest > 0 {
      let part = min(rest, 16)
      rest -= part
      let mask = (UInt64(1) &<< UInt64(truncatingIfNeeded: part)) &- 1
      let bits = side.plain(
        number &>> UInt64(truncatingIfNeeded: rest) & mask, count: UInt32(truncatingIfNeeded: part))
      result = result &<< UInt64(truncatingIfNeeded: part) | bits
    }
    return result
  }

  @inline(__always)
  private static func passLength<Side: Coder>(
    _ length: Int, _ chances: UnsafeMutablePointer<UInt16>, _ side: inout Side
  ) -> Int {
    var counted = 0
    while counted < countedMax {
      guard side.decide(length > counted, &chances[counted]) else { return counted }
      counted += 1
    }
    var node = 1
    for bit in (0..<6).reversed() {
      let answer = side.decide((length - countedMax) >> bit & 1 == 1, &chances[tree + node])
      node = node << 1 | (answer ? 1 : 0)
    }
    return min(64, node - 64 + countedMax)
  }
}
