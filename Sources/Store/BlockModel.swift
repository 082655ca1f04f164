// What packer and unpacker of a block expect next, and how both learn from what came: one description for
// both directions, so that they can't differ. All memory is taken at init. The format in words:
// docs/storage-format.md.
//
//   cut? -> series: as it followed last time, as the time before, known, new
//        -> time: same, or a step on the series' own grid of seconds
//        -> mark -> value: difference of integers, or a decimal fraction or a mean of such
//
// Invariants:
//  1. Everything learned is of this block: after `clear` the model is as new.
//  2. Nothing that a decoder may read leads outside the memory; what can't be is noted in `isImpossible`.

import StreamCore

/// A sample on its way through the coder.
struct PackedSample {
  var ms: Int64 = 0
  /// Of a text: its length.
  var raw: Int64 = 0
  var series: UInt16 = 0
  /// Quality (bits 0 and 1), «has a text» (bit 2).
  var mark: UInt8 = 0
  /// A commit ended in front of it.
  var isCut = false
}

final class BlockModel {
  /// Series that one block tells apart.
  static let seriesMax = Limits.seriesPerBlockMax
  private static let none = UInt16.max

  private struct Series {
    var raw: Int64 = 0
    var ms: Int64 = 0
    var number: UInt16 = 0
    /// Places of the series that came after it the last time, and of another one before that.
    var follower = BlockModel.none
    var second = BlockModel.none
    var kind: UInt16 = 0
    var mark: UInt8 = 0
    /// Bits of its last difference; 15: it has none yet.
    var magnitude: UInt8 = 15
    /// Searches for a kind that found none; the unpacker has no use for it.
    var failures: UInt8 = 0
    /// That its follower comes.
    var follows = Chance.even
  }

  /// Where the chances of each question stand.
  private enum Place {
    static let cut = 0
    static let follows = 1
    static let second = 3
    static let isNew = 4
    static let sameTime = 5
    static let sameMark = 13
    static let sameKind = 14
    static let lastKind = 16
    static let tree = 17
    static let numbers = tree + BlockModel.seriesMax

    static let count = numbers + Group.count * NumberChances.count
  }

  /// Kinds of numbers, each with its own chances.
  private enum Group {
    static let newSeries = 0
    static let firstStep = 1
    static let seconds = 2
    static let offset = 4
    static let textLength = 5
    static let ulps = 6
    static let integers = 7
    static let quotients = integers + 16
    static let count = quotients + 16
  }

  private let chances: UnsafeMutablePointer<UInt16>
  private let table: UnsafeMutablePointer<Series>
  /// By series: its place in `table` + 1; 0: not met yet.
  private var places: [UInt16]
  private(set) var seriesCount = 0
  private var previous = -1
  private var hasFollowed = true
  private var previousMs: Int64 = 0
  private var lastKind: UInt16 = 0
  private(set) var isImpossible = false

  static func bytes(seriesCount: Int) -> Int {
    Place.count * MemoryLayout<UInt16>.stride + seriesMax * MemoryLayout<Series>.stride + 2 * seriesCount
  }

  init(seriesCount: Int) {
    chances = .allocate(capacity: Place.count)
    chances.initialize(repeating: Chance.even, count: Place.count)
    table = .allocate(capacity: Self.seriesMax)
    table.initialize(repeating: Series(), count: Self.seriesMax)
    places = [UInt16](repeating: 0, count: max(1, seriesCount))
  }

  deinit {
    chances.deallocate()
    table.deallocate()
  }

  func clear() {
    for index in 0..<seriesCount { places[Int(table[index].number)] = 0 }
    chances.update(repeating: Chance.even, count: Place.count)
    seriesCount = 0
    previous = -1
    hasFollowed = true
    previousMs = 0
    lastKind = 0
    isImpossible = false
  }

  /// The packer asks before it begins with a sample.
  func hasRoom(for series: UInt16) -> Bool {
    seriesCount < Self.seriesMax || (Int(series) < places.count && places[Int(series)] != 0)
  }

  @inline(__always)
  private func group(_ number: Int) -> UnsafeMutablePointer<UInt16> {
    chances + (Place.numbers + number * NumberChances.count)
  }

  // MARK: One sample

