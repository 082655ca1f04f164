// Blocks of version 2, which older stores hold: one range coder with chances learned in the block. Only read. Pure:
// whatever the bytes are, it answers with batches or with a `BlockDamage`, never with a trap. Their format in words:
// docs/storage-format.md.
//
// Invariants:
//  1. Everything learned is of one block: after `clear` the model is as new.
//  2. Nothing that is read leads outside the memory; what can't be is noted in `isImpossible`.

import StreamCore

final class LearnedBlock {
  /// Series that one block tells apart.
  static let seriesMax = Limits.seriesPerBlockMax
  private static let none = UInt16.max

  private struct Series {
    var raw: Int64 = 0
    var ms: Int64 = 0
    var number: UInt16 = 0
    /// Places of the series that came after it the last time, and of another one before that.
    var follower = LearnedBlock.none
    var second = LearnedBlock.none
    var kind: UInt16 = 0
    var mark: UInt8 = 0
    /// Bits of its last difference; 15: it has none yet.
    var magnitude: UInt8 = 15
    /// That its follower comes.
    var follows = LearnedChance.even
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
    static let numbers = tree + LearnedBlock.seriesMax

    static let count = numbers + Group.count * LearnedNumber.count
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
    chances.initialize(repeating: LearnedChance.even, count: Place.count)
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
    chances.update(repeating: LearnedChance.even, count: Place.count)
    seriesCount = 0
    previous = -1
    hasFollowed = true
    previousMs = 0
    lastKind = 0
    isImpossible = false
  }

  @inline(__always)
  private func group(_ number: Int) -> UnsafeMutablePointer<UInt16> {
    chances + (Place.numbers + number * LearnedNumber.count)
  }

  // MARK: One sample

  /// Of a text `raw` is its length.
  func read(_ sample: inout PackedSample, _ side: inout LearnedDecoder) {
    let isFirst = previous < 0
    sample.isCut = side.decide(&chances[Place.cut])
    let before = isFirst ? -1 : Int(table[previous].number)
    let couldFollow = hasFollowed
    let known = seriesCount
    let place = readSeries(&side)
    let isNew = seriesCount > known
    let entry = table + place
    sample.series = entry.pointee.number
    let isNext = Int(sample.series) == before + 1
    sample.ms = readTime(entry, isFirst: isFirst, isNew: isNew, isNext: isNext, couldFollow, &side)
    if side.decide(&chances[Place.sameMark]) {
      sample.mark = entry.pointee.mark
    } else {
      sample.mark = UInt8(truncatingIfNeeded: side.plain(count: 3))
    }
    if sample.mark & 4 != 0 {
      sample.raw = Int64(bitPattern: LearnedNumber.read(group(Group.textLength), &side))
    } else {
      sample.raw = readValue(entry, &side)
    }
    entry.pointee.mark = sample.mark
    previous = place
  }

  // MARK: Series

  private func readSeries(_ side: inout LearnedDecoder) -> Int {
    let follower = previous < 0 ? Self.none : table[previous].follower
    let place: Int
    if follower != Self.none {
      hasFollowed = side.decide(&table[previous].follows)
      place = hasFollowed ? Int(follower) : readOther(&side)
    } else {
      hasFollowed = side.decide(&chances[Place.follows + (hasFollowed ? 1 : 0)])
      place = hasFollowed ? placeOf(previous < 0 ? 0 : table[previous].number &+ 1) : readOther(&side)
    }
    if previous >= 0, table[previous].follower != UInt16(truncatingIfNeeded: place) {
      table[previous].second = table[previous].follower
      table[previous].follower = UInt16(truncatingIfNeeded: place)
    }
    return place
  }

  private func readOther(_ side: inout LearnedDecoder) -> Int {
    let second = previous < 0 ? Self.none : table[previous].second
    if second != Self.none, side.decide(&chances[Place.second]) { return Int(second) }
    if side.decide(&chances[Place.isNew]) {
      let next = previous < 0 ? 0 : Int64(table[previous].number) + 1
      let number = next &+ unzigzag(LearnedNumber.read(group(Group.newSeries), &side))
      guard let made = UInt16(exactly: number) else { return impossible() }
      return placeOf(made)
    }
    var node = 1
    for _ in 0..<Self.seriesMax.trailingZeroBitCount {
      node = node << 1 | (side.decide(&chances[Place.tree + node]) ? 1 : 0)
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
  private func readTime(
    _ entry: UnsafeMutablePointer<Series>, isFirst: Bool, isNew: Bool, isNext: Bool, _ couldFollow: Bool,
    _ side: inout LearnedDecoder
  ) -> Int64 {
    var ms: Int64 = 0
    if isFirst {
      var read: UInt64 = 0
      for _ in 0..<4 { read = read << 16 | side.plain(count: 16) }
      ms = Int64(bitPattern: read)
    } else {
      let chance = Place.sameTime + (hasFollowed ? 1 : 0) + (isNext ? 2 : 0) + (couldFollow ? 4 : 0)
      if side.decide(&chances[chance]) {
        ms = previousMs
      } else if isNew {
        ms = previousMs &+ unzigzag(LearnedNumber.read(group(Group.firstStep), &side))
      } else {
        let due = entry.pointee.ms &+ Self.seconds(previousMs &- entry.pointee.ms) &* 1_000
        let passed = unzigzag(LearnedNumber.read(group(Group.seconds + (hasFollowed ? 1 : 0)), &side))
        let rest = unzigzag(LearnedNumber.read(group(Group.offset), &side))
        ms = due &+ passed &* 1_000 &+ rest
      }
    }
    entry.pointee.ms = ms
    previousMs = ms
    return ms
  }

  /// The nearest; of the middle the later one.
  @inline(__always)
  private static func seconds(_ ms: Int64) -> Int64 {
    let up = ms &+ 500
    let quotient = up / 1_000
    return up < 0 && quotient &* 1_000 != up ? quotient - 1 : quotient
  }

  // MARK: Value

  private func readValue(_ entry: UnsafeMutablePointer<Series>, _ side: inout LearnedDecoder) -> Int64 {
    let before = entry.pointee.raw
    var kind = entry.pointee.kind
    if !side.decide(&chances[Place.sameKind + (kind == 0 ? 0 : 1)]) {
      kind = side.decide(&chances[Place.lastKind]) ? lastKind : UInt16(truncatingIfNeeded: side.plain(count: 16))
    }
    entry.pointee.kind = kind
    if kind != 0 { lastKind = kind }
    let magnitude = Int(entry.pointee.magnitude)
    let value: Int64
    let difference: UInt64
    if kind == 0 {
      difference = LearnedNumber.read(group(Group.integers + magnitude), &side)
      value = before &+ unzigzag(difference)
    } else {
      guard let quotient = Quotient(kind: kind) else {
        isImpossible = true
        return 0
      }
      difference = LearnedNumber.read(group(Group.quotients + magnitude), &side)
      let near = quotient.bits(of: quotient.numerator(of: before) &+ unzigzag(difference))
      value = near &+ unzigzag(LearnedNumber.read(group(Group.ulps), &side))
    }
    entry.pointee.magnitude = UInt8(truncatingIfNeeded: min(14, 64 - difference.leadingZeroBitCount))
    entry.pointee.raw = value
    return value
  }
}
