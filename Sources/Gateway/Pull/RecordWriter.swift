// One record as SenML says it (RFC 8428) and as Kerb adds to it: a value in engineering units, its time on the
// platform's clock, its quality. Values only; used wherever a value leaves the house.

import FieldBus
import Store
import StreamCore

extension Quality {
  package var word: String {
    switch self {
    case .good: return "good"
    case .uncertain: return "uncertain"
    case .bad: return "bad"
    case .stale: return "stale"
    }
  }
}

extension Severity {
  package var word: String { Self.words.first { $0.value == self }?.word ?? "" }
}

/// Puts wall time on monotonic instants, as far as it is known.
package struct Timeline: Sendable {
  /// The running epoch, and its present instant.
  package var epoch: UInt32
  package var now: Instant
  private var offsets: [UInt32: Int64] = [:]

  package init(epoch: UInt32, now: Instant, clocks: [EpochClock]) {
    self.epoch = epoch
    self.now = now
    for clock in clocks { offsets[clock.epoch] = clock.offsetNs }
  }

  package mutating func add(_ clocks: [EpochClock]) {
    for clock in clocks { offsets[clock.epoch] = clock.offsetNs }
  }

  package func knows(_ epoch: UInt32) -> Bool { offsets[epoch] != nil }

  /// Unix time in milliseconds, where the epoch's clock is known.
  package func unixMs(_ at: Instant, epoch: UInt32) -> Int64? {
    offsets[epoch].map { Self.unixMs((at + $0).nanoseconds) }
  }

  /// Writes `t`, and `unsynchronised` where no absolute time is known: then `t` is relative to now in the running
  /// epoch (RFC 8428, 4.5.3), and absent in an older one, whose own seconds are in `mono`.
  package func write(_ at: Instant, epoch: UInt32, into writer: inout some RecordOutput) {
    if let unixMs = unixMs(at, epoch: epoch) {
      writer.key("t")
      writer.seconds(milliseconds: unixMs)
      return
    }
    writer.key(epoch == self.epoch ? "t" : "mono")
    writer.seconds(milliseconds: epoch == self.epoch ? agoMs(at) : Self.floorMs(at.nanoseconds))
    writer.member("unsynchronised", true)
  }

  /// What was read while the answer was being made is of now.
  private func agoMs(_ at: Instant) -> Int64 { min(0, Self.floorMs(at - now)) }

  /// A second time of a record: nothing where neither an absolute nor a relative time can be given. `isPlanned`: it may
  /// be one to come, and is positive then (RFC 8428, 4.5.3).
  package func writeMember(
    _ name: String, _ at: Instant, epoch: UInt32, isPlanned: Bool = false, into writer: inout some RecordOutput
  ) {
    guard unixMs(at, epoch: epoch) != nil || epoch == self.epoch else { return }
    writer.key(name)
    writer.seconds(milliseconds: unixMs(at, epoch: epoch) ?? (isPlanned ? Self.floorMs(at - now) : agoMs(at)))
  }

  /// From a monotonic instant of `epoch` to Unix time, where it is known.
  package func offsetNs(of epoch: UInt32) -> Int64? { offsets[epoch] }

  /// What is stored was cut down to a whole millisecond of the monotonic clock, whose milliseconds begin at some moment
  /// of one of the wall's. The next whole one gives a window's end back as the whole second that it is; others are less
  /// than a millisecond off, as they are in any case.
  package static func unixMs(_ ns: Int64) -> Int64 { floorMs(ns) + (ns % 1_000_000 == 0 ? 0 : 1) }

  package static func floorMs(_ ns: Int64) -> Int64 { ns >= 0 ? ns / 1_000_000 : -((-(ns + 1)) / 1_000_000) - 1 }
}

extension CatalogueSeries {
  /// The engineering value, of numbers only. Integers with a decimal scale come out as the decimal that they mean:
  /// 34 × 0.1 is 3.4, not 3.4000000000000004.
  package func number(raw: Int64) -> Double {
    let whole = Double(raw)
    guard encoding == .signed || encoding == .unsigned, abs(whole) < 9e15 else {
      return encoding.value(raw: raw, scale: scale, offset: offset)
    }
    // Exact: multiplier and addend are the decimals nearest to what was configured, and the sum stays under 2^53.
    if let decimal = DecimalScale(scale, offset), let sum = Self.sum(whole, decimal) {
      return sum / DecimalScale.powers[decimal.places]
    }
    return encoding.value(raw: raw, scale: scale, offset: offset)
  }

