// What is done to a reading before anything else sees it: a counter's steps put together, spikes and bounces taken
// out, small reversals not followed; and doubts about it: too fast, or stuck. A point that uses none of it pays
// nothing for it.
//
// In order: counter → spike → debounce → hysteresis → (range) → max_rate → stuck_after. What the first four let
// through is always a raw value that the device sent (of a counter: what its steps add up to); the others only
// doubt.
//
// Invariants:
//  1. A reading without a value leaves the value that is held as it is, and ends what was about to change.
//  2. No operator keeps more than its fixed number of words, and none looks at more than five readings.

/// What a counter reports.
package enum CounterMode: UInt8, BitwiseCopyable, Sendable {
  case none
  /// All steps since the first reading, added to it: never falls.
  case total
  /// The step since the reading before.
  case increment
}

package struct ConditioningRule: BitwiseCopyable, Hashable, Sendable {
  /// In units a second; 0: any.
  package var maxRate = 0.0
  /// A value that turns back must move so far before it is followed; 0: at once.
  package var hysteresis = 0.0
  package var debounceNs: Int64 = 0
  package var stuckNs: Int64 = 0
  /// Where the device's counter goes back to 0; 0: after 2^64 − 1.
  package var counterModulus: UInt64 = 0
  package var counter = CounterMode.none
  /// The median of so many readings: 3 or 5; 0: none.
  package var spike: UInt8 = 0
  package init() {}

  /// Flags, and what each operator keeps.
  package var words: Int {
    1 + (counter != .none ? 2 : 0) + Int(spike) + (debounceNs > 0 ? 3 : 0) + (hysteresis > 0 ? 1 : 0)
      + (maxRate > 0 ? 2 : 0) + (stuckNs > 0 ? 2 : 0)
  }
}

/// A point's words, and how they are laid out.
struct Conditioning {
  let words: UnsafeMutablePointer<Int64>
  let rule: ConditioningRule

  private static let counted: Int64 = 1
  private static let held: Int64 = 2
  private static let candidate: Int64 = 4
  private static let followed: Int64 = 8
  private static let falling: Int64 = 16
  private static let rated: Int64 = 32
  private static let watched: Int64 = 64
  /// Readings that the median has, and where the next goes.
  private static let filledShift: Int64 = 8
  private static let nextShift: Int64 = 12

  private func has(_ flag: Int64) -> Bool { words[0] & flag != 0 }
  private func set(_ flag: Int64, _ value: Bool = true) {
    words[0] = value ? words[0] | flag : words[0] & ~flag
  }

  /// The raw value that goes on. `raw`: of a reading that has a value.
  func pass(_ raw: Int64, point: PointRule, at now: Instant) -> Int64 {
    var raw = raw
    var place = words + 1
    if rule.counter != .none {
      raw = count(raw, place)
      place += 2
    }
    if rule.spike > 0 {
      raw = median(raw, place, point)
      place += Int(rule.spike)
    }
    if rule.debounceNs > 0 {
      raw = settle(raw, place, now)
      place += 3
    }
    if rule.hysteresis > 0 { raw = follow(raw, place, point) }
    return raw
  }

  /// Doubts about the value that goes on: it moved faster than it can, or hasn't moved for too long.
  func isDoubtful(_ value: Double, raw: Int64, at now: Instant) -> Bool {
    var place = words + rule.words
    var doubt = false
    if rule.stuckNs > 0 {
      place -= 2
      if !has(Conditioning.watched) || place[0] != raw {
        set(Conditioning.watched)
        place[0] = raw
        place[1] = now.nanoseconds
      }
      if now - Instant(nanoseconds: place[1]) >= rule.stuckNs { doubt = true }
    }
    if rule.maxRate > 0 {
      place -= 2
      // The distance allowed grows with the time since the last believed value: a true step is believed in the end.
      let allowed = rule.maxRate * ((now - Instant(nanoseconds: place[1])).double / 1e9)
      if has(Conditioning.rated), (value - place[0].asDouble).magnitude > allowed {
        doubt = true
      } else {
        set(Conditioning.rated)
        place[0] = value.asWord
        place[1] = now.nanoseconds
      }
    }
    return doubt
  }