  /// Whatever `side` does not give is what `sample` has.
  @inline(__always)
  func pass<Side: Coder>(_ sample: inout PackedSample, _ side: inout Side) {
    let isFirst = previous < 0
    sample.isCut = side.decide(sample.isCut, &chances[Place.cut])
    let before = isFirst ? -1 : Int(table[previous].number)
    let couldFollow = hasFollowed
    let known = seriesCount
    let place = passSeries(sample.series, &side)
    let isNew = seriesCount > known
    let entry = table + place
    sample.series = entry.pointee.number
    let isNext = Int(sample.series) == before + 1
    passTime(&sample, entry, isFirst: isFirst, isNew: isNew, isNext: isNext, couldFollow, &side)
    let isSameMark = side.decide(sample.mark == entry.pointee.mark, &chances[Place.sameMark])
    if isSameMark {
      sample.mark = entry.pointee.mark
    } else {
      sample.mark = UInt8(truncatingIfNeeded: side.plain(UInt64(sample.mark), count: 3))
    }
    if sample.mark & 4 != 0 {
      let length = NumberChances.pass(UInt64(bitPattern: sample.raw), group(Group.textLength), &side)
      sample.raw = Int64(bitPattern: length)
    } else {
      sample.raw = passValue(sample.raw, entry, &side)
    }
    entry.pointee.mark = sample.mark
    previous = place
  }

  // MARK: Series

  @inline(__always)
  private func passSeries<Side: Coder>(_ series: UInt16, _ side: inout Side) -> Int {
    let follower = previous < 0 ? Self.none : table[previous].follower
    let guess: UInt16
    if follower != Self.none {
      guess = table[Int(follower)].number
    } else {
      guess = previous < 0 ? 0 : table[previous].number &+ 1
    }
    let place: Int
    if follower != Self.none {
      hasFollowed = side.decide(series == guess, &table[previous].follows)
    } else {
      hasFollowed = side.decide(series == guess, &chances[Place.follows + (hasFollowed ? 1 : 0)])
    }
    if hasFollowed {
      place = follower != Self.none ? Int(follower) : placeOf(guess)
    } else {
      place = passOther(series, &side)
    }
    if previous >= 0, table[previous].follower != UInt16(truncatingIfNeeded: place) {
      table[previous].second = table[previous].follower
      table[previous].follower = UInt16(truncatingIfNeeded: place)
    }
    return place
  }

  private func passOther<Side: Coder>(_ series: UInt16, _ side: inout Side) -> Int {
    let second = previous < 0 ? Self.none : table[previous].second
    if second != Self.none,
      side.decide(series == table[Int(second)].number, &chances[Place.second])
    {
      return Int(second)
    }
    let place = Int(series) < places.count ? Int(places[Int(series)]) - 1 : -1
    if side.decide(place < 0, &chances[Place.isNew]) {
      let next = previous < 0 ? 0 : Int64(table[previous].number) + 1
      let number = next &+ unzigzag(NumberChances.pass(zigzag(Int64(series) - next), group(Group.newSeries), &side))
      guard let made = UInt16(exactly: number) else { return impossible() }
      return placeOf(made)
    }
    var node = 1
    for bit in (0..<Self.seriesMax.trailingZeroBitCount).reversed() {
      node = node << 1 | (side.decide(place >> bit & 1 == 1, &chances[Place.tree + node]) ? 1 : 0)
    }
    let found = node - Self.seriesMax
    return found < seriesCount ? found : impossible()
  }

  /// Makes one if there is none.
  private func placeOf(_ series: UInt16) -> Int {
    if Int(series) >= places.count {
      // Only blocks of an older, larger catalogue come here.
      places.append(contentsOf: repeatElement(0, count: Int(series) + 1 - places.count))
    }
    if places[Int(series)] != 0 { return Int(places[Int(series)]) - 1 }
    guard seriesCount < Self.seriesMax else { return impossible() }
    table[seriesCount] = Series()
    table[seriesCount].number = series
    seriesCount += 1
    places[Int(series)] = UInt16(truncatingIfNeeded: seriesCount)
    return seriesCount - 1
  }

  private func impossible() -> Int {
    isImpossible = true
    if seriesCount == 0 {
      table[0] = Series()
      places[0] = 1
      seriesCount = 1
    }
    return 0
  }

  // MARK: Time