  private static func sum(_ whole: Double, _ decimal: DecimalScale) -> Double? {
    let sum = whole * Double(decimal.multiplier) + Double(decimal.addend)
    return abs(sum) < 9e15 ? sum : nil
  }
}

/// `senml`: as RFC 8428 wants it: one value field in every record, and nothing nested.
package enum RecordDialect: Sendable {
  case kerb, senml
}

package struct RecordWriter {
  package let catalogue: Catalogue
  package let timeline: Timeline
  /// Nil: pseudonyms stay inside.
  package let pseudonymKey: [UInt8]?
  package let dialect: RecordDialect

  package init(
    catalogue: Catalogue, timeline: Timeline, pseudonymKey: [UInt8]?, dialect: RecordDialect = .kerb
  ) {
    self.dialect = dialect
    self.catalogue = catalogue
    self.timeline = timeline
    self.pseudonymKey = pseudonymKey
  }

  // MARK: Values

  /// `sample.series` is in the catalogue. `windows`: so many were merged into one.
  package func write(
    _ sample: Sample, texts: [UInt8], epoch: UInt32, windows: Int = 1, into writer: inout some RecordOutput
  ) {
    let series = catalogue.series[Int(sample.series)]
    var text: ArraySlice<UInt8> = []
    if sample.hasText, sample.textOffset >= 0, sample.textOffset + sample.textLength <= texts.count {
      text = texts[sample.textOffset..<sample.textOffset + sample.textLength]
    }
    writer.object {
      writeName(series, into: &$0)
      timeline.write(sample.at, epoch: epoch, into: &$0)
      writeValue(series, raw: sample.raw, text: text, quality: sample.quality, windows: windows, into: &$0)
    }
  }

  package func writeName(_ series: CatalogueSeries, into writer: inout some RecordOutput) {
    writer.key("n")
    writer.string(
      joining: catalogue.gatewayID, "/", catalogue.devices[series.device].name, "/", series.point)
  }

  /// `v`, `vb` or `vs`, and everything that says how to take it.
  package func writeValue(
    _ series: CatalogueSeries, raw: Int64, text: some Collection<UInt8>, quality: Quality, windows: Int = 1,
    into writer: inout some RecordOutput
  ) {
    let hasValue = quality != .bad && writeValueAlone(series, raw: raw, text: text, into: &writer)
    // RFC 8428, 4.2: a record has a value.
    if !hasValue, dialect == .senml { writer.member("vs", quality.word) }
    writeRest(series, quality: quality, windows: windows, into: &writer)
  }

  /// What says how to take it.
  func writeRest(
    _ series: CatalogueSeries, quality: Quality, windows: Int = 1, into writer: inout some RecordOutput
  ) {
    if let unit = series.unit { writer.member("u", unit) }
    writer.member("q", quality.word)
    if let statistic = series.statistic {
      writer.member("stat", statistic.word)
      writer.member("window", durationText(series.windowNs * Int64(windows)))
    }
  }

  private func writeValueAlone(
    _ series: CatalogueSeries, raw: Int64, text: some Collection<UInt8>, into writer: inout some RecordOutput
  ) -> Bool {
    switch series.encoding {
    case .text:
      writer.member("vs", String(decoding: text, as: UTF8.self))
    case .pseudonym:
      guard let pseudonymKey, !text.isEmpty else { return false }
      let mac = Sodium.hmac(Array(text), key: pseudonymKey)
      writer.member("vs", Hexadecimal.text(mac[..<Limits.pseudonymBytes]))
    default:
      writer.key(series.isBool ? "vb" : "v")
      writeNumber(series, raw: raw, into: &writer)
      if let label = series.values[raw] { writer.member("label", label) }
    }
    return true
  }

  func writeNumber(_ series: CatalogueSeries, raw: Int64, into writer: inout some RecordOutput) {
    if series.isBool { return writer.bool(raw != 0) }
    switch series.encoding {
    case .signed where series.scale == 1 && series.offset == 0: writer.integer(raw)
    case .unsigned where series.scale == 1 && series.offset == 0: writer.integer(UInt64(bitPattern: raw))
    case .float: writer.number(Float(series.number(raw: raw)))
    default: writer.number(series.number(raw: raw))
    }
  }
}
