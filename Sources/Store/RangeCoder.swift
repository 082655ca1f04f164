// Arithmetic coding of decisions whose chances are learned on the way: a binary range coder (G. N. N. Martin,
// «Range encoding», 1979) with 64 bits of precision, that writes four bytes at a time. Pure.
//
// Invariants:
//  1. Encoder and decoder go through the same ranges; whatever the bytes are, the decoder never reads outside of them.
//  2. A chance stays between 31 and 65,505 of 65,536, so every decision costs less than 12 bits.
//  3. The encoder never writes beyond its memory: what would is noted in `isOverflown`.

import StreamCore

/// One direction of the coder: what it is given it writes, or it gives what it reads.
protocol Coder {
  static var isReading: Bool { get }
  /// One decision; the answer is what it was.
  mutating func decide(_ answer: Bool, _ chance: inout Chance) -> Bool
  /// The low `count` bits, at most 16, each way as likely.
  mutating func plain(_ bits: UInt64, count: UInt32) -> UInt64
}

/// How likely «no» is, in 65,536ths, in the upper half; in the lower how often it was asked, up to 31.
struct Chance: BitwiseCopyable {
  private(set) var word: UInt32

  init(no: UInt32, asked: UInt32) { word = no << 16 | asked }

  static let even = Chance(no: 32_768, asked: 0)
  var no: UInt32 { word &>> 16 }

  private static let askedMax: UInt32 = 31
  /// What an answer moves it by, of the way to certainty: 1 / (asked + 1.6), in 65,536ths.
  /// Unsafe: never written again.
  nonisolated(unsafe) static let shares: UnsafePointer<UInt32> = {
    let shares = UnsafeMutablePointer<UInt32>.allocate(capacity: Int(askedMax) + 1)
    for asked in 0...askedMax { (shares + Int(asked)).initialize(to: 655_360 / (10 * asked + 16)) }
    return UnsafePointer(shares)
  }()

  @inline(__always)
  mutating func learn(_ answer: Bool, _ shares: UnsafePointer<UInt32>) {
    let asked = word & Self.askedMax
    let share = shares[Int(truncatingIfNeeded: asked)]
    var no = word &>> 16
    if answer { no &-= (no &* share) &>> 16 } else { no &+= ((65_536 &- no) &* share) &>> 16 }
    word = no &<< 16 | (asked == Self.askedMax ? asked : asked &+ 1)
  }
}

private let shiftBelow: UInt64 = 1 << 32

/// Writes to memory that the owner keeps.
struct RangeEncoder: Coder {
  static var isReading: Bool { false }
  private let out: UnsafeMutablePointer<UInt8>
  private let capacity: Int
  private let shares = Chance.shares
  private(set) var used = 0
  private var low: UInt64 = 0
  private var range = UInt64.max
  /// Where `mark` was set, and whether a carry went past it since: it can only once.
  private var markedAt = 0
  private var hasCarriedPast = false
  private(set) var isOverflown = false

  init(into out: UnsafeMutablePointer<UInt8>, capacity: Int) {
    self.out = out
    self.capacity = capacity
  }

  @inline(__always)
  mutating func decide(_ answer: Bool, _ chance: inout Chance) -> Bool {
    let bound = (range &>> 16) &* UInt64(chance.no)
    if answer {
      add(bound)
      range &-= bound
    } else {
      range = bound
    }
    chance.learn(answer, shares)
    if range < shiftBelow { shift() }
    return answer
  }

  @inline(__always)
  mutating func plain(_ bits: UInt64, count: UInt32) -> UInt64 {
    range &>>= UInt64(count)
    add(bits &* range)
    if range < shiftBelow { shift() }
    return bits
  }

  @inline(__always)
  private mutating func add(_ part: UInt64) {
    let (sum, hasCarried) = low.addingReportingOverflow(part)
    low = sum
    if hasCarried { carry() }
  }

