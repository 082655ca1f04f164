// Decides what a push does next: fetch a body, open the way, send, wait, move the cursor. Pure: no I/O, time is a
// parameter, chance comes from a seed. Whoever owns it carries out what it says and tells it what happened.
//
//   shut ──open──► opening ──opened──► open ──failed, closed──► shut          (the door)
//   fetched ──send──► on its way ──delivered──► the cursor moves              (each parcel)
//                         └──failed──► fetched, after a wait
//
// Invariants:
//  1. `held` moves over a parcel only when that parcel, and every one before it on its lane, was delivered. It never
//     moves back.
//  2. A parcel is kept until it was delivered, or is fetched again from the cursor, with all behind it on its lane, be
//     it fetched or just being fetched: none is passed over.
//  3. Alarms go before telemetry; on a lane the oldest goes first.
//  4. Nothing is sent before `resumeAt`; a lane whose batch was rejected waits alone.
//  5. At most `window` parcels are kept of a lane, and one more of both together.

import Store
import StreamCore

package enum PushAction: Sendable, Equatable {
  case open
  /// The door is to be shut; what was on its way in it is lost or will be sent again.
  case close
  case fetch(Lane, after: Int64, bytesMax: Int)
  case send(Int)
  case acknowledge(Position)
  /// Until then nothing is to be done, unless something happens; nil: for ever.
  case wait(until: Instant?)
}

package enum PushState: Sendable, Equatable {
  /// The first connection comes at a random moment.
  case starting(until: Instant)
  case idle, connecting, sending
  /// The rate allows no more before then.
  case paused(until: Instant)
  case waiting(until: Instant)

  package var word: String {
    switch self {
    case .starting: "starting"
    case .idle: "idle"
    case .connecting: "connecting"
    case .sending: "sending"
    case .paused: "paused"
    case .waiting: "waiting"
    }
  }
}

package struct PushCounts: Sendable, Equatable {
  package var deliveries: Int64 = 0
  /// Bodies sent once more.
  package var retries: Int64 = 0
  package var failures: Int64 = 0
  package var bytes: Int64 = 0
  /// Of the deliveries: those that nobody listened to.
  package var unheard: Int64 = 0
  package var deliveredAt: Instant?

  package init() {}
}

