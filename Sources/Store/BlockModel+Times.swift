// When samples come: each source has lists of the series that are due, by time. A series that came in steps with a
// common measure is expected again after that measure, and the list is gone through until one comes.
//
// Invariants:
//  1. A list is in the order of time, but for moments that are nearly one: those are in the order of numbers. It is
//     looked through for a place for `nearestMax` steps and no further.
//  2. Who was due `missesMax` times in a row and did not come is not listed: so every list comes to an end.

import StreamCore

extension BlockModel {
  private static let missesMax: UInt8 = 64
  private static let nearestMax = 64
  /// Listed are series that come at least so often, in tenths of a second.
  private static let periodMax: Int32 = 640
  private static let second: Int32 = 10
  private static let firstStepMax: Int32 = 80
  /// Longer steps measure nothing.
  private static let stepMax: Int64 = 1 << 24

  // MARK: The list

  /// The packer: whether going through the list leads to it.
  @inline(__always)
  func comes(_ place: Int, _ own: UnsafeMutablePointer<Source>, at ms: Int64) -> Bool {
    let entry = table + place
    guard entry.pointee.isListed, Int(entry.pointee.source) == own - sources else { return false }
    let behind = ms &- entry.pointee.dueMs
    guard behind >= -Self.nearMs, behind < 1 << 40 else { return false }
    let step = Int64(entry.pointee.period) &* 100
    let misses = (behind &+ Self.nearMs) / step
    return misses &+ Int64(entry.pointee.misses) < Int64(Self.missesMax)
      && behind &- misses &* step <= Self.nearMs
  }

  /// Goes through the list until one comes; it is then in no list.
  @inline(__always)
  func passDue<Side: Coder>(
    _ wanted: Int, _ own: UnsafeMutablePointer<Source>, at ms: Int64, _ side: inout Side
  ) -> (place: Int, way: Way, dueMs: Int64) {
    while true {
      let place = head(of: own)
      guard place >= 0 else { break }
      let entry = table + place
      let dueMs = entry.pointee.dueMs
      let isAtOnce = own.pointee.previous >= 0 && Self.isNear(dueMs, own.pointee.ms)
      let comes = !Side.isReading && place == wanted && Self.isNear(dueMs, ms)
      let hits = chances + (Place.hits &+ 2 &* Self.length(of: entry.pointee.period))
      let isHit: Bool
      if isAtOnce {
        isHit = side.decide(comes, &entry.pointee.hitAtOnce)
        hits[1].learn(isHit, Chance.shares)
      } else {
        isHit = side.decide(comes, &entry.pointee.hit)
        hits[0].learn(isHit, Chance.shares)
      }
      unlist(place, own)
      if isHit { return (place, .due, dueMs) }
      miss(place, own)
    }
    return (impossible(), .known, 0)
  }

  /// By length of the period in bits.
  @inline(__always)
  private static func length(of period: Int32) -> Int { min(23, 31 &- period.leadingZeroBitCount) }

  @inline(__always)
  private static func isNear(_ one: Int64, _ other: Int64) -> Bool {
    let apart = one &- other
    return apart >= -nearMs && apart <= nearMs
  }

  @inline(__always)
  private func miss(_ place: Int, _ own: UnsafeMutablePointer<Source>) {
    let entry = table + place
    entry.pointee.dueMs &+= Int64(entry.pointee.period) &* 100
    entry.pointee.misses &+= 1
    if entry.pointee.misses < Self.missesMax { list(place, own) }
  }

  /// Who is due first; negative: nobody.
  @inline(__always)
  func head(of own: UnsafeMutablePointer<Source>) -> Int {
    let lists = lists + (own - sources) &* Self.listsPerSource
    var best = lists[0].first
    for index in 1..<Self.listsPerSource {
      let other = lists[index].first
      if other != Self.none, best == Self.none || isBefore(Int(other), Int(best)) { best = other }
    }
    return best == Self.none ? -1 : Int(best)
  }

  @inline(__always)
  private func isBefore(_ one: Int, _ other: Int) -> Bool {
    let later = table[other].dueMs &- table[one].dueMs
    return later > Self.nearMs || (later >= -Self.nearMs && table[one].number < table[other].number)
  }

  /// The list it belongs to. With periods of one kind in each, its place is near the end.
  @inline(__always)
  private func list(of place: Int, _ own: UnsafeMutablePointer<Source>) -> UnsafeMutablePointer<List> {
    let period = table[place].period
    let kind = period <= 10 ? 0 : period < 50 ? 1 : period < 300 ? 2 : 3
    return lists + ((own - sources) &* Self.listsPerSource &+ kind)
  }

  private func list(_ place: Int, _ own: UnsafeMutablePointer<Source>) {
    let entry = table + place
    let list = list(of: place, own)
    var before = list.pointee.last
    var after = Self.none
    var steps = 0
    while before != Self.none, steps < Self.nearestMax, isBefore(place, Int(before)) {
      after = before
      before = table[Int(before)].before
      steps += 1
    }
    entry.pointee.before = before
    entry.pointee.after = after
    let own = UInt16(truncatingIfNeeded: place)
    if before == Self.none { list.pointee.first = own } else { table[Int(before)].after = own }
    if after == Self.none { list.pointee.last = own } else { table[Int(after)].before = own }
    entry.pointee.isListed = true
  }

  @inline(__always)
  private func unlist(_ place: Int, _ own: UnsafeMutablePointer<Source>) {
    let entry = table + place
    let list = list(of: place, own)
    let (before, after) = (entry.pointee.before, entry.pointee.after)
    if before == Self.none { list.pointee.first = after } else { table[Int(before)].after = after }
    if after == Self.none { list.pointee.last = before } else { table[Int(after)].before = before }
    entry.pointee.isListed = false
  }

