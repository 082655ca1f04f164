// The last frames of a bus, for whoever asks later what happened: a fixed ring in the arena. One writer, the bus's
// thread; any number of readers, no lock: a cell is read again if it changed meanwhile, and left out if it has been
// overwritten.
//
// On RTU the bytes are those of the line: libmodbus sends what it is given plus the CRC, and hands out what it
// received. Not seen are the bytes of a reply that broke off before its timeout. On TCP the frames are shown in RTU
// form, with the CRC that they would have.
//
// Invariant: no personal value gets in. Of Modbus the data of replies from units with personal points are zeros, and
// so is everything on their line that is no checked reply. Of other lines with personal points everything is zeros that
// did not go out from here: where a value stands in a frame is known only as far as its sender keeps to its form.

import StreamCore
import Synchronization

package enum FrameKind: UInt8, BitwiseCopyable, Sendable {
  /// `reply` is also what a device sends that speaks when it likes.
  case request, reply
  /// Came in answer and was not one: `bytes` as far as known, `cause` says what was wrong.
  case broken
  /// The timeout passed.
  case silence
  /// Came when nothing was asked for.
  case stray
  case opened, lost
}

/// On whose account.
package enum FrameOrigin: UInt8, BitwiseCopyable, Sendable {
  case poll
  /// Asked to learn that no late reply is on its way; its values go nowhere.
  case fence
  case command
  case line
  /// A question of a bus that does not speak Modbus: a meter's, or one that a profile describes.
  case ask
}

package struct LineFrame: Sendable, Hashable {
  /// Counts from 1; what is missing in between has been overwritten.
  package var number: Int64
  package var at: Instant
  package var kind: FrameKind
  package var origin: FrameOrigin
  package var cause: Corruption?
  /// The data bytes are zeros instead of what was on the line.
  package var isMasked: Bool
  /// How many bytes there were, of which `bytes` has the first.
  package var length: Int
  /// With the CRC, as on an RTU line.
  package var bytes: [UInt8]

  package init(
    number: Int64, at: Instant, kind: FrameKind, origin: FrameOrigin = .line, cause: Corruption? = nil,
    isMasked: Bool = false, length: Int? = nil, bytes: [UInt8] = []
  ) {
    self.number = number
    self.at = at
    self.kind = kind
    self.origin = origin
    self.cause = cause
    self.isMasked = isMasked
    self.length = length ?? bytes.count
    self.bytes = bytes
  }
}

/// What a cell says of its frame, in one word.
private struct Facts: BitwiseCopyable {
  var kind: FrameKind
  var origin: FrameOrigin
  /// 0: none.
  var cause: UInt8
  var flags: UInt8
  var kept: UInt16
  var length: UInt16

  static let masked: UInt8 = 1
  static let hasChecksum: UInt8 = 2

  var packed: Int64 { unsafeBitCast(self, to: Int64.self) }
}

