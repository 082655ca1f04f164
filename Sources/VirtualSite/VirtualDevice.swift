// One device on a virtual line: what its points are worth now, and what is wrong with it. Used under its line's lock.
//
// Invariants:
//  1. A point's value is, in this order: what the master wrote, what an event or a test set, its signal.
//  2. A fault counts only requests that were addressed to this device.

import FieldBus
import StreamCore

final class VirtualDevice {
  let spec: SiteDevice
  let image: RegisterImage
  /// Of a device with a [frame].
  let frames: FrameSlave?
  private let deviceSeed: UInt64
  private let pointSeeds: [UInt64]
  private let signals: [Signal]
  private var overrides: [Int: SiteValue] = [:]
  private var written: Set<Int> = []
  private(set) var fault: Fault?
  private var rounds = 0

  init?(_ spec: SiteDevice, siteSeed: UInt64) {
    guard let image = RegisterImage(profile: spec.profile, fixed: spec.registers) else { return nil }
    self.spec = spec
    self.image = image
    frames = FrameSlave(spec)
    let own = ownSeed(siteSeed, spec.name)
    deviceSeed = own
    pointSeeds = spec.profile.points.map { ownSeed(own, $0.name) }
    signals = spec.profile.points.map { spec.signals[$0.name] ?? .believable(for: $0, kind: spec.profile.kind) }
  }

  private func index(_ point: String) -> Int? { spec.profile.points.firstIndex { $0.name == point } }

  /// False: no such point, or it can't hold this value.
  func set(_ point: String, _ value: SiteValue) -> Bool {
    guard let index = index(point) else { return false }
    guard image.encode(value, spec.profile.points[index]) || isField(index) else { return false }
    overrides[index] = value
    written.remove(index)
    return true
  }

  /// The point follows its signal again.
  func release(_ point: String) {
    guard let index = index(point) else { return }
    overrides[index] = nil
    written.remove(index)
  }

  private func isField(_ index: Int) -> Bool { !spec.profile.points[index].source.isRegister }

  func set(_ newFault: Fault?) {
    fault = newFault
    rounds = 0
  }

  /// The fault that meets the request that came just now, and its number since the fault began.
  func faultOfNextRequest() -> (kind: Fault.Kind, round: Int)? {
    guard let current = fault else { return nil }
    let round = rounds
    rounds += 1
    if let times = current.times, rounds >= times { fault = nil }
    return (current.kind, round)
  }

  func value(_ index: Int, atNs time: Int64) -> SiteValue {
    overrides[index] ?? signals[index].value(atNs: time, deviceSeed: deviceSeed, pointSeed: pointSeeds[index])
  }

  func value(_ point: String, atNs time: Int64) -> SiteValue? {
    index(point).map { value($0, atNs: time) }
  }

  /// Brings the registers up to `time`.
  func refresh(atNs time: Int64) {
    for (index, point) in spec.profile.points.enumerated() where !written.contains(index) {
      image.encode(value(index, atNs: time), point)
    }
  }

  /// What the master wrote stays.
  func keepWritten(_ table: RegisterTable, _ range: ClosedRange<Int>) {
    for (index, point) in spec.profile.points.enumerated() {
      guard case .register(table, let address) = point.source else { continue }
      let last = address + (table.isBits ? 1 : point.type.registers) - 1
      if range.overlaps(address...last) { written.insert(index) }
    }
  }

  /// What a device says that speaks when it likes.
  func spokenFrame(atNs time: Int64) -> [UInt8] { frames?.spoken { value($0, atNs: time) } ?? [] }
}
