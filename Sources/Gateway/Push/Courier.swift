// One push at work: owns its machine, its door and the bodies that are not delivered yet, and does what the machine
// says. Lives on the event loop.
//
// Invariants:
//  1. The machine decides; nothing is sent, fetched or acknowledged that it did not ask for.
//  2. A body is kept as it was made until it is delivered: sent again, it is the same, under the same id.
//  3. After `stop` nothing is asked of the store or the door.

import Logging
import NIOCore
import Store
import StreamCore

/// What couriers share.
struct CourierHouse {
  let source: any BatchSource
  let shelf: CatalogueShelf
  let loop: any EventLoop
  let gatewayID: String
  let logger: Logger
  let now: @Sendable () -> Instant
}

final class Courier: @unchecked Sendable {
  // Unchecked: touched on the house's loop only, which every entry from another thread hops to.

  let spec: PushSpec
  private let house: CourierHouse
  private let consumer: Consumer
  private let door: any PushDoor
  private var machine: PushMachine
  private var bodies: [Int: PushParcel] = [:]
  private var packing: Packing?
  private var timer: Scheduled<Void>?
  /// The store's, as it was at `begin`.
  private var storeID = ""
  private var epoch: UInt32 = 0
  /// Of opening the door; what is heard of an older one means nothing.
  private var attempt = 0
  private var isStopped = false
  private var isStepping = false
  private var toldFailure: PushFailure?
  private var failingSince: Instant?
  private var toldUnheard = false

  init(_ spec: PushSpec, consumer: Consumer, seed: UInt64, door: any PushDoor, house: CourierHouse)
  {
    self.spec = spec
    self.consumer = consumer
    self.house = house
    self.door = door
    machine = PushMachine(spec.settings, seed: seed, at: house.now())
  }

  func start() {
    begin()
  }

  /// Where the store says that it stands. Asked again until the store knows it.
  private func begin() {
    guard !isStopped else { return }
    house.source.report { report in
      self.house.source.position(of: self.spec.name) { position in
        self.house.loop.execute { self.begin(report, position) }
      }
    }
  }

  private func begin(_ report: StoreReport, _ position: Position?) {
    guard !isStopped else { return }
    guard let position, !report.storeID.isEmpty else {
      house.loop.assumeIsolated().scheduleTask(in: .nanoseconds(Limits.storeRetryNs)) {
        self.begin()
      }
      return
    }
    storeID = report.storeID
    epoch = report.epoch
    packing?.cancel()
    packing = nil
    bodies = [:]
    machine.begin(at: position)
    machine.durable(report.durable)
    step()
  }

  func durable(_ position: Position) {
    machine.durable(position)
    step()
  }

  func stop(_ completion: @escaping @Sendable () -> Void) {
    isStopped = true
    timer?.cancel()
    packing?.cancel()
    packing = nil
    bodies = [:]
    door.leave(completion)
  }

  // MARK: Steps

  private func open() {
    attempt += 1
    let number = attempt
    door.open { event in self.house.loop.execute { self.hear(event, of: number) } }
  }

  private func hear(_ event: DoorEvent, of number: Int) {
    guard !isStopped, number == attempt else { return }
    let now = house.now()
    switch event {
    case .opened: machine.opened(at: now)
    case .failed(let why): machine.failed(why, at: now)
    case .closed: machine.closed(at: now)
    case .answered(let number, nil): machine.delivered(number, at: now)
    case .unheard(let number): machine.delivered(number, isUnheard: true, at: now)
    case .answered(let number, let why?): machine.refused(number, why, at: now)
    }
    step()
  }

  private func step() {
    guard !isStopped, !isStepping else { return }
    isStepping = true
    defer { isStepping = false }
    timer?.cancel()
    timer = nil
    while true {
      switch machine.next(at: house.now()) {
      case .open: open()
      case .close:
        attempt += 1
        door.shut()
      case .fetch(let lane, let after, let bytesMax): fetch(lane, after: after, bytesMax: bytesMax)
      case .send(let number): if let parcel = bodies[number] { door.send(parcel) }
      case .acknowledge(let position):
        house.source.acknowledge(position, by: spec.name, at: house.now())
      case .wait(let until):
        if let until { wait(until) }
        forget()
        return tell()
      }
    }
  }

  private func wait(_ until: Instant) {
    let span = max(0, until - house.now())
    timer = house.loop.assumeIsolated().scheduleTask(in: .nanoseconds(span)) { self.step() }
  }

