// The pipeline's way out: samples and events into batches, batches to the store. On the bus's thread.
//
// Invariant: produced = handed over + in the filling batch + lost, in samples; what is lost is announced in the next
// batch.

extension Pipeline {
  mutating func emit(_ sample: Sample, text: UnsafeBufferPointer<UInt8>) {
    produced += 1
    if put(sample, text) { return }
    handOver()
    if put(sample, text) { return }
    if lostUnannounced == 0 { lostFrom = sample.at }
    lostUnannounced += 1
    lostTo = sample.at
    lost += 1
  }

  mutating func put(_ sample: Sample, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
    let filling = channel.filling
    if lostUnannounced > 0 {
      // The announcement stands before the samples of its batch, so it needs one that is still empty.
      guard filling.isEmpty else { return false }
      filling.addLost(lostUnannounced, from: lostFrom, to: lostTo)
      lostUnannounced = 0
    }
    return text.count > 0 ? filling.append(sample, text: text) : filling.append(sample)
  }

  /// Hands the filling batch over if it holds something and another is free; and what was lost behind it, which
  /// nothing may come after.
  package mutating func handOver() {
    announce()
    guard !channel.filling.isEmpty, channel.handOver() else { return }
    handedOver = true
    guard lostUnannounced > 0 else { return }
    announce()
    _ = channel.handOver()
  }

  private mutating func announce() {
    guard lostUnannounced > 0, channel.filling.isEmpty else { return }
    channel.filling.addLost(lostUnannounced, from: lostFrom, to: lostTo)
    lostUnannounced = 0
  }

  /// Hands over what has waited long enough.
  mutating func tickBatch(at now: Instant) {
    let filling = channel.filling
    guard !filling.isEmpty, now >= retryHandOverAt else { return }
    if now - filling.info.openedAt >= Limits.batchAgeNsMax {
      handOver()
      retryHandOverAt = now + Limits.handOverRetryNs
    } else if filling.eventCount > 0 {
      handOverInHaste(at: now)
    }
  }

  /// A batch with an alarm does not wait to be filled, unless the store is behind: then it is tried again soon.
  mutating func handOverInHaste(at now: Instant) {
    if channel.waiting < Limits.batchesHastyMax {
      handOver()
    } else {
      retryHandOverAt = now + Limits.handOverRetryNs
    }
  }

  /// True once after a hand-over: wake the store.
  package mutating func takeHandedOver() -> Bool {
    defer { handedOver = false }
    return handedOver
  }
}
