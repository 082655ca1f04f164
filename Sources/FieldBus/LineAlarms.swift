// What a bus knows of itself and of its devices, told to their alarms: does the line answer, does each
// device. On the bus's thread; memory from the arena.
//
// Invariants:
//  1. The bus is told before its devices: what it explains calls nobody.
//  2. Without a line, and from its return until it was asked again, nobody knows whether a device is there.

import StreamCore

struct LineAlarms {
  private static let none = UInt16.max
  /// By unit.
  private let offline: UnsafeMutablePointer<UInt16>
  private let unitCount: Int
  private let lost: UInt16
  /// Units that nobody has found silent.
  private var standing: Int
  /// Units that fell silent since somebody answered, and how many of these make a silent line.
  private var fallen = 0
  private var needed: Int
  private var isLost = false

  /// Three devices at once are no coincidence.
  private static let fallenMax = 3

  static func bytes(units: Int) -> Int { Arena.bytes(of: UInt16.self, count: units) }

  init(_ layout: BusLayout, arena: inout Arena) {
    unitCount = layout.devices.count
    offline = arena.take(UInt16.self, count: unitCount, first: Self.none)
    for (unit, alarm) in layout.alarms.offline.enumerated() { if let alarm { offline[unit] = UInt16(alarm) } }
    lost = layout.alarms.lost.map { UInt16($0) } ?? Self.none
    standing = unitCount
    needed = Swift.min(Self.fallenMax, unitCount)
  }

  private func tell(_ alarm: UInt16, _ truth: Truth, _ pipeline: inout Pipeline, _ now: Instant) {
    if alarm != Self.none { pipeline.tell(alarm: Int(alarm), truth, at: now) }
  }

  // MARK: The port

  /// There is nobody to ask on this line: that it is open is all that can be known.
  func listens(_ pipeline: inout Pipeline, at now: Instant) { tell(lost, .no, &pipeline, now) }

  mutating func opened(_ pipeline: inout Pipeline, at now: Instant) {
    standing = unitCount
    fallen = 0
    needed = Swift.min(Self.fallenMax, unitCount)
    tell(lost, .unknown, &pipeline, now)
  }

  mutating func lost(_ pipeline: inout Pipeline, at now: Instant) {
    isLost = true
    tell(lost, .yes, &pipeline, now)
    forget(&pipeline, now)
  }

  /// What was known of the devices counts no more.
  private func forget(_ pipeline: inout Pipeline, _ now: Instant) {
    for unit in 0..<unitCount { tell(offline[unit], .unknown, &pipeline, now) }
  }

  // MARK: The devices

  mutating func told(
    _ outcome: Outcome, of unit: Int, wasOffline: Bool, isOffline: Bool, _ pipeline: inout Pipeline, at now: Instant
  ) {
    switch outcome {
    case .good, .failed(.refused): answered(unit, cameBack: wasOffline, &pipeline, at: now)
    case .failed: if isOffline { silent(unit, isNew: !wasOffline, &pipeline, at: now) }
    }
  }

  /// `cameBack`: it was silent before.
  private mutating func answered(_ unit: Int, cameBack: Bool, _ pipeline: inout Pipeline, at now: Instant) {
    if cameBack { standing = Swift.min(standing + 1, unitCount) }
    fallen = 0
    needed = Swift.min(Self.fallenMax, standing)
    tell(lost, .no, &pipeline, now)
    if isLost {
      isLost = false
      forget(&pipeline, now)
    }
    tell(offline[unit], .no, &pipeline, now)
  }

  /// Asked in vain, as often as it takes to call it silent. `isNew`: it answered before.
  private mutating func silent(_ unit: Int, isNew: Bool, _ pipeline: inout Pipeline, at now: Instant) {
    if isNew {
      standing -= 1
      fallen += 1
    }
    // A line with one device can't be told from the device.
    if unitCount > 1, fallen > 0, fallen >= needed {
      isLost = true
      tell(lost, .yes, &pipeline, now)
    }
    tell(offline[unit], .yes, &pipeline, now)
  }
}
