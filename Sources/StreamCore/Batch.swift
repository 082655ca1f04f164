// What a bus hands to the store: up to 256 samples, their texts, and the alarms that changed. The memory belongs to the
// arena that was taken at start; a Batch only points there. Written by the bus thread, then read by the store thread:
// `BatchChannel` (FieldBus) passes it from one to the other, never both at once.

/// The states that an alarm passes through, named after ISA-18.2 / IEC 62682.
package enum AlarmState: UInt8, BitwiseCopyable, Sendable {
  case normal = 0
  case unacknowledged = 1
  case acknowledged = 2
  /// The condition is gone, nobody has acknowledged it.
  case returnedUnacknowledged = 3

  /// The condition holds.
  package var isActive: Bool { self == .unacknowledged || self == .acknowledged }
}

package enum Severity: UInt8, Comparable, BitwiseCopyable, Sendable {
  case notice = 0
  case warning = 1
  case major = 2
  case critical = 3

  package static func < (a: Severity, b: Severity) -> Bool { a.rawValue < b.rawValue }
}

/// A value that a condition looked at when its alarm changed.
@frozen
package struct AlarmCause: BitwiseCopyable, Sendable {
  package var series: UInt16
  package var quality: Quality
  package var raw: Int64

  package init(series: UInt16, quality: Quality, raw: Int64) {
    self.series = series
    self.quality = quality
    self.raw = raw
  }
}

package struct AlarmEvent: BitwiseCopyable, Sendable {
  /// The alarm's number in the catalogue.
  package var alarm: UInt16
  package var state: AlarmState
  package var severity: Severity
  package var causeCount: UInt8
  /// When the state changed.
  package var at: Instant
  /// When the condition began to hold (or to be gone), that is before its `for` time.
  package var since: Instant
  package var causes: (AlarmCause, AlarmCause, AlarmCause, AlarmCause)

  package init(alarm: UInt16, state: AlarmState, severity: Severity, at: Instant, since: Instant) {
    self.alarm = alarm
    self.state = state
    self.severity = severity
    self.at = at
    self.since = since
    causeCount = 0
    let none = AlarmCause(series: 0, quality: .bad, raw: 0)
    causes = (none, none, none, none)
  }

  package func cause(_ index: Int) -> AlarmCause {
    switch index {
    case 0: return causes.0
    case 1: return causes.1
    case 2: return causes.2
    default: return causes.3
    }
  }

  /// More than four causes are not kept: the message says what matters.
  package mutating func add(_ cause: AlarmCause) {
    switch causeCount {
    case 0: causes.0 = cause
    case 1: causes.1 = cause
    case 2: causes.2 = cause
    case 3: causes.3 = cause
    default: return
    }
    causeCount += 1
  }
}

