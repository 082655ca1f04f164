// What names the body of a push: the same for the same batches and gaps, whenever and by whichever run of the agent it
// is made, and another one for others. A value.
//
//   STORE.EPOCH.LANE.SEQUENCE, STORE.EPOCH.LANE.FIRST-LAST      one batch and nothing else: the batch's own id
//   STORE.EPOCH.LANE.FIRST-LAST.FINGERPRINT                     from the first batch's id, the last one's end
//   STORE.gaps.LANE.FROM-TO.FINGERPRINT                         gaps alone
//
// Invariant: nothing is in it that another run would say otherwise: no time, no position of a cursor.

import StreamCore

struct BodyName {
  private let storeID: String
  private var batches = 0
  private var gaps = 0
  private var firstID = ""
  private var epoch: UInt32 = 0
  private var lane = Lane.telemetry
  private var bounds: ClosedRange<Int64> = 0...0
  private var gapBounds: ClosedRange<Int64> = 0...0
  private var hash = Sodium.RunningHash()

  init(storeID: String) { self.storeID = storeID }

  mutating func add(batch id: String, _ lane: Lane, epoch: UInt32, _ sequences: ClosedRange<Int64>) {
    if batches == 0 {
      (firstID, self.lane, self.epoch, bounds) = (id, lane, epoch, sequences)
    } else {
      bounds = bounds.lowerBound...max(bounds.lowerBound, sequences.upperBound)
    }
    batches += 1
    hash.add("\(id)\n")
  }

  /// `text`: without times, which a clock that is set later changes.
  mutating func add(gap text: String, _ lane: Lane, _ sequences: ClosedRange<Int64>) {
    if gaps == 0 { gapBounds = sequences }
    gapBounds = gapBounds.lowerBound...max(gapBounds.lowerBound, sequences.upperBound)
    if batches == 0 { self.lane = lane }
    gaps += 1
    hash.add("\(text)\n")
  }

  var text: String {
    if batches == 1, gaps == 0 { return firstID }
    let fingerprint = Hexadecimal.text(hash.value[..<Limits.fingerprintBytes])
    let (place, range) = batches > 0 ? ("\(epoch)", bounds) : ("gaps", gapBounds)
    return "\(storeID).\(place).\(lane.name).\(range.lowerBound)-\(range.upperBound).\(fingerprint)"
  }
}
