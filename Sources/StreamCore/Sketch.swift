// A sketch of a distribution in 2,480 bytes (DDSketch): 1,200 classes of values, each within 1 % of its
// representative, shared by positive and negative numbers. A view onto words of the arena.
//
// The classes reach from the largest magnitude down over a factor of 2·10^10; where positive and negative numbers
// are of one size, over 10^5 each. What is smaller than that counts as zero. So a quantile is at most 1 % of
// itself away from the exact one, or, where that is closer to zero than the smallest class, at most
// `LogScale.edge(floor)`.
//
// A class counts 65,535 values by itself; sixteen classes may go on. What is beyond that is not counted any more:
// a window of less than a million readings never comes there.
//
// Invariants:
//  1. Used classes of both sides together are at most `classes`.
//  2. The floor rises only when there is no room, and falls only while there is: nothing that was counted as zero
//     comes back.

struct Sketch {
  private let base: UnsafeMutableRawPointer

  static let classes = 1_200
  private static let carries = 16
  /// Zero count and floor; used classes; carries; classes.
  static let words = 2 + carries * 4 / 8 + classes * 2 / 8

  init(words: UnsafeMutablePointer<Int64>) { base = UnsafeMutableRawPointer(words) }

  private var zeros: UnsafeMutablePointer<UInt32> { base.assumingMemoryBound(to: UInt32.self) }
  /// The class of the smallest magnitude that isn't zero.
  private var floor: UnsafeMutablePointer<Int32> { (base + 4).assumingMemoryBound(to: Int32.self) }
  /// Classes in use from the floor up, of positive and of negative numbers.
  private var used: UnsafeMutablePointer<UInt16> { (base + 8).assumingMemoryBound(to: UInt16.self) }
  private var hasCarries: UnsafeMutablePointer<UInt32> { (base + 12).assumingMemoryBound(to: UInt32.self) }
  /// What classes counted beyond 65,535: class (from 1; 0 is free) and how often.
  private var carried: UnsafeMutablePointer<UInt16> { (base + 16).assumingMemoryBound(to: UInt16.self) }
  private var counts: UnsafeMutablePointer<UInt16> {
    (base + 16 + Sketch.carries * 4).assumingMemoryBound(to: UInt16.self)
  }

  /// Positive numbers grow from one end, negative from the other.
  private func place(_ isNegative: Bool, _ step: Int) -> Int { isNegative ? Sketch.classes - 1 - step : step }
  private func usedOf(_ isNegative: Bool) -> Int { Int(used[isNegative ? 1 : 0]) }
  private func setUsed(_ isNegative: Bool, _ count: Int) {
    used[isNegative ? 1 : 0] = UInt16(truncatingIfNeeded: count)
  }

  /// A finite number.
  func add(_ value: Double) {
    let magnitude = value.magnitude
    guard magnitude > 0 else { return addZeros(1) }
    let isNegative = value < 0
    let key = LogScale.key(magnitude)
    if used[0] == 0, used[1] == 0 {
      floor.pointee = Int32(truncatingIfNeeded: key - Sketch.classes / 4)
    }
    var step = key - Int(floor.pointee)
    if step < 0 {
      guard lower(by: -step, isNegative) else { return addZeros(1) }
      step = 0
    }
    if step >= usedOf(isNegative) {
      let excess = step + 1 + usedOf(!isNegative) - Sketch.classes
      if excess > 0 {
        raise(for: step + 1, isNegative)
        step = key - Int(floor.pointee)
      }
      setUsed(isNegative, step + 1)
    }
    let index = place(isNegative, step)
    counts[index] &+= 1
    if counts[index] == 0 { carry(index) }
  }

  private func addZeros(_ count: UInt32) {
    let (sum, overflow) = zeros.pointee.addingReportingOverflow(count)
    zeros.pointee = overflow ? .max : sum
  }

  private func carry(_ index: Int) {
    var free = -1
    var entry = 0
    while entry < Sketch.carries {
      if Int(carried[2 * entry]) == index + 1 {
        if carried[2 * entry + 1] < .max { carried[2 * entry + 1] += 1 } else { counts[index] = .max }
        return
      }
      if free < 0, carried[2 * entry] == 0 { free = entry }
      entry += 1
    }
    guard free >= 0 else {
      counts[index] = .max
      return
    }
    carried[2 * free] = UInt16(truncatingIfNeeded: index + 1)
    carried[2 * free + 1] = 1
    hasCarries.pointee = 1
  }

  private func total(_ index: Int) -> UInt32 {
    var sum = UInt32(counts[index])
    if hasCarries.pointee == 0 { return sum }
    var entry = 0
    while entry < Sketch.carries {
      if Int(carried[2 * entry]) == index + 1 { sum &+= UInt32(carried[2 * entry + 1]) &<< 16 }
      entry += 1
    }
    return sum
  }

  // MARK: Moving the floor