package struct BlackBox: @unchecked Sendable {
  // Unchecked: every word is atomic, and the arena outlives every thread.

  private static let bytesMax = Limits.frameBytesMax
  // version, time, facts, bytes
  private static let cellWords = 3 + (bytesMax + 7) / 8
  private static let count = Limits.framesKept

  private let words: UnsafeMutablePointer<Atomic<Int64>>
  /// 256 units, and whether any.
  private let personal: UnsafeMutablePointer<Bool>
  private let hasPersonal: Bool
  private let isModbus: Bool

  package static var bytes: Int {
    ((1 + count * cellWords) * 8).rounded(to: Arena.alignment) + Arena.bytes(of: Bool.self, count: 256)
  }

  package init(personalUnits: [Int], isModbus: Bool, arena: inout Arena) {
    self.isModbus = isModbus
    let total = 1 + Self.count * Self.cellWords
    words = arena.takeBytes(total * 8).bindMemory(to: Atomic<Int64>.self, capacity: total)
    for index in 0..<total { (words + index).initialize(to: Atomic(0)) }
    personal = arena.take(Bool.self, count: 256, first: false)
    for unit in personalUnits { personal[unit & 0xFF] = true }
    hasPersonal = !personalUnits.isEmpty
  }

  // MARK: Bus thread only

  package func note(
    _ kind: FrameKind, _ origin: FrameOrigin, _ bytes: UnsafeBufferPointer<UInt8>, length: Int? = nil,
    hasChecksum: Bool, cause: Corruption? = nil, at: Instant
  ) {
    let number = words[0].load(ordering: .relaxed) + 1
    let cell = self.cell(number)
    cell[0].store(-1, ordering: .relaxed)
    atomicMemoryFence(ordering: .releasing)
    let kept = Swift.min(bytes.count, Self.bytesMax)
    let masked = firstMasked(kind, bytes)
    cell[1].store(at.nanoseconds, ordering: .relaxed)
    let facts = Facts(
      kind: kind, origin: origin, cause: cause.map { $0.rawValue + 1 } ?? 0,
      flags: (masked < kept ? Facts.masked : 0) | (hasChecksum ? Facts.hasChecksum : 0), kept: UInt16(kept),
      length: UInt16(Swift.min(length ?? bytes.count, 0xFFFF)))
    cell[2].store(facts.packed, ordering: .relaxed)
    var word = 0
    var place = 0
    while place < kept {
      var packed: UInt64 = 0
      let end = Swift.min(place + 8, kept)
      var shift: UInt64 = 0
      while place < end {
        if place < masked { packed |= UInt64(bytes[place]) << shift }
        shift += 8
        place += 1
      }
      cell[3 + word].store(Int64(bitPattern: packed), ordering: .relaxed)
      word += 1
    }
    cell[0].store(number, ordering: .releasing)
    words[0].store(number, ordering: .releasing)
  }

  /// From where on a frame's bytes must not be kept.
  private func firstMasked(_ kind: FrameKind, _ bytes: UnsafeBufferPointer<UInt8>) -> Int {
    guard isModbus else { return hasPersonal && kind != .request ? 0 : bytes.count }
    switch kind {
    case .request: return bytes.count > 1 && bytes[1] > 4 && personal[Int(bytes[0])] ? 6 : bytes.count
    case .reply:
      guard hasPersonal, bytes.count > 3, personal[Int(bytes[0])], bytes[1] <= 4 else { return bytes.count }
      return 3
    case .broken, .stray: return hasPersonal ? 0 : bytes.count
    case .silence, .opened, .lost: return bytes.count
    }
  }

  private func cell(_ number: Int64) -> UnsafeMutablePointer<Atomic<Int64>> {
    words + 1 + Int(number % Int64(Self.count)) * Self.cellWords
  }

  // MARK: Any thread

  /// The number of the last frame; 0: none yet.
  package var newest: Int64 { words[0].load(ordering: .acquiring) }

  /// Those after `number`, oldest first, at most `most`.
  package func frames(after number: Int64, most: Int = Limits.framesKept) -> [LineFrame] {
    let newest = self.newest
    var frames: [LineFrame] = []
    var next = Swift.max(Swift.max(number, 0) + 1, newest - Int64(Self.count) + 1)
    while next <= newest, frames.count < most {
      if let frame = frame(next) { frames.append(frame) }
      next += 1
    }
    return frames
  }

  private func frame(_ number: Int64) -> LineFrame? {
    let cell = self.cell(number)
    guard cell[0].load(ordering: .acquiring) == number else { return nil }
    let at = cell[1].load(ordering: .relaxed)
    let packedFacts = cell[2].load(ordering: .relaxed)
    let kept = Swift.min(Int(truncatingIfNeeded: UInt64(bitPattern: packedFacts) >> 32 & 0xFFFF), Self.bytesMax)
    var bytes: [UInt8] = []
    for word in 0..<((kept + 7) / 8) {
      let packed = UInt64(bitPattern: cell[3 + word].load(ordering: .relaxed))
      for byte in 0..<8 where word * 8 + byte < kept {
        bytes.append(UInt8(truncatingIfNeeded: packed >> UInt64(8 * byte)))
      }
    }
    atomicMemoryFence(ordering: .acquiring)
    guard cell[0].load(ordering: .relaxed) == number else { return nil }
    // Whole: only now may it be taken for what was put there.
    let facts = unsafeBitCast(packedFacts, to: Facts.self)
    var frame = LineFrame(
      number: number, at: Instant(nanoseconds: at), kind: facts.kind, origin: facts.origin,
      cause: Corruption(rawValue: facts.cause &- 1), isMasked: facts.flags & Facts.masked != 0,
      length: Int(facts.length), bytes: bytes)
    let isWhole = frame.kind == .request || frame.kind == .reply
    let shows = facts.flags & Facts.hasChecksum != 0
    if isModbus, isWhole, frame.isMasked || !shows {
      // Never on the line in this form (TCP, or masked), or sent by libmodbus behind what it was given.
      if shows { frame.bytes.removeLast(Swift.min(2, frame.bytes.count)) }
      let sum = modbusChecksum(frame.bytes)
      frame.bytes += [UInt8(truncatingIfNeeded: sum), UInt8(truncatingIfNeeded: sum >> 8)]
      frame.length = frame.bytes.count
    }
    return frame
  }
}
