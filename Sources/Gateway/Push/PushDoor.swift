// What carries bodies to a platform: HTTP or MQTT. A courier opens it, gives it bodies, and hears what became of
// them.
//
// Contract:
//  1. After `open` comes exactly one of `opened` and `failed`, unless it is shut before.
//  2. After `failed` and `closed` it is shut. What is heard through the closure of an older `open` means nothing.
//  3. `answered` comes at most once for each body, and says nil only when the platform has it; or `unheard` instead.

/// One body on its way.
package struct PushParcel: Sendable {
  package var number: Int
  package var lane: Lane
  /// The same for the same content: see BodyName.
  package var id: String
  package var type: MediaType
  package var body: [UInt8]
  package var isGzip = false
  /// Gaps that have no place in the body: SenML has none.
  package var gaps: [String] = []

  package init(number: Int, lane: Lane, id: String, type: MediaType, body: [UInt8]) {
    self.number = number
    self.lane = lane
    self.id = id
    self.type = type
    self.body = body
  }
}

package enum DoorEvent: Sendable, Equatable {
  case opened
  case failed(PushFailure)
  /// By the other side.
  case closed
  case answered(Int, PushFailure?)
  /// The broker took it, and said that nobody is there to whom it could give it.
  case unheard(Int)
}

package protocol PushDoor: AnyObject, Sendable {
  /// `hear` is called on any thread.
  func open(_ hear: @escaping @Sendable (DoorEvent) -> Void)
  func send(_ parcel: PushParcel)
  func shut()
  /// For good: says what there is to be said to the other side, within `Limits.farewellNs`. Calls once.
  func leave(_ completion: @escaping @Sendable () -> Void)
}
