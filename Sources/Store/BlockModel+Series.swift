// Which series comes next: one that is due, the one that followed last time, a new one, or another.
//
// Invariant: `order` has every series that was met once, by ascending number.

import StreamCore

extension BlockModel {
  @inline(__always)
  func passSeries<Side: Coder>(
    _ sample: PackedSample, _ own: UnsafeMutablePointer<Source>, head first: Int, _ side: inout Side
  ) -> (place: Int, way: Way, dueMs: Int64) {
    // The unpacker does not know yet.
    let wanted = Side.isReading ? -1 : place(of: Int(sample.series))
    if first >= 0 {
      let head = table + first
      let isNow = head.pointee.dueMs <= own.pointee.ms &+ Self.nearMs
      let asked = Place.due &+ own.pointee.way &* 4 &+ (isNow ? 2 : 0) &+ (head.pointee.hit.no < 19_660 ? 1 : 0)
      let isDue = !Side.isReading && wanted >= 0 && comes(wanted, own, at: sample.ms)
      if side.decide(isDue, &chances[asked]) { return passDue(wanted, own, at: sample.ms, &side) }
    }
    let previous = own.pointee.previous
    if previous >= 0, table[previous].follower != Self.none {
      let follower = Int(table[previous].follower)
      let asked = Place.follows &+ (table[previous].wasFollowed ? 4 : 0) &+ own.pointee.way
      let follows = side.decide(follower == wanted, &chances[asked])
      table[previous].wasFollowed = follows
      if follows { return (follower, .followed, 0) }
    }
    if side.decide(wanted < 0, &chances[Place.isNew &+ own.pointee.way]) {
      return (passNew(sample.series, own, &side), .new, 0)
    }
    return (passKnown(wanted, own, &side), .known, 0)
  }

  /// By how many numbers that were not met yet lie between it and the sample before.
  private func passNew<Side: Coder>(
    _ series: UInt16, _ own: UnsafeMutablePointer<Source>, _ side: inout Side
  ) -> Int {
    let position = own.pointee.position
    let isUp = side.decide(Int(series) > position, &chances[Place.up &+ own.pointee.way])
    let bound = firstIndex(above: position)
    let expected = own.pointee.way == Way.new.rawValue ? 0 : 2
    var between = 0
    if !Side.isReading {
      // Never its own: it was not met.
      let index = firstIndex(above: Int(series))
      between = isUp ? Int(series) - position - 1 - (index - bound) : position - Int(series) - 1
      if !isUp { between -= firstIndex(above: position - 1) - index }
    }
    let group = isUp ? Small.newUp : Small.newDown
    let read = pass(UInt64(truncatingIfNeeded: between), small: group, near: expected, &side)
    guard read <= UInt64(UInt16.max) else { return impossible() }
    var number: Int
    if isUp {
      number = position + 1 + Int(read)
      var index = bound
      while index < seriesCount, Int(table[Int(order[index])].number) <= number {
        number += 1
        index += 1
      }
    } else {
      number = position - 1 - Int(read)
      var index = firstIndex(above: position - 1) - 1
      while index >= 0, Int(table[Int(order[index])].number) >= number {
        number -= 1
        index -= 1
      }
    }
    guard let made = UInt16(exactly: number), seriesCount < Self.seriesMax, place(of: number) < 0 else {
      return impossible()
    }
    return meet(made)
  }

  /// By how many of its group it passes over: in turn, by number, from the sample before on.
  private func passKnown<Side: Coder>(
    _ wanted: Int, _ own: UnsafeMutablePointer<Source>, _ side: inout Side
  ) -> Int {
    guard seriesCount > 0 else { return impossible() }
    var group = Side.isReading || wanted < 0 ? Group.waiting : self.group(of: wanted)
    if side.decide(group != .waiting, &chances[Place.isOther]) {
      group = side.decide(group == .foreign, &chances[Place.isForeign]) ? .foreign : .listed
    }
    let start = firstIndex(above: own.pointee.position)
    var index = start == seriesCount ? 0 : start
    var passed: UInt64 = 0
    if !Side.isReading {
      while Int(order[index]) != wanted {
        if self.group(of: Int(order[index])) == group { passed &+= 1 }
        index = index + 1 == seriesCount ? 0 : index + 1
      }
    }
    passed = pass(passed, small: group == .waiting ? Small.known : Small.other, near: 5, &side)
    guard Side.isReading else { return wanted }
    for _ in 0..<seriesCount {
      let place = Int(order[index])
      if self.group(of: place) == group {
        if passed == 0 { return place }
        passed &-= 1
      }
      index = index + 1 == seriesCount ? 0 : index + 1
    }
    return impossible()
  }

  /// Of its source and not listed, listed all the same (it comes out of turn), or of another source.
  private enum Group { case waiting, listed, foreign }

  @inline(__always)
  private func group(of place: Int) -> Group {
    guard Int(table[place].source) == source else { return .foreign }
    return table[place].isListed ? .listed : .waiting
  }

  @inline(__always)
  func place(of number: Int) -> Int { number >= 0 && number < places.count ? Int(places[number]) - 1 : -1 }

  /// In `order`.
  private func firstIndex(above number: Int) -> Int {
    var low = 0
    var high = seriesCount
    while low < high {
      let middle = (low + high) / 2
      if Int(table[Int(order[middle])].number) > number { high = middle } else { low = middle + 1 }
    }
    return low
  }

  private func meet(_ series: UInt16) -> Int {
    if Int(series) >= places.count {
      // Only blocks of an older, larger catalogue come here.
      places.append(contentsOf: repeatElement(0, count: Int(series) + 1 - places.count))
    }
    let place = seriesCount
    table[place] = PackedSeries()
    table[place].number = series
    table[place].source = UInt8(truncatingIfNeeded: source)
    var index = seriesCount
    let bound = firstIndex(above: Int(series))
    while index > bound {
      order[index] = order[index - 1]
      index -= 1
    }
    order[bound] = UInt16(truncatingIfNeeded: place)
    seriesCount += 1
    places[Int(series)] = UInt16(truncatingIfNeeded: seriesCount)
    return place
  }

  func impossible() -> Int {
    isImpossible = true
    return seriesCount == 0 ? meet(0) : 0
  }
}
