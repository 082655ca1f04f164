// One record as SenML says it (RFC 8428) and as Kerb adds to it: a value in engineering units, its time on the
// platform's clock, its quality; an alarm with its message filled in. Values only; used wherever a value leaves the
// house.

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

extension AlarmState {
  package var word: String {
    switch self {
    case .normal: return "normal"
    case .unacknowledged: return "unacknowledged"
    case .acknowledged: return "acknowledged"
    case .returnedUnacknowledged: return "returned-unacknowledged"
    }
  }
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
    offsets[epoch].map { floorMs((at + $0).nanoseconds) }
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
    writer.seconds(milliseconds: epoch == self.epoch ? min(0, floorMs(at - now)) : floorMs(at.nanoseconds))
    writer.member("unsynchronised", true)
  }

  /// A second time of a record: nothing where neither an absolute nor a relative time can be given.
  package func writeMember(_ name: String, _ at: Instant, epoch: UInt32, into writer: inout some RecordOutput) {
    guard unixMs(at, epoch: epoch) != nil || epoch == self.epoch else { return }
    writer.key(name)
    writer.seconds(milliseconds: unixMs(at, epoch: epoch) ?? min(0, floorMs(at - now)))
  }

  private func floorMs(_ ns: Int64) -> Int64 { ns >= 0 ? ns / 1_000_000 : -((-(ns + 1)) / 1_000_000) - 1 }
}

extension CatalogueSeries {
  /// The engineering value, of numbers only. Integers with a decimal scale come out as the decimal that they mean:
  /// 34 × 0.1 is 3.4, not 3.4000000000000004.
  package func number(raw: Int64) -> Double {
    let whole = Double(raw)
    guard encoding == .signed || encoding == .unsigned, abs(whole) < 9e15 else {
      return encoding.value(raw: raw, scale: scale, offset: offset)
    }
    var power = 1.0
    for _ in 0...9 {
      let multiplier = (scale * power).rounded()
      let addend = (offset * power).rounded()
      // Exact: both are the decimals nearest to what was configured, and the sum below stays under 2^53.
      if multiplier / power == scale, addend / power == offset, abs(whole * multiplier + addend) < 9e15 {
        return (whole * multiplier + addend) / power
      }
      power *= 10
    }
    return encoding.value(raw: raw, scale: scale, offset: offset)
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

  /// `sample.series` is in the catalogue.
  package func write(_ sample: Sample, texts: [UInt8], epoch: UInt32, into writer: inout some RecordOutput) {
    let series = catalogue.series[Int(sample.series)]
    var text: ArraySlice<UInt8> = []
    if sample.hasText, sample.textOffset >= 0, sample.textOffset + sample.textLength <= texts.count {
      text = texts[sample.textOffset..<sample.textOffset + sample.textLength]
    }
    writer.object {
      writeName(series, into: &$0)
      timeline.write(sample.at, epoch: epoch, into: &$0)
      writeValue(series, raw: sample.raw, text: text, quality: sample.quality, into: &$0)
    }
  }

  package func writeName(_ series: CatalogueSeries, into writer: inout some RecordOutput) {
    writer.key("n")
    writer.string(
      joining: catalogue.gatewayID, "/", catalogue.devices[series.device].name, "/", series.point)
  }

  /// `v`, `vb` or `vs`, and everything that says how to take it.
  package func writeValue(
    _ series: CatalogueSeries, raw: Int64, text: some Collection<UInt8>, quality: Quality,
    into writer: inout some RecordOutput
  ) {
    let hasValue = quality != .bad && writeValueAlone(series, raw: raw, text: text, into: &writer)
    // RFC 8428, 4.2: a record has a value.
    if !hasValue, dialect == .senml { writer.member("vs", quality.word) }
    if let unit = series.unit { writer.member("u", unit) }
    writer.member("q", quality.word)
    if let statistic = series.statistic {
      writer.member("stat", statistic.word)
      writer.member("window", durationText(series.windowNs))
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

  private func writeNumber(_ series: CatalogueSeries, raw: Int64, into writer: inout some RecordOutput) {
    if series.isBool { return writer.bool(raw != 0) }
    switch series.encoding {
    case .signed where series.scale == 1 && series.offset == 0: writer.integer(raw)
    case .unsigned where series.scale == 1 && series.offset == 0: writer.integer(UInt64(bitPattern: raw))
    case .float: writer.number(Float(series.number(raw: raw)))
    default: writer.number(series.number(raw: raw))
    }
  }

  // MARK: Alarms

  /// `event.alarm` is in the catalogue. `allows`: which values may be shown with it.
  package func write(
    _ event: AlarmEvent, epoch: UInt32, id: Int64? = nil, allows: (Int) -> Bool, into writer: inout some RecordOutput
  ) {
    let alarm = catalogue.alarms[Int(event.alarm)]
    let device = catalogue.devices[alarm.device].name
    var causes: [Cause] = []
    for index in 0..<Int(event.causeCount) {
      let cause = event.cause(index)
      let number = Int(cause.series)
      guard catalogue.series.indices.contains(number), allows(number), cause.quality != .bad,
        !catalogue.series[number].encoding.hasText
      else { continue }
      var value = JSONWriter()
      writeNumber(catalogue.series[number], raw: cause.raw, into: &value)
      causes.append(Cause(series: catalogue.series[number], raw: cause.raw, json: value.bytes))
    }
    writer.object {
      $0.key("n")
      $0.string(joining: catalogue.gatewayID, "/", device, "/", alarm.name)
      timeline.write(event.at, epoch: epoch, into: &$0)
      if let id { $0.member("id", "\(id)") }
      $0.member("alarm", alarm.name)
      $0.member("state", event.state.word)
      $0.member("active", event.state.isActive)
      $0.member("severity", event.severity.word)
      timeline.writeMember("since", event.since, epoch: epoch, into: &$0)
      let messages = alarm.message.keys.sorted().map { language in
        (language: language, text: filled(alarm.message[language] ?? "", device: device, causes: causes))
      }
      var written: Set<String> = []
      let values = causes.filter { written.insert($0.series.point).inserted }
      if dialect == .senml {
        $0.member("vb", event.state.isActive)
        for (language, text) in messages { $0.member("message-\(language)", text) }
        for cause in values {
          $0.key("\(cause.series.point)-value")
          writeNumber(cause.series, raw: cause.raw, into: &$0)
        }
        return
      }
      $0.key("message")
      $0.object { message in for (language, text) in messages { message.member(language, text) } }
      $0.key("values")
      $0.object {
        for cause in values {
          $0.key(cause.series.point)
          writeNumber(cause.series, raw: cause.raw, into: &$0)
        }
      }
    }
  }

  /// A value that made the alarm, as it goes out and as a message shows it.
  private struct Cause {
    var series: CatalogueSeries
    var raw: Int64
    var json: [UInt8]
  }

  /// `{device}`, `{gateway}` and `{point}` filled in; "?" for a value that is not known or not for this reader.
  private func filled(_ template: String, device: String, causes: [Cause]) -> String {
    var text = ""
    var rest = template[...]
    while let open = rest.firstIndex(of: "{") {
      guard let close = rest[open...].firstIndex(of: "}") else { break }
      text += rest[..<open]
      let name = rest[rest.index(after: open)..<close]
      switch name {
      case "device": text += device
      case "gateway": text += catalogue.gatewayID
      default: text += causes.first { $0.series.point == name }.map { String(decoding: $0.json, as: UTF8.self) } ?? "?"
      }
      rest = rest[rest.index(after: close)...]
    }
    return text + rest
  }
}