  /// Bodies that are delivered, or will be made anew.
  private func forget() {
    let kept = Set(machine.parcels.filter { !$0.isDelivered }.map(\.number))
    bodies = bodies.filter { kept.contains($0.key) }
  }

  // MARK: Bodies

  private func fetch(_ lane: Lane, after: Int64, bytesMax: Int) {
    guard let seal = CursorSeal(storeID: storeID, key: consumer.cursorKey) else {
      return machine.fetchFailed(at: house.now())
    }
    var position = machine.held ?? Position()
    position[lane] = after
    let order = Packing.Order(
      consumer: consumer, seal: seal, gateway: house.gatewayID, lane: lane, after: position,
      type: spec.format.type, bytesMax: bytesMax, epoch: epoch, isSingle: spec.isSingle, packsGaps: spec.packsGaps)
    let packing = Packing(
      order, source: house.source, shelf: house.shelf, loop: house.loop, now: house.now
    ) { self.packed($0, lane) }
    self.packing = packing
    packing.start()
  }

  private func packed(_ packed: PackedBody, _ lane: Lane) {
    packing = nil
    guard !isStopped else { return }
    switch packed {
    case .unreadable: machine.fetchFailed(at: house.now())
    case .otherStore:
      // An answer to what is on its way must not be taken for one to what comes next.
      attempt += 1
      door.shut()
      return begin()
    case .nothing(let through): machine.fetchedNothing(lane, through: through)
    case .body(let bytes, let name, let through, let gaps):
      var parcel = PushParcel(number: 0, lane: lane, id: name, type: spec.format.type, body: bytes)
      parcel.gaps = gaps
      if spec.gzip, bytes.count >= Limits.compressBytesMin, let stream = GzipStream() {
        return compress(parcel, through: through, stream, bytes[...], [])
      }
      take(parcel, through: through, size: bytes.count)
    }
    step()
  }

  /// A piece each turn of the loop: others have theirs between.
  private func compress(
    _ parcel: PushParcel, through: Int64, _ stream: GzipStream, _ rest: ArraySlice<UInt8>,
    _ done: [UInt8]
  ) {
    guard !isStopped else { return }
    let (piece, left) = (
      rest.prefix(Limits.compressBytesPerTurn), rest.dropFirst(Limits.compressBytesPerTurn)
    )
    let size = parcel.body.count
    guard let out = stream.compressed(piece, isLast: left.isEmpty, allocator: ByteBufferAllocator())
    else {
      take(parcel, through: through, size: size)
      return step()
    }
    let done = done + out.readableBytesView
    if left.isEmpty {
      var parcel = parcel
      parcel.body = done
      parcel.isGzip = true
      take(parcel, through: through, size: size)
      return step()
    }
    house.loop.assumeIsolated().execute {
      self.compress(parcel, through: through, stream, left, done)
    }
  }

  private func take(_ parcel: PushParcel, through: Int64, size: Int) {
    var parcel = parcel
    parcel.number = machine.fetched(
      parcel.lane, through: through, bytes: parcel.body.count, size: size)
    bodies[parcel.number] = parcel
  }

  // MARK: For who looks

  var isFailing: Bool { machine.failure != nil }

  var report: PushReport {
    let now = house.now()
    return PushReport(
      name: spec.name, kind: spec.kind, target: spec.address.text, state: machine.state(at: now),
      failure: machine.failure, isUnheard: machine.isUnheard, failingSince: failingSince, counts: machine.counts,
      at: now)
  }

  /// Once for each trouble, and once when it is over.
  private func tell() {
    let metadata: Logger.Metadata = ["push": "\(spec.name)", "to": "\(spec.address.text)"]
    tellUnheard(metadata)
    let failure = machine.failure
    if failure == nil {
      failingSince = nil
    } else if failingSince == nil {
      failingSince = house.now()
    }
    guard failure != toldFailure else { return }
    if let failure {
      house.logger.log(
        level: failure.needsPerson ? .error : .warning, "push: \(failure.text)", metadata: metadata)
    } else {
      house.logger.notice("push: delivered again", metadata: metadata)
    }
    toldFailure = failure
  }

  private func tellUnheard(_ metadata: Logger.Metadata) {
    guard machine.isUnheard != toldUnheard else { return }
    toldUnheard = machine.isUnheard
    if toldUnheard {
      house.logger.warning("push: \(PushReport.unheard)", metadata: metadata)
    } else {
      house.logger.notice("push: somebody listens now", metadata: metadata)
    }
  }
}
