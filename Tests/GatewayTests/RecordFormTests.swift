import FieldBus
@testable import Gateway
import Store
import StreamCore
import Testing

/// What is written from prepared parts is the same as what is written from the values, number for number.
@Suite("A record from prepared parts")
struct RecordFormTests {
  private static let scales: [(Double, Double)] = [
    (1, 0), (0.1, 0), (0.01, -40), (0.5, 0.25), (0.001, 100), (10, 0), (1.8, 32), (1e-9, 0), (1.0 / 3, 0), (-0.1, 7),
    (0.017453292519943295, 0),
  ]

  /// A point of every type with every scale, with and without unit; a named value, a text, a flag.
  private func configuration() -> Configuration {
    var configuration = Site.configuration()
    var points: [PointSpec] = []
    for type in [ValueType.i16, .u32, .i64, .u64, .f32, .f64, .bool] {
      for (number, scale) in Self.scales.enumerated() where type != .bool || number == 0 {
        points.append(
          Site.point("\(type)-\(number)") {
            $0.type = type
            $0.scale = scale.0
            $0.offset = scale.1
            $0.unit = number % 2 == 0 ? "deg\"C" : nil
            $0.windows = [WindowSpec(everyNs: 60_000_000_000, statistics: [.mean, .count, .max])]
          })
      }
    }
    points.append(Site.point("named") { $0.values = [0: "off", 1: "on"] })
    points.append(Site.point("text") { $0.type = .text(characters: 4) })
    configuration.devices[0].points = points
    return configuration
  }

  private func raw(_ encoding: Encoding, _ dice: inout Dice) -> Int64 {
    let small = Int64(truncatingIfNeeded: dice.next() % 70_000) - 35_000
    switch (encoding, dice.next() % 4) {
    case (.float, 0): return Int64(Float(small).bitPattern)
    case (.float, _): return Int64((Float(small) / 7).bitPattern)
    case (.double, 0): return Int64(bitPattern: Double(small).bitPattern)
    case (.double, _): return Int64(bitPattern: (Double(small) / 7).bitPattern)
    case (_, 0): return Int64(bitPattern: dice.next())
    case (_, 1): return 0
    default: return small
    }
  }

  @Test("has the same numbers in JSON and in CBOR, whatever type, scale and value")
  func same() throws {
    let seed = UInt64.random(in: 0 ... .max)
    var dice = Dice(state: seed)
    let catalogue = Catalogue(configuration())
    let scope = Scope(PullFixture.consumer("all"), of: catalogue)
    for type in [MediaType.json, .senmlCBOR] {
      let forms = RecordForms(catalogue, isCBOR: type == .senmlCBOR)
      var quick = 0
      for _ in 0..<3_000 {
        let series = Int(dice.next() % UInt64(catalogue.series.count))
        let entry = catalogue.series[series]
        if entry.encoding.hasText { continue }
        let at = Instant(nanoseconds: Int64(truncatingIfNeeded: dice.next() % 4_000_000_000_000))
        let sample = Sample(at: at, raw: raw(entry.encoding, &dice), series: UInt16(series), quality: .good)
        let offsetNs = PullFixture.offsetNs + Int64(dice.next() % 1_000_000_000)
        guard let prepared = prepared(sample, offsetNs, forms, scope) else { continue }
        let plain = plain(sample, offsetNs, catalogue, type)
        quick += 1
        if type == .senmlCBOR {
          #expect(prepared == plain, "\(entry.point) \(sample.raw)")
        } else {
          let (one, other) = (try JSONParser.parse(prepared), try JSONParser.parse(plain))
          #expect(same(one, other), "\(one) \(other)")
        }
      }
      #expect(quick > 2_000)
    }
    print("seed \(seed)")
  }

  private func prepared(_ sample: Sample, _ offsetNs: Int64, _ forms: RecordForms, _ scope: Scope) -> [UInt8]? {
    forms.write([sample], offsetNs: offsetNs, scope).map { _ in Array(forms.written) }
  }

