import Gateway
import Store
import StreamCore
import Testing

/// A platform, a network and a store that do to a push whatever they like; and the account of what became of each
/// sequence.
private struct HostileWorld {
  struct Body {
    var lane: Lane
    var records: ClosedRange<Int64>?
    var gap: ClosedRange<Int64>?
    var through: Int64
  }

  var dice: Dice
  var machine: PushMachine
  var now = Instant.zero
  var produced = Position()
  /// What the ring still has begins here.
  var oldest = Position(alarms: 1, telemetry: 1)
  var bodies: [Int: Body] = [:]
  /// Sent, with their fate still open.
  var onWire: [Int] = []
  var isOpen = false
  var isOpening = false
  /// A body that is being made: the store, too, takes its time.
  var fetching: (lane: Lane, after: Int64, bytesMax: Int)?
  var delivered: [Set<Int64>] = [[], []]
  var reported: [Set<Int64>] = [[], []]
  var cursor = Position()
  var isKind = false
  var acknowledged = 0
  var doubles = 0

  init(seed: UInt64, window: Int, isEager: Bool) {
    dice = Dice(state: seed)
    var settings = PushMachine.Settings()
    settings.window = window
    settings.isEager = isEager
    settings.rate = seed % 3 == 0 ? 50_000 : nil
    machine = PushMachine(settings, seed: seed, at: now)
    machine.begin(at: Position())
  }

  mutating func roll(_ chance: Int) -> Bool { Int.random(in: 0..<100, using: &dice) < chance }

  mutating func grow() {
    produced.telemetry += Int64.random(in: 0...40, using: &dice)
    if roll(20) { produced.alarms += Int64.random(in: 0...3, using: &dice) }
    // The ring comes round: what is older than so many is gone.
    oldest.telemetry = max(oldest.telemetry, produced.telemetry - 400)
    machine.durable(produced)
  }

  mutating func step() throws {
    switch machine.next(at: now) {
    case .open:
      #expect(!isOpen && !isOpening)
      isOpening = true
    case .close:
      isOpen = false
      isOpening = false
      onWire = []
    case .fetch(let lane, let after, let bytesMax):
      #expect(fetching == nil, "one at a time")
      if roll(50) { fetching = (lane, after, bytesMax) } else { fetch(lane, after, bytesMax) }
    case .send(let number):
      #expect(isOpen, "nothing is sent through a shut door")
      #expect(!onWire.contains(number))
      onWire.append(number)
    case .acknowledge(let position):
      acknowledged += 1
      try check(position)
    case .wait(let until):
      var next = now + Int64.random(in: 0...2_000_000_000, using: &dice)
      if let until, onWire.isEmpty, !isOpening { next = max(next, until) }
      if let until, roll(20) { next = max(next, until) }
      now = max(now, next)
      happen()
    }
  }

  mutating func fetch(_ lane: Lane, _ after: Int64, _ bytesMax: Int) {
    if !isKind, roll(3) { return machine.fetchFailed(at: now) }
    let newest = lane == .alarms ? produced.alarms : produced.telemetry
    let first = max(after + 1, lane == .alarms ? oldest.alarms : oldest.telemetry)
    let last = min(newest, first + Int64(bytesMax / 200))
    guard after < newest else { return machine.fetchedNothing(lane, through: after) }
    if roll(5) {
      // Outside the scope: nobody will ever ask for it.
      for sequence in (after + 1)...last { delivered[Int(lane.rawValue)].insert(sequence) }
      return machine.fetchedNothing(lane, through: last)
    }
    let number = machine.fetched(
      lane, through: last, bytes: Int(last - first + 1) * 100, size: Int(last - first + 1) * 200)
    bodies[number] = Body(
      lane: lane, records: first <= last ? first...last : nil,
      gap: after + 1 < first ? (after + 1)...(first - 1) : nil,
      through: last)
  }

  mutating func receive(_ number: Int) {
    guard let body = bodies[number] else { return }
    let lane = Int(body.lane.rawValue)
    for sequence in body.records ?? 1...1 where body.records != nil {
      if !delivered[lane].insert(sequence).inserted { doubles += 1 }
    }
    for sequence in body.gap ?? 1...1 where body.gap != nil { reported[lane].insert(sequence) }
  }

  mutating func happen() {
    if let (lane, after, bytesMax) = fetching, onWire.isEmpty || roll(50) {
      fetching = nil
      return fetch(lane, after, bytesMax)
    }
    if isOpening {
      isOpening = false
      if !isKind, roll(20) { return machine.failed(.unreachable("no"), at: now) }
      if !isKind, roll(5) {
        isOpening = true
      } else {
        isOpen = true
        machine.opened(at: now)
      }
      return
    }
    guard isOpen else { return }
    if !isKind, roll(3) { return shut(.unreachable("reset")) }
    if !isKind, roll(3) {
      (isOpen, onWire) = (false, [])
      return machine.closed(at: now)
    }
    guard !onWire.isEmpty else { return }
    // MQTT acknowledges in order; nothing here relies on it.
    let number = onWire.remove(at: Int.random(in: 0..<onWire.count, using: &dice))
    if isKind || roll(50) {
      receive(number)
      return machine.delivered(number, at: now)
    }
    switch Int.random(in: 0..<9, using: &dice) {
    case 0:  // The platform has it, and its answer is lost.
      receive(number)
      shut(.unreachable("reset"))
    case 1:
      receive(number)
      onWire.append(number)
      now = now + Limits.pushAnswerNs * 4
    case 2: now = now + Limits.pushAnswerNs * 4
    case 3:
      machine.refused(
        number, .busy(status: 503, afterNs: Int64.random(in: 0...90, using: &dice) * 1_000_000_000),
        at: now)
    case 4: machine.refused(number, .tooLarge, at: now)
    case 5: machine.refused(number, .rejected("400"), at: now)
    case 6: machine.refused(number, .refused("401"), at: now)
    case 7: shut(.garbled("?"))
    default:
      // A restart of the agent: the store's cursor is where it was.
      (isOpen, isOpening, onWire) = (false, false, [])
      fetching = nil
      machine.failed(.unreachable("restart"), at: now)
      machine.begin(at: cursor)
    }
  }

