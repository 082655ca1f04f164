// All pushes of the box: makes a courier for each, tells them what is durable, takes over a changed configuration. The
// face is for any thread; the couriers live on one loop of the group that is given.
//
// Invariants:
//  1. A push that is removed keeps its cursor in the store: added again it goes on where it stopped.
//  2. What has not changed is not touched by a reload.

import FieldBus
import Logging
import NIOCore
import Store
import StreamCore
import Synchronization

package final class PushOffice: @unchecked Sendable {
  // Unchecked: `couriers` and `nextIndex` are touched on the loop only.

  package typealias DoorMaker = @Sendable (PushSpec, any EventLoop) -> any PushDoor

  private let house: CourierHouse
  private let keys: BoxKey
  private let makeDoor: DoorMaker
  private let seed: @Sendable () -> UInt64
  private var couriers: [Courier] = []
  private var nextIndex = 0
  private let failing = Atomic<Bool>(false)

  package init(
    configuration: Configuration, catalogue: Catalogue, catalogueVersion: UInt32,
    store: any BatchSource, keys: BoxKey,
    group: any EventLoopGroup, logger: Logger, now: @escaping @Sendable () -> Instant,
    makeDoor: DoorMaker? = nil,
    seed: @escaping @Sendable () -> UInt64 = { UInt64.random(in: .min ... .max) }
  ) {
    let loop = group.next()
    house = CourierHouse(
      source: store,
      shelf: CatalogueShelf(
        present: catalogue, version: catalogueVersion, source: store, loop: loop), loop: loop,
      gatewayID: configuration.gatewayID, logger: logger, now: now)
    self.keys = keys
    self.seed = seed
    let clock = PushClock.system(configuration.clock)
    self.makeDoor =
      makeDoor ?? { spec, loop in
        switch spec.kind {
        case .http: HTTPDoor(spec, loop: loop, clock: clock, lookup: PushCredentials.lookup)
        case .mqtt: MQTTDoor(spec, clock: clock)
        }
      }
  }

  /// From now on these. Any thread.
  package func admit(_ specs: [PushSpec]) { house.loop.execute { self.take(specs) } }

  private func take(_ specs: [PushSpec]) {
    let (old, wanted) = (couriers, specs)
    couriers = old.filter { courier in wanted.contains { $0.isSame(as: courier.spec) } }
    for courier in old where !couriers.contains(where: { $0 === courier }) { courier.stop {} }
    for spec in wanted where !couriers.contains(where: { $0.spec.name == spec.name }) {
      let consumer = Consumer(
        index: nextIndex, spec: spec.consumer, cursorKey: keys.cursorKey(consumer: spec.name),
        pseudonymKey: keys.consumerKey(spec.name, number: spec.consumer.pseudonymKey))
      nextIndex += 1
      let courier = Courier(
        spec, consumer: consumer, seed: seed(), door: makeDoor(spec, house.loop), house: house)
      couriers.append(courier)
      courier.start()
    }
    house.shelf.forgetScopes()
  }

  /// More is durable in the store. Any thread.
  package func durable(_ position: Position) {
    house.loop.execute { for courier in self.couriers { courier.durable(position) } }
  }

  /// Calls on the loop. Any thread.
  package func reports(_ completion: @escaping @Sendable ([PushReport]) -> Void) {
    house.loop.execute { completion(self.reportsOnLoop) }
  }

  /// One of them has not delivered its last body, as it was at the last look. Any thread.
  package var isFailing: Bool {
    house.loop.execute {
      self.failing.store(self.couriers.contains { $0.isFailing }, ordering: .relaxed)
    }
    return failing.load(ordering: .relaxed)
  }

  var reportsOnLoop: [PushReport] {
    house.loop.preconditionInEventLoop()
    return couriers.map(\.report)
  }

  /// Says farewell to the platforms, within `Limits.farewellNs`. Blocks; not on an event loop.
  package func stop() {
    let left = house.loop.makePromise(of: Void.self)
    house.loop.execute { self.leave(left) }
    try? left.futureResult.wait()
  }

  private func leave(_ left: EventLoopPromise<Void>) {
    let leaving = couriers
    couriers = []
    let farewell = Farewell(waitingFor: leaving.count, left)
    let tooLate = house.loop.assumeIsolated().scheduleTask(in: .nanoseconds(Limits.farewellNs)) {
      farewell.end()
    }
    left.futureResult.whenComplete { _ in tooLate.cancel() }
    if leaving.isEmpty { farewell.end() }
    for courier in leaving { courier.stop { self.house.loop.execute { farewell.one() } } }
  }

  /// Ends once: when all have left, or when it is too late. On the loop.
  private final class Farewell: @unchecked Sendable {
    // Unchecked: touched on the loop only.
    private var count: Int
    private var left: EventLoopPromise<Void>?

    init(waitingFor count: Int, _ left: EventLoopPromise<Void>) {
      self.count = count
      self.left = left
    }

    func one() {
      count -= 1
      if count == 0 { end() }
    }

    func end() {
      left?.succeed(())
      left = nil
    }
  }
}

extension PushSpec {
  /// Wherever it stands in the file.
  package func isSame(as other: PushSpec) -> Bool {
    var (one, two) = (self, other)
    one.consumer.place = SourcePlace(file: "", line: 0, column: 0)
    two.consumer.place = one.consumer.place
    return one == two
  }
}
