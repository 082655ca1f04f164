// What the platforms and the control socket meet while the agent can't open its state: nothing is stored and nothing
// served, and everybody is told why. A value.

import Store
import StreamCore

struct ClosedStore: BatchSource {
  let closed: StoreFailure
  /// For a person.
  let why: String

  init(why: String) {
    self.why = why
    closed = .stateless(why: why)
  }

  func read(
    _ request: ReadRequest, for consumer: String?,
    _ completion: @escaping @Sendable (Result<ReadAnswer, StoreFailure>) -> Void
  ) {
    completion(.failure(closed))
  }

  func acknowledge(_ position: Position, by consumer: String, at: Instant) {}
  func serve(_ consumers: [CursorOwner], _ completion: @escaping @Sendable (StoreFailure?) -> Void) {
    completion(closed)
  }
  func position(of consumer: String, _ completion: @escaping @Sendable (Position?) -> Void) { completion(nil) }
  func catalogue(version: UInt32, _ completion: @escaping @Sendable ([UInt8]?) -> Void) { completion(nil) }
  func clocks(of epochs: [UInt32], _ completion: @escaping @Sendable ([EpochClock]) -> Void) { completion([]) }
  func log(_ events: [NewEvent], _ completion: @escaping @Sendable (Bool) -> Void) { completion(false) }
  func alarms(_ completion: @escaping @Sendable ([StoredAlarm]) -> Void) { completion([]) }

  func report(_ completion: @escaping @Sendable (StoreReport) -> Void) {
    var report = StoreReport()
    report.state = .failing
    report.lastFailure = why
    completion(report)
  }

  func flush(_ completion: @escaping @Sendable (Result<Position, StoreFailure>) -> Void) {
    completion(.failure(closed))
  }
}