  mutating func shut(_ why: PushFailure) {
    (isOpen, onWire) = (false, [])
    machine.failed(why, at: now)
  }

  mutating func check(_ position: Position) throws {
    #expect(
      position.alarms >= cursor.alarms && position.telemetry >= cursor.telemetry,
      "a cursor went back")
    for (lane, from, to) in [
      (Lane.alarms, cursor.alarms, position.alarms),
      (.telemetry, cursor.telemetry, position.telemetry),
    ] {
      for sequence in stride(from: from + 1, through: to, by: 1) {
        let isThere =
          delivered[Int(lane.rawValue)].contains(sequence)
          || reported[Int(lane.rawValue)].contains(sequence)
        try #require(isThere, "\(lane.name) \(sequence) was acknowledged and never arrived")
      }
    }
    cursor = position
  }
}

@Suite struct PushWorldTests {
  @Test(
    "30–36 Whatever network, platform and store do: produced = delivered + reported + stored",
    arguments: [UInt64(1), 2, 3, 4, 5, 6], [(1, false), (4, true)])
  func conservation(seed: UInt64, door: (window: Int, isEager: Bool)) throws {
    var world = HostileWorld(seed: seed, window: door.window, isEager: door.isEager)
    for _ in 0..<9_000 {
      if world.roll(25) { world.grow() }
      try world.step()
    }
    #expect(
      world.acknowledged > 50, "seed \(seed): the hostile time, too, brings something through")
    #expect(world.doubles > 0, "seed \(seed): something was sent twice")
    // It becomes kind, and nothing more is produced: all of it arrives, in bounded time.
    world.isKind = true
    let before = world.now
    var steps = 0
    while world.cursor != world.produced, steps < 20_000 {
      steps += 1
      try world.step()
    }
    #expect(world.cursor == world.produced, "seed \(seed)")
    #expect(world.now - before < 4 * 3_600_000_000_000, "seed \(seed)")
    for (lane, newest) in [(0, world.produced.alarms), (1, world.produced.telemetry)] {
      let all = world.delivered[lane].union(world.reported[lane])
      #expect(all.count == Int(newest) && (all.max() ?? 0) == newest, "seed \(seed) lane \(lane)")
    }
    #expect(world.machine.failure == nil)
  }

  @Test("What was being fetched behind a body that is too large is thrown away, and fetched again behind its halves")
  func tooLargeWhileFetching() {
    var machine = PushMachineTests.machine {
      $0.window = 4
      $0.lanes = [.telemetry]
    }
    machine.durable(Position(alarms: 0, telemetry: 20))
    #expect(machine.next(at: PushMachineTests.at(0)) == .fetch(.telemetry, after: 0, bytesMax: 16 << 10))
    let first = machine.fetched(.telemetry, through: 10, bytes: 16 << 10, size: 16 << 10)
    // The next is fetched while the first is on its way.
    #expect(machine.next(at: PushMachineTests.at(0)) == .fetch(.telemetry, after: 10, bytesMax: 16 << 10))
    #expect(machine.next(at: PushMachineTests.at(0)) == .open)
    machine.opened(at: PushMachineTests.at(0))
    #expect(machine.next(at: PushMachineTests.at(0)) == .send(first))
    machine.refused(first, .tooLarge, at: PushMachineTests.at(0))
    let void = machine.fetched(.telemetry, through: 20, bytes: 16 << 10, size: 16 << 10)
    #expect(machine.parcels.isEmpty, "nothing may be sent in front of which a hole is")
    #expect(machine.next(at: PushMachineTests.at(10)) == .fetch(.telemetry, after: 0, bytesMax: 8 << 10))
    let half = machine.fetched(.telemetry, through: 5, bytes: 8 << 10, size: 8 << 10)
    #expect(half != void, "a number is given once")
    #expect(machine.next(at: PushMachineTests.at(10)) == .fetch(.telemetry, after: 5, bytesMax: 8 << 10))
    machine.fetchedNothing(.telemetry, through: 20)
    #expect(machine.next(at: PushMachineTests.at(10)) == .send(half))
    machine.delivered(half, at: PushMachineTests.at(11))
    #expect(machine.next(at: PushMachineTests.at(11)) == .acknowledge(Position(alarms: 0, telemetry: 20)))
  }
}
