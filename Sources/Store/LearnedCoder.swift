// The range decoder of blocks of version 2, and its numbers: that of the LZMA SDK (after G. N. N. Martin, «Range
// encoding», 1979), with 12 bits of precision and a rate of learning that slows down. Only read. Pure.
//
// Invariant: whatever the bytes are, it never reads outside of them.

import StreamCore

enum LearnedChance {
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

struct LearnedDecoder {
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
  mutating func decide(_ chance: inout UInt16) -> Bool {
    let bound = (range &>> 12) &* UInt32(chance &>> 4)
    let answer = code >= bound
    if answer {
      code &-= bound
      range &-= bound
    } else {
      range = bound
    }
    LearnedChance.update(&chance, answer)
    while range < carryless { shift() }
    return answer
  }

  mutating func plain(count: UInt32) -> UInt64 {
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
enum LearnedNumber {
  /// Lengths up to here are counted one by one, longer ones are read from a tree.
  static let countedMax = 10
  private static let tree = countedMax
  private static let first = tree + 64
  private static let second = first + 65
  static let count = second + 2 * 65

  /// `chances`: `count` of them. A number of `n` bits costs about as much as it is rare.
  static func read(_ chances: UnsafeMutablePointer<UInt16>, _ side: inout LearnedDecoder) -> UInt64 {
    let length = readLength(chances, &side)
    guard length > 1 else { return UInt64(truncatingIfNeeded: length) }
    // The top bit is known.
    var rest = length - 2
    var result: UInt64 = 1
    let top = side.decide(&chances[first + length])
    result = result &<< 1 | (top ? 1 : 0)
    if rest > 0 {
      rest -= 1
      let next = side.decide(&chances[second + 2 * length + (top ? 1 : 0)])
      result = result &<< 1 | (next ? 1 : 0)
    }
    while rest > 0 {
      let part = min(rest, 16)
      rest -= part
      let bits = side.plain(count: UInt32(truncatingIfNeeded: part))
      result = result &<< UInt64(truncatingIfNeeded: part) | bits
    }
    return result
  }

  private static func readLength(_ chances: UnsafeMutablePointer<UInt16>, _ side: inout LearnedDecoder) -> Int {
    var counted = 0
    while counted < countedMax {
      guard side.decide(&chances[counted]) else { return counted }
      counted += 1
    }
    var node = 1
    for _ in 0..<6 { node = node << 1 | (side.decide(&chances[tree + node]) ? 1 : 0) }
    return min(64, node - 64 + countedMax)
  }
}
