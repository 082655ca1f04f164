// Learned chances of numbers of one kind: how long they are in bits, counted from where they are expected, and what
// their first bits below the top are. A number costs about as much as it is rare. Pure.

import StreamCore

enum NumberChances {
  /// Expected lengths that are told apart, where numbers of one kind differ in them.
  static let wide = 32
  /// And where they don't.
  static let narrow = 8
  /// Steps away from the expected length, each with a chance of its own.
  private static let steps = 8
  private static let lengths = 32

  /// `rows`: `wide` or `narrow`.
  static func count(rows: Int) -> Int { 2 * rows * steps + 3 * lengths }

  static func clear(_ chances: UnsafeMutablePointer<Chance>, rows: Int) {
    chances.update(repeating: Chance.even, count: count(rows: rows))
    for step in 0..<(2 * rows * steps) {
      // Most are near.
      let isFirstUp = step < rows * steps && step % steps == 0
      chances[step] = Chance(no: isFirstUp ? 32_768 : 39_322, asked: 1)
    }
  }

  /// `length`: the expected one.
  @inline(__always)
  static func pass<Side: Coder>(
    _ number: UInt64, near length: Int, _ chances: UnsafeMutablePointer<Chance>, rows: Int, _ side: inout Side
  ) -> UInt64 {
    let found = passLength(64 &- number.leadingZeroBitCount, near: length, chances, rows: rows, &side)
    guard found > 1 else { return UInt64(truncatingIfNeeded: found) }
    return passBits(number, length: found, chances + 2 * rows * steps, &side)
  }

  @inline(__always)
  private static func passLength<Side: Coder>(
    _ length: Int, near expected: Int, _ chances: UnsafeMutablePointer<Chance>, rows: Int, _ side: inout Side
  ) -> Int {
    let row = chances + min(expected, rows &- 1) &* steps
    var at = expected
    var step = 0
    if side.decide(length > at, &row[0]) {
      at &+= 1
      while at < 64 {
        if step < steps &- 1 { step &+= 1 }
        guard side.decide(length > at, &row[step]) else { break }
        at &+= 1
      }
    } else {
      let down = row + rows &* steps
      while at > 0, side.decide(length < at, &down[step]) {
        at &-= 1
        if step < steps &- 1 { step &+= 1 }
      }
    }
    return at
  }

  /// The top bit is known.
  @inline(__always)
  private static func passBits<Side: Coder>(
    _ number: UInt64, length: Int, _ chances: UnsafeMutablePointer<Chance>, _ side: inout Side
  ) -> UInt64 {
    let place = min(length, lengths &- 1)
    var rest = length &- 2
    var result: UInt64 = 1
    let top = side.decide(number &>> UInt64(truncatingIfNeeded: rest) & 1 == 1, &chances[place])
    result = result &<< 1 | (top ? 1 : 0)
    if rest > 0 {
      rest &-= 1
      let next = side.decide(
        number &>> UInt64(truncatingIfNeeded: rest) & 1 == 1, &chances[lengths &+ 2 &* place &+ (top ? 1 : 0)])
      result = result &<< 1 | (next ? 1 : 0)
    }
    while rest > 0 {
      let part = min(rest, 16)
      rest &-= part
      let mask = (UInt64(1) &<< UInt64(truncatingIfNeeded: part)) &- 1
      let bits = side.plain(
        number &>> UInt64(truncatingIfNeeded: rest) & mask, count: UInt32(truncatingIfNeeded: part))
      result = result &<< UInt64(truncatingIfNeeded: part) | bits
    }
    return result
  }
}
