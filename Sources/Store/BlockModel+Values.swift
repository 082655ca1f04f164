// What samples say: a raw value is an integer, or the bits of a Double that is a decimal fraction or a mean of such
// (Quotient). The first of a series is told by its difference from another series that looks alike.
//
// Invariant: whatever kind and reference the packer chooses, the value comes out the same; they only make it short.

import StreamCore

extension BlockModel {
  @inline(__always)
  func passValue<Side: Coder>(
    _ raw: Int64, _ entry: UnsafeMutablePointer<PackedSeries>, _ place: Int, _ side: inout Side
  ) -> Int64 {
    let isFirst = !entry.pointee.hasValue
    if isFirst { passReference(raw, entry, place, &side) }
    entry.pointee.hasValue = true
    let before = entry.pointee.raw
    let kind = passKind(raw, entry, isFirst: isFirst, &side)
    if kind == 0, !isFirst, entry.pointee.rawBefore != before {
      let asked = Place.returned &+ Int(entry.pointee.returns & 3)
      let returns = side.decide(raw == entry.pointee.rawBefore, &chances[asked])
      entry.pointee.returns = entry.pointee.returns &<< 1 | (returns ? 1 : 0)
      if returns {
        entry.pointee.raw = entry.pointee.rawBefore
        entry.pointee.rawBefore = before
        return entry.pointee.raw
      }
    }
    let value: Int64
    if kind == 0 {
      let group = isFirst ? Large.firstIntegers : Large.integers
      value = before &+ passDifference(raw &- before, entry, group, isQuotient: false, &side)
    } else {
      guard let quotient = Quotient(kind: kind) else {
        isImpossible = true
        return 0
      }
      let expected = quotient.numerator(of: before)
      let numerator = Side.isReading ? 0 : quotient.numerator(of: raw)
      let group = isFirst ? Large.firstQuotients : Large.quotients
      let near = quotient.bits(
        of: expected &+ passDifference(numerator &- expected, entry, group, isQuotient: true, &side))
      let ulps = pass(zigzag(raw &- near), small: Small.ulps &+ (quotient.isBinary ? 1 : 0), near: 2, &side)
      value = near &+ unzigzag(ulps)
    }
    if value != before { entry.pointee.rawBefore = before }
    entry.pointee.raw = value
    return value
  }

  /// Its size, then its sign: what went up comes down.
  @inline(__always)
  private func passDifference<Side: Coder>(
    _ difference: Int64, _ entry: UnsafeMutablePointer<PackedSeries>, _ group: Int, isQuotient: Bool,
    _ side: inout Side
  ) -> Int64 {
    let expected = Int(entry.pointee.magnitude)
    let size = pass(difference.magnitude, large: group, near: expected, &side)
    entry.pointee.magnitude = UInt8(truncatingIfNeeded: 64 - size.leadingZeroBitCount)
    guard size != 0 else { return 0 }
    let asked = Place.sign &+ Int(entry.pointee.sign) &* 16 &+ (isQuotient ? 15 : min(expected, 14))
    let isDown = side.decide(difference < 0, &chances[asked])
    entry.pointee.sign = isDown ? 2 : 1
    let signed = Int64(bitPattern: size)
    return isDown ? 0 &- signed : signed
  }

  // MARK: Kind

  /// What it is told as: as last time, as another one was lately, or as something new.
  @inline(__always)
  private func passKind<Side: Coder>(
    _ raw: Int64, _ entry: UnsafeMutablePointer<PackedSeries>, isFirst: Bool, _ side: inout Side
  ) -> UInt16 {
    let own = entry.pointee.kind
    var kind = Side.isReading ? 0 : self.kind(of: raw, entry, isFirst: isFirst)
    guard side.decide(kind != own, &chances[Place.otherKind &+ (own == 0 ? 0 : 1)]) else { return own }
    var index = 0
    while index < kindCount, !side.decide(kind == kinds[index], &chances[Place.recentKind &+ index]) { index += 1 }
    if index < kindCount {
      kind = kinds[index]
    } else {
      kind = UInt16(truncatingIfNeeded: side.plain(UInt64(kind), count: 16))
    }
    entry.pointee.kind = kind
    guard kind != 0 else { return 0 }
    if index == kindCount, kindCount < Self.kindsMax { kindCount += 1 }
    var from = min(index, kindCount - 1)
    while from > 0 {
      kinds[from] = kinds[from - 1]
      from -= 1
    }
    kinds[0] = kind
    return kind
  }

