// Builds the body of one answer of /v1/batches from what the store gives: filters, renders, and cuts where the
// consumer's limit or the size of an answer is reached. A value; decides nothing about waiting.
//
// Invariants:
//  1. `position` is behind the last sequence that was looked at: everything before it is in the body, or outside
//     the consumer's scope, or in a gap of the body. Nothing behind it is in the body.
//  2. A batch's id is never given to other records (for one consumer). Telemetry is sent in pieces that end at
//     multiples of `Limits.recordsPerBatchMax` or at a block's end, wherever the cursor began and whatever the
//     limit is; only a piece that does not fit into an empty answer is cut. The id names the first and the last
//     sequence. An alarm is a batch of its own.
//  3. The body has at most `limit` records and `bytesMax` bytes.

import Store
import StreamCore

struct BatchWriter {
  let consumer: Consumer
  let seal: CursorSeal
  let limit: Int
  let bytesMax: Int
  let type: MediaType
  /// Of a push in SenML that names its messages: one batch, or gaps alone.
  let isSingle: Bool

  private(set) var position: Position
  /// Records and gaps in the body.
  private(set) var records = 0
  private(set) var gaps = 0
  /// Sequences looked at.
  private(set) var scanned = 0
  /// No more fits.
  private(set) var isFull = false
  /// Of a push: of what it is made.
  private(set) var name: BodyName?
  /// What was offered last ended within a piece, whose rest is yet to be read.
  private(set) var leftTail = false

  private var timeline: Timeline
  private var gapList = JSONWriter()
  /// The body from its beginning, with the batches; of a SenML pack the records alone.
  private var batchList: JSONWriter
  /// The gaps of a SenML pack: values of Kerb-Gap headers.
  private(set) var gapHeaders: [String] = []

