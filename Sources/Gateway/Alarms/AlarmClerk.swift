// Takes what people and platforms want done to an alarm from either door (HTTP, control socket) to the one
// who owns it, and brings back how it stands then. Lives on the event loop; waiting is done by a thread of its own.
//
//   find the state that is meant → may they? → the owner decides → the log has it → answer
//
// Invariants:
//  1. A state is named by its sequence: whoever acknowledges an older one than there is now is told so.
//  2. What is answered as done is in the log, durably; what is not there yet is answered as pending.

import CLinux
import FieldBus
import NIOCore
import Store
import StreamCore

/// Which alarm.
package enum AlarmTarget: Sendable {
  /// A state of it.
  case id(Int64)
  /// "manhole-17/cover-open", whatever its state.
  case name(String)
}

/// What became of it. `alarm`: as it stands now.
enum AlarmReply {
  case done(StoredAlarm)
  /// It was so already.
  case already(StoredAlarm)
  /// Carried out, and not yet in the log: the storage is behind.
  case pending
  /// There is such an alarm, and it never stood: there is nothing to be done to it.
  case never(name: String)
  case unknown
  case forbidden
  case outdated(StoredAlarm)
  case held(StoredAlarm)
  case unavailable(String)
}

final class AlarmClerk: @unchecked Sendable {
  // Unchecked: touched on `loop` only.

  /// What is wanted. `spanNs`: of a shelving.
  struct Order {
    var order: AlarmOrder
    var target: AlarmTarget
    var by: String
    var note: String
    var spanNs: Int64 = 0
  }

  private struct Found {
    /// Its number in the present catalogue.
    var number: Int
    var name: String
    /// Of the state that is meant; nil: whatever it is.
    var serial: UInt32?
    /// As it stands; nil: it never changed.
    var now: StoredAlarm?
  }

  private let source: any BatchSource
  private let owners: (any AlarmOwners)?
  private let shelf: CatalogueShelf
  private let loop: any EventLoop
  private let now: @Sendable () -> Instant

  init(
    source: any BatchSource, owners: (any AlarmOwners)?, shelf: CatalogueShelf, loop: any EventLoop,
    now: @escaping @Sendable () -> Instant
  ) {
    self.source = source
    self.owners = owners
    self.shelf = shelf
    self.loop = loop
    self.now = now
  }

  /// `allows`: may they do this to the alarm of that number?
  func carryOut(_ order: Order, allows: @escaping (Int) -> Bool, _ reply: @escaping (AlarmReply) -> Void) {
    find(order.target) { found in
      guard let found else { return reply(.unknown) }
      guard allows(found.number) else { return reply(.forbidden) }
      self.give(order, to: found, reply)
    }
  }

  // MARK: Which one

  private func alarms(_ completion: @escaping ([StoredAlarm]) -> Void) {
    let bound = NIOLoopBound(completion, eventLoop: loop)
    source.alarms { alarms in self.loop.execute { bound.value(alarms) } }
  }

  private func number(of name: String) -> Int? {
    let catalogue = shelf.present.catalogue
    return catalogue.alarms.firstIndex { catalogue.alarmName($0) == name }
  }

  private func find(_ target: AlarmTarget, _ completion: @escaping (Found?) -> Void) {
    alarms { alarms in
      switch target {
      case .name(let name):
        completion(
          self.number(of: name).map { number in
            Found(number: number, name: name, serial: nil, now: alarms.first { $0.name == name })
          })
      case .id(let sequence):
        if let alarm = alarms.first(where: { $0.sequence == sequence }) {
          return completion(self.found(alarm.name, alarm.event.serial, alarms))
        }
        self.older(sequence, alarms, completion)
      }
    }
  }

  private func found(_ name: String, _ serial: UInt32, _ alarms: [StoredAlarm]) -> Found? {
    number(of: name).map { number in
      Found(number: number, name: name, serial: serial, now: alarms.first { $0.name == name })
    }
  }

  /// A state that is no more, or that was repeated since: the log knows whose it was.
  private func older(_ sequence: Int64, _ alarms: [StoredAlarm], _ completion: @escaping (Found?) -> Void) {
    guard sequence > 0 else { return completion(nil) }
    let bound = NIOLoopBound(completion, eventLoop: loop)
    let request = ReadRequest(
      after: Position(alarms: sequence - 1), alarms: true, telemetry: false, recordsMax: 1)
    source.read(request, for: nil) { result in
      self.loop.execute {
        guard case .success(let answer) = result, let stored = answer.events.first, stored.sequence == sequence else {
          return bound.value(nil)
        }
        self.shelf.views([stored.catalogueVersion]) { views in
          guard let catalogue = views[stored.catalogueVersion]?.catalogue,
            catalogue.alarms.indices.contains(Int(stored.event.alarm))
          else { return bound.value(nil) }
          let name = catalogue.alarmName(catalogue.alarms[Int(stored.event.alarm)])
          bound.value(self.found(name, stored.event.serial, alarms))
        }
      }
    }
  }

  // MARK: Done

  private func give(_ order: Order, to found: Found, _ reply: @escaping (AlarmReply) -> Void) {
    guard let owners else { return reply(.unavailable("nobody watches alarms here")) }
    var request = AlarmRequest(order.order, serial: found.serial, by: order.by, note: order.note)
    if order.order == .shelve { request.until = now() + order.spanNs }
    let wanted = request
    let number = found.number
    let deadline = Instant(nanoseconds: kerb_monotonic_ns()) + Limits.alarmOrderNs
    let bound = NIOLoopBound((found: found, reply: reply), eventLoop: loop)
    let started = CommandThread.start {
      var outcome: Result<Pipeline.OrderOutcome, LineFailure>
      do throws(LineFailure) {
        outcome = .success(try owners.order(wanted, alarm: number, until: deadline))
      } catch {
        outcome = .failure(error)
      }
      let decided = outcome
      self.loop.execute { self.decided(decided, bound.value.found, bound.value.reply) }
    }
    if !started { reply(.unavailable("no thread to be had; try again")) }
  }

  private func decided(
    _ outcome: Result<Pipeline.OrderOutcome, LineFailure>, _ found: Found, _ reply: @escaping (AlarmReply) -> Void
  ) {
    switch outcome {
    case .failure(let failure): reply(.unavailable("the alarm's bus did not take the order: \(failure.text)"))
    case .success(.noRoom): reply(.unavailable("the storage is behind and has no room for it; try again"))
    case .success(.judged(let verdict)):
      // The store takes over what was handed over before it answers.
      alarms { alarms in
        guard let alarm = alarms.first(where: { $0.name == found.name }) else {
          if case .change = verdict { return reply(.pending) }
          return reply(.never(name: found.name))
        }
        switch verdict {
        case .change: reply(alarm.sequence != found.now?.sequence ? .done(alarm) : .pending)
        case .already: reply(.already(alarm))
        case .outdated: reply(.outdated(alarm))
        case .held: reply(.held(alarm))
        }
      }
    }
  }
}
