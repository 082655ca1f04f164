// What happens on a virtual RS-485 pair, byte by byte: decides, on absolute times, when a request is complete, when it
// is ignored, and when each byte of a reply is there. Pure: time comes in, actions come out.
//
// Invariants:
//  1. Every byte of a reply has a due time that follows from the reply's begin alone: an action that comes late shifts
//     nothing after it.
//  2. A request is complete when its last byte's wire time and then t3.5 have passed (paced), or by its length
//     (unpaced).
//  3. Two emissions never overlap.

import FieldBus

package struct RTUWire {
  package enum Action: Equatable {
    /// A request that was complete at this time.
    case answer([UInt8], endedAt: Int64)
    case write([UInt8])
    case wait(until: Int64)
  }

  private struct Planned {
    var emission: Emission
    var startAt: Int64
  }
  private struct Sending {
    var emission: Emission
    var base: Int64
    var sent = 0
  }

  private let characterNs: Int64
  private let silenceNs: Int64
  private let turnaroundNs: Int64
  private let paced: Bool
  private let strict: Bool
  private let isModbus: Bool

  private var frame: [UInt8] = []
  private var frameEnd: Int64 = 0
  private var ignoring = false
  /// The silence before the frame that has begun, or that was complete last; none before it: for ever.
  package private(set) var gapNs = Int64.max
  private var outbox: [Planned] = []
  private var sending: Sending?
  /// The end of the last emission, and of the silence after it.
  private var busyUntil: Int64 = 0
  private var quietUntil: Int64 = 0
  /// Requests that came too early, since the start.
  package private(set) var early = 0

  /// Bytes that are due within this long leave together.
  package static let chunkNs: Int64 = 1_000_000
  /// What ends a frame of unknown length on a line without pace.
  package static let unpacedSilenceNs: Int64 = 5_000_000

  package init(_ line: SiteLine) {
    paced = line.paced
    strict = line.strict
    isModbus = line.busProtocol.isModbus
    characterNs = line.paced ? line.format.characterNs : 0
    silenceNs = line.paced ? line.format.silenceNs : 0
    turnaroundNs = line.turnaroundNs
  }

  package mutating func received(_ bytes: [UInt8], at now: Int64) {
    if frame.isEmpty {
      frameEnd = now
      gapNs = sending != nil ? 0 : busyUntil == 0 ? .max : Swift.max(0, now - busyUntil)
      ignoring = strict && (sending != nil || now < quietUntil)
      if ignoring { early += 1 }
    }
    frame += bytes
    frameEnd = Swift.max(frameEnd, now) + Int64(bytes.count) * characterNs
    // A master that never stops talking is listened to no further than a frame can be long.
    if frame.count > 512 { frame.removeSubrange(512...) }
  }

  /// Queues what shall leave after a request that ended then; `endedAt` + turnaround + delay is when it begins.
  package mutating func plan(_ emissions: [Emission], endedAt: Int64) {
    for emission in emissions where !emission.bytes.isEmpty {
      let startAt = endedAt + turnaroundNs + emission.delayNs
      let place = outbox.firstIndex { $0.startAt > startAt } ?? outbox.count
      outbox.insert(Planned(emission: emission, startAt: startAt), at: place)
    }
  }

  /// Nobody is there any more: half a request and pending replies go nowhere.
  package mutating func reset() {
    frame = []
    ignoring = false
    outbox = []
    sending = nil
  }

  /// Nothing is being sent.
  package var isSilent: Bool { sending == nil }

  package mutating func next(at now: Int64) -> Action {
    var wakeAt = Int64.max
    if sending == nil, let first = outbox.first, first.startAt <= now {
      outbox.removeFirst()
      sending = Sending(emission: first.emission, base: Swift.max(first.startAt, busyUntil))
    }
    if var current = sending {
      let due = dueCount(current, at: now)
      if due > current.sent {
        let bytes = Array(current.emission.bytes[current.sent..<due])
        current.sent = due
        sending = current
        if due == current.emission.bytes.count { finish(current) }
        return .write(bytes)
      }
      wakeAt = dueTime(current, count: chunkEnd(current))
    } else if let first = outbox.first {
      wakeAt = first.startAt
    }
    if !frame.isEmpty {
      let end = frameCompleteAt()
      if now >= end {
        let whole = frame
        frame = []
        if !ignoring { return .answer(whole, endedAt: end) }
        ignoring = false
      } else {
        wakeAt = Swift.min(wakeAt, end)
      }
    }
    return .wait(until: wakeAt)
  }

  private func frameCompleteAt() -> Int64 {
    if paced { return frameEnd + silenceNs }
    if isModbus, let length = RequestFrame.expectedLength(frame, framing: .rtu), frame.count >= length {
      return frameEnd
    }
    return frameEnd + RTUWire.unpacedSilenceNs
  }

  private mutating func finish(_ done: Sending) {
    busyUntil = dueTime(done, count: done.emission.bytes.count)
    quietUntil = busyUntil + silenceNs
    sending = nil
  }

  /// When the first `count` bytes are through.
  private func dueTime(_ sending: Sending, count: Int) -> Int64 {
    sending.base + Int64(count) * (characterNs + sending.emission.gapNs)
  }

  private func dueCount(_ sending: Sending, at now: Int64) -> Int {
    let perByte = characterNs + sending.emission.gapNs
    guard perByte > 0 else { return now >= sending.base ? sending.emission.bytes.count : 0 }
    let through = Swift.max(0, (now - sending.base) / perByte)
    return Swift.min(sending.emission.bytes.count, Int(Swift.min(through, Int64(sending.emission.bytes.count))))
  }

  /// Where the next chunk ends: about a millisecond of bytes, at least one.
  private func chunkEnd(_ sending: Sending) -> Int {
    let perByte = characterNs + sending.emission.gapNs
    let chunk = perByte > 0 ? Swift.max(1, Int(RTUWire.chunkNs / perByte)) : sending.emission.bytes.count
    return Swift.min(sending.emission.bytes.count, sending.sent + chunk)
  }
}