  /// A reading without a value: what was about to change starts anew.
  func interrupt() {
    set(Conditioning.candidate, false)
    set(Conditioning.watched, false)
    words[0] &= ~(0xFF &<< Conditioning.filledShift)
  }

  // MARK: Operators

  /// A raw value below the one before is a wrap if the counter was in the last quarter of its range and is in the
  /// first now. Else the device began anew at 0.
  private func count(_ raw: Int64, _ place: UnsafeMutablePointer<Int64>) -> Int64 {
    let isFirst = !has(Conditioning.counted)
    let now = UInt64(bitPattern: raw)
    let before = UInt64(bitPattern: place[0])
    set(Conditioning.counted)
    place[0] = raw
    if isFirst {
      place[1] = raw
      return rule.counter == .total ? raw : 0
    }
    let quarter = rule.counterModulus == 0 ? UInt64(1) &<< 62 : rule.counterModulus / 4
    var step = now &- before
    if now < before {
      let isWrap = before >= rule.counterModulus &- quarter && now < quarter
      step = isWrap ? now &+ (rule.counterModulus &- before) : now
    }
    place[1] = place[1] &+ Int64(bitPattern: step)
    return rule.counter == .total ? place[1] : Int64(bitPattern: step)
  }

  /// Until there are enough readings, each passes as it is.
  private func median(_ raw: Int64, _ place: UnsafeMutablePointer<Int64>, _ point: PointRule) -> Int64 {
    let size = Int(rule.spike)
    var filled = Int(truncatingIfNeeded: words[0] &>> Conditioning.filledShift & 0xF)
    let next = filled == 0 ? 0 : Int(truncatingIfNeeded: words[0] &>> Conditioning.nextShift & 0xF)
    place[next] = raw
    if filled < size { filled += 1 }
    words[0] &= ~(0xFF &<< Conditioning.filledShift)
    words[0] |= filled.wide &<< Conditioning.filledShift
    words[0] |= (next + 1 == size ? 0 : next + 1).wide &<< Conditioning.nextShift
    guard filled == size else { return raw }
    // The one that as many are below as are above; of equal ones the first.
    var index = 0
    while index < size {
      var below = 0
      var equal = 0
      var other = 0
      while other < size {
        if point.ascends(place[other], place[index]) {
          below += 1
        } else if !point.ascends(place[index], place[other]) {
          equal += 1
        }
        other += 1
      }
      if below <= size / 2, below + equal > size / 2 { return place[index] }
      index += 1
    }
    return raw
  }

  private func settle(_ raw: Int64, _ place: UnsafeMutablePointer<Int64>, _ now: Instant) -> Int64 {
    if !has(Conditioning.held) || raw == place[0] {
      set(Conditioning.held)
      set(Conditioning.candidate, false)
      place[0] = raw
      return raw
    }
    if !has(Conditioning.candidate) || raw != place[1] {
      set(Conditioning.candidate)
      place[1] = raw
      place[2] = now.nanoseconds
    }
    if now - Instant(nanoseconds: place[2]) >= rule.debounceNs {
      set(Conditioning.candidate, false)
      place[0] = raw
    }
    return place[0]
  }

  private func follow(_ raw: Int64, _ place: UnsafeMutablePointer<Int64>, _ point: PointRule) -> Int64 {
    guard has(Conditioning.followed) else {
      set(Conditioning.followed)
      place[0] = raw
      return raw
    }
    let value = point.value(raw)
    let held = point.value(place[0])
    let isFalling = has(Conditioning.falling)
    let goesOn = isFalling ? value < held : value > held
    let turns = (value - held).magnitude > rule.hysteresis
    if goesOn || turns {
      set(Conditioning.falling, value < held)
      place[0] = raw
    }
    return place[0]
  }
}