  private func plain(_ sample: Sample, _ offsetNs: Int64, _ catalogue: Catalogue, _ type: MediaType) -> [UInt8] {
    let clock = EpochClock(epoch: 3, offsetNs: offsetNs)
    let writer = RecordWriter(
      catalogue: catalogue, timeline: Timeline(epoch: 3, now: .zero, clocks: [clock]), pseudonymKey: nil)
    func record<Output: RecordOutput>(_: Output.Type) -> [UInt8] {
      var record = Output(reservingCapacity: 512)
      writer.write(sample, texts: [], epoch: 3, into: &record)
      return record.bytes
    }
    return type == .senmlCBOR ? record(CBORWriter.self) : record(JSONWriter.self)
  }

  /// The same members in the same order; numbers of the same value, however they are written.
  private func same(_ one: JSONValue, _ other: JSONValue) -> Bool {
    guard let members = one.members, let others = other.members, members.count == others.count else { return false }
    return zip(members, others).allSatisfy { a, b in
      if let x = a.value.double, let y = b.value.double { return a.name == b.name && x == y }
      return a == b
    }
  }

  @Test("gives a window's end back as the whole second that it was, wherever the clocks' milliseconds begin")
  func windowEnd() {
    let seed = UInt64.random(in: 0 ... .max)
    var dice = Dice(state: seed)
    for _ in 0..<10_000 {
      let end = Int64(1_795_000_000 + dice.next() % 1_000_000) * 1_000_000_000
      let offsetNs = end - Int64(dice.next() % 4_000_000_000_000)
      let stored = Instant(milliseconds: Instant(nanoseconds: end - offsetNs).milliseconds)
      let timeline = Timeline(epoch: 3, now: .zero, clocks: [EpochClock(epoch: 3, offsetNs: offsetNs)])
      #expect(timeline.unixMs(stored, epoch: 3) == end / 1_000_000, "seed \(seed)")
    }
    #expect(Timeline.unixMs(.min) < 0 && Timeline.unixMs(.max) > 0)
  }

  @Test("is left to the other way where it is not simple: a text, a named value, a value that is not good")
  func notSimple() throws {
    let catalogue = Catalogue(configuration())
    let scope = Scope(PullFixture.consumer("all"), of: catalogue)
    let named = try #require(catalogue.series.firstIndex { $0.point == "named" })
    let text = try #require(catalogue.series.firstIndex { $0.point == "text" })
    let forms = RecordForms(catalogue, isCBOR: false)
    func prepared(_ series: Int, _ quality: Quality) -> [UInt8]? {
      let sample = Sample(at: .zero, raw: 1, series: UInt16(series), quality: quality)
      return self.prepared(sample, 0, forms, scope)
    }
    #expect(prepared(named, .good) == nil)
    #expect(prepared(text, .good) == nil)
    #expect(prepared(0, .uncertain) == nil && prepared(0, .bad) == nil && prepared(0, .stale) == nil)
    #expect(prepared(0, .good) != nil)
  }

  @Test("Decimals of milliseconds and of scales are written without a zero too many")
  func decimals() {
    let cases: [(Int64, Int, String)] = [
      (0, 3, "0"), (1, 3, "0.001"), (-1, 3, "-0.001"), (1_000, 3, "1"), (-1_500, 3, "-1.5"), (10, 3, "0.01"),
      (1_795_212_000_250, 3, "1795212000.25"), (.max, 0, "9223372036854775807"), (.min, 0, "-9223372036854775808"),
      (100, 0, "100"), (999, 9, "0.000000999"), (.max, 9, "9223372036.854775807"),
    ]
    for (value, places, text) in cases {
      let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: BytePen.numberBytesMax)
      defer { memory.deallocate() }
      var pen = BytePen(memory)
      pen.decimal(value, places: places)
      let bytes = UnsafeBufferPointer(start: memory, count: pen.at - memory)
      #expect(String(decoding: bytes, as: UTF8.self) == text, "\(value) \(places)")
    }
  }
}
