// What a bus hands to the store: up to 256 samples, their texts, and the alarms that changed. The memory belongs to the
// arena that was taken at start; a Batch only points there. Written by the bus thread, then read by the store thread:
// `BatchChannel` (FieldBus) passes it from one to the other, never both at once.

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
    put(text, at: used)
    header.pointee.textBytes += Int32(truncatingIfNeeded: text.count)
    var placed = sample
    placed.hasText = true
    placed.raw = Sample.textPlace(offset: used, length: text.count)
    return append(placed)
  }

  /// For one more event.
  func hasRoom(textBytes: Int) -> Bool {
    eventCount < Limits.eventsPerBatchMax && Int(header.pointee.textBytes) + textBytes <= Limits.textBytesPerBatch
  }

  package func append(_ event: AlarmEvent) -> Bool {
    let count = Int(header.pointee.eventCount)
    guard count < Limits.eventsPerBatchMax else { return false }
    if isEmpty { header.pointee.openedAt = event.at }
    eventBase[count] = event
    header.pointee.eventCount += 1
    return true
  }

  /// Who did it and what they wrote go into the texts. False: no room; nothing was put in.
  package func append(
    _ event: AlarmEvent, by: UnsafeBufferPointer<UInt8>, note: UnsafeBufferPointer<UInt8>
  ) -> Bool {
    let used = Int(header.pointee.textBytes)
    guard used + by.count + note.count <= Limits.textBytesPerBatch else { return false }
    var placed = event
    placed.textOffset = UInt16(truncatingIfNeeded: used)
    placed.byLength = UInt8(truncatingIfNeeded: by.count)
    placed.noteLength = UInt8(truncatingIfNeeded: note.count)
    guard append(placed) else { return false }
    put(by, at: used)
    put(note, at: used + by.count)
    header.pointee.textBytes += Int32(truncatingIfNeeded: by.count + note.count)
    return true
  }

  private func put(_ bytes: UnsafeBufferPointer<UInt8>, at offset: Int) {
    var index = 0
    while index < bytes.count {
      textBase[offset + index] = bytes[index]
      index += 1
    }
  }

  /// Valid as long as the batch is held.
  package func texts(
    of event: AlarmEvent
  ) -> (by: UnsafeBufferPointer<UInt8>, note: UnsafeBufferPointer<UInt8>) {
    let by = textBase + Int(event.textOffset)
    let note = by + Int(event.byLength)
    return (
      UnsafeBufferPointer(start: by, count: Int(event.byLength)),
      UnsafeBufferPointer(start: note, count: Int(event.noteLength))
    )
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
