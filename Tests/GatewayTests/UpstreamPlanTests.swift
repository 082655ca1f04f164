import FieldBus
@testable import Gateway
import Store
import StreamCore
import Testing

/// What `kerb plan` says that platforms take in a day.
@Suite("The upstream plan")
struct UpstreamPlanTests {
  private static func consumer(_ name: String, _ change: (inout ConsumerSpec) -> Void = { _ in }) -> ConsumerSpec {
    var spec = ConsumerSpec(name: name, place: Site.place, tokenSHA256: "")
    change(&spec)
    return spec
  }

  private static func push(
    _ name: String, _ format: PushFormat, gzip: Bool = false, _ change: (inout ConsumerSpec) -> Void = { _ in }
  ) -> PushSpec {
    var spec = PushSpec(
      consumer: consumer(name, change), kind: .http,
      address: PushAddress(scheme: "http", isTLS: false, host: "city.example", port: 80))
    spec.format = format
    spec.gzip = gzip
    return spec
  }

  /// A cover with a point each second and two statistics each minute, a gate with a card each ten seconds.
  private static func configuration() -> Configuration {
    var configuration = Site.configuration()
    let tilt = Site.point("tilt") {
      $0.everyNs = 1_000_000_000
      $0.scale = 0.1
      $0.unit = "deg"
      $0.windows = [WindowSpec(everyNs: 60_000_000_000, slideNs: 30_000_000_000, statistics: [.max, .mean])]
    }
    let card = Site.point("card") {
      $0.everyNs = 10_000_000_000
      $0.type = .u32
      $0.personal = true
    }
    configuration.devices = [
      Site.device("cover-1", "manhole-cover", [tilt]), Site.device("gate-1", "access-gate", [card]),
    ]
    return configuration
  }

  @Test("has every reading and every window of a platform's scope, and nothing else")
  func records() {
    var configuration = Self.configuration()
    configuration.consumers = [
      Self.consumer("all") { $0.personal = .pseudonym }, Self.consumer("clear"),
      Self.consumer("gates") { $0.kinds = ["access-gate"] },
      Self.consumer("means") { $0.points = ["cover-1/nothing"] }, Self.consumer("alarms") { $0.lanes = [.alarms] },
    ]
    configuration.pushes = [
      Self.push("gates-by-push", .senmlJSON) {
        $0.kinds = ["access-gate"]
        $0.personal = .pseudonym
      }
    ]
    let plan = UpstreamPlan(configuration)
    let cover = 86_400.0 + 2 * 2_880
    #expect(plan.platforms.map(\.name) == ["all", "clear", "gates", "means", "alarms", "gates-by-push"])
    let records = plan.platforms.map { $0.recordsPerDay.rounded() }
    #expect(records == [cover + 8_640, cover, 0, 0, 0, 8_640])
    #expect(plan.platforms.map(\.push) == [nil, nil, nil, nil, nil, .http])
    #expect(plan.platforms[2...4].allSatisfy { $0.bytesPerRecord == 0 && $0.bytesPerDay == 0 })
    #expect(plan.bytesPerDay == plan.platforms.reduce(0) { $0 + $1.recordsPerDay * $1.bytesPerRecord })
  }

  /// {"n":"box-7/cover-1/tilt","t":1790000000.5,"v":107.3,"u":"deg","q":"good"} and a comma.
  @Test("has records as large as the writers make them, in each format, and smaller with gzip")
  func sizes() throws {
    var configuration = Self.configuration()
    configuration.devices[0].points[0].windows = []
    configuration.devices.removeLast()
    configuration.consumers = [Self.consumer("pulls")]
    configuration.pushes = [
      Self.push("senml", .senmlJSON), Self.push("cbor", .senmlCBOR), Self.push("zipped", .json, gzip: true),
    ]
    let plan = UpstreamPlan(configuration)
    func size(_ name: String) throws -> Double {
      try #require(plan.platforms.first { $0.name == name }).bytesPerRecord
    }
    let catalogue = Catalogue(configuration)
    func record<Output: RecordOutput>(_ dialect: RecordDialect, _: Output.Type) -> Double {
      let clock = EpochClock(epoch: 1, offsetNs: 1_790_000_000_000_000_000)
      let writer = RecordWriter(
        catalogue: catalogue, timeline: Timeline(epoch: 1, now: .zero, clocks: [clock]), pseudonymKey: nil,
        dialect: dialect)
      var output = Output(reservingCapacity: 128)
      let sample = Sample(at: Instant(nanoseconds: 1_000_000_000), raw: 1_073, series: 0, quality: .good)
      writer.write(sample, texts: [], epoch: 1, into: &output)
      return Double(output.count)
    }
    let (json, cbor) = (record(.kerb, JSONWriter.self), record(.senml, CBORWriter.self))
    // A comma, and a share of what stands around a batch of 256; a value may have a digit less.
    let pulled = try size("pulls")
    #expect(pulled > json && pulled < json + 3)
    #expect(abs(try size("senml") - json - 1) < 1)
    // A time with a fraction, or a value, takes up to 8 bytes more or less there.
    let packed = try size("cbor")
    #expect(abs(packed - cbor) < 9 && packed < json - 15, "\(packed) \(cbor)")
    let zipped = try size("zipped")
    #expect(zipped > 2 && zipped < pulled / 3)
    #expect(UpstreamPlan(configuration).platforms.map(\.bytesPerRecord) == plan.platforms.map(\.bytesPerRecord))
  }

  @Test("can be made of every type of point, also of a site without platforms and one without points")
  func every() {
    var configuration = Site.configuration()
    var points: [PointSpec] = []
    for type in [ValueType.bool, .i16, .u64, .f32, .f64, .bcd16, .text(characters: 9)] {
      points.append(Site.point("\(points.count)") { $0.type = type })
    }
    points.append(Site.point("named") { $0.values = [0: "off", 7: "on"] })
    configuration.devices[0].points = points
    #expect(UpstreamPlan(configuration).platforms.isEmpty)
    configuration.consumers = [Self.consumer("all")]
    for format in [PushFormat.json, .senmlJSON, .senmlCBOR] { configuration.pushes.append(Self.push("p", format)) }
    #expect(UpstreamPlan(configuration).platforms.allSatisfy { $0.bytesPerRecord > 20 && $0.bytesPerDay > 0 })
    configuration.devices = []
    #expect(UpstreamPlan(configuration).bytesPerDay == 0)
  }
}
