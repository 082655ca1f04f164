// All that a bus shows of itself, and where it is asked: in its part of the arena.

import StreamCore
import Synchronization

package struct BusBoard: @unchecked Sendable {
  // Unchecked: every word is atomic, and the arena outlives every thread.

  package let bus: Counters<BusCounter>
  package let points: PointBoard
  package let inbox: Inbox
  package let blackBox: BlackBox
  private let devices: [Counters<DeviceCounter>]
  /// By node of the layout: 1 once the device has refused it.
  private let splits: UnsafeMutablePointer<Atomic<Int64>>
  private let splitCount: Int

  // Values of the counters named `state`.
  package static let starting: Int64 = 0
  package static let running: Int64 = 1
  package static let lost: Int64 = 2
  package static let stopped: Int64 = 3
  package static let online: Int64 = 1
  package static let offline: Int64 = 2

  package init(layout: BusLayout, arena: inout Arena) {
    bus = Counters(BusCounter.allCases.count, arena: &arena)
    var made: [Counters<DeviceCounter>] = []
    for _ in layout.devices { made.append(Counters(DeviceCounter.allCases.count, arena: &arena)) }
    devices = made
    points = PointBoard(points: layout.size.points, arena: &arena)
    inbox = Inbox(arena: &arena)
    let personal = layout.devices.filter { $0.points.contains(where: \.personal) }
    blackBox = BlackBox(
      personalUnits: personal.map(\.address), isModbus: layout.spec.busProtocol.isModbus, arena: &arena)
    splitCount = layout.nodes.count
    splits = arena.takeBytes(Swift.max(splitCount, 1) * 8).bindMemory(
      to: Atomic<Int64>.self, capacity: Swift.max(splitCount, 1))
    for index in 0..<splitCount { (splits + index).initialize(to: Atomic(0)) }
  }

  /// Bus thread only, at the begin of a turn: the clock goes into the pipeline, and moves it on.
  func tick(_ pipeline: inout Pipeline, at now: Instant) {
    pipeline.setClock(offsetNs: bus[.clockOffsetNs], at: now)
    pipeline.tick(at: now)
  }

  /// Bus thread only: what the pipeline has counted.
  func show(_ pipeline: borrowing Pipeline) {
    bus.set(.produced, pipeline.produced)
    bus.set(.lost, pipeline.lost)
    bus.set(.lateReadings, pipeline.late)
    bus.set(.missedWindow, pipeline.missedWindow)
  }

  package func setSplit(_ node: Int) { splits[node].store(1, ordering: .relaxed) }
  package func clearSplit(_ node: Int) { splits[node].store(0, ordering: .relaxed) }
  package func isSplit(_ node: Int) -> Bool { splits[node].load(ordering: .relaxed) != 0 }

  package func device(_ index: Int) -> Counters<DeviceCounter> { devices[index] }
}

/// How much of the last ten seconds the wire was in use. Ten slots, one a second.
struct UtilisationMeter {
  private static let seconds: Int64 = 10
  private var busyNs = InlineArray<10, Int64>(repeating: 0)
  private var second: Int64 = -1
  private var firstSecond: Int64 = -1

  private mutating func turn(to now: Instant) {
    let current = now.nanoseconds / 1_000_000_000
    if second < 0 {
      second = current
      firstSecond = current
    }
    while second < current {
      second += 1
      busyNs[Int(second % Self.seconds)] = 0
      if current - second > Self.seconds { second = current - Self.seconds }
    }
  }

  mutating func add(_ spanNs: Int64, at now: Instant) {
    turn(to: now)
    busyNs[Int(second % Self.seconds)] += spanNs
  }

  /// Millionths.
  mutating func ppm(at now: Instant) -> Int64 {
    turn(to: now)
    var sum: Int64 = 0
    for index in 0..<10 { sum += busyNs[index] }
    let intoSecond = now.nanoseconds % 1_000_000_000
    let seen = Swift.min(second - firstSecond, Self.seconds - 1) * 1_000_000_000 + intoSecond
    return seen <= 0 ? 0 : Swift.min(sum * 1_000 / (seen / 1_000 + 1), 1_000_000)
  }
}
