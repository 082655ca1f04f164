// How a value moves by itself: a pure function of the time since the site's start and of a seed, so that the same site
// file gives the same values however often and whenever somebody reads them.

import Glibc

package enum TravelPart: String, Sendable, CaseIterable {
  case floor, direction, speed, door, trips, load
}

package enum Shape: Sendable, Hashable {
  case constant(SiteValue)
  case sine(low: Double, high: Double, periodNs: Int64)
  /// Wanders between low and high, smoothly, about one turn a period.
  case walk(low: Double, high: Double, periodNs: Int64)
  /// High for `duty` of each period.
  case square(low: SiteValue, high: SiteValue, periodNs: Int64, duty: Double)
  case counter(start: Double, perSecond: Double)
  /// One aspect of an elevator that goes from floor to floor; all points of a device see the same journey.
  case travel(TravelPart, floors: Int, floorNs: Int64)
  case sequence([SiteValue], everyNs: Int64)
}

package struct Signal: Sendable, Hashable {
  package var shape: Shape
  /// Added to numbers: evenly between minus and plus this, another every second.
  package var noise: Double

  package init(_ shape: Shape, noise: Double = 0) {
    self.shape = shape
    self.noise = noise
  }

  /// `deviceSeed` is one for all points of a device, `pointSeed` of this one.
  package func value(atNs time: Int64, deviceSeed: UInt64, pointSeed: UInt64) -> SiteValue {
    let t = Swift.max(0, time)
    switch shape {
    case .constant(let value):
      if case .number(let number) = value { return noisy(number, t, pointSeed) }
      return value
    case .sine(let low, let high, let period):
      let phase = unit(pointSeed)
      let angle = 2 * Double.pi * (Double(t % period) / Double(period) + phase)
      return noisy(low + (high - low) * (0.5 + 0.5 * sin(angle)), t, pointSeed)
    case .walk(let low, let high, let period):
      // Three octaves of value noise.
      let place = Double(t) / Double(period)
      let level =
        0.6 * smoothNoise(place, pointSeed) + 0.3 * smoothNoise(place * 2.3, pointSeed &+ 1)
        + 0.1 * smoothNoise(place * 5.1, pointSeed &+ 2)
      return noisy(low + (high - low) * level, t, pointSeed)
    case .square(let low, let high, let period, let duty):
      let shifted = (t + Int64(unit(pointSeed) * Double(period))) % period
      return Double(shifted) < duty * Double(period) ? high : low
    case .counter(let start, let perSecond):
      // The remainder keeps what was counted exact after a year, too.
      return .number((start + perSecond * (Double(t) / 1e9)).rounded(.down))
    case .travel(let part, let floors, let floorNs):
      return .number(Journey(floors: floors, floorNs: floorNs, seed: deviceSeed).value(of: part, atNs: t))
    case .sequence(let values, let every):
      guard !values.isEmpty else { return .number(0) }
      return values[Int(t / every % Int64(values.count))]
    }
  }

  private func noisy(_ value: Double, _ t: Int64, _ seed: UInt64) -> SiteValue {
    guard noise != 0 else { return .number(value) }
    return .number(value + noise * (2 * unit(mixed(seed ^ UInt64(bitPattern: t / 1_000_000_000) &* 0x9E37)) - 1))
  }
}

/// An elevator's day: in every slot it stands, goes to a floor drawn from the seed, opens its door and closes it.
private struct Journey {
  let floors: Int
  let floorNs: Int64
  let seed: UInt64

  static let doorNs: Int64 = 5_000_000_000
  /// Between standing still and the door: a master that reads speed and door one after the other never sees both.
  static let pauseNs: Int64 = 2_500_000_000
  /// Three metres a floor.
  static let metresPerFloor = 3.0

  var slotNs: Int64 { floorNs * Int64(Swift.max(1, floors - 1)) + 2 * (Journey.doorNs + Journey.pauseNs) }

  private func stop(_ slot: Int64) -> Int {
    slot <= 0 ? 1 : 1 + Int(mixed(seed &+ UInt64(bitPattern: slot)) % UInt64(Swift.max(1, floors)))
  }

  func value(of part: TravelPart, atNs t: Int64) -> Double {
    let slot = t / slotNs
    let inSlot = t % slotNs
    let from = stop(slot)
    let to = stop(slot + 1)
    let way = Int64(abs(to - from)) * floorNs
    let moving = inSlot < way
    let opens = way + Journey.pauseNs
    let doorOpen = inSlot >= opens && inSlot < opens + Journey.doorNs
    let sign = to > from ? 1.0 : -1.0
    switch part {
    case .floor:
      let passed = moving ? Int((inSlot + floorNs / 2) / floorNs) : abs(to - from)
      return Double(from + (to > from ? passed : -passed))
    case .direction: return moving ? (to > from ? 1 : 2) : 0
    case .speed: return moving ? sign * Journey.metresPerFloor * 1e9 / Double(floorNs) : 0
    case .door: return doorOpen ? 1 : 0
    case .trips: return 20_000 + Double(slot) + (moving ? 0 : 1)
    case .load: return doorOpen ? 0 : Double(75 * (mixed(seed ^ UInt64(bitPattern: slot)) % 6))
    }
  }
}

// MARK: Numbers from a seed

/// SplitMix64's finisher: every bit of the input moves every bit of the result.
func mixed(_ seed: UInt64) -> UInt64 {
  var z = seed &+ 0x9E37_79B9_7F4A_7C15
  z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
  z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
  return z ^ z >> 31
}

/// A seed of its own for everything that has a name.
func ownSeed(_ base: UInt64, _ name: String) -> UInt64 {
  var hash: UInt64 = 0xCBF2_9CE4_8422_2325
  for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
  return mixed(base ^ hash)
}

/// 0 up to 1.
func unit(_ seed: UInt64) -> Double { Double(mixed(seed) >> 11) / Double(1 << 53) }

/// Between 0 and 1, passing a random level at every whole `place`.
private func smoothNoise(_ place: Double, _ seed: UInt64) -> Double {
  let whole = place.rounded(.down)
  let part = place - whole
  let index = UInt64(bitPattern: Int64(whole))
  let a = unit(seed ^ index &* 0x2545_F491_4F6C_DD1D)
  let b = unit(seed ^ (index &+ 1) &* 0x2545_F491_4F6C_DD1D)
  return a + (b - a) * part * part * (3 - 2 * part)
}
