import Gateway
import Store
import StreamCore
import Testing

@Suite struct PushMachineTests {
  static let second: Int64 = 1_000_000_000

  static func at(_ seconds: Double) -> Instant { Instant(nanoseconds: Int64(seconds * 1e9)) }

  /// Begun at nothing, without a wait at the start, and open.
  static func machine(_ adjust: (inout PushMachine.Settings) -> Void = { _ in }, seed: UInt64 = 1)
    -> PushMachine
  {
    var settings = PushMachine.Settings()
    settings.spreadNs = 0
    adjust(&settings)
    var machine = PushMachine(settings, seed: seed, at: at(0))
    machine.begin(at: Position())
    return machine
  }

  /// Fetches what it asks for, opens, and keeps the cursor; then what it says next.
  private func loaded(_ machine: inout PushMachine, at now: Instant) -> PushAction {
    while true {
      switch machine.next(at: now) {
      case .fetch(let lane, let after, let bytesMax):
        _ = machine.fetched(lane, through: after + 10, bytes: bytesMax, size: bytesMax)
      case .open: machine.opened(at: now)
      case .acknowledge: break
      case let other: return other
      }
    }
  }

  @Test("The first connection comes at a random moment within the spread, another for each seed")
  func spread() {
    var starts: Set<Int64> = []
    for seed in UInt64(1)...200 {
      var settings = PushMachine.Settings()
      settings.spreadNs = 10 * Self.second
      var machine = PushMachine(settings, seed: seed, at: Self.at(100))
      machine.begin(at: Position())
      machine.durable(Position(alarms: 1, telemetry: 1))
      guard case .wait(let until?) = machine.next(at: Self.at(100)) else {
        // A wait of nothing is one of the waits.
        continue
      }
      #expect((0...10 * Self.second).contains(until - Self.at(100)))
      #expect(machine.state(at: Self.at(100)) == .starting(until: until))
      starts.insert((until - Self.at(100)) / Self.second)
    }
    #expect(starts.count == 10, "every second of the ten is somebody's")
  }

  @Test("Alarms go before telemetry, and the cursor moves only at the delivery")
  func alarmsFirst() throws {
    var machine = Self.machine()
    machine.durable(Position(alarms: 10, telemetry: 10))
    #expect(machine.next(at: Self.at(0)) == .fetch(.alarms, after: 0, bytesMax: 16 << 10))
    let alarm = machine.fetched(.alarms, through: 10, bytes: 100, size: 100)
    #expect(machine.next(at: Self.at(0)) == .fetch(.telemetry, after: 0, bytesMax: 16 << 10))
    let telemetry = machine.fetched(.telemetry, through: 10, bytes: 100, size: 100)
    #expect(machine.next(at: Self.at(0)) == .open)
    machine.opened(at: Self.at(0))
    #expect(machine.next(at: Self.at(0)) == .send(alarm))
    guard case .wait = machine.next(at: Self.at(0)) else {
      return #expect(Bool(false), "one at a time")
    }
    machine.delivered(alarm, at: Self.at(1))
    #expect(machine.next(at: Self.at(1)) == .acknowledge(Position(alarms: 10, telemetry: 0)))
    #expect(machine.next(at: Self.at(1)) == .send(telemetry))
    machine.delivered(telemetry, at: Self.at(2))
    #expect(machine.next(at: Self.at(2)) == .acknowledge(Position(alarms: 10, telemetry: 10)))
    // A way that nobody uses is closed after a while, without a word.
    #expect(machine.next(at: Self.at(2)) == .wait(until: Self.at(242)))
    #expect(machine.state(at: Self.at(2)) == .idle)
    #expect(machine.next(at: Self.at(242)) == .close)
    #expect(machine.next(at: Self.at(242)) == .wait(until: nil))
    #expect(machine.failure == nil && machine.counts.failures == 0)
  }

  @Test("In a window the cursor stops in front of the first that is not acknowledged")
  func window() {
    var machine = Self.machine { $0.window = 4 }
    machine.durable(Position(alarms: 0, telemetry: 40))
    var sent: [Int] = []
    while case .send(let number) = loaded(&machine, at: Self.at(0)) { sent.append(number) }
    #expect(sent == [1, 2, 3, 4])
    machine.delivered(3, at: Self.at(1))
    machine.delivered(2, at: Self.at(1))
    #expect(machine.next(at: Self.at(1)) != .acknowledge(Position(alarms: 0, telemetry: 30)))
    machine.delivered(1, at: Self.at(1))
    #expect(machine.next(at: Self.at(1)) == .acknowledge(Position(alarms: 0, telemetry: 30)))
  }