  /// Makes room below, for a number of that sign. False: there is none.
  private func lower(by steps: Int, _ isNegative: Bool) -> Bool {
    let mine = usedOf(isNegative) > 0 ? usedOf(isNegative) + steps : 1
    let others = usedOf(!isNegative)
    guard mine + (others > 0 ? others + steps : 0) <= Sketch.classes else { return false }
    floor.pointee -= Int32(truncatingIfNeeded: steps)
    shift(false, by: steps)
    shift(true, by: steps)
    return true
  }

  /// Gives up the smallest classes, so that one side can use `count` and both fit.
  private func raise(for count: Int, _ isNegative: Bool) {
    let others = usedOf(!isNegative)
    let excess = count + others - Sketch.classes
    var steps = (excess + 1) / 2
    if steps > others { steps = count - Sketch.classes }
    floor.pointee += Int32(truncatingIfNeeded: steps)
    shift(false, by: -steps)
    shift(true, by: -steps)
  }

  /// Moves the classes of one side away from its end, or towards it: those that fall off are zeros from now on.
  private func shift(_ isNegative: Bool, by steps: Int) {
    let count = usedOf(isNegative)
    guard count > 0 else { return }
    if steps < 0 {
      var step = 0
      while step < Swift.min(-steps, count) {
        addZeros(total(place(isNegative, step)))
        step += 1
      }
    }
    moveCarries(isNegative, by: steps)
    if steps > 0 {
      var step = count - 1
      while step >= 0 {
        counts[place(isNegative, step + steps)] = counts[place(isNegative, step)]
        step -= 1
      }
      while step + 1 < steps {
        step += 1
        counts[place(isNegative, step)] = 0
      }
      setUsed(isNegative, count + steps)
    } else {
      var step = 0
      while step < count {
        let from = step - steps
        counts[place(isNegative, step)] = from < count ? counts[place(isNegative, from)] : 0
        step += 1
      }
      setUsed(isNegative, Swift.max(count + steps, 0))
    }
  }

  private func moveCarries(_ isNegative: Bool, by steps: Int) {
    let count = usedOf(isNegative)
    var entry = 0
    while entry < Sketch.carries {
      let index = Int(carried[2 * entry]) - 1
      let step = isNegative ? Sketch.classes - 1 - index : index
      if index >= 0, step < count {
        carried[2 * entry] = step + steps < 0 ? 0 : UInt16(truncatingIfNeeded: place(isNegative, step + steps) + 1)
        if step + steps < 0 { carried[2 * entry + 1] = 0 }
      }
      entry += 1
    }
  }

  // MARK: Reading

  /// How many values one class holds, whether or not this sketch has it.
  private func count(key: Int, _ isNegative: Bool) -> UInt32 {
    let step = key - Int(floor.pointee)
    guard step >= 0, step < usedOf(isNegative) else { return 0 }
    return total(place(isNegative, step))
  }
  private var floorKey: Int { Int(floor.pointee) }
  private func topKey(_ isNegative: Bool) -> Int { Int(floor.pointee) + usedOf(isNegative) - 1 }

  /// The value that `percent` of the values of all these panes don't exceed: that of rank
  /// ⌊(count − 1) · percent / 100⌋ in their order, within the bound above. Panes are counted from the newest, 0.
  static func quantile(_ percent: Int, of panes: PaneRing, _ range: Range<Int>) -> Double {
    var bottom = Int.max
    var topNegative = Int.min
    var topPositive = Int.min
    var zeros: Int64 = 0
    var count: Int64 = 0
    for position in range {
      let pane = panes[position]
      let sketch = pane.sketch
      count &+= pane.count
      zeros &+= Int(truncatingIfNeeded: sketch.zeros.pointee).wide
      if sketch.used[0] > 0 { topPositive = Swift.max(topPositive, sketch.topKey(false)) }
      if sketch.used[1] > 0 { topNegative = Swift.max(topNegative, sketch.topKey(true)) }
      if sketch.used[0] > 0 || sketch.used[1] > 0 { bottom = Swift.min(bottom, sketch.floorKey) }
    }
    // How many values come before it.
    var ahead = (count &- 1) / 100 &* percent.wide &+ (count &- 1) % 100 &* percent.wide / 100
    var key = topNegative
    while bottom != .max, key >= bottom {
      let here = Sketch.count(key, true, panes, range)
      if here > ahead { return -LogScale.value(key) }
      ahead &-= here
      key -= 1
    }
    if zeros > ahead { return 0 }
    ahead &-= zeros
    key = bottom
    while key <= topPositive {
      let here = Sketch.count(key, false, panes, range)
      if here > ahead { return LogScale.value(key) }
      ahead &-= here
      key += 1
    }
    // More readings than the classes could count: the greatest is as near as it gets.
    return topPositive > .min ? LogScale.value(topPositive) : 0
  }

  private static func count(_ key: Int, _ isNegative: Bool, _ panes: PaneRing, _ range: Range<Int>) -> Int64 {
    var sum: Int64 = 0
    for position in range {
      sum &+= Int(truncatingIfNeeded: panes[position].sketch.count(key: key, isNegative)).wide
    }
    return sum
  }
}
