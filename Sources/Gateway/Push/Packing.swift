// Makes one body for a push: reads behind a position of one lane, filters, renders, until it is full or there is no
// more. Lives on the event loop, for one body.
//
// Invariant: it answers exactly once, or never after `cancel()`.

import NIOCore
import Store
import StreamCore

enum PackedBody {
  /// Everything up to `through` of the lane is in it, or outside the scope.
  case body([UInt8], name: String, through: Int64, gaps: [String])
  /// Nothing up to there that this push may see.
  case nothing(through: Int64)
  /// The store can't be read now.
  case unreadable
  /// The store was set up anew: what was known of it means nothing.
  case otherStore(String)
}

final class Packing: @unchecked Sendable {
  // Unchecked: touched on `loop` only, which every completion of the store goes through.

  struct Order {
    var consumer: Consumer
    var seal: CursorSeal
    var gateway: String
    var lane: Lane
    /// The other lane's part goes into the cursor only.
    var after: Position
    var type: MediaType
    var bytesMax: Int
    var epoch: UInt32
    /// One batch, or gaps alone.
    var isSingle = false
    /// Beside a pack there is no place for gaps: they are one.
    var packsGaps = false
  }

  private let order: Order
  private let source: any BatchSource
  private let shelf: CatalogueShelf
  private let loop: any EventLoop
  private let now: @Sendable () -> Instant
  private var bytesMax: Int
  private var writer: BatchWriter?
  private var completion: ((PackedBody) -> Void)?

  init(
    _ order: Order, source: any BatchSource, shelf: CatalogueShelf, loop: any EventLoop,
    now: @escaping @Sendable () -> Instant, completion: @escaping (PackedBody) -> Void
  ) {
    self.order = order
    self.source = source
    self.shelf = shelf
    self.loop = loop
    self.now = now
    self.completion = completion
    bytesMax = order.bytesMax
  }

  func cancel() { completion = nil }

  func start() {
    writer = BatchWriter(
      consumer: order.consumer, seal: order.seal, after: order.after,
      limit: Limits.recordsPerAnswerMax,
      timeline: Timeline(epoch: order.epoch, now: now(), clocks: []), type: order.type,
      bytesMax: bytesMax, isNamed: true, isSingle: order.isSingle)
    read()
  }

  private func read() {
    guard completion != nil, let writer else { return }
    // No record takes less than 32 bytes; and more each time that most of it was outside the scope.
    let first = (order.isSingle ? 0 : bytesMax / 32) + Limits.recordsPerBatchMax
    let wanted = max(first, writer.scanned)
    var request = ReadRequest(
      after: writer.position, alarms: order.lane == .alarms, telemetry: order.lane == .telemetry,
      recordsMax: min(wanted, Limits.recordsPerReadMax))
    request.wholeBlocks = true
    source.read(request, for: order.consumer.name) { result in
      self.loop.execute { self.got(result) }
    }
  }

  private func got(_ result: Result<ReadAnswer, StoreFailure>) {
    guard completion != nil else { return }
    guard case .success(let found) = result else { return finish(.unreadable) }
    if found.storeID != order.seal.storeID { return finish(.otherStore(found.storeID)) }
    let versions = Set(found.events.map(\.catalogueVersion) + found.batches.map(\.catalogueVersion))
    shelf.views(versions) { self.took(found, views: $0) }
  }

  private func took(_ found: ReadAnswer, views: [UInt32: CatalogueView]) {
    guard completion != nil, var writer else { return }
    // Only one copy may be alive, or every append copies the body.
    self.writer = nil
    writer.take(found, lanes: [order.lane], views: views, at: now())
    self.writer = writer
    let hasMore = writer.leftTail || found.more
    let isSpent = writer.scanned >= Limits.recordsScannedPerAnswerMax
    if hasMore, !writer.isFull, writer.records < Limits.recordsPerAnswerMax, !isSpent {
      return read()
    }
    if writer.isFull, writer.isEmpty, writer.position[order.lane] == order.after[order.lane],
      bytesMax < Limits.answerBytesMax
    {
      // One record is larger than a whole body should be: it goes alone.
      bytesMax = min(Limits.answerBytesMax, 2 * bytesMax)
      return start()
    }
    let through = writer.position[order.lane]
    guard !writer.isEmpty else { return finish(.nothing(through: through)) }
    self.writer = nil
    let name = writer.name?.text ?? ""
    if order.type == .json {
      let body = writer.takeBody(gateway: order.gateway, more: hasMore)
      return finish(.body(body, name: name, through: through, gaps: []))
    }
    if order.packsGaps, writer.gaps > 0 {
      return finish(.body(pack(of: writer.gapHeaders), name: name, through: through, gaps: []))
    }
    // A pack without a record tells of gaps alone.
    let empty: [UInt8] = order.type == .senmlCBOR ? [0x80] : Array("[]".utf8)
    let gaps = writer.gapHeaders
    finish(.body(writer.takePack() ?? empty, name: name, through: through, gaps: gaps))
  }

  /// Gaps as records of the gateway itself.
  private func pack(of gaps: [String]) -> [UInt8] {
    func list<Output: RecordOutput>(_: Output.Type) -> [UInt8] {
      var list = Output(reservingCapacity: 160 * gaps.count)
      for gap in gaps {
        list.object {
          $0.key("n")
          $0.string(joining: order.gateway, "/gap")
          $0.member("vs", gap)
        }
      }
      return list.bytes
    }
    if order.type == .senmlCBOR { return [0x9F] + list(CBORWriter.self) + [0xFF] }
    return [UInt8(ascii: "[")] + list(JSONWriter.self) + [UInt8(ascii: "]")]
  }

  private func finish(_ packed: PackedBody) {
    let completion = completion
    self.completion = nil
    writer = nil
    completion?(packed)
  }
}