  /// Packer only: what costs least, in the long run. Any answer is right, some are shorter.
  private func kind(of raw: Int64, _ entry: UnsafeMutablePointer<PackedSeries>, isFirst: Bool) -> UInt16 {
    let before = entry.pointee.raw
    let own = entry.pointee.kind
    if own == 0, !Quotient.looksLikeDouble(raw) { return 0 }
    // What fits the last value, too, will fit the next.
    if own != 0, let quotient = Quotient(kind: own), let cost = quotient.cost(of: raw, after: before),
      isFirst || quotient.fits(before)
    {
      guard !isFirst, cost > Quotient.gainMin else { return own }
      return recent(for: raw, after: before, under: cost - Quotient.gainMin, mustFit: true) ?? own
    }
    guard Quotient.looksLikeDouble(raw) else { return 0 }
    let plain = 64 - zigzag(raw &- before).leadingZeroBitCount - Quotient.gainMin
    if let kind = recent(for: raw, after: before, under: plain, mustFit: !isFirst) { return kind }
    if let kind = recent(for: raw, after: before, under: plain, mustFit: false) { return kind }
    guard entry.pointee.failures < Quotient.failuresMax else { return 0 }
    if !isFirst, let kind = Quotient.best(for: raw, after: before, under: plain, mustFit: true) { return kind }
    if let kind = Quotient.best(for: raw, after: before, under: plain, mustFit: false) { return kind }
    entry.pointee.failures += 1
    return 0
  }

  private func recent(for raw: Int64, after before: Int64, under limit: Int, mustFit: Bool) -> UInt16? {
    var best: UInt16?
    var least = limit
    for index in 0..<kindCount {
      guard let quotient = Quotient(kind: kinds[index]), let cost = quotient.cost(of: raw, after: before),
        cost < least, !mustFit || quotient.fits(before)
      else { continue }
      least = cost
      best = kinds[index]
    }
    return best
  }

  // MARK: Reference

  /// The first value's difference is taken from a series that is so and so many numbers away: the same statistic of
  /// the next device, say. Kind and magnitude are that one's, too.
  private func passReference<Side: Coder>(
    _ raw: Int64, _ entry: UnsafeMutablePointer<PackedSeries>, _ place: Int, _ side: inout Side
  ) {
    guard seriesCount > 1 else { return }
    let number = Int32(entry.pointee.number)
    var distance = Side.isReading ? 0 : reference(for: raw, number: number, place)
    var index = 0
    if referenceCount > 0, side.decide(distance == references[0], &chances[Place.sameReference]) {
      distance = references[0]
    } else {
      if !Side.isReading {
        while index < referenceCount, references[index] != distance { index += 1 }
      }
      if referenceCount > 1, side.decide(index < referenceCount, &chances[Place.recentReference]) {
        index = Int(side.plain(UInt64(truncatingIfNeeded: index &- 1), count: 2)) + 1
        if index >= referenceCount {
          isImpossible = true
          index = 0
        }
        distance = references[index]
      } else {
        let read = unzigzag(pass(zigzag(Int64(distance)), small: Small.reference, near: 5, &side))
        distance = Int32(truncatingIfNeeded: read)
        if referenceCount < Self.referencesMax { referenceCount += 1 }
        index = referenceCount - 1
      }
    }
    while index > 0 {
      references[index] = references[index - 1]
      index -= 1
    }
    references[0] = distance
    let found = self.place(of: Int(number) - Int(distance))
    guard found >= 0 else {
      isImpossible = true
      return
    }
    entry.pointee.raw = table[found].raw
    entry.pointee.rawBefore = table[found].raw
    entry.pointee.kind = table[found].kind
    entry.pointee.magnitude = table[found].magnitude
  }

  /// Packer only. Its distance.
  private func reference(for raw: Int64, number: Int32, _ place: Int) -> Int32 {
    var best: Int32 = 0
    var least = Int.max
    for candidate in max(0, seriesCount - Self.lookedAtMax)..<seriesCount where candidate != place {
      let other = table[candidate]
      let distance = number - Int32(other.number)
      var cost = Self.farBits
      var index = 0
      while index < referenceCount {
        if references[index] == distance { cost = index == 0 ? 0 : Self.recentBits }
        index += 1
      }
      if other.kind != 0 {
        cost += Quotient(kind: other.kind)?.cost(of: raw, after: other.raw).map { $0 + 2 } ?? 90
      } else {
        cost += 64 - zigzag(raw &- other.raw).leadingZeroBitCount
      }
      if cost < least {
        least = cost
        best = distance
      }
    }
    return best
  }

  /// Bounds what a first value costs in time.
  private static let lookedAtMax = 256
  private static let recentBits = 4
  private static let farBits = 8
}
