import FieldBus
import Store
import StreamCore
import TestSupport
import Testing

@testable import Gateway

@Suite("What the store is told of the configuration")
struct StoreRulesTests {
  private static let site = """
    [[bus]]
    name = "one"
    protocol = "modbus-rtu"
    port = "/dev/kerb-no-a"
    [[bus]]
    name = "two"
    protocol = "serial"
    port = "/dev/kerb-no-b"
    [[device]]
    name = "pump"
    bus = "one"
    address = 1
    keep = "long"
      [[device.point]]
      name = "flow"
      read = "holding 0"
      windows = [{ every = "1m", stats = ["count", "min", "mean"] }, { every = "5m", stats = ["mean"] }]
    [[device]]
    name = "door"
    bus = "two"
    profile = "access-gate/card-reader"
    """

  @Test("A series has its device's class, its bus, and knows whether it is personal; a mean knows its count")
  func rules() throws {
    let site = try ConfigurationSite("[gateway]\nid = \"box\"\n" + Self.site)
    #expect(site.problems == [])
    let configuration = try #require(site.configuration)
    let catalogue = Catalogue(configuration)
    let plan = StoreConfiguration(configuration, catalogue: catalogue)
    let rules = try #require(plan.rules(catalogue.encoded()))
    #expect(rules.count == catalogue.series.count)
    for (rule, series) in zip(rules, catalogue.series) {
      let isPump = catalogue.devices[series.device].name == "pump"
      #expect(rule.keep == (isPump ? .long : .normal))
      #expect(rule.source == (isPump ? 0 : 1))
      #expect(rule.isPersonal == series.personal)
      #expect(rule.windowNs == series.windowNs && rule.statistic == series.statistic)
    }
    #expect(rules.contains { $0.isPersonal })
    let means = rules.indices.filter { rules[$0].statistic == .mean }
    let count = try #require(rules.firstIndex { $0.statistic == .count })
    #expect(means.map { rules[$0].partner } == [UInt16(count), nil])
    #expect(rules[count].partner == UInt16(means[0]))
    #expect(plan.rules([1, 2, 3]) == nil)
  }

  @Test("A series of an older catalogue is found by its names, and not where its raw numbers mean something else")
  func places() throws {
    func catalogue(_ text: String) throws -> Catalogue {
      let site = try ConfigurationSite("[gateway]\nid = \"box\"\n" + text)
      #expect(site.problems == [])
      return Catalogue(try #require(site.configuration))
    }
    let older = try catalogue(Self.site)
    let flow = UInt16(try #require(older.series.firstIndex { $0.point == "flow" && $0.statistic == nil }))
    let mean = UInt16(try #require(older.series.firstIndex { $0.statistic == .mean && $0.windowNs > 60_000_000_000 }))
    let before = "[[device]]\nname = \"first\"\nbus = \"one\"\naddress = 9\n[[device.point]]\nname = \"flow\"\n"
    let pump = "[[device]]\nname = \"pump\""
    let grown = try catalogue(Self.site.replacing(pump, with: "\(before)read = \"holding 0\"\n\(pump)"))
    let places = grown.places(of: [flow, mean, 999], in: older)
    #expect(places.map { $0 == nil } == [false, false, true] && places[0] != flow)
    for (place, number) in zip(places, [flow, mean]) {
      let entry = grown.series[Int(try #require(place))]
      #expect(grown.devices[entry.device].name == "pump" && entry.statistic == older.series[Int(number)].statistic)
    }
    let scaled = try catalogue(Self.site.replacing("read = \"holding 0\"", with: "read = \"holding 0\"\nscale = 0.1"))
    #expect(scaled.places(of: [flow], in: older) == [nil])
    #expect(grown.places(of: [flow], in: nil) == [nil])
    // And the store asks exactly this.
    let site = try ConfigurationSite("[gateway]\nid = \"box\"\n" + Self.site)
    let plan = StoreConfiguration(try #require(site.configuration), catalogue: older)
    #expect(plan.seriesNow(older.encoded(), [flow, 999]) == [flow, nil] && plan.seriesNow([1, 2], [flow]) == [nil])
  }

  @Test("A reserve is there when something is worth it, a quarter unless told otherwise")
  func reserve() throws {
    func bytes(_ buffer: String, keep: String) throws -> Int {
      let text = Self.site.split(separator: "\n").filter { !$0.contains("keep") || keep == "long" }
      let site = try ConfigurationSite(
        "[gateway]\nid = \"box\"\n[buffer]\ntelemetry = \"8MiB\"\n\(buffer)\n" + text.joined(separator: "\n"))
      #expect(site.problems == [])
      return try #require(site.configuration).reserveBytes
    }
    #expect(try bytes("", keep: "normal") == 0)
    #expect(try bytes("", keep: "long") == 2 << 20)
    #expect(try bytes("thin = true", keep: "normal") == 2 << 20)
    #expect(try bytes("reserve = \"0B\"", keep: "long") == 0)
    #expect(try bytes("reserve = \"1MiB\"", keep: "normal") == 1 << 20)
  }

  @Test("The plan's bytes a day are those of the decision's measurement, and years follow from the endurance")
  func flash() throws {
    var configuration = Configuration()
    configuration.flashEnduranceTBW = 20
    let idle = FlashPlan(configuration)
    #expect(idle.bytesPerDay == 1_440 * 4_120)
    let site = try ConfigurationSite("[gateway]\nid = \"box\"\n" + Self.site)
    let busy = FlashPlan(try #require(site.configuration))
    #expect(busy.samplesPerSecond > 0 && busy.bytesPerDay > idle.bytesPerDay && busy.years == nil)
    // 600 samples a commit: 13.4 bytes each were measured.
    let perSample = (4_120 + 600 * 6.5) / 600
    #expect(abs(perSample - 13.4) < 0.1)
    let years = try #require(idle.years)
    #expect(abs(years - 20e12 / (1_440 * 4_120 * 365.25)) < 1e-6)
  }
}
