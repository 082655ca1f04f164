// Where a bus thread puts what the rest of the house may see: counters, and the latest value of each point. One
// writer, any number of readers, no lock: counters are atomic words, a point's cell is read again if it changed
// meanwhile.

import StreamCore
import Synchronization

/// Atomic words in the arena.
package struct Counters<Name: RawRepresentable>: @unchecked Sendable where Name.RawValue == Int {
  // Unchecked: the words are atomic, and the arena outlives every thread.
  private let words: UnsafeMutablePointer<Atomic<Int64>>

  package static func bytes(_ count: Int) -> Int { (count * 8).rounded(to: Arena.alignment) }

  /// `count`: one more than the greatest raw value.
  package init(_ count: Int, arena: inout Arena) {
    let memory = arena.takeBytes(count * 8)
    words = memory.bindMemory(to: Atomic<Int64>.self, capacity: count)
    for index in 0..<count { (words + index).initialize(to: Atomic(0)) }
  }

  package subscript(name: Name) -> Int64 { words[name.rawValue].load(ordering: .relaxed) }

  package func add(_ name: Name, _ amount: Int64 = 1) {
    words[name.rawValue].wrappingAdd(amount, ordering: .relaxed)
  }
  package func set(_ name: Name, _ value: Int64) { words[name.rawValue].store(value, ordering: .relaxed) }
}

package enum BusCounter: Int, CaseIterable {
  case transactions, good, timeouts, crcErrors, otherErrors, exceptions, lateReplies, strayBytes, reopened
  /// Reads that only proved that nothing is owed any more.
  case fences
  /// 1: the line gives back what is sent on it.
  case echo
  /// How far the line is behind its intervals; 100: in time.
  case stretchPercent
  /// Nanoseconds of ideal wire time, and of the time it took, of the transactions so far.
  case idealNs, takenNs
  /// The part of the last ten seconds in which the wire was in use, in millionths.
  case utilisationPpm
  case cycleNs
  /// Of the last failure to open, or why the line was lost; 0: none.
  case problem
  case state
  case produced, lost
  /// Readings that came late, and of these those that found a window closed.
  case lateReadings, missedWindow
  /// Set by others: what makes wall time of monotonic time; 0: not known.
  case clockOffsetNs
  /// When the thread moved last; while it waits: until when.
  case pulse
}

package enum DeviceCounter: Int, CaseIterable {
  case transactions, good, timeouts, crcErrors, otherErrors, exceptions
  case state
  /// Monotonic nanoseconds of the last good reply; 0: never.
  case lastSeenNs
  case latencyMeanNs, latencySpreadNs, latencyWorstNs, latencyCount
  /// See `Tolerance`.
  case silenceStep, silenceLimit, silenceBlames
  /// 1: what earlier runs learned of it was forgotten since the start.
  case forgotten
}

/// The latest value of every point of one bus.
package struct PointBoard: BitwiseCopyable, @unchecked Sendable {
  // Unchecked: every word is atomic; a torn cell is noticed by its version and read again.

  // version, raw, quality and text length, read at, four words of text
  private static let cellWords = 8
  static let cellBytes = 8 * cellWords
  /// A writer is in the cell for some nanoseconds, unless it was put aside there: then nobody waits for it.
  private static let looksMax = 4
  private let words: UnsafeMutablePointer<Atomic<Int64>>
  package let count: Int

  package static func bytes(points: Int) -> Int { (points * cellWords * 8).rounded(to: Arena.alignment) }

  package init(points: Int, arena: inout Arena) {
    count = points
    let total = Swift.max(points, 1) * Self.cellWords
    words = arena.takeBytes(total * 8).bindMemory(to: Atomic<Int64>.self, capacity: total)
    for index in 0..<total { (words + index).initialize(to: Atomic(0)) }
    for point in 0..<points { put(point, raw: 0, quality: .bad, text: .init(start: nil, count: 0), at: .zero) }
  }

  /// Bus thread only.
  package func put(
    _ point: Int, raw: Int64, quality: Quality, text: UnsafeBufferPointer<UInt8>, at now: Instant
  ) {
    let cell = words + point * Self.cellWords
    let version = cell[0].load(ordering: .relaxed)
    cell[0].store(version + 1, ordering: .relaxed)
    atomicMemoryFence(ordering: .releasing)
    let length = Swift.min(text.count, Limits.textBytesMax)
    cell[1].store(raw, ordering: .relaxed)
    cell[2].store(Int64(quality.rawValue) | Int64(length) << 8, ordering: .relaxed)
    cell[3].store(now.nanoseconds, ordering: .relaxed)
    for word in 0..<4 {
      var packed: UInt64 = 0
      for byte in 0..<8 where word * 8 + byte < length { packed |= UInt64(text[word * 8 + byte]) << UInt64(8 * byte) }
      cell[4 + word].store(Int64(bitPattern: packed), ordering: .relaxed)
    }
    cell[0].store(version + 2, ordering: .releasing)
  }

  /// Marks the value as no longer the present one: stale if there ever was one, else bad.
  package func putStale(_ point: Int) {
    let cell = words + point * Self.cellWords
    let packed = cell[2].load(ordering: .relaxed)
    let hadValue = UInt8(truncatingIfNeeded: packed) != Quality.bad.rawValue
    guard hadValue else { return }
    cell[2].store(packed & ~0xFF | Int64(Quality.stale.rawValue), ordering: .relaxed)
  }

  /// The number in the cell, without its text; nil: it was being written each time.
  func look(_ point: Int) -> (raw: Int64, quality: Quality, at: Instant)? {
    let cell = words + point * Self.cellWords
    for _ in 0..<Self.looksMax {
      let before = cell[0].load(ordering: .acquiring)
      let raw = cell[1].load(ordering: .relaxed)
      let packed = cell[2].load(ordering: .relaxed)
      let at = cell[3].load(ordering: .relaxed)
      atomicMemoryFence(ordering: .acquiring)
      guard before % 2 == 0, cell[0].load(ordering: .relaxed) == before else { continue }
      return (raw, Quality(rawValue: UInt8(truncatingIfNeeded: packed)) ?? .bad, Instant(nanoseconds: at))
    }
    return nil
  }

  package func report(_ point: Int) -> PointReport {
    let cell = words + point * Self.cellWords
    while true {
      let before = cell[0].load(ordering: .acquiring)
      var report = PointReport()
      report.raw = cell[1].load(ordering: .relaxed)
      let packed = cell[2].load(ordering: .relaxed)
      let at = cell[3].load(ordering: .relaxed)
      var text: [UInt8] = []
      let length = Int(packed >> 8)
      for word in 0..<4 {
        let bits = UInt64(bitPattern: cell[4 + word].load(ordering: .relaxed))
        for byte in 0..<8 where word * 8 + byte < length {
          text.append(UInt8(truncatingIfNeeded: bits >> UInt64(8 * byte)))
        }
      }
      atomicMemoryFence(ordering: .acquiring)
      guard before % 2 == 0, cell[0].load(ordering: .relaxed) == before else { continue }
      report.quality = Quality(rawValue: UInt8(truncatingIfNeeded: packed)) ?? .bad
      report.text = text
      report.readAt = at == 0 ? nil : Instant(nanoseconds: at)
      return report
    }
  }
}
