// What the machine knows of a bus: its timing, its requests, its units, and the replies that are still owed.
// Plain values in the arena.

import StreamCore

package struct BusTiming: BitwiseCopyable, Sendable {
  package var silenceNs: Int64
  package var turnaroundNs: Int64
  /// The ceiling for a device's thinking time.
  package var timeoutNs: Int64
  package var characterNs: Int64
  package var retries: Int
  /// The protocol numbers its transactions (Modbus TCP): a late reply can't be mistaken, invariant 2 is not needed.
  package var isNumbered: Bool
  /// The silence before a request shrinks to what each unit proves to bear.
  package var learnsSilence: Bool

  package init(_ bus: BusSpec) {
    isNumbered = bus.busProtocol == .modbusTCP
    silenceNs = isNumbered ? 0 : bus.format.silenceNs
    characterNs = isNumbered ? 0 : bus.format.characterNs
    turnaroundNs = bus.turnaroundNs
    timeoutNs = bus.responseTimeoutNs
    retries = bus.retries
    learnsSilence = bus.silence == .learned && !isNumbered
  }
}

/// What tells one reply from another on the line.
package struct Shape: BitwiseCopyable, Equatable {
  var table = RegisterTable.holding
  var dataBytes: UInt16 = 0

  init(table: RegisterTable, count: Int) {
    self.table = table
    dataBytes = UInt16(truncatingIfNeeded: table.dataBytes(count: count))
  }
}

package struct RequestSlot: BitwiseCopyable {
  package var unit: UInt16 = 0
  package var table = RegisterTable.holding
  package var isWatched = false
  /// In use; a refused one makes room for its parts.
  package var isActive = false
  package var isSplit = false
  package var wasGood = false
  package var refusals: UInt8 = 0
  /// Failures in a row while the unit answered other requests.
  package var strikes: UInt8 = 0
  package var address: UInt16 = 0
  package var count: UInt16 = 0
  package var firstBinding: UInt32 = 0
  package var bindingCount: UInt16 = 0
  package var partCount: UInt16 = 0
  package var firstPart: UInt32 = 0
  package var intervalNs: Int64 = 0
  package var wireNs: Int64 = 0
  package var dueAt = Instant.zero
  /// When it was last answered, or made active.
  package var servedAt = Instant.zero

  /// Its parts are asked meanwhile: a reply of its shape is owed.
  package var isStoodIn = false

  var shape: Shape { Shape(table: table, count: Int(count)) }
}

/// A reply that may still come.
package struct Debt: BitwiseCopyable {
  var shape = Shape(table: .holding, count: 0)
  /// Not over before then.
  var until = Instant.zero
  /// The unit has answered something else since.
  var isFenced = false
  /// Over then, whatever happened.
  var giveUpAt = Instant.zero

  func stands(at now: Instant) -> Bool { now < giveUpAt && !(isFenced && now >= until) }
}

package struct UnitSlot: BitwiseCopyable {
  package var address: UInt8 = 0
  /// Registers that the device allows in one request.
  package var registersMax = UInt16(Limits.registersPerReadMax)
  package var state = UnitState.unknown
  package var attempts: UInt8 = 0
  package var firstRequest: UInt32 = 0
  package var requestCount: UInt32 = 0
  package var firstPoint: UInt16 = 0
  package var pointCount: UInt16 = 0
  package var firstAlarm: UInt16 = 0
  package var alarmCount: UInt16 = 0
  package var debts: (Debt, Debt, Debt, Debt) = (Debt(), Debt(), Debt(), Debt())
  /// No debt stands from then on.
  package var owesUntil = Instant.zero
  package var backoffNs: Int64 = 0
  package var probeAt = Instant.zero
  /// The last of its transactions was a fence, and was answered.
  package var isFencedLast = false
  /// Requests in a row that went unanswered right behind such a fence.
  package var lockstep: UInt8 = 0
  /// It hears every second request only: a read that goes nowhere comes first.
  package var wantsKnock = false
  package var latency = Latency()
  package var tolerance = Tolerance()
  package init() {}

  subscript(debt index: Int) -> Debt {
    get {
      switch index {
      case 0: debts.0
      case 1: debts.1
      case 2: debts.2
      default: debts.3
      }
    }
    set {
      switch index {
      case 0: debts.0 = newValue
      case 1: debts.1 = newValue
      case 2: debts.2 = newValue
      default: debts.3 = newValue
      }
    }
  }
}

package enum UnitState: UInt8, BitwiseCopyable { case unknown, online, offline }
