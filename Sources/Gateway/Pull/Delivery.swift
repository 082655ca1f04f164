// One request for batches on its way: acknowledge, read, filter, perhaps wait, answer. Lives on the event loop,
// from the request to its answer.
//
//   position known ──► its turn ──► reading ──► answered
//                                    ▲  │ nothing yet, and time left
//                           durable  │  ▼
//                                   waiting ──► answered (time over, or the server stops)
//
// Invariants:
//  1. It answers exactly once, or never after `cancel()`.
//  2. The cursor that it gives is behind everything in the answer and everything outside the scope in front of it.
//  3. Who has waited, or wants alarms alone, needs no turn: what is new is little, and must not wait behind backlogs.

import NIOCore
import Store
import StreamCore

final class Delivery: @unchecked Sendable {
  // Unchecked: touched on the desk's loop only, which every entry from another thread's completion goes through.

  private enum State { case queued, reading, waiting, answered }

  private let desk: PullDesk
  private let consumer: Consumer
  var consumerName: String { consumer.name }
  private let query: BatchesQuery
  private let lanes: [Lane]
  private let deadline: NIODeadline
  private var reply: ((PullAnswer) -> Void)?
  private var state = State.queued
  private var hasTurn = false
  private var lease: AnswerLease?
  private var begin = Position()
  private var seal: CursorSeal?
  private var writer: BatchWriter?
  private var timeOver: Scheduled<Void>?
  /// Sequences looked at since it last waited.
  private var scannedBefore = 0

  init(desk: PullDesk, consumer: Consumer, query: BatchesQuery, reply: @escaping (PullAnswer) -> Void) {
    self.desk = desk
    self.consumer = consumer
    self.query = query
    self.reply = reply
    lanes = query.lane.map { [$0] } ?? consumer.spec.lanes
    deadline = .now() + .nanoseconds(query.waitNs)
  }

  /// From `position`, or from the consumer's stored cursor.
  func start(at position: Position?) {
    if let position { return begin(at: position) }
    desk.source.position(of: consumer.name) { stored in
      self.desk.loop.execute {
        if let stored { self.begin(at: stored) } else { self.answer(PullDesk.unavailable(self.desk.source.closed)) }
      }
    }
  }

  /// The connection is gone.
  func cancel() {
    reply = nil
    leave()
  }

  private func begin(at position: Position) {
    guard state != .answered else { return }
    guard let seal = desk.seal(of: consumer) else { return answer(PullDesk.unavailable(desk.source.closed)) }
    begin = position
    scannedBefore = 0
    self.seal = seal
    if lanes == [.alarms] || hasTurn { return work() }
    hasTurn = true
    if desk.turns.ask(self) { work() }
  }

  /// It is its turn.
  func work() {
    guard state != .answered, let seal else { return }
    let lease = self.lease ?? desk.room.lease()
    self.lease = lease
    writer = BatchWriter(
      consumer: consumer, seal: seal, after: begin, limit: query.limit,
      timeline: Timeline(epoch: desk.epoch, now: desk.now(), clocks: []), type: query.type, bytesMax: lease.bytes)
    read()
  }

  private func leaveTurn() {
    guard hasTurn else { return }
    hasTurn = false
    desk.leaveTurn(self)
  }

  // MARK: Reading

  private func read() {
    guard state != .answered, let writer else { return }
    state = .reading
    // As much as is wanted, and more each time that most of it was outside the scope.
    let wanted = max(query.limit - writer.records + Limits.recordsPerBatchMax, writer.scanned)
    var request = ReadRequest(
      after: writer.position, alarms: lanes.contains(.alarms), telemetry: lanes.contains(.telemetry),
      recordsMax: min(wanted, Limits.recordsPerReadMax))
    request.wholeBlocks = true
    desk.source.read(request, for: consumer.name) { result in
      self.desk.loop.execute { self.got(result) }
    }
  }

  private func got(_ result: Result<ReadAnswer, StoreFailure>) {
    guard state != .answered else { return }
    switch result {
    case .failure(let failure): answer(PullDesk.unavailable(failure))
    case .success(let found):
      desk.noteStore(found.storeID)
      if writer?.seal.storeID != desk.storeID { return storeChanged() }
      desk.noteDurable(found.next)
      let versions = Set(found.events.map(\.catalogueVersion) + found.batches.map(\.catalogueVersion))
      desk.shelf.views(versions) { self.took(found, views: $0) }
    }
  }

  /// The store was set up anew under this request: a cursor of the old one means nothing in it.
  private func storeChanged() {
    if query.after == nil { start(at: nil) } else { answer(desk.conflict("is of another store")) }
  }

  private func took(_ found: ReadAnswer, views: [UInt32: CatalogueView]) {
    guard state != .answered, var writer else { return }
    // Only one copy may be alive, or every append copies the body.
    self.writer = nil
    writer.take(found, lanes: lanes, views: views, at: desk.now())
    self.writer = writer
    let more = writer.isFull || writer.leftTail || found.more
    let isSpent = writer.scanned - scannedBefore >= Limits.recordsScannedPerAnswerMax
    if more, !writer.isFull, writer.records < query.limit, !isSpent { return read() }
    if !writer.isEmpty || more { return answerWithBody(more: more) }
    waitOrAnswer()
  }

  // MARK: Waiting

  private func waitOrAnswer() {
    guard let writer else { return }
    if desk.isStopping || deadline <= .now() { return answerWithNothing() }
    if desk.hasMore(than: writer.position, lanes: lanes) { return read() }
    if let refusal = desk.wait(self) {
      desk.refusals.note(.longPolls, peer: "", consumer: consumer.name, at: desk.now())
      return answer(refusal)
    }
    state = .waiting
    leaveTurn()
    scannedBefore = writer.scanned
    if timeOver == nil {
      timeOver = desk.loop.assumeIsolated().scheduleTask(deadline: deadline) { self.timeIsOver() }
    }
  }

  /// More became durable.
  func wake() {
    guard state == .waiting, let writer, desk.hasMore(than: writer.position, lanes: lanes) else { return }
    desk.leave(self)
    read()
  }

  /// The server stops, or the time is over: what there is goes out.
  func timeIsOver() {
    if state == .waiting { answerWithNothing() }
  }

  // MARK: Answering

  private func answerWithNothing() {
    // What lies outside the scope must not be looked at again and again: then the answer is an empty one with a
    // cursor.
    if let writer, writer.position != begin { answerWithBody(more: false) } else { answer(.nothing) }
  }

  private func answerWithBody(more: Bool) {
    guard var writer else { return }
    self.writer = nil
    if query.after == nil { desk.traffic.gave(to: consumer.name) }
    if query.type == .json { return answer(.json(writer.takeBody(gateway: desk.gatewayID, more: more))) }
    var headers = [(name: "Link", value: writer.link(query.others))]
    for gap in writer.gapHeaders { headers.append((name: "Kerb-Gap", value: gap)) }
    guard let pack = writer.takePack() else { return answer(PullAnswer(status: .noContent, headers: headers)) }
    answer(PullAnswer(status: .ok, headers: headers, contentType: query.type.rawValue, body: pack))
  }

  private func answer(_ answer: PullAnswer) {
    let reply = reply
    var answer = answer
    if !answer.body.isEmpty {
      lease?.shrink(to: answer.body.count)
      answer.lease = lease
    }
    cancel()
    reply?(answer)
  }

  private func leave() {
    state = .answered
    timeOver?.cancel()
    timeOver = nil
    writer = nil
    lease = nil
    desk.leave(self)
    leaveTurn()
  }
}
