// Computed points: what is made from other points of the device, or of others. Their values go down the same
// way as those that are read: range, report by exception, windows, alarms.
//
// Invariants:
//  1. A computed point has a new reading exactly when one of its device's points that it names has one, and, if it
//     rests on time or on other devices, when it is looked at again by the clock.
//  2. Rules stand inputs first, so one pass brings all of a device up to date.

package struct ComputedRule: BitwiseCopyable, Sendable {
  package var program: Program
  /// Its number on the bus.
  package var point: UInt16

  package init(point: Int, program: Program) {
    self.program = program
    self.point = UInt16(truncatingIfNeeded: point)
  }
}

extension Pipeline {
  package mutating func setComputed(_ index: Int, _ rule: ComputedRule) {
    precondition(index >= 0 && index < size.computed)
    computedRules[index] = rule
    if rule.program.isRestless { nextLook = .zero }
  }

  package func isComputed(_ point: Int) -> Bool {
    precondition(point >= 0 && point < size.points)
    return rules[Int(states[point].place.rule)].isComputed
  }

  /// The point of the computed rule, by its number on the bus.
  package func computedPoint(_ index: Int) -> Int {
    precondition(index >= 0 && index < size.computed)
    return Int(computedRules[index].point)
  }

  /// Evaluates one computed point if it has to be. True: it has a new reading.
  package mutating func compute(_ index: Int, at now: Instant, byClock: Bool) -> Bool {
    precondition(index >= 0 && index < size.computed)
    let rule = computedRules[index]
    guard byClock ? rule.program.isRestless : wasRead(rule.program, at: now) else { return false }
    let point = Int(rule.point)
    let reading = rule.program.evaluate(programs, states, at: now)
    var raw: Int64 = 0
    if reading.isUsable {
      raw =
        rules[Int(states[point].place.rule)].encoding == .double
        ? Int64(bitPattern: reading.value.bitPattern) : (reading.value != 0 ? 1 : 0)
    }
    let quality = reading.isUsable ? reading.quality : .bad
    accept(point: point, raw: raw, quality: quality, text: UnsafeBufferPointer(start: nil, count: 0), at: now)
    return true
  }

  /// One of the points that it names has a reading of just now.
  private func wasRead(_ program: Program, at now: Instant) -> Bool {
    var index = 0
    while index < Int(program.length) {
      if let point = program.point(index, programs), states[point].at == now { return true }
      index += 1
    }
    return false
  }

  // MARK: By the clock

  package func setLink(_ index: Int, _ link: Link) {
    precondition(index >= 0 && index < size.links)
    programs.links[index] = link
  }

  /// What rests on time or on other devices is to be looked at again: computed points first, then `tick`.
  package func isLookDue(at now: Instant) -> Bool { now >= nextLook }
}
