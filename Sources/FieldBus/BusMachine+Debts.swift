// The fence (invariant 2 of the machine): what is owed, what may not be asked meanwhile, and what is asked instead.

import StreamCore

extension BusMachine {
  // MARK: Retries and fences

  /// The unit's next attempt after a failure: a due request of another shape, else a fence. Nil: nothing is due
  /// any more.
  func retry(_ unit: Int, at now: Instant) -> BusAction? {
    let first = Int(units[unit].firstRequest)
    var barred = -1
    for index in first..<(first + Int(units[unit].requestCount))
    where requests[index].isActive && requests[index].dueAt <= now {
      if !isBarred(requests[index].shape, unit: unit, at: now) { return .transact(request: index) }
      barred = index
    }
    return barred < 0 ? nil : fence(unit, for: barred, at: now)
  }

  /// Of a device that hears every second request only, what is sent in front of one that matters. If it is not
  /// answered, the request itself is the retry.
  mutating func knock(for request: Int, at now: Instant) -> BusAction? {
    let unit = Int(requests[request].unit)
    guard units[unit].wantsKnock, units[unit].state == .online, let action = fence(unit, for: request, at: now)
    else { return nil }
    knocked = unit
    return action
  }

  /// A read of a shape that is not owed, if the device has one: of the unit's own requests the cheapest such
  /// one, else the barred one made shorter or longer.
  func fence(_ unit: Int, for request: Int, at now: Instant) -> BusAction? {
    let first = Int(units[unit].firstRequest)
    var best = -1
    for index in first..<(first + Int(units[unit].requestCount)) where requests[index].isActive {
      guard requests[index].shape != requests[request].shape,
        !isBarred(requests[index].shape, unit: unit, at: now)
      else { continue }
      if best < 0 || requests[index].wireNs < requests[best].wireNs { best = index }
    }
    if best >= 0 {
      return .fence(
        unit: unit, table: requests[best].table, address: Int(requests[best].address), count: Int(requests[best].count))
    }
    let barred = requests[request]
    let step = barred.table.isBits ? 8 : 1
    let largest = barred.table.isBits ? Limits.bitsPerReadMax : Int(units[unit].registersMax)
    // Shorter is always answered; longer only where there is more to read.
    var count = 1
    while count <= Swift.min(largest, Int(barred.count) + 4 * step) {
      let shape = Shape(table: barred.table, count: count)
      if shape != barred.shape, !isBarred(shape, unit: unit, at: now) {
        let room = Limits.registersPerTable - count
        return .fence(unit: unit, table: barred.table, address: Swift.min(Int(barred.address), room), count: count)
      }
      count += step
    }
    return nil
  }

  // MARK: Debts

  static let debtsMax = 4

  func isBarred(_ shape: Shape, unit: Int, at now: Instant) -> Bool {
    debt(of: shape, unit: unit, at: now) != nil
  }

  func debt(of shape: Shape, unit: Int, at now: Instant) -> Debt? {
    guard !timing.isNumbered, now < units[unit].owesUntil else { return nil }
    for index in 0..<Self.debtsMax {
      let debt = units[unit][debt: index]
      if debt.shape == shape, debt.stands(at: now) { return debt }
    }
    return nil
  }

  func owe(_ shape: Shape, unit: Int, at now: Instant) {
    guard !timing.isNumbered else { return }
    var place = 0
    for index in 0..<Self.debtsMax {
      let debt = units[unit][debt: index]
      if debt.shape == shape || !debt.stands(at: now) {
        place = index
        break
      }
      // With more debts than places the oldest makes room.
      if debt.giveUpAt < units[unit][debt: place].giveUpAt { place = index }
    }
    var debt = Debt()
    debt.shape = shape
    debt.until = now + 4 * timing.timeoutNs
    debt.giveUpAt = now + Limits.owedNsMax
    units[unit][debt: place] = debt
    units[unit].owesUntil = debt.giveUpAt
  }

  /// The unit answered something that can't be what is owed.
  func fenceOff(_ unit: Int) {
    for index in 0..<Self.debtsMax { units[unit][debt: index].isFenced = true }
  }

  /// The parts take the place of a request that may not be asked now.
  mutating func standIn(for request: Int, at now: Instant) {
    guard !timing.isNumbered, requests[request].partCount > 0, !requests[request].isSplit else { return }
    requests[request].isStoodIn = true
    requests[request].isActive = false
    standInCount += 1
    let first = Int(requests[request].firstPart)
    for part in first..<(first + Int(requests[request].partCount)) {
      requests[part].isActive = true
      requests[part].dueAt = requests[request].dueAt
      requests[part].servedAt = requests[request].servedAt
    }
  }

  /// Ends what is over: the request is asked itself again.
  mutating func restore(at now: Instant) {
    for request in 0..<requestCount where requests[request].isStoodIn {
      guard !isBarred(requests[request].shape, unit: Int(requests[request].unit), at: now) else { continue }
      requests[request].isStoodIn = false
      requests[request].isActive = true
      standInCount -= 1
      var due = Instant.distantFuture
      let first = Int(requests[request].firstPart)
      for part in first..<(first + Int(requests[request].partCount)) {
        due = Swift.min(due, requests[part].dueAt)
        retire(part)
      }
      requests[request].dueAt = due
    }
  }

  mutating func retire(_ part: Int) {
    if requests[part].isStoodIn { standInCount -= 1 }
    requests[part].isActive = false
    requests[part].isStoodIn = false
    requests[part].isSplit = false
    let first = Int(requests[part].firstPart)
    for inner in first..<(first + Int(requests[part].partCount)) { retire(inner) }
  }
}