package struct Batch: BitwiseCopyable, @unchecked Sendable {
  // Unchecked: one thread has it at a time; the channel that passes it on is what proves it.

  package struct Header: BitwiseCopyable {
    package var bus: UInt16 = 0
    package var sampleCount: Int32 = 0
    package var textBytes: Int32 = 0
    package var eventCount: Int32 = 0
    /// Samples that found no free batch just before this one: the store reports them as a gap.
    package var lostCount: Int64 = 0
    package var lostFrom: Instant = .zero
    package var lostTo: Instant = .zero
    /// When the first sample was put in.
    package var openedAt: Instant = .zero

    package init() {}
  }

  private let header: UnsafeMutablePointer<Header>
  private let sampleBase: UnsafeMutablePointer<Sample>
  private let eventBase: UnsafeMutablePointer<AlarmEvent>
  private let textBase: UnsafeMutablePointer<UInt8>

  /// What one batch takes of the arena.
  package static let bytes =
    MemoryLayout<Header>.stride.rounded(to: 64)
    + (MemoryLayout<Sample>.stride * Limits.samplesPerBatchMax).rounded(to: 64)
    + (MemoryLayout<AlarmEvent>.stride * Limits.eventsPerBatchMax).rounded(to: 64)
    + Limits.textBytesPerBatch.rounded(to: 64)

  /// `memory`: `Batch.bytes` long, aligned to 64; the batch begins empty.
  package init(memory: UnsafeMutableRawPointer) {
    self.init(existing: memory)
    header.initialize(to: Header())
  }

  /// A batch that stands in `memory` already.
  package init(existing memory: UnsafeMutableRawPointer) {
    var place = memory
    header = place.bindMemory(to: Header.self, capacity: 1)
    place += MemoryLayout<Header>.stride.rounded(to: 64)
    sampleBase = place.bindMemory(to: Sample.self, capacity: Limits.samplesPerBatchMax)
    place += (MemoryLayout<Sample>.stride * Limits.samplesPerBatchMax).rounded(to: 64)
    eventBase = place.bindMemory(to: AlarmEvent.self, capacity: Limits.eventsPerBatchMax)
    place += (MemoryLayout<AlarmEvent>.stride * Limits.eventsPerBatchMax).rounded(to: 64)
    textBase = place.bindMemory(to: UInt8.self, capacity: Limits.textBytesPerBatch)
  }

  package var info: Header {
    get { header.pointee }
    nonmutating set { header.pointee = newValue }
  }
  package var sampleCount: Int { Int(header.pointee.sampleCount) }
  package var eventCount: Int { Int(header.pointee.eventCount) }
  package var isEmpty: Bool { sampleCount == 0 && eventCount == 0 && header.pointee.lostCount == 0 }

  package func sample(_ index: Int) -> Sample {
    precondition(index >= 0 && index < sampleCount)
    return sampleBase[index]
  }
  package func event(_ index: Int) -> AlarmEvent {
    precondition(index >= 0 && index < eventCount)
    return eventBase[index]
  }
  /// The bytes of a sample's text. Valid as long as the batch is held.
  package func text(of sample: Sample) -> UnsafeBufferPointer<UInt8> {
    guard sample.hasText, sample.textOffset + sample.textLength <= Int(header.pointee.textBytes) else {
      return UnsafeBufferPointer(start: textBase, count: 0)
    }
    return UnsafeBufferPointer(start: textBase + sample.textOffset, count: sample.textLength)
  }

  package func clear(bus: Int) {
    var fresh = Header()
    fresh.bus = UInt16(truncatingIfNeeded: bus)
    header.pointee = fresh
  }

  /// False: full, hand it over first.
  package func append(_ sample: Sample) -> Bool {
    let count = Int(header.pointee.sampleCount)
    guard count < Limits.samplesPerBatchMax else { return false }
    if isEmpty { header.pointee.openedAt = sample.at }
    sampleBase[count] = sample
    header.pointee.sampleCount += 1
    return true
  }

  /// Appends a sample with its text. False: no room for the one or the other.
  package func append(_ sample: Sample, text: UnsafeBufferPointer<UInt8>) -> Bool {
    let used = Int(header.pointee.textBytes)
    guard used + text.count <= Limits.textBytesPerBatch, sampleCount < Limits.samplesPerBatchMax else {
      return false
    }
    var index = 0
    while index < text.count {
      textBase[used + index] = text[index]
      index += 1
    }
    header.pointee.textBytes += Int32(truncatingIfNeeded: text.count)
    var placed = sample
    placed.hasText = true
    placed.raw = Sample.textPlace(offset: used, length: text.count)
    return append(placed)
  }

  package func append(_ event: AlarmEvent) -> Bool {
    let count = Int(header.pointee.eventCount)
    guard count < Limits.eventsPerBatchMax else { return false }
    if isEmpty { header.pointee.openedAt = event.at }
    eventBase[count] = event
    header.pointee.eventCount += 1
    return true
  }

  package func addLost(_ count: Int, from: Instant, to: Instant) {
    if isEmpty { header.pointee.openedAt = to }
    header.pointee.lostFrom = from
    header.pointee.lostTo = to
    header.pointee.lostCount += count.wide
  }
}

extension Int {
  /// Up to the next multiple; `step` is positive.
  @inlinable
  package func rounded(to step: Int) -> Int { (self + step - 1) / step * step }
}
