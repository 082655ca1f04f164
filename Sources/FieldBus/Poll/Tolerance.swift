// How short a silence before a request a unit has proved to bear: found step by step, given up at once. Each step
// leaves out an eighth of the standard's silence.
//
//   standard ──32 good──▶ an eighth less ──32 good──▶ … ──▶ none
//      ▲ └──────one unanswered: the whole silence, at once──────┘
//
// Invariants:
//  1. After a request that was unanswered behind a shortened silence the next one gets the whole silence. Only if
//     that one is answered was the shortening to blame; and then the failure is no mark against the unit.
//  2. A step that was to blame is not taken again before 512 more good replies, twice as many after each further
//     blame: a unit that holds to the standard is left in peace. A failure after a step has held for long looks like
//     noise, and doubles nothing.
//  3. Only requests that came as soon as the step let them are proof for it: on a line that rests, nothing is proved.

import StreamCore

package struct Tolerance: BitwiseCopyable, Sendable, Equatable {
  /// The step in use; 0: the standard's silence.
  package private(set) var step: UInt8 = 0
  /// No step beyond it is tried for now.
  package private(set) var limit: UInt8 = Tolerance.stepsMax
  /// How often a step was to blame, until it was taken again and held.
  package private(set) var blames: UInt8 = 0
  /// The step at which a request has just gone unanswered; 0: none.
  private var suspectStep: UInt8 = 0
  /// The last one that was to blame; 0: none.
  private var blamedStep: UInt8 = 0
  /// Good replies at the step in use; of the suspect step, before it failed.
  private var proofs: UInt32 = 0

  package static let stepsMax: UInt8 = 8
  private static let blamesMax: UInt8 = 12
  private static let proofsForStep: UInt32 = 32
  /// A step that has held so long does not fail for being too short.
  private static let proofsHeld: UInt32 = 256
  private static let proofsForPardon: UInt32 = 1_024

  package init() {}

  /// As it was kept; what makes no sense is begun anew.
  package init(step: Int, limit: Int, blames: Int) {
    guard (0...Int(Self.stepsMax)).contains(limit), (0...limit).contains(step),
      (0...Int(Self.blamesMax)).contains(blames)
    else { return }
    self.step = UInt8(step)
    self.limit = UInt8(limit)
    self.blames = UInt8(blames)
    if blames > 0 { blamedStep = UInt8(Swift.min(limit + 1, Int(Self.stepsMax))) }
  }

  var isSuspect: Bool { suspectStep > 0 }

  /// What is left out of a silence.
  package func savedNs(of silenceNs: Int64) -> Int64 { silenceNs * Int64(step) / Int64(Self.stepsMax) }

  /// `promptly`: the request came as soon as the step let it, as far as the box's clock is that fine.
  mutating func answered(promptly: Bool) {
    if isSuspect { return blame() }
    guard promptly || step == 0 else { return }
    if proofs < .max { proofs += 1 }
    if blamedStep > 0, step >= blamedStep, proofs >= Self.proofsForPardon {
      blames = 0
      blamedStep = 0
    }
    if step < limit {
      if proofs >= Self.proofsForStep { take(step + 1) }
    } else if limit < Self.stepsMax, proofs >= Self.proofsHeld << UInt32(blames) {
      limit += 1
      take(limit)
    }
  }

  /// Unanswered or broken. `early`: it did come behind a shortened silence. True: the silence may have been too
  /// short; the unit is to be asked again behind a whole one before anything is held against it.
  mutating func failed(early: Bool) -> Bool {
    guard early, step > 0 else {
      // The whole silence did not help either: it is something else, and nothing is known of what comes back.
      suspectStep = 0
      take(0)
      return false
    }
    suspectStep = step
    step = 0
    return true
  }

  private mutating func blame() {
    let held = proofs >= Self.proofsHeld
    blamedStep = suspectStep
    limit = suspectStep - 1
    if !held { blames = Swift.min(blames + 1, Self.blamesMax) }
    // What bore it by a hair will not for long.
    take(held || limit == 0 ? limit : limit - 1)
    suspectStep = 0
  }

  private mutating func take(_ next: UInt8) {
    step = next
    proofs = 0
  }
}
