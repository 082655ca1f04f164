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
    var isMissing = false
    var before: StoredEvent?
    var sequence = max(after + 1, oldestSequence)
    // The log came round over what is in front of its oldest entry; what is missing behind that is damaged.
    func tell(to last: Int64, epoch: UInt32, end: Instant?) {
      let start = before?.epoch == epoch ? before?.event.at : nil
      if answer.next + 1 < oldestSequence {
        let to = min(last, oldestSequence - 1)
        answer.gaps.append(
          Gap(
            from: answer.next + 1, to: to, epoch: epoch, start: start, end: to == last ? end : nil, reason: .evicted))
        answer.next = to
      }
      guard answer.next < last else { return }
      answer.gaps.append(
        Gap(from: answer.next + 1, to: last, epoch: epoch, start: start, end: end, reason: .damaged))
      answer.next = last
    }
    while sequence <= newest, answer.records < recordsMax {
      guard let event = try event(sequence) else {
        isMissing = true
        sequence += 1
        continue
      }
      if answer.next < sequence - 1 {
        tell(to: sequence - 1, epoch: event.epoch, end: event.event.at)
        isMissing = false
        continue
      }
      answer.events.append(event)
      answer.next = sequence
      before = event
      sequence += 1
    }
    if isMissing, sequence > newest { tell(to: newest, epoch: before?.epoch ?? 0, end: nil) }
    return answer
  }
}