package struct PushMachine: Sendable {
  package struct Settings: Sendable {
    package var lanes: [Lane] = [.alarms, .telemetry]
    package var bodyBytesMax = Limits.pushBodyBytesDefault
    /// Parcels on their way at once.
    package var window = 1
    /// The way is opened without anything to send, too.
    package var isEager = false
    /// Bytes a second; nil: as fast as it goes.
    package var rate: Int?
    package var spreadNs: Int64 = Limits.pushSpreadNsDefault

    package init() {}
  }

  package struct Parcel: Sendable, Equatable {
    package var number: Int
    package var lane: Lane
    /// The last sequence that it settles.
    package var through: Int64
    package var bytes: Int
    package var size: Int
    var sentAt: Instant?
    var deadline = Instant.distantFuture
    var wasSent = false
    var isDelivered = false
  }

  private enum Door {
    case shut
    case opening(since: Instant)
    case open
  }

  package let settings: Settings
  var held: Position?
  /// Up to here it was fetched.
  var fetched = Position()
  private var known = Position()
  package internal(set) var parcels: [Parcel] = []
  private var nextNumber = 1
  /// What is being fetched now, and whether it is still wanted: after 413 its lane begins again further back.
  var fetching: Lane?
  var isFetchVoid = false
  var owesCursor = false
  private var door = Door.shut
  private var owesClosing = false
  private var openedAt: Instant?
  /// When the open door was of use last.
  private var usedAt = Instant.zero
  /// Deliveries through the open door.
  private var deliveredHere = 0
  private let startsAt: Instant
  var resumeAt: Instant
  var attempts = 0
  var laneResumeAt = [Instant.zero, .zero]
  var laneAttempts = [0, 0]
  /// What bodies are made of next, and what the platform proved to refuse.
  package internal(set) var bodyBytes: Int
  var bodyBytesCap: Int
  private var bucket: RateBucket?
  var chance: SeededChance
  package private(set) var counts = PushCounts()
  /// Why it waits; nil after a delivery.
  package internal(set) var failure: PushFailure?
  /// The last delivery had nobody who listened.
  package private(set) var isUnheard = false

  package init(_ settings: Settings, seed: UInt64, at now: Instant) {
    self.settings = settings
    chance = SeededChance(state: seed)
    startsAt = now + chance.span(0, settings.spreadNs)
    resumeAt = startsAt
    bucket = settings.rate.map { RateBucket(rate: $0, at: now) }
    let ofRate = settings.rate.map { Int(Double($0) * Double(Limits.pushBodyNs) / 1e9) } ?? .max
    bodyBytesCap = max(Limits.pushBodyBytesMin, min(settings.bodyBytesMax, ofRate))
    bodyBytes = min(bodyBytesCap, Limits.pushBodyBytesFirst)
  }

  // MARK: What happened

  /// The store's cursor; what was fetched before means nothing any more, nor does an answer to it: the door is shut.
  package mutating func begin(at position: Position) {
    held = position
    fetched = position
    parcels = []
    failure = nil
    fetching = nil
    isFetchVoid = false
    owesCursor = false
    door = .shut
    openedAt = nil
    deliveredHere = 0
  }

  package mutating func durable(_ position: Position) {
    known.alarms = max(known.alarms, position.alarms)
    known.telemetry = max(known.telemetry, position.telemetry)
  }

  /// A body with everything up to `through`; its number. `bytes`: on the wire; `size`: before compression. One that is
  /// not wanted any more has a number, and is no parcel.
  package mutating func fetched(_ lane: Lane, through: Int64, bytes: Int, size: Int) -> Int {
    defer { nextNumber += 1 }
    guard endFetch() else { return nextNumber }
    fetched[lane] = max(fetched[lane], through)
    parcels.append(
      Parcel(number: nextNumber, lane: lane, through: fetched[lane], bytes: bytes, size: size))
    return nextNumber
  }

  /// Up to there is nothing that this push may see.
  package mutating func fetchedNothing(_ lane: Lane, through: Int64) {
    guard endFetch() else { return }
    // Nothing at all: it is asked again when it says more.
    if through <= fetched[lane] {
      known[lane] = fetched[lane]
      return
    }
    fetched[lane] = through
    if let last = parcels.lastIndex(where: { $0.lane == lane }) {
      parcels[last].through = fetched[lane]
    } else {
      move(lane, to: fetched[lane])
    }
  }

  /// The store can't be read now.
  package mutating func fetchFailed(at now: Instant) {
    _ = endFetch()
    resumeAt = max(resumeAt, now + Limits.storeRetryNs)
  }

  /// False: what was fetched lies behind something that is fetched anew; taken, it would hide the hole in front of it.
  private mutating func endFetch() -> Bool {
    defer { (fetching, isFetchVoid) = (nil, false) }
    return !isFetchVoid
  }

  package mutating func opened(at now: Instant) {
    guard case .opening = door else { return }
    door = .open
    openedAt = now
    usedAt = now
    deliveredHere = 0
    // With nothing to send there is no better proof that the way is good.
    if settings.isEager, parcels.isEmpty { failure = nil }
  }

  /// `isUnheard`: the broker has it, and had nobody to give it to. The acknowledgement counts all the same.
  package mutating func delivered(_ number: Int, isUnheard: Bool = false, at now: Instant) {
    guard let index = parcels.firstIndex(where: { $0.number == number }),
      let sentAt = parcels[index].sentAt
    else {
      return
    }
    parcels[index].isDelivered = true
    adapt(to: parcels[index].size, took: now - sentAt)
    counts.deliveries += 1
    counts.deliveredAt = now
    self.isUnheard = isUnheard
    if isUnheard { counts.unheard += 1 }
    usedAt = now
    deliveredHere += 1
    attempts = 0
    // What was rejected stands at the head of its lane until it is taken.
    let lane = parcels[index].lane
    if parcels.firstIndex(where: { $0.lane == lane }) == index {
      laneAttempts[Int(lane.rawValue)] = 0
    }
    if laneAttempts == [0, 0] { failure = nil }
    for lane in settings.lanes {
      while let first = parcels.firstIndex(where: { $0.lane == lane }), parcels[first].isDelivered {
        move(lane, to: parcels[first].through)
        parcels.remove(at: first)
      }
    }
  }

  /// The platform answered, and not that it has it. The door stays open.
  package mutating func refused(_ number: Int, _ why: PushFailure, at now: Instant) {
    guard let index = parcels.firstIndex(where: { $0.number == number }),
      !parcels[index].isDelivered
    else { return }
    counts.failures += 1
    parcels[index].sentAt = nil
    switch why {
    case .tooLarge: halve(index, at: now)
    case .rejected: reject(parcels[index].lane, why, at: now)
    default: back(off: why, at: now)
    }
  }

  /// The door is shut, whoever shut it, and this is why.
  package mutating func failed(_ why: PushFailure, at now: Instant) {
    shut(at: now)
    counts.failures += 1
    if why == .silent { bodyBytes = max(Limits.pushBodyBytesMin, bodyBytes / 2) }
    takeBack()
    back(off: why, at: now)
  }

  /// The other side has shut the door, as it may while nothing is on its way; and once after deliveries while
  /// something is: then the two have missed each other.
  package mutating func closed(at now: Instant) {
    let hasOnWay = parcels.contains { $0.sentAt != nil && !$0.isDelivered }
    if hasOnWay || settings.isEager, deliveredHere == 0 {
      return failed(.unreachable("the connection was closed before an answer"), at: now)
    }
    shut(at: now)
    deliveredHere = 0
    takeBack()
    if settings.isEager { back(off: .unreachable("the connection was closed"), at: now) }
  }

  /// A connection that lasted ends a row of failures: the next wait is a short one.
  private mutating func shut(at now: Instant) {
    if case .open = door, let openedAt, now - openedAt > Limits.pushAnswerNs { attempts = 0 }
    door = .shut
    openedAt = nil
  }

  // MARK: What to do

  package mutating func next(at now: Instant) -> PushAction {
    guard let held else { return .wait(until: nil) }
    if owesCursor {
      owesCursor = false
      return .acknowledge(held)
    }
    lookAtDeadlines(now)
    if owesClosing {
      owesClosing = false
      return .close
    }
    if now < resumeAt { return .wait(until: earliest(resumeAt)) }
    if let lane = laneToFetch(now) {
      fetching = lane
      return .fetch(lane, after: fetched[lane], bytesMax: bodyBytes)
    }
    let unsent = parcelToSend(now)
    switch door {
    case .shut:
      guard unsent != nil || settings.isEager else { break }
      door = .opening(since: now)
      return .open
    case .opening: break
    case .open
    where unsent == nil && onWay == 0 && !settings.isEager && now - usedAt >= Limits.pushIdleNs:
      shut(at: now)
      return .close
    case .open:
      guard let unsent, onWay < settings.window else { break }
      let opens = bucket?.opens(isAlarm: parcels[unsent].lane == .alarms, at: now) ?? now
      if opens > now { return .wait(until: earliest(opens)) }
      return send(unsent, at: now)
    }
    return .wait(until: earliest(laneResumeAt.filter { $0 > now }.min() ?? .distantFuture))
  }

  private mutating func send(_ index: Int, at now: Instant) -> PushAction {
    bucket?.take(parcels[index].bytes + Limits.pushOverheadBytes, at: now)
    counts.bytes += Int64(parcels[index].bytes)
    if parcels[index].wasSent { counts.retries += 1 }
    parcels[index].wasSent = true
    parcels[index].sentAt = now
    let queued = parcels.reduce(0) { $0 + ($1.sentAt != nil && !$1.isDelivered ? $1.bytes : 0) }
    let transferNs = Int64(queued) * (1_000_000_000 / Limits.pushBytesPerSecondMin)
    parcels[index].deadline = now + Limits.pushAnswerNs + transferNs
    return .send(parcels[index].number)
  }

  private mutating func lookAtDeadlines(_ now: Instant) {
    if case .opening(let since) = door, now - since >= Limits.pushOpenNs {
      failed(.unreachable("no connection within \(Limits.pushOpenNs / 1_000_000_000) s"), at: now)
      owesClosing = true
    } else if parcels.contains(where: { $0.sentAt != nil && !$0.isDelivered && $0.deadline <= now })
    {
      failed(.silent, at: now)
      owesClosing = true
    }
  }

  private func laneToFetch(_ now: Instant) -> Lane? {
    guard fetching == nil else { return nil }
    return settings.lanes.sorted { $0.rawValue < $1.rawValue }.first { lane in
      guard known[lane] > fetched[lane], laneResumeAt[Int(lane.rawValue)] <= now else {
        return false
      }
      return parcels.count { $0.lane == lane } < settings.window && parcels.count <= settings.window
    }
  }

  private func parcelToSend(_ now: Instant) -> Int? {
    func first(_ lane: Lane) -> Int? {
      guard laneResumeAt[Int(lane.rawValue)] <= now else { return nil }
      return parcels.firstIndex { $0.lane == lane && $0.sentAt == nil && !$0.isDelivered }
    }
    return first(.alarms) ?? first(.telemetry)
  }

  private var onWay: Int { parcels.count { $0.sentAt != nil && !$0.isDelivered } }

  /// `due`, or a deadline before it.
  private func earliest(_ due: Instant) -> Instant? {
    var due = due
    for parcel in parcels where parcel.sentAt != nil && !parcel.isDelivered {
      due = min(due, parcel.deadline)
    }
    if case .opening(let since) = door { due = min(due, since + Limits.pushOpenNs) }
    if case .open = door, !settings.isEager, parcels.isEmpty {
      due = min(due, usedAt + Limits.pushIdleNs)
    }
    return due == .distantFuture ? nil : due
  }

  // MARK: For who looks

  package func state(at now: Instant) -> PushState {
    if now < startsAt { return .starting(until: startsAt) }
    if now < resumeAt { return .waiting(until: resumeAt) }
    if onWay > 0 { return .sending }
    if case .opening = door { return .connecting }
    if let until = laneResumeAt.max(), until > now { return .waiting(until: until) }
    guard let unsent = parcelToSend(now) else { return .idle }
    var bucket = bucket
    let opens = bucket?.opens(isAlarm: parcels[unsent].lane == .alarms, at: now) ?? now
    return opens > now ? .paused(until: opens) : .sending
  }
}

extension Position {
  subscript(lane: Lane) -> Int64 {
    get { lane == .alarms ? alarms : telemetry }
    set { if lane == .alarms { alarms = newValue } else { telemetry = newValue } }
  }
}
