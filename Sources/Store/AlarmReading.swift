// Reads the alarm log from a sequence on: events, and gaps for those that will never come.
//
// Invariant: events and gaps of an answer cover `after + 1 ... next` without a hole and without an overlap.

import StreamCore

struct AlarmAnswer {
  var gaps: [Gap] = []
  var events: [StoredEvent] = []
  var next: Int64
  var records: Int { gaps.count + events.count }
}

extension AlarmLog {
  /// `after` is at most the newest sequence.
  func read(after: Int64, recordsMax: Int) throws(StoreFailure) -> AlarmAnswer {
    var answer = AlarmAnswer(next: after)
    var missing: (from: Int64, reason: GapReason)?
    var before: StoredEvent?
    var sequence = after + 1
    if sequence < oldestSequence {
      missing = (sequence, .evicted)
      sequence = oldestSequence
    }
    while sequence <= newest, answer.records < recordsMax {
      guard let event = try event(sequence) else {
        if missing == nil { missing = (sequence, .damaged) }
        sequence += 1
        continue
      }
      if let lost = missing {
        let start = before?.epoch == event.epoch ? before?.event.at : nil
        answer.gaps.append(
          Gap(
            from: lost.from, to: sequence - 1, epoch: event.epoch, start: start, end: event.event.at,
            reason: lost.reason))
        answer.next = sequence - 1
        missing = nil
        continue
      }
      answer.events.append(event)
      answer.next = sequence
      before = event
      sequence += 1
    }
    if let lost = missing, sequence > newest {
      answer.gaps.append(
        Gap(
          from: lost.from, to: newest, epoch: before?.epoch ?? 0, start: before?.event.at, end: nil,
          reason: lost.reason))
      answer.next = newest
    }
    return answer
  }
}
