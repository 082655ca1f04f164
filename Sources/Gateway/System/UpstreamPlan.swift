// What each platform takes in a day, at the most: every reading and every window of its scope, as large as the writers
// make them. Pure.
//
// A record's size is measured, not guessed: a thousand records of the scope, each series as often as it comes, with
// values that wander and times that follow each other, are written in the platform's format, and compressed where its
// push is. Not in it: alarms, which come when something happens; repetitions; what HTTP, MQTT and TLS put around it.

import FieldBus
import Store
import StreamCore

package struct UpstreamPlan: Sendable {
  package struct Platform: Sendable {
    package var name: String
    /// Nil: it pulls. As JSON then: who asks for SenML or gzip takes less.
    package var push: PushKind?
    package var format: PushFormat
    package var isGzip: Bool
    package var recordsPerDay: Double
    package var bytesPerRecord: Double

    package var bytesPerDay: Double { recordsPerDay * bytesPerRecord }
  }

  package private(set) var platforms: [Platform] = []
  package var bytesPerDay: Double { platforms.reduce(0) { $0 + $1.bytesPerDay } }

  private static let daySeconds = 86_400.0
  private static let recordsMeasured = 1_000

  private let catalogue: Catalogue
  /// By series: how many come in a second.
  private let rates: [Double]
  /// By series: of a text.
  private let textBytes: [Int]

  package init(_ configuration: Configuration) {
    catalogue = Catalogue(configuration)
    let points = configuration.devices.flatMap(\.points)
    // In the catalogue's order: all points, then all windows' statistics.
    let windows = points.flatMap { point in point.windows.map { (point, $0) } }
    rates =
      points.map(\.readingsPerSecond)
      + windows.flatMap { _, window in window.statistics.map { _ in 1e9 / Double(window.slideNs) } }
    textBytes =
      points.map { $0.type.isText && !$0.personal ? $0.type.bytes : Limits.pseudonymBytes }
      + windows.flatMap { point, window in window.statistics.map { _ in point.type.bytes } }
    platforms =
      configuration.consumers.map { platform($0, push: nil, .json, isGzip: false) }
      + configuration.pushes.map { platform($0.consumer, push: $0.kind, $0.format, isGzip: $0.gzip) }
  }

  private func platform(_ spec: ConsumerSpec, push: PushKind?, _ format: PushFormat, isGzip: Bool) -> Platform {
    let scope = Scope(spec, of: catalogue)
    let isSeen = rates.indices.map { spec.lanes.contains(.telemetry) && rates[$0] > 0 && scope.allows(series: $0) }
    let perSecond = zip(rates, isSeen).reduce(0) { $1.1 ? $0 + $1.0 : $0 }
    var result = Platform(
      name: spec.name, push: push, format: format, isGzip: isGzip, recordsPerDay: perSecond * Self.daySeconds,
      bytesPerRecord: 0)
    guard perSecond > 0 else { return result }
    let series = drawn(isSeen, perSecond)
    let share = perSecond / rates.reduce(0, +)
    let isCBOR = format == .senmlCBOR
    let body =
      isCBOR
      ? body(series, perSecond, share, format, CBORWriter.self)
      : body(series, perSecond, share, format, JSONWriter.self)
    result.bytesPerRecord = Double((isGzip ? Gzip.compressed(body) : body).count) / Double(series.count)
    return result
  }

  /// Which series the records measured are of: each as often as it comes, in no order.
  private func drawn(_ isSeen: [Bool], _ perSecond: Double) -> [Int] {
    var ends: [(end: Double, series: Int)] = []
    var sum = 0.0
    for series in rates.indices where isSeen[series] {
      sum += rates[series]
      ends.append((sum, series))
    }
    var dice = Wander(state: 1)
    return (0..<Self.recordsMeasured).map { place in
      // One in each thousandth of the whole, then shuffled: the rare ones have their share, too.
      let wanted = (Double(place) + 0.5) / Double(Self.recordsMeasured) * sum
      var (low, high) = (0, ends.count - 1)
      while low < high {
        let middle = (low + high) / 2
        if ends[middle].end < wanted { low = middle + 1 } else { high = middle }
      }
      return (dice.next(), ends[low].series)
    }.sorted { $0.0 < $1.0 }.map(\.1)
  }

  private func body<Output: RecordOutput>(
    _ drawn: [Int], _ perSecond: Double, _ share: Double, _ format: PushFormat, _: Output.Type
  ) -> [UInt8] {
    let start: Int64 = 1_790_000_000_000_000_000
    let writer = RecordWriter(
      catalogue: catalogue,
      timeline: Timeline(epoch: 1, now: .zero, clocks: [EpochClock(epoch: 1, offsetNs: start)]),
      pseudonymKey: Array(repeating: 0, count: Decoder.keyBytes), dialect: format == .json ? .kerb : .senml)
    var output = Output(reservingCapacity: 256 * drawn.count)
    var body: [UInt8] = []
    var dice = Wander(state: 2)
    // A batch names at most so many records of the box, whoever sees how many of them.
    let perBatch = format == .json ? max(1, Int(Double(Limits.recordsPerBatchMax) * share)) : drawn.count
    for (place, series) in drawn.enumerated() {
      let at = Instant(nanoseconds: Int64(Double(place) / perSecond * 1e9))
      let (sample, texts) = sample(of: series, at: at, &dice)
      writer.write(sample, texts: texts, epoch: 1, into: &output)
      guard format == .json, (place + 1) % perBatch == 0 || place + 1 == drawn.count else { continue }
      var batch = JSONWriter(reservingCapacity: output.count + 256)
      batch.object {
        $0.member("id", "\(Self.storeID).1.telemetry.\(1_000_000 + place)-\(1_000_000 + place + perBatch)")
        $0.member("lane", Lane.telemetry.name)
        $0.key("records")
        $0.array { list in output.bytes.withUnsafeBufferPointer { list.raw($0) } }
      }
      body += batch.bytes + [UInt8(ascii: ",")]
      output = Output(reservingCapacity: 256 * perBatch)
    }
    return format == .json ? body : output.bytes
  }

  private static let storeID = "6f1c2d3e-4b5a-4c7d-8e9f-0a1b2c3d4e5f"

  /// A value such as a sensor has: it moves a little each time.
  private func sample(of number: Int, at: Instant, _ dice: inout Wander) -> (Sample, [UInt8]) {
    let series = catalogue.series[number]
    let step = Int64(truncatingIfNeeded: dice.next() % 200)
    var raw = 1_000 + step
    var texts: [UInt8] = []
    switch series.encoding {
    case .signed, .unsigned:
      if series.isBool { raw = step & 1 }
      let named = series.values.keys.sorted()
      if !named.isEmpty { raw = named[Int(step) % named.count] }
    case .float: raw = Int64(Float(20 + Double(step) / 10).bitPattern)
    // As a mean has them: digits without an end.
    case .double: raw = Int64(bitPattern: (20 + Double(step) / 60).bitPattern)
    case .text, .pseudonym:
      texts = (0..<textBytes[number]).map { _ in UInt8(ascii: "a") + UInt8(dice.next() % 26) }
      raw = Sample.textPlace(offset: 0, length: texts.count)
    }
    return (Sample(at: at, raw: raw, series: UInt16(number), quality: .good, hasText: series.encoding.hasText), texts)
  }

  /// The same numbers every time: a plan says the same twice.
  private struct Wander {
    var state: UInt64
    mutating func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state >> 33
    }
  }
}

extension PointSpec {
  /// At the most: each reading is reported.
  var readingsPerSecond: Double { 1e9 / Double(everyNs > 0 ? everyNs : Limits.alwaysIntervalNs) }
}