  // MARK: Times

  func passFirstTime<Side: Coder>(_ sample: inout PackedSample, _ side: inout Side) {
    let bits = UInt64(bitPattern: sample.ms)
    var read: UInt64 = 0
    for shift in [48, 32, 16, 0] as [UInt64] { read = read << 16 | side.plain(bits >> shift & 0xFFFF, count: 16) }
    sample.ms = Int64(bitPattern: read)
  }

  @inline(__always)
  func passDueTime<Side: Coder>(
    _ ms: Int64, _ dueMs: Int64, _ own: UnsafeMutablePointer<Source>, _ side: inout Side
  ) -> Int64 {
    let isAtOnce = Self.isNear(dueMs, own.pointee.ms)
    let expected = isAtOnce ? own.pointee.ms : dueMs
    if side.decide(ms == expected, &chances[Place.onTime &+ (isAtOnce ? 1 : 0)]) { return expected }
    return expected &+ unzigzag(pass(zigzag(ms &- expected), small: Small.jitter, near: 0, &side))
  }

  /// Of one that was not due. Polls keep to a grid: a series comes again a whole number of seconds after it came, or
  /// nearly so, and one that is new at the time of its neighbours.
  func passTime<Side: Coder>(
    _ ms: Int64, _ entry: UnsafeMutablePointer<PackedSeries>, _ own: UnsafeMutablePointer<Source>, _ way: Way,
    _ side: inout Side
  ) -> Int64 {
    let before = own.pointee.ms
    let ahead = Int(entry.pointee.number) - own.pointee.position
    let asked = way.rawValue &* 4 &+ (ahead == 1 ? 1 : 0) &+ (ahead > 0 && ahead < 8 ? 2 : 0)
    if side.decide(ms == before, &chances[Place.sameTime &+ asked]) { return before }
    if way == .new {
      guard let neighbour = neighbour(of: Int(entry.pointee.number), source: entry.pointee.source) else {
        return before &+ unzigzag(pass(zigzag(ms &- before), small: Small.newTime, near: 8, &side))
      }
      let expected = Self.next(after: neighbour, from: before)
      return expected &+ unzigzag(pass(zigzag(ms &- expected), small: Small.newNeighbourTime, near: 0, &side))
    }
    let expected = Self.next(after: entry.pointee.ms, from: before)
    let off = ms &- expected
    let seconds = Self.floor(off &+ 500)
    let passed = unzigzag(pass(zigzag(seconds), small: Small.seconds, near: 0, &side))
    let rest = unzigzag(pass(zigzag(off &- seconds &* 1_000), small: Small.rest, near: 0, &side))
    return expected &+ passed &* 1_000 &+ rest
  }

  /// The nearest number that was met, up to eight away, the lower one first.
  private func neighbour(of number: Int, source: UInt8) -> Int64? {
    for distance in 1...8 {
      for place in [place(of: number - distance), place(of: number + distance)]
      where place >= 0 && table[place].source == source {
        return table[place].ms
      }
    }
    return nil
  }

  /// The first moment on its grid of seconds that is not (or hardly) before `ms`.
  @inline(__always)
  private static func next(after own: Int64, from ms: Int64) -> Int64 {
    own &+ floor(ms &- own &+ 1_000 &- nearMs) &* 1_000
  }

  /// In seconds.
  @inline(__always)
  private static func floor(_ ms: Int64) -> Int64 {
    let quotient = ms / 1_000
    return ms < 0 && quotient &* 1_000 != ms ? quotient - 1 : quotient
  }

  /// What its coming means for when it and the others come next.
  @inline(__always)
  func note(
    _ entry: UnsafeMutablePointer<PackedSeries>, _ place: Int, _ own: UnsafeMutablePointer<Source>, _ way: Way,
    ms: Int64, dueMs: Int64
  ) {
    if way != .due {
      // These did not come: nothing was asked about them.
      while true {
        let late = head(of: own)
        guard late >= 0, table[late].dueMs < ms &- Self.nearMs else { break }
        unlist(late, own)
        miss(late, own)
      }
    }
    own.pointee.ms = ms
    guard way != .new else {
      entry.pointee.ms = ms
      return
    }
    if entry.pointee.isListed { unlist(place, sources + Int(entry.pointee.source)) }
    entry.pointee.source = UInt8(truncatingIfNeeded: own - sources)
    let step = (ms &- entry.pointee.ms &+ 50) / 100
    entry.pointee.ms = ms
    guard step > 0, step < Self.stepMax else { return }
    measure(entry, Int32(truncatingIfNeeded: step))
    let period = entry.pointee.period
    guard period <= Self.periodMax, step <= Int64(period) &* Int64(Self.missesMax) else { return }
    var base = ms
    if way == .due, ms != dueMs, !entry.pointee.isOff {
      // Once is chance, twice is its new time.
      entry.pointee.isOff = true
      base = dueMs
    } else {
      entry.pointee.isOff = false
    }
    entry.pointee.dueMs = base &+ Int64(period) &* 100
    entry.pointee.misses = 0
    list(place, own)
  }

  /// The period is what all its steps have as a common measure.
  @inline(__always)
  private func measure(_ entry: UnsafeMutablePointer<PackedSeries>, _ step: Int32) {
    var one = entry.pointee.period
    if one != 0, step % one == 0 { return }
    // A first short step is taken for several of a second.
    if one == 0, step < Self.firstStepMax { one = Self.second }
    var other = step
    while one != 0 { (one, other) = (other % one, one) }
    entry.pointee.period = other
    let hits = chances + (Place.hits &+ 2 &* Self.length(of: other))
    entry.pointee.hit = Chance(no: hits[0].no, asked: 2)
    entry.pointee.hitAtOnce = Chance(no: hits[1].no, asked: 2)
  }
}