  private mutating func carry() {
    guard !isOverflown else { return }
    var at = used - 1
    while at >= 0 {
      if at < markedAt { hasCarriedPast = true }
      out[at] &+= 1
      if out[at] != 0 { return }
      at -= 1
    }
  }

  private mutating func shift() {
    guard used + 12 <= capacity else {
      isOverflown = true
      low = 0
      range = .max
      return
    }
    UnsafeMutableRawPointer(out + used).storeBytes(
      of: UInt32(truncatingIfNeeded: low &>> 32).bigEndian, as: UInt32.self)
    used &+= 4
    low &<<= 32
    range &<<= 32
  }

  /// The end as it would be if it came now, and its length: the fewest bytes behind which everything decodes alike.
  private var end: (bytes: UInt64, count: Int) {
    let loose = (UInt64(1) << (63 - UInt64(range.leadingZeroBitCount))) - 1
    let (sum, hasCarried) = low.addingReportingOverflow(loose)
    guard !hasCarried else { return (low, 8) }
    let bytes = sum & ~loose
    return (bytes, 8 - bytes.trailingZeroBitCount / 8)
  }

  var endedCount: Int { used + end.count }

  /// The stream as it would be if it ended here; this one goes on. Returns its length.
  func ended(into target: UnsafeMutableRawPointer) -> Int {
    target.copyMemory(from: out, byteCount: used)
    let (bytes, count) = end
    for index in 0..<count {
      let byte = UInt8(truncatingIfNeeded: bytes >> UInt64(56 - 8 * index))
      target.storeBytes(of: byte, toByteOffset: used + index, as: UInt8.self)
    }
    return used + count
  }

  // MARK: Taking back

  /// From here on it can be taken back.
  mutating func mark() {
    markedAt = used
    hasCarriedPast = false
  }

  /// `before` is what this was right after `mark`.
  mutating func takeBack(to before: RangeEncoder) {
    var at = before.used - 1
    if hasCarriedPast {
      while at >= 0 {
        out[at] &-= 1
        if out[at] != 0xFF { break }
        at -= 1
      }
    }
    self = before
  }
}

struct RangeDecoder: Coder {
  static var isReading: Bool { true }
  private let bytes: UnsafeRawBufferPointer
  private let shares = Chance.shares
  private var place = 0
  private var code: UInt64 = 0
  private var range = UInt64.max
  /// It read what no encoder writes.
  private(set) var isImpossible = false

  init(_ bytes: UnsafeRawBufferPointer) {
    self.bytes = bytes
    code = UInt64(word()) << 32
    code |= UInt64(word())
  }

  /// The bytes were what was needed, and no more.
  var isAtEnd: Bool { bytes.count <= place && bytes.count + 8 >= place }

  @inline(__always)
  mutating func decide(_ answer: Bool, _ chance: inout Chance) -> Bool {
    let bound = (range &>> 16) &* UInt64(chance.no)
    let answer = code >= bound
    if answer {
      code &-= bound
      range &-= bound
    } else {
      range = bound
    }
    chance.learn(answer, shares)
    if range < shiftBelow { shift() }
    return answer
  }

  @inline(__always)
  mutating func plain(_ bits: UInt64, count: UInt32) -> UInt64 {
    range &>>= UInt64(count)
    var number = code / range
    if number >> UInt64(count) != 0 {
      isImpossible = true
      number = 0
      code = 0
    }
    code &-= number &* range
    if range < shiftBelow { shift() }
    return number
  }

  private mutating func shift() {
    range &<<= 32
    code = code &<< 32 | UInt64(word())
  }

  /// Zeros behind the end.
  private mutating func word() -> UInt32 {
    defer { place &+= 4 }
    if place &+ 4 <= bytes.count {
      return UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt32.self))
    }
    var word: UInt32 = 0
    for index in 0..<4 { word = word << 8 | (place + index < bytes.count ? UInt32(bytes[place + index]) : 0) }
    return word
  }
}