  /// What comes behind the batches, but for the gaps: names, braces and the cursor.
  private static let envelopeBytes = 1_024
  private static let open = Array(#"{"batches":["#.utf8)

  init(
    consumer: Consumer, seal: CursorSeal, after: Position, limit: Int, timeline: Timeline, type: MediaType = .json,
    bytesMax: Int = Limits.answerBytesMax, isNamed: Bool = false,
    isSingle: Bool = false
  ) {
    self.type = type
    self.isSingle = isSingle
    name = isNamed ? BodyName(storeID: seal.storeID) : nil
    self.consumer = consumer
    self.seal = seal
    position = after
    self.limit = limit
    self.timeline = timeline
    self.bytesMax = bytesMax - Self.envelopeBytes
    batchList = JSONWriter(reservingCapacity: min(bytesMax, 96 * limit + Self.envelopeBytes))
    switch type {
    case .senmlJSON: batchList.append(unseparated: [UInt8(ascii: "[")])
    case .senmlCBOR: batchList.append(unseparated: [0x9F])
    default: batchList.append(unseparated: Self.open)
    }
  }

  var isEmpty: Bool { records == 0 && gaps == 0 }

  // MARK: What the store gives

  /// `lanes`: those that were read. `views`: the catalogues that could be read; what was written under another one
  /// is reported as damaged.
  mutating func take(_ answer: ReadAnswer, lanes: [Lane], views: [UInt32: CatalogueView], at now: Instant) {
    leftTail = false
    timeline.now = now
    timeline.add(answer.clocks)
    let before = position
    if lanes.contains(.alarms) {
      takeAlarms(answer, views)
      if isFull { return }
      position.alarms = max(position.alarms, answer.next.alarms)
    }
    if lanes.contains(.telemetry) {
      takeTelemetry(answer, views, isFirst: position.alarms == before.alarms)
      if isFull || leftTail { return }
      position.telemetry = max(position.telemetry, answer.next.telemetry)
    }
  }

  private mutating func takeAlarms(_ answer: ReadAnswer, _ views: [UInt32: CatalogueView]) {
    var gaps = answer.alarmGaps.sorted { $0.from < $1.from }[...]
    for stored in answer.events {
      while let gap = gaps.first, gap.from < stored.sequence {
        gaps.removeFirst()
        guard append(gap, lane: .alarms) else { return }
      }
      guard append(stored, view: views[stored.catalogueVersion]) else { return }
    }
    for gap in gaps {
      guard append(gap, lane: .alarms) else { return }
    }
  }

  private mutating func takeTelemetry(_ answer: ReadAnswer, _ views: [UInt32: CatalogueView], isFirst: Bool) {
    var gaps = answer.telemetryGaps.sorted { $0.from < $1.from }[...]
    var isFirst = isFirst
    for batch in answer.batches {
      for piece in Self.pieces(of: batch) {
        while let gap = gaps.first, gap.from < piece.first {
          gaps.removeFirst()
          guard append(gap, lane: .telemetry) else { return }
          isFirst = false
        }
        let endsRead = piece.last == answer.next.telemetry && answer.more && !answer.endsWhole
        if endsRead, !isFirst, piece.last % Int64(Limits.recordsPerBatchMax) != 0 {
          leftTail = true
          return
        }
        guard append(piece, of: batch, view: views[batch.catalogueVersion]) else { return }
        isFirst = false
      }
    }
    for gap in gaps {
      guard append(gap, lane: .telemetry) else { return }
    }
  }

  private struct Piece {
    var first: Int64
    var last: Int64
  }

  private static func pieces(of batch: StoredBatch) -> [Piece] {
    var pieces: [Piece] = []
    let size = Int64(Limits.recordsPerBatchMax)
    let end = batch.firstSequence + Int64(batch.samples.count) - 1
    var first = batch.firstSequence
    while first <= end {
      let last = min(end, (first - 1) / size * size + size)
      pieces.append(Piece(first: first, last: last))
      first = last + 1
    }
    return pieces
  }

  // MARK: What goes into the body

  /// False: it does not fit, and the body is as before.
  private mutating func append(_ gap: Gap, lane: Lane) -> Bool {
    if isSingle, records > 0 {
      isFull = true
      return false
    }
    if type != .json { return append(header: gap, lane: lane) }
    let mark = gapList.mark
    gapList.object {
      $0.member("lane", lane.name)
      $0.member("from", gap.from)
      $0.member("to", gap.to)
      $0.member("count", gap.count)
      for (name, at) in [("start", gap.start), ("end", gap.end)] {
        guard let at, let ms = timeline.unixMs(at, epoch: gap.epoch) else { continue }
        $0.key(name)
        $0.seconds(milliseconds: ms)
      }
      $0.member("reason", gap.reason.name)
    }
    guard gapList.count + batchList.count <= bytesMax else {
      gapList.rewind(to: mark)
      isFull = true
      return false
    }
    note(gap, lane)
    return true
  }

  private mutating func note(_ gap: Gap, _ lane: Lane) {
    gaps += 1
    name?.add(gap: Self.text(gap, lane), lane, gap.from...max(gap.from, gap.to))
    advance(lane, to: gap.to)
  }

  private static func text(_ gap: Gap, _ lane: Lane) -> String {
    "\(lane.name);from=\(gap.from);to=\(gap.to);count=\(gap.count);reason=\(gap.reason.name)"
  }

  /// An item with parameters (RFC 9651).
  private mutating func append(header gap: Gap, lane: Lane) -> Bool {
    guard gapHeaders.count < Limits.gapHeadersMax else {
      isFull = true
      return false
    }
    var text = "\(lane.name);from=\(gap.from);to=\(gap.to);count=\(gap.count)"
    for (name, at) in [("start", gap.start), ("end", gap.end)] {
      guard let at, let ms = timeline.unixMs(at, epoch: gap.epoch) else { continue }
      var seconds = JSONWriter()
      seconds.seconds(milliseconds: ms)
      text += ";\(name)=\(String(decoding: seconds.bytes, as: UTF8.self))"
    }
    gapHeaders.append(text + ";reason=\(gap.reason.name)")
    note(gap, lane)
    return true
  }

  private mutating func append(_ stored: StoredEvent, view: CatalogueView?) -> Bool {
    guard let view, view.catalogue.alarms.indices.contains(Int(stored.event.alarm)) else {
      return append(unreadable(stored.sequence, stored.sequence, stored.epoch), lane: .alarms)
    }
    let scope = view.scope(of: consumer)
    if scope.allows(stored.event), stored.event.severity >= consumer.spec.severityMin {
      let writer = recordWriter(view)
      func record<Output: RecordOutput>(_: Output.Type) -> [UInt8] {
        var record = Output(reservingCapacity: 512)
        writer.write(stored, allows: scope.allows(series:), into: &record)
        return record.bytes
      }
      let bytes = type == .senmlCBOR ? record(CBORWriter.self) : record(JSONWriter.self)
      let sequence = stored.sequence
      guard append(bytes, 1, .alarms, epoch: stored.epoch, sequence...sequence, "\(sequence)") else { return false }
    }
    scanned += 1
    advance(.alarms, to: stored.sequence)
    return true
  }

  private mutating func append(_ piece: Piece, of batch: StoredBatch, view: CatalogueView?) -> Bool {
    guard let view else { return append(unreadable(piece.first, piece.last, batch.epoch), lane: .telemetry) }
    if appendAtOnce(piece, of: batch, view) { return true }
    return type == .senmlCBOR
      ? append(piece, of: batch, view, CBORWriter.self) : append(piece, of: batch, view, JSONWriter.self)
  }

  /// The usual case, without a look at each record: the clock is known, all are simple and as they came, and they fit
  /// whatever they are. False: nothing was done.
  private mutating func appendAtOnce(_ piece: Piece, of batch: StoredBatch, _ view: CatalogueView) -> Bool {
    let forms = view.forms(type)
    let size = Int(piece.last - piece.first + 1)
    guard !isSingle || isEmpty, batch.windows == 1, let offsetNs = timeline.offsetNs(of: batch.epoch),
      records + size <= limit,
      gapList.count + batchList.count + forms.batchBytesMax + 256 <= bytesMax
    else { return false }
    let place = Int(piece.first - batch.firstSequence)
    let samples = batch.samples[place..<(place + size)]
    guard let count = forms.write(samples, offsetNs: offsetNs, view.scope(of: consumer)) else { return false }
    if count > 0 {
      let sequences = piece.first...piece.last
      append(forms.written, count, .telemetry, epoch: batch.epoch, sequences, "\(piece.first)-\(piece.last)")
    }
    scanned += size
    advance(.telemetry, to: piece.last)
    return true
  }

  private mutating func append<Output: RecordOutput>(
    _ piece: Piece, of batch: StoredBatch, _ view: CatalogueView, _: Output.Type
  ) -> Bool {
    let scope = view.scope(of: consumer)
    let writer = recordWriter(view)
    var list = Output(reservingCapacity: 96 * Limits.recordsPerBatchMax)
    var count = 0
    var last = piece.first - 1
    for sequence in piece.first...piece.last {
      let sample = batch.samples[Int(sequence - batch.firstSequence)]
      if scope.allows(series: Int(sample.series)) {
        let mark = list.mark
        writer.write(sample, texts: batch.texts, epoch: batch.epoch, windows: batch.windows, into: &list)
        if records + count == limit || gapList.count + batchList.count + list.count + 256 > bytesMax {
          list.rewind(to: mark)
          break
        }
        count += 1
      }
      last = sequence
    }
    if last < piece.last {
      isFull = true
      // Cut it only if the answer would be without a record otherwise.
      if records > 0 || count == 0 { return false }
    }
    if count > 0 {
      // A merged window has the sequence of its last part, and is no repetition of it.
      let merged = batch.windows > 1 ? "~\(batch.windows)" : ""
      let id = "\(piece.first)-\(last)\(merged)"
      guard append(list.bytes, count, .telemetry, epoch: batch.epoch, piece.first...last, id) else { return false }
    }
    scanned += Int(last - piece.first + 1)
    advance(.telemetry, to: last)
    return !isFull
  }

  /// `bytes`: the records, as JSON with commas between. False: they do not fit, and the body is as before.
  private mutating func append(
    _ bytes: [UInt8], _ count: Int, _ lane: Lane, epoch: UInt32, _ sequences: ClosedRange<Int64>, _ tail: String
  ) -> Bool {
    if isSingle, !isEmpty {
      isFull = true
      return false
    }
    let (mark, before) = (batchList.mark, name)
    bytes.withUnsafeBufferPointer { append($0, count, lane, epoch: epoch, sequences, tail) }
    guard records <= limit, gapList.count + batchList.count <= bytesMax else {
      batchList.rewind(to: mark)
      name = before
      records -= count
      isFull = true
      return false
    }
    return true
  }

  /// `tail`: what the batch's id ends with.
  private mutating func append(
    _ bytes: UnsafeBufferPointer<UInt8>, _ count: Int, _ lane: Lane, epoch: UInt32, _ sequences: ClosedRange<Int64>,
    _ tail: String
  ) {
    let id = "\(seal.storeID).\(epoch).\(lane.name).\(tail)"
    name?.add(batch: id, lane, epoch: epoch, sequences)
    switch type {
    case .senmlJSON: batchList.raw(bytes)
    case .senmlCBOR: batchList.append(unseparated: bytes)
    default:
      batchList.object {
        $0.member("id", id)
        $0.member("lane", lane.name)
        $0.key("records")
        $0.array { $0.raw(bytes) }
      }
    }
    records += count
  }

  private mutating func advance(_ lane: Lane, to sequence: Int64) {
    if lane == .alarms {
      position.alarms = max(position.alarms, sequence)
    } else {
      position.telemetry = max(position.telemetry, sequence)
    }
  }

  /// Its names are lost, so its values mean nothing any more: that is said, not passed over.
  private func unreadable(_ from: Int64, _ to: Int64, _ epoch: UInt32) -> Gap {
    Gap(from: from, to: to, epoch: epoch, start: nil, end: nil, reason: .damaged)
  }

  private func recordWriter(_ view: CatalogueView) -> RecordWriter {
    RecordWriter(
      catalogue: view.catalogue, timeline: timeline,
      pseudonymKey: consumer.spec.personal == .pseudonym ? consumer.pseudonymKey : nil,
      dialect: type == .json ? .kerb : .senml)
  }

  // MARK: The body

  /// RFC 8288: where a SenML reader goes on.
  func link(_ others: String) -> String { "</v1/batches?after=\(seal.token(position))\(others)>; rel=\"next\"" }

  /// A SenML pack: an array of the records. Nil without one: a pack has at least one record. Nothing can be added any
  /// more.
  mutating func takePack() -> [UInt8]? {
    if records == 0 { return nil }
    batchList.append(unseparated: [type == .senmlCBOR ? 0xFF : UInt8(ascii: "]")])
    return batchList.takeBytes()
  }

  /// What is known only now stands behind the batches: so they are written down once, where they stay. Nothing can be
  /// added any more.
  mutating func takeBody(gateway: String, more: Bool) -> [UInt8] {
    batchList.endArray()
    batchList.key("gaps")
    batchList.array { $0.raw(gapList.bytes) }
    batchList.member("gateway", gateway)
    batchList.member("store", seal.storeID)
    batchList.member("more", more)
    batchList.member("next", seal.token(position))
    batchList.endObject()
    return batchList.takeBytes()
  }
}
