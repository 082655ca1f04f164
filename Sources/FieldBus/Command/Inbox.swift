// Where commands wait for a bus's own thread: nobody else ever touches the line. Any thread posts a request and waits
// for its answer until a deadline; the bus's thread takes one between two of its own transactions.
//
//   free ──post──▶ posted ──take──▶ under way ──answer──▶ answered ──fetched──▶ free
//                    └──deadline──▶ free   └──deadline──▶ abandoned ──answer──▶ free
//
// Invariants:
//  1. A slot changes hands under the gate only. While a request is under way its bytes are the bus thread's alone.
//  2. The bus's thread allocates nothing here, and takes the gate only if something was posted.
//  3. Every post ends: with an answer, with a failure, or at its deadline.

import CLinux
import Glibc
import StreamCore
import Synchronization

package final class Inbox: @unchecked Sendable {
  // Unchecked: invariant 1.

  enum State: UInt8, BitwiseCopyable { case free, posted, underWay, answered, abandoned }

  struct Slot: BitwiseCopyable {
    var state = State.free
    var isPatient = false
    /// Not a request for the line: what was learned of a device is to be forgotten.
    var forgets = false
    /// That device's number on the bus, or that of the one that a question of frames is for; -1: none.
    var device = -1
    /// 0: answered; else how it failed.
    var failure: UInt8 = 0
    var failureCode: UInt8 = 0
    var count = 0
    var timeoutNs: Int64 = 0
    var postedAt = Instant.zero
    var tookNs: Int64 = 0
    var ticket: Int64 = 0
  }

  /// Also what the bus's thread waits on: whoever posts wakes it.
  let gate: OpaquePointer
  private let slots: UnsafeMutablePointer<Slot>
  /// Of each slot: the request, and behind it the reply.
  private let bytes: UnsafeMutablePointer<UInt8>
  /// Rung where the bus's thread waits for its line and can't wait on the gate. Negative: no descriptor was to be had.
  private let bell: Int32
  private var isBellAwaited = false
  private let posted = Atomic<Int>(0)
  private let postCount = Atomic<Int64>(0)
  private(set) var isServed = false
  /// What is done to alarms: on the same gate, in slots of its own.
  let alarms: AlarmOrders
  private var tickets: Int64 = 0
  /// Bus thread only: the last thing done was a command, so that polls get their turn.
  var servedLast = false

  /// Without a bell what was asked is looked for this often.
  private static let belllessNs: Int64 = 100_000_000
  /// Of a reply: a line of text is the longest.
  static let replyBytesMax = Swift.max(CommandFrame.bytesMax, Limits.textLineBytesMax)
  private static let slotBytes = CommandFrame.bytesMax + replyBytesMax

  package static var bytes: Int {
    Arena.bytes(of: Slot.self, count: Limits.commandsPerBusMax)
      + Arena.bytes(of: UInt8.self, count: Limits.commandsPerBusMax * slotBytes) + AlarmOrders.memoryBytes
  }

  package init(arena: inout Arena) {
    gate = kerb_gate_new()
    bell = kerb_bell_new()
    slots = arena.take(Slot.self, count: Limits.commandsPerBusMax, first: Slot())
    bytes = arena.take(UInt8.self, count: Limits.commandsPerBusMax * Self.slotBytes, first: 0)
    alarms = AlarmOrders(arena: &arena)
  }

  deinit {
    kerb_gate_free(gate)
    if bell >= 0 { Glibc.close(bell) }
  }

  // MARK: Who asks

  /// Posts, wakes the bus's thread, and waits.
  package func ask(_ request: LineRequest, until deadline: Instant) throws(LineFailure) -> LineReply {
    guard (2...CommandFrame.bytesMax).contains(request.frame.count) else { throw .notPossible }
    var slot = Slot()
    slot.isPatient = request.isPatient
    slot.count = request.frame.count
    slot.device = request.device ?? -1
    slot.timeoutNs = request.timeoutNs
    return try ask(slot, request.frame, until: deadline)
  }

  /// Lets the bus's thread forget what it has learned of a device, and waits until it has.
  package func forget(device: Int, until deadline: Instant) throws(LineFailure) {
    var slot = Slot()
    slot.forgets = true
    slot.device = device
    _ = try ask(slot, [], until: deadline)
  }

  private func ask(_ wanted: Slot, _ frame: [UInt8], until deadline: Instant) throws(LineFailure) -> LineReply {
    kerb_gate_lock(gate)
    defer { kerb_gate_unlock(gate) }
    guard isServed else { throw .notServed }
    var free = 0
    while free < Limits.commandsPerBusMax, slots[free].state != .free { free += 1 }
    guard free < Limits.commandsPerBusMax else { throw .busy }
    post(wanted, frame, in: free)
    while slots[free].state != .answered {
      if kerb_gate_wait_until(gate, deadline.nanoseconds) == 0, slots[free].state != .answered {
        abandon(free)
        throw .tooLate
      }
    }
    let slot = slots[free]
    slots[free].state = .free
    if let failure = Self.failure(slot) { throw failure }
    let reply = UnsafeBufferPointer(start: self.reply(of: free), count: slot.count)
    return LineReply(frame: Array(reply), tookNs: slot.tookNs)
  }

  private func post(_ wanted: Slot, _ frame: [UInt8], in index: Int) {
    var slot = wanted
    slot.state = .posted
    slot.postedAt = Instant(nanoseconds: kerb_monotonic_ns())
    tickets += 1
    slot.ticket = tickets
    for (place, byte) in frame.enumerated() { self.request(of: index)[place] = byte }
    slots[index] = slot
    posted.add(1, ordering: .releasing)
    wakeForPost()
  }

  private func abandon(_ index: Int) {
    if slots[index].state == .posted {
      slots[index].state = .free
      posted.subtract(1, ordering: .releasing)
    } else {
      slots[index].state = .abandoned
    }
  }

  // MARK: Bus thread only

  /// How often something was posted.
  package var posts: Int64 { postCount.load(ordering: .acquiring) }
  var hasPosts: Bool { posted.load(ordering: .acquiring) > 0 }

  /// A request that waits for its turn: the oldest, an impatient one first.
  struct Waiting {
    var index: Int
    var unit: Int
    /// On a bus of asked frames; nil: none of the configured ones.
    var device: Int?
    var timeoutNs: Int64
    var isPatient: Bool
    var postedAt: Instant
    /// The device of which all that was learned is to be forgotten; nil: a request for the line.
    var forgets: Int?
    /// Of a read: what it asks for, and the shape of its reply. Nil: replies to it say themselves what they answer.
    var table: RegisterTable
    var address: Int
    var count: Int
    var shape: Shape?
  }

  /// Only looks.
  func first() -> Waiting? {
    guard hasPosts else { return nil }
    kerb_gate_lock(gate)
    defer { kerb_gate_unlock(gate) }
    var best = -1
    for index in 0..<Limits.commandsPerBusMax where slots[index].state == .posted {
      let isBetter =
        best < 0 || (slots[best].isPatient && !slots[index].isPatient)
        || (slots[best].isPatient == slots[index].isPatient && slots[index].ticket < slots[best].ticket)
      if isBetter { best = index }
    }
    guard best >= 0 else { return nil }
    let slot = slots[best]
    let bytes = requestBytes(best)
    var waiting = Waiting(
      index: best, unit: Int(bytes.first ?? 0), device: slot.device < 0 ? nil : slot.device,
      timeoutNs: slot.timeoutNs, isPatient: slot.isPatient, postedAt: slot.postedAt,
      forgets: slot.forgets ? slot.device : nil, table: .holding, address: 0, count: 0)
    for table in RegisterTable.allCases where bytes.count == ReplyFrame.requestBytes && table.readFunction == bytes[1] {
      waiting.table = table
      waiting.address = Int(bytes[2]) << 8 | Int(bytes[3])
      waiting.count = Int(bytes[4]) << 8 | Int(bytes[5])
      waiting.shape = Shape(table: table, count: waiting.count)
    }
    return waiting
  }

  /// False: it was withdrawn meanwhile.
  func take(_ index: Int) -> Bool {
    kerb_gate_lock(gate)
    defer { kerb_gate_unlock(gate) }
    guard slots[index].state == .posted else { return false }
    slots[index].state = .underWay
    posted.subtract(1, ordering: .releasing)
    return true
  }

  func requestBytes(_ index: Int) -> UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(start: UnsafePointer(request(of: index)), count: slots[index].count)
  }
  /// Room for `replyBytesMax`.
  func replyBytes(_ index: Int) -> UnsafeMutablePointer<UInt8> { reply(of: index) }

  func answer(_ index: Int, count: Int, tookNs: Int64) {
    kerb_gate_lock(gate)
    slots[index].count = count
    slots[index].tookNs = tookNs
    slots[index].failure = 0
    finish(index)
    kerb_gate_unlock(gate)
  }

  func fail(_ index: Int, _ failure: LineFailure) {
    kerb_gate_lock(gate)
    setFailure(index, failure)
    finish(index)
    kerb_gate_unlock(gate)
  }

  /// All that waits now fails so.
  func failAll(_ failure: LineFailure) {
    guard hasPosts else { return }
    kerb_gate_lock(gate)
    failPosted(failure)
    kerb_gate_unlock(gate)
  }

  /// From now on somebody takes what is posted.
  package func open() {
    kerb_gate_lock(gate)
    isServed = true
    kerb_gate_unlock(gate)
  }

  package func close() {
    kerb_gate_lock(gate)
    isServed = false
    failPosted(.notServed)
    alarms.failAll()
    kerb_gate_signal(gate)
    kerb_gate_unlock(gate)
  }

  private func failPosted(_ failure: LineFailure) {
    for index in 0..<Limits.commandsPerBusMax where slots[index].state == .posted {
      setFailure(index, failure)
      posted.subtract(1, ordering: .releasing)
      finish(index)
    }
  }

  // MARK: With the gate locked

  /// Something new was posted.
  func wakeForPost() {
    postCount.add(1, ordering: .releasing)
    wake()
  }

  /// Ends the wait of the bus's thread.
  func wake() {
    kerb_gate_signal(gate)
    if isBellAwaited { kerb_bell_ring(bell) }
  }

  /// Bus thread only. Leaves the gate while it waits, as a wait on the gate does.
  func waitForBell(or descriptor: Int32, until deadline: Instant) {
    let until = bell < 0 ? Swift.min(deadline.nanoseconds, kerb_monotonic_ns() + Self.belllessNs) : deadline.nanoseconds
    isBellAwaited = bell >= 0
    kerb_gate_unlock(gate)
    _ = kerb_wait_for_input_or_bell(descriptor, bell, until)
    kerb_gate_lock(gate)
    isBellAwaited = false
  }

  private func finish(_ index: Int) {
    slots[index].state = slots[index].state == .abandoned ? .free : .answered
    kerb_gate_signal(gate)
  }

  private func request(of index: Int) -> UnsafeMutablePointer<UInt8> { bytes + index * Self.slotBytes }
  private func reply(of index: Int) -> UnsafeMutablePointer<UInt8> {
    bytes + index * Self.slotBytes + CommandFrame.bytesMax
  }

  private func setFailure(_ index: Int, _ failure: LineFailure) {
    let (kind, code): (UInt8, UInt8) =
      switch failure {
      case .noReply: (1, 0)
      case .corrupt(let corruption): (2, corruption.rawValue)
      case .refused(let code): (3, code)
      case .lineLost: (4, 0)
      case .notServed: (5, 0)
      case .busy: (6, 0)
      case .tooLate: (7, 0)
      case .notPossible: (8, 0)
      }
    slots[index].failure = kind
    slots[index].failureCode = code
  }

  private static func failure(_ slot: Slot) -> LineFailure? {
    switch slot.failure {
    case 0: return nil
    case 1: return .noReply
    case 2: return .corrupt(Corruption(rawValue: slot.failureCode) ?? .wrongShape)
    case 3: return .refused(slot.failureCode)
    case 4: return .lineLost
    case 5: return .notServed
    case 6: return .busy
    case 7: return .tooLate
    default: return .notPossible
    }
  }
}
