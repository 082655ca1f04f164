// What the pull server and the control socket ask of the buffer: the store thread in the agent, a scripted one in
// the tests. Completions run on the store's thread; the caller hops.

import Store
import StreamCore

package protocol BatchSource: Sendable {
  /// What is said where it has no answer.
  var closed: StoreFailure { get }
  func read(
    _ request: ReadRequest, for consumer: String?,
    _ completion: @escaping @Sendable (Result<ReadAnswer, StoreFailure>) -> Void)
  /// `consumer` holds everything up to `position`. Monotone: an older position changes nothing.
  func acknowledge(_ position: Position, by consumer: String, at: Instant)
  /// These may pull from now on. Who goes keeps its cursor for when it comes back. Calls with what went wrong, or nil.
  func serve(_ consumers: [CursorOwner], _ completion: @escaping @Sendable (StoreFailure?) -> Void)
  /// Nil: no such consumer, or the store doesn't run.
  func position(of consumer: String, _ completion: @escaping @Sendable (Position?) -> Void)
  func catalogue(version: UInt32, _ completion: @escaping @Sendable ([UInt8]?) -> Void)
  /// The wall time of epochs, for what does not come with `read`.
  func clocks(of epochs: [UInt32], _ completion: @escaping @Sendable ([EpochClock]) -> Void)
  /// Takes over events that no bus made, all or none.
  func log(_ events: [NewEvent], _ completion: @escaping @Sendable (Bool) -> Void)
  func alarms(_ completion: @escaping @Sendable ([StoredAlarm]) -> Void)
  /// Without a store id: the store doesn't run.
  func report(_ completion: @escaping @Sendable (StoreReport) -> Void)
  /// Commits what is pending; says what is durable then.
  func flush(_ completion: @escaping @Sendable (Result<Position, StoreFailure>) -> Void)
}

extension BatchSource {
  package var closed: StoreFailure { .closed }
}

extension StoreThread: BatchSource {}