  /// Polls keep to a grid: a series comes again a whole number of seconds after it came, or nearly so.
  @inline(__always)
  private func passTime<Side: Coder>(
    _ sample: inout PackedSample, _ entry: UnsafeMutablePointer<Series>, isFirst: Bool, isNew: Bool, isNext: Bool,
    _ couldFollow: Bool, _ side: inout Side
  ) {
    if isFirst {
      let bits = UInt64(bitPattern: sample.ms)
      var read: UInt64 = 0
      for shift in [48, 32, 16, 0] as [UInt64] { read = read << 16 | side.plain(bits >> shift & 0xFFFF, count: 16) }
      sample.ms = Int64(bitPattern: read)
    } else {
      let chance = Place.sameTime + (hasFollowed ? 1 : 0) + (isNext ? 2 : 0) + (couldFollow ? 4 : 0)
      if side.decide(sample.ms == previousMs, &chances[chance]) {
        sample.ms = previousMs
      } else if isNew {
        sample.ms =
          previousMs &+ unzigzag(NumberChances.pass(zigzag(sample.ms &- previousMs), group(Group.firstStep), &side))
      } else {
        let due = entry.pointee.ms &+ Self.seconds(previousMs &- entry.pointee.ms) &* 1_000
        let off = sample.ms &- due
        let seconds = Self.seconds(off)
        let passed = unzigzag(
          NumberChances.pass(zigzag(seconds), group(Group.seconds + (hasFollowed ? 1 : 0)), &side))
        let rest = unzigzag(
          NumberChances.pass(zigzag(off &- seconds &* 1_000), group(Group.offset), &side))
        sample.ms = due &+ passed &* 1_000 &+ rest
      }
    }
    entry.pointee.ms = sample.ms
    previousMs = sample.ms
  }

  /// The nearest; of the middle the later one.
  @inline(__always)
  private static func seconds(_ ms: Int64) -> Int64 {
    let up = ms &+ 500
    let quotient = up / 1_000
    return up < 0 && quotient &* 1_000 != up ? quotient - 1 : quotient
  }

  // MARK: Value

  @inline(__always)
  private func passValue<Side: Coder>(
    _ raw: Int64, _ entry: UnsafeMutablePointer<Series>, _ side: inout Side
  ) -> Int64 {
    let before = entry.pointee.raw
    let beforeKind = entry.pointee.kind
    var kind = Side.isReading ? 0 : kind(of: raw, entry)
    if side.decide(kind == beforeKind, &chances[Place.sameKind + (beforeKind == 0 ? 0 : 1)]) {
      kind = beforeKind
    } else if side.decide(kind == lastKind, &chances[Place.lastKind]) {
      kind = lastKind
    } else {
      kind = UInt16(truncatingIfNeeded: side.plain(UInt64(kind), count: 16))
    }
    entry.pointee.kind = kind
    if kind != 0 { lastKind = kind }
    let magnitude = Int(entry.pointee.magnitude)
    let value: Int64
    let difference: UInt64
    if kind == 0 {
      difference = NumberChances.pass(zigzag(raw &- before), group(Group.integers + magnitude), &side)
      value = before &+ unzigzag(difference)
    } else {
      guard let quotient = Quotient(kind: kind) else {
        isImpossible = true
        return 0
      }
      let expected = quotient.numerator(of: before)
      let numerator = Side.isReading ? 0 : quotient.numerator(of: raw)
      difference = NumberChances.pass(zigzag(numerator &- expected), group(Group.quotients + magnitude), &side)
      let near = quotient.bits(of: expected &+ unzigzag(difference))
      value = near &+ unzigzag(NumberChances.pass(zigzag(raw &- near), group(Group.ulps), &side))
    }
    entry.pointee.magnitude = UInt8(truncatingIfNeeded: min(14, 64 - difference.leadingZeroBitCount))
    entry.pointee.raw = value
    return value
  }

  /// Packer only: what costs least. Any answer is right, some are shorter.
  private func kind(of raw: Int64, _ entry: UnsafeMutablePointer<Series>) -> UInt16 {
    let before = entry.pointee.raw
    let own = entry.pointee.kind
    if own != 0, let quotient = Quotient(kind: own), quotient.cost(of: raw, after: before) != nil { return own }
    guard Quotient.looksLikeDouble(raw) else { return 0 }
    let plain = 64 - zigzag(raw &- before).leadingZeroBitCount - Quotient.gainMin
    if lastKind != 0, lastKind != own, let quotient = Quotient(kind: lastKind),
      let cost = quotient.cost(of: raw, after: before), cost < plain
    {
      return lastKind
    }
    guard entry.pointee.failures < Quotient.failuresMax else { return 0 }
    let found = Quotient.best(for: raw, after: before, under: plain)
    if found == 0 { entry.pointee.failures += 1 }
    return found
  }
}
