// Pushes over MQTT: a thread of its own that owns one connection to a broker at a time. The face is for any thread and
// needs nothing else of the house: what is heard comes on the door's own thread.
//
// Why a thread for each: libmosquitto blocks for names and for TCP. A broker that can't be reached holds up its own
// push and no other.
//
// Invariants:
//  1. Of an older attempt nothing is heard.
//  2. The thread ends after `leave`; while it hangs in a name or a connection nobody waits for it.

import CLinux
import Glibc
import StreamCore
import Synchronization

package final class MQTTDoor: PushDoor {
  private enum Order {
    case open, shut
    case send(PushParcel)
    case leave((@Sendable () -> Void)?)
  }

  private struct State {
    var orders: [Order] = []
    var hear: (@Sendable (DoorEvent) -> Void)?
    var isStarted = false
    /// The thread is where nothing can call it back.
    var isBlocked = false
  }

  private let spec: PushSpec
  private let clock: PushClock
  private let state = Mutex(State())
  private let bell: Int32

  package init(_ spec: PushSpec, clock: PushClock) {
    self.spec = spec
    self.clock = clock
    bell = kerb_bell_new()
  }

  deinit { if bell >= 0 { close(bell) } }

  // MARK: The face

  package func open(_ hear: @escaping @Sendable (DoorEvent) -> Void) {
    let verdict = state.withLock { state -> PushFailure? in
      state.hear = hear
      if bell < 0 { return .unreachable("there is no descriptor to be had for it") }
      if state.isBlocked {
        return .unreachable("the look-up of its name, or the connection, still hangs")
      }
      if !state.isStarted {
        state.isStarted = MQTTThread.start { [self] in run() }
        if !state.isStarted { return .unreachable("there is no thread to be had for it") }
      }
      state.orders.append(.open)
      return nil
    }
    if let verdict { tell(.failed(verdict)) } else { kerb_bell_ring(bell) }
  }

  package func send(_ parcel: PushParcel) { order(.send(parcel)) }
  package func shut() { order(.shut) }

  package func leave(_ completion: @escaping @Sendable () -> Void) {
    let waits = state.withLock { state -> Bool in
      state.hear = nil
      let waits = state.isStarted && !state.isBlocked
      // Who hangs leaves when it comes back, and nobody waits.
      if state.isStarted { state.orders.append(.leave(waits ? completion : nil)) }
      return waits
    }
    if waits { kerb_bell_ring(bell) } else { completion() }
  }

  private func order(_ order: Order) {
    state.withLock { $0.orders.append(order) }
    kerb_bell_ring(bell)
  }

  private func takeOrders() -> [Order] {
    state.withLock { state -> [Order] in
      defer { state.orders = [] }
      return state.orders
    }
  }

  private func tell(_ event: DoorEvent) { state.withLock { $0.hear }?(event) }

  // MARK: The thread

  private func run() {
    var client: MQTTClient?
    /// The number of each body that is on its way, by the library's number of its message.
    var numbers: [Int32: Int] = [:]
    while true {
      let orders = takeOrders()
      let isLeaving = orders.contains { if case .leave = $0 { true } else { false } }
      for order in orders {
        switch order {
        case .open where isLeaving: break
        case .open:
          numbers = [:]
          client = nil
          client = connected()
        case .shut:
          numbers = [:]
          client = nil
        case .send(let parcel):
          guard let open = client else { break }
          switch open.publish(parcel) {
          case .success(let number): numbers[number] = parcel.number
          case .failure(.tooLarge): tell(.answered(parcel.number, .tooLarge))
          case .failure(let why):
            client = nil
            tell(.failed(why))
          }
        case .leave(let completion):
          client?.leave()
          completion?()
          return
        }
      }
      guard let open = client else {
        _ = kerb_wait_for_input_or_bell(-1, bell, .max)
        continue
      }
      wait(for: open)
      for event in open.takeEvents() {
        switch event {
        case .connected: tell(.opened)
        case .acknowledged(let number, let why):
          if let parcel = numbers.removeValue(forKey: number) { tell(.answered(parcel, why)) }
        case .unheard(let number):
          if let parcel = numbers.removeValue(forKey: number) { tell(.unheard(parcel)) }
        case .lost(let why):
          guard client === open else { break }
          client = nil
          numbers = [:]
          tell(.failed(why))
        }
      }
    }
  }

  /// Nil: it failed, and that was told.
  private func connected() -> MQTTClient? {
    var setup = MQTTSetup(spec: spec, password: nil, clock: clock)
    do throws(SecretFile.Problem) {
      setup.password = try spec.passwordFile.map(SecretFile.read)
      setup.proxyPassword = try spec.proxyPasswordFile.map(SecretFile.read)
    } catch {
      tell(.failed(.refused("nothing was sent: \(error.text)")))
      return nil
    }
    guard let client = MQTTClient(setup) else {
      tell(.failed(.unreachable("there is no memory to be had for it")))
      return nil
    }
    state.withLock { $0.isBlocked = true }
    let failure = client.connect()
    // Shut meanwhile, it is of an older attempt.
    let isOld = state.withLock { state -> Bool in
      state.isBlocked = false
      return !state.orders.isEmpty
    }
    guard let failure else { return client }
    if !isOld { tell(.failed(failure)) }
    return nil
  }

  /// Until something comes, something can go, an order is there, or it is time for the library's keep-alive.
  private func wait(for client: MQTTClient) {
    var polled = [
      pollfd(
        fd: client.socket, events: Int16(POLLIN | (client.wantsWrite ? POLLOUT : 0)), revents: 0),
      pollfd(fd: bell, events: Int16(POLLIN), revents: 0),
    ]
    _ = kerb_poll_until(&polled, 2, kerb_monotonic_ns() + Limits.mqttTurnNs)
    if polled[1].revents != 0 { _ = kerb_wait_for_input_or_bell(-1, bell, kerb_monotonic_ns()) }
    let happened = polled[0].revents
    client.turn(canRead: happened & ~Int16(POLLOUT) != 0, canWrite: happened & Int16(POLLOUT) != 0)
  }
}

/// A thread that nobody joins; it holds what it uses.
private enum MQTTThread {
  private final class Body: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  static func start(_ body: @escaping @Sendable () -> Void) -> Bool {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setstacksize(&attributes, Limits.mqttStackBytes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    let held = Unmanaged.passRetained(Body(body))
    var handle = pthread_t()
    let code = pthread_create(
      &handle, &attributes,
      { raw in
        guard let raw else { return nil }
        let body = Unmanaged<Body>.fromOpaque(raw).takeRetainedValue()
        kerb_block_signals()
        kerb_thread_name("kerb-mqtt")
        body.run()
        return nil
      }, held.toOpaque())
    if code != 0 { held.release() }
    return code == 0
  }
}
