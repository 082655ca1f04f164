import FieldBus
import StreamCore
import Testing

private func profile(_ text: String) throws -> Profile {
  let diagnostics = Diagnostics()
  let root = try #require(TomlFile.parse(text, file: "p", into: diagnostics))
  let profile = ProfileParser.parse(root, id: "hydrant/x", diagnostics: diagnostics)
  #expect(diagnostics.all == [])
  return profile
}

@Suite("A profile")
struct ProfileParserTests {
  @Test("gives every key of a point to the point")
  func everyKeyOfAPoint() throws {
    let point = try #require(
      profile(
        """
        kind = "hydrant"
        [[point]]
        name = "level"
        read = "holding 0x10"
        type = "u32"
        order = "CDAB"
        bits = "4..7"
        scale = 0.5
        offset = -3
        unit = "m"
        every = "250ms"
        range = [-3, 4.5]
        invalid = [15, 0xE]
        values = { 0 = "closed", 0x1 = "open" }
        deadband = 0.25
        heartbeat = "10m"
        write = "maintenance"
        windows = [ { every = "1m", stats = ["min", "max", "mean", "last", "count", "sum"] } ]
        """
      ).points.first)
    #expect(point.name == "level")
    #expect(point.source == .register(.holding, address: 16))
    #expect(point.type == .u32)
    #expect(point.order == .cdab)
    #expect(point.bits == 4...7)
    #expect(point.scale == 0.5)
    #expect(point.offset == -3)
    #expect(point.unit == "m")
    #expect(point.everyNs == 250_000_000)
    #expect(point.everyPlace == SourcePlace(file: "p", line: 11, column: 9))
    #expect(point.range == -3...4.5)
    #expect(point.invalid == [15, 14])
    #expect(point.values == [0: "closed", 1: "open"])
    #expect(point.deadband == 0.25)
    #expect(point.heartbeatNs == 600_000_000_000)
    #expect(point.write == .maintenance)
    #expect(!point.personal)
    #expect(
      point.windows == [WindowSpec(everyNs: 60_000_000_000, statistics: [.min, .max, .mean, .last, .count, .sum])])
  }

  @Test(
    "knows every type and table",
    arguments: ValueType.words.filter { !$0.value.isOfFrames }.map(\.word) + ["text:1", "text:32"])
  func everyType(_ word: String) throws {
    for table in ["holding", "input"] {
      let point = "{ name = \"x\", read = \"\(table) 0\", type = \"\(word)\" }"
      #expect(try profile("kind = \"hydrant\"\npoint = [\(point)]").points.first?.type.word == word)
    }
  }

  @Test("takes a coil for a bool and a register for a u16 unless told otherwise")
  func defaults() throws {
    let points = try profile(
      """
      kind = "hydrant"
      point = [{ name = "a", read = "coil 9" }, { name = "b", read = "discrete 1" }, { name = "c", read = "input 7" }]
      """
    ).points
    #expect(points.map(\.type) == [.bool, .bool, .u16])
    #expect(points.map(\.source).first == .register(.coil, address: 9))
    #expect(points.map(\.source).last == .register(.input, address: 7))
    #expect(points.map(\.everyNs) == [1_000_000_000, 1_000_000_000, 1_000_000_000])
  }

  @Test("gives every key of an alarm to the alarm")
  func everyKeyOfAnAlarm() throws {
    let alarm = try #require(
      profile(
        """
        kind = "hydrant"
        point = [{ name = "tilt", read = "holding 0" }]
        [[alarm]]
        name = "open"
        when = "tilt > 15"
        for = "2s"
        clear = "tilt < 10"
        clear_for = "10s"
        severity = "critical"
        message = { en = "{device} of {gateway}: {tilt} deg", zh = "井盖 {device}" }
        """
      ).alarms.first)
    #expect(alarm.name == "open")
    #expect(alarm.when == "tilt > 15")
    #expect(alarm.whenPlace == SourcePlace(file: "p", line: 5, column: 8))
    #expect(alarm.forNs == 2_000_000_000)
    #expect(alarm.clear == "tilt < 10")
    #expect(alarm.clearPlace == SourcePlace(file: "p", line: 7, column: 9))
    #expect(alarm.clearForNs == 10_000_000_000)
    #expect(alarm.severity == .critical)
    #expect(alarm.message == ["en": "{device} of {gateway}: {tilt} deg", "zh": "井盖 {device}"])
  }

  @Test("of a serial device has a frame, and fields for points")
  func textFrame() throws {
    let profile = try profile(
      """
      kind = "hydrant"
      title = { en = "Reader" }
      source = "manual"
      [identify]
      vendor = "V"
      product = "P"
      revision = "2"
      [frame]
      format = "text"
      end = ";"
      split = "\\t"
      [[point]]
      name = "card"
      read = "field 2"
      type = "text:16"
      personal = true
      """)
    #expect(profile.frame == .text(end: [0x3B], split: 9))
    #expect(profile.title == ["en": "Reader"])
    #expect(profile.source == "manual")
    #expect(profile.identification.vendor == "V")
    #expect(profile.identification.product == "P")
    #expect(profile.identification.revision == "2")
    let card = try #require(profile.points.first)
    #expect(card.source == .field(2))
    #expect(card.personal)
    #expect(card.everyNs == 0)
  }

  @Test("ends lines with CR LF and does not split them unless told otherwise")
  func frameDefaults() throws {
    let profile = try profile("kind = \"hydrant\"\nframe = { format = \"text\" }")
    #expect(profile.frame == .text(end: [13, 10], split: nil))
  }

  @Test("with errors keeps what is sound, and the names of what is not")
  func soundRest() throws {
    let diagnostics = Diagnostics()
    let root = try #require(
      TomlFile.parse(
        """
        kind = "hydrant"
        point = [{ name = "a", read = "holding 0", scael = 2 }, { name = "b", read = "holding 1" }]
        alarm = [{ name = "x", when = "a > 1", message = { en = "{a} {b}" } }]
        """, file: "p", into: diagnostics))
    let profile = ProfileParser.parse(root, id: "hydrant/x", diagnostics: diagnostics)
    #expect(profile.points.map(\.name) == ["b"])
    #expect(profile.brokenPoints == ["a"])
    #expect(profile.alarms.map(\.name) == ["x"])
    #expect(diagnostics.all.map(\.text) == ["p:2:44: point.a.scael: unknown key; did you mean \"scale\"?"])
  }
}