  @Test("Failures are answered with full jitter below a ceiling that doubles and ends")
  func backoff() throws {
    var longest: Int64 = 0
    var waits: [Int64] = []
    for seed in UInt64(1)...50 {
      var machine = Self.machine(seed: seed)
      machine.durable(Position(alarms: 0, telemetry: 10))
      var now = Self.at(0)
      var ceiling = Limits.pushRetryNsMin
      for _ in 0..<12 {
        _ = loaded(&machine, at: now)
        machine.failed(.unreachable("down"), at: now)
        guard case .wait(let until?) = machine.next(at: now) else { return #expect(Bool(false)) }
        #expect((Limits.pushRetryNsFloor...ceiling).contains(until - now), "seed \(seed)")
        waits.append(until - now)
        longest = max(longest, until - now)
        ceiling = min(Limits.pushRetryNsMax, 2 * ceiling)
        now = until
      }
    }
    #expect(longest > Limits.pushRetryNsMax / 2)
    #expect(Set(waits).count > waits.count / 2, "they are random")
  }

  @Test(
    "A Retry-After is waited for, and a little more that differs from box to box; never longer than an hour and a bit"
  )
  func retryAfter() {
    for (asked, least) in [
      (120 * Self.second, 120 * Self.second), (Int64.max, Limits.retryAfterNsMax),
    ] {
      var waits: Set<Int64> = []
      for seed in UInt64(1)...20 {
        var machine = Self.machine(seed: seed)
        machine.durable(Position(alarms: 0, telemetry: 10))
        guard case .send(let number) = loaded(&machine, at: Self.at(0)) else {
          return #expect(Bool(false))
        }
        machine.refused(number, .busy(status: 503, afterNs: asked), at: Self.at(0))
        guard case .wait(let until?) = machine.next(at: Self.at(0)) else {
          return #expect(Bool(false))
        }
        #expect(until.nanoseconds >= least && until.nanoseconds <= least + least / 5)
        waits.insert(until.nanoseconds)
      }
      #expect(waits.count > 10)
    }
  }

  @Test("36 What is never acknowledged is sent again after a time, and the way is opened anew")
  func silence() {
    var machine = Self.machine()
    machine.durable(Position(alarms: 0, telemetry: 10))
    guard case .send(1) = loaded(&machine, at: Self.at(0)) else { return #expect(Bool(false)) }
    guard case .wait(let deadline?) = machine.next(at: Self.at(0)) else {
      return #expect(Bool(false))
    }
    #expect(deadline >= Self.at(30 + 16), "16 KiB may take 16 s on the slowest link")
    #expect(machine.next(at: deadline) == .close)
    #expect(machine.failure == .silent)
    guard case .wait(let again?) = machine.next(at: deadline) else { return #expect(Bool(false)) }
    #expect(loaded(&machine, at: again) == .send(1))
    #expect(machine.counts.retries == 1)
    machine.delivered(1, at: again)
    #expect(machine.next(at: again) == .acknowledge(Position(alarms: 0, telemetry: 10)))
    #expect(machine.failure == nil)
  }

  @Test(
    "30 A day without a link costs an attempt a minute, keeps one body, and is made up for at once")
  func dayWithoutLink() {
    var machine = Self.machine()
    var now = Self.at(0)
    var attempts = 0
    while now < Self.at(86_400) {
      machine.durable(Position(alarms: 0, telemetry: now.nanoseconds / 1_000_000 + 1))
      switch machine.next(at: now) {
      case .fetch(let lane, let after, let bytesMax):
        _ = machine.fetched(lane, through: after + 100, bytes: bytesMax, size: bytesMax)
      case .open:
        attempts += 1
        machine.failed(.unreachable("no route"), at: now)
      case .wait(let until?): now = until
      default: return #expect(Bool(false))
      }
      #expect(machine.parcels.count <= 1)
    }
    #expect((900...2_500).contains(attempts), "\(attempts)")
    var steps = 0
    while machine.counts.deliveries < 100, steps < 1_000 {
      steps += 1
      guard case .send(let number) = loaded(&machine, at: now) else { continue }
      machine.delivered(number, at: now)
    }
    #expect(machine.counts.deliveries == 100 && machine.failure == nil)
  }

  @Test("A way that does not open is given up after a time")
  func opening() {
    var machine = Self.machine { $0.isEager = true }
    #expect(machine.next(at: Self.at(0)) == .open)
    #expect(machine.state(at: Self.at(1)) == .connecting)
    #expect(machine.next(at: Self.at(1)) == .wait(until: Self.at(30)))
    #expect(machine.next(at: Self.at(30)) == .close)
    #expect(machine.failure == .unreachable("no connection within 30 s"))
  }

  @Test(
    "A way that is always open is good when it opens and nothing waits; two that chase each other slow down"
  )
  func eager() {
    var machine = Self.machine { $0.isEager = true }
    var now = Self.at(0)
    var waits: [Int64] = []
    for _ in 0..<12 {
      #expect(machine.next(at: now) == .open)
      machine.opened(at: now)
      #expect(machine.failure == nil)
      machine.failed(.refused("another client"), at: now)
      guard case .wait(let until?) = machine.next(at: now) else { return #expect(Bool(false)) }
      waits.append(until - now)
      now = until
    }
    #expect(waits.max() ?? 0 > 4 * Limits.pushRefusedNsMin)
    // One that lasted begins again with a short wait.
    _ = machine.next(at: now)
    machine.opened(at: now)
    now = now + 60 * Self.second
    machine.failed(.unreachable("reset"), at: now)
    guard case .wait(let until?) = machine.next(at: now) else { return #expect(Bool(false)) }
    #expect(until - now <= Limits.pushRetryNsMin)
  }

  @Test(
    "At 413 the body is halved until it is taken; at the least size the lane waits, and the other goes on"
  )
  func tooLarge() {
    var machine = Self.machine()
    machine.durable(Position(alarms: 0, telemetry: 10))
    var now = Self.at(0)
    var sizes: [Int] = []
    var refusals = 0
    while refusals < 2 {
      switch machine.next(at: now) {
      case .fetch(let lane, let after, let bytesMax):
        #expect(after == 0, "what was refused is fetched again from the cursor")
        sizes.append(bytesMax)
        _ = machine.fetched(lane, through: 10, bytes: bytesMax, size: bytesMax)
      case .open: machine.opened(at: now)
      case .send(let number):
        refusals += 1
        machine.refused(number, .tooLarge, at: now)
      case .wait(let until?): now = until
      default: return #expect(Bool(false))
      }
    }
    #expect(sizes == [16 << 10, 8 << 10])
    #expect(machine.failure == .rejected("413 even for 8192 bytes"))
    #expect(machine.parcels.count == 1, "it is kept")
    machine.durable(Position(alarms: 3, telemetry: 10))
    guard case .send(let alarm) = loaded(&machine, at: now) else {
      return #expect(Bool(false), "alarms go on")
    }
    machine.delivered(alarm, at: now)
    #expect(machine.failure != nil, "the other lane is still refused")
  }

  @Test("A batch that is not taken is tried again, ever more slowly, and is never passed over")
  func rejected() {
    var machine = Self.machine()
    machine.durable(Position(alarms: 0, telemetry: 20))
    var now = Self.at(0)
    for attempt in 0..<20 {
      guard case .send(1) = loaded(&machine, at: now) else {
        return #expect(Bool(false), "the same again")
      }
      machine.refused(1, .rejected("400"), at: now)
      var next = machine.next(at: now)
      // Meanwhile the way is of no use.
      if next == .close { next = machine.next(at: now) }
      guard case .wait(let until?) = next else { return #expect(Bool(false)) }
      #expect(
        until - now >= Limits.pushRefusedNsMin / 2 && until - now <= Limits.pushRefusedNsMax,
        "\(attempt)")
      now = until
    }
    #expect(machine.failure?.needsPerson == true)
    guard case .send(1) = loaded(&machine, at: now) else { return #expect(Bool(false)) }
    machine.delivered(1, at: now)
    #expect(machine.next(at: now) == .acknowledge(Position(alarms: 0, telemetry: 10)))
    #expect(machine.failure == nil)
  }

  @Test(
    "34 A slow link gets small bodies, a fast one large ones",
    arguments: [(200_000, 1 << 20), (2_000, 16 << 10)])
  func adapts(bytesPerSecond: Int, mostAllowed: Int) {
    var machine = Self.machine { $0.bodyBytesMax = 1 << 20 }
    machine.durable(Position(alarms: 0, telemetry: .max))
    var now = Self.at(0)
    var sizes: [Int] = []
    for _ in 0..<30 {
      guard case .send(let number) = loaded(&machine, at: now) else { return #expect(Bool(false)) }
      sizes.append(machine.parcels[0].bytes)
      now = now + Int64(sizes[sizes.count - 1]) * Self.second / Int64(bytesPerSecond)
      machine.delivered(number, at: now)
    }
    #expect(sizes.allSatisfy { $0 <= mostAllowed })
    #expect(machine.failure == nil && machine.counts.deliveries == 30)
    if bytesPerSecond > 100_000 { #expect(sizes.max() ?? 0 >= 400_000) }
  }

  @Test("max_rate holds over every span, retries included; an alarm does not wait for it")
  func rate() {
    let rate = 20_000
    var machine = Self.machine { $0.rate = rate }
    machine.durable(Position(alarms: 0, telemetry: .max / 2))
    var now = Self.at(0)
    var sent: [(at: Instant, bytes: Int)] = []
    var turn = 0
    while now < Self.at(600) {
      switch loaded(&machine, at: now) {
      case .send(let number):
        sent.append((now, machine.parcels.first { $0.number == number }?.bytes ?? 0))
        turn += 1
        if turn % 5 == 0 {
          machine.refused(number, .busy(status: 503, afterNs: 0), at: now)
        } else {
          machine.delivered(number, at: now)
        }
      case .wait(let until?): now = max(until, now + 1)
      default: break
      }
    }
    let total = sent.reduce(0) { $0 + $1.bytes }
    #expect(total <= rate * 601 + 64 << 10 && total > rate * 500)
    for (place, first) in sent.enumerated() {
      var sum = 0
      for each in sent[place...] {
        sum += each.bytes
        let span = Double(each.at - first.at) / 1e9
        #expect(Double(sum) <= Double(rate) * (span + 1) + 2 * Double(64 << 10))
      }
    }
    // In debt, and then an alarm.
    while case .send(let number) = loaded(&machine, at: now) { machine.delivered(number, at: now) }
    guard case .paused = machine.state(at: now) else { return #expect(Bool(false)) }
    machine.durable(Position(alarms: 1, telemetry: .max / 2))
    guard case .send(let alarm) = loaded(&machine, at: now) else {
      return #expect(Bool(false), "it does not wait")
    }
    #expect(machine.parcels.first { $0.number == alarm }?.lane == .alarms)
  }

  @Test(
    "A kept connection that was closed in the same moment costs no wait, but only after a delivery")
  func missedEachOther() {
    var machine = Self.machine()
    machine.durable(Position(alarms: 0, telemetry: 20))
    guard case .send(1) = loaded(&machine, at: Self.at(0)) else { return #expect(Bool(false)) }
    machine.delivered(1, at: Self.at(0))
    guard case .send(2) = loaded(&machine, at: Self.at(0)) else { return #expect(Bool(false)) }
    machine.closed(at: Self.at(0))
    #expect(machine.next(at: Self.at(0)) == .open)
    machine.opened(at: Self.at(0))
    #expect(machine.next(at: Self.at(0)) == .send(2))
    machine.closed(at: Self.at(0))
    guard case .wait(let until?) = machine.next(at: Self.at(0)) else { return #expect(Bool(false)) }
    #expect(until > Self.at(0))
    #expect(machine.failure != nil)
  }

  @Test(
    "What is outside the scope moves the cursor without a body, and nothing at all is not asked for again"
  )
  func nothing() {
    var machine = Self.machine()
    machine.durable(Position(alarms: 0, telemetry: 100))
    #expect(machine.next(at: Self.at(0)) == .fetch(.telemetry, after: 0, bytesMax: 16 << 10))
    machine.fetchedNothing(.telemetry, through: 60)
    #expect(machine.next(at: Self.at(0)) == .acknowledge(Position(alarms: 0, telemetry: 60)))
    #expect(machine.next(at: Self.at(0)) == .fetch(.telemetry, after: 60, bytesMax: 16 << 10))
    machine.fetchedNothing(.telemetry, through: 60)
    #expect(machine.next(at: Self.at(0)) == .wait(until: nil))
    machine.durable(Position(alarms: 0, telemetry: 101))
    #expect(machine.next(at: Self.at(0)) == .fetch(.telemetry, after: 60, bytesMax: 16 << 10))
  }
}
