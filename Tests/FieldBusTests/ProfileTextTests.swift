import FieldBus
import StreamCore
import Testing

/// The small parts that profile and configuration are read with.
@Suite("A configuration's text")
struct ProfileTextTests {
  @Test(
    "has durations with a unit",
    arguments: [
      ("250ms", 250_000_000), ("1s", 1_000_000_000), ("5m", 300_000_000_000), ("1h", 3_600_000_000_000),
      ("1.5s", 1_500_000_000), ("0s", 0), ("10us", 10_000), ("2d", 172_800_000_000_000),
    ])
  func durations(_ text: String, _ ns: Int64) { #expect(parseDuration(text) == ns) }

  @Test(
    "has no other durations",
    arguments: ["", "5", "s", "-1s", "1 s", "1S", "1.2.3s", "٣s", "1e3s", "infs", "99999999999d", "1h30m"])
  func noDurations(_ text: String) { #expect(parseDuration(text) == nil) }

  @Test("shows a duration in the largest unit that divides it")
  func durationTexts() {
    #expect(durationText(90_000_000_000) == "90s")
    #expect(durationText(120_000_000_000) == "2m")
    #expect(durationText(0) == "0s")
    #expect(durationText(1_500_000_000) == "1500ms")
  }

  @Test(
    "has sizes with a binary unit",
    arguments: [("512B", 512), ("64KiB", 65_536), ("256MiB", 256 << 20), ("1GiB", 1 << 30)])
  func sizes(_ text: String, _ bytes: Int) {
    #expect(parseSize(text) == bytes)
    #expect(sizeText(bytes) == text)
  }

  @Test("has no other sizes", arguments: ["", "64", "64KB", "64 KiB", "-1KiB", "1.5MiB", "9223372036854775807GiB"])
  func noSizes(_ text: String) { #expect(parseSize(text) == nil) }

  @Test("is matched to the word that was meant, and to none that is far away")
  func nearest() {
    let words = ["baud", "parity", "stop_bits", "port"]
    #expect(nearestMatch(to: "buad", among: words) == "baud")
    #expect(nearestMatch(to: "prity", among: words) == "parity")
    #expect(nearestMatch(to: "stopbits", among: words) == "stop_bits")
    #expect(nearestMatch(to: "colour", among: words) == nil)
  }

  @Test("names things in letters, digits, dots, dashes and underscores")
  func names() {
    for good in ["a", "7", "rs485-1", "Box_0042.north", String(repeating: "x", count: 64)] {
      #expect(nameProblem(good) == nil, "\(good)")
    }
    for bad in ["", "-a", ".a", "_a", "a b", "a/b", "井盖", "a\n", String(repeating: "x", count: 65)] {
      #expect(nameProblem(bad) != nil, "\(bad)")
    }
  }

  @Test("of a message is cut at its placeholders")
  func messages() throws {
    #expect(
      MessageTemplate("Cover {device}: {tilt} deg")?.pieces
        == [.text("Cover "), .placeholder("device"), .text(": "), .placeholder("tilt"), .text(" deg")])
    #expect(MessageTemplate("{a}{b}")?.placeholders == ["a", "b"])
    #expect(MessageTemplate("plain")?.pieces == [.text("plain")])
    for bad in ["{", "}", "{}", "a } b", "{a{b}}", "{a} {b"] { #expect(MessageTemplate(bad) == nil, "\(bad)") }
  }

  @Test("of a second file merges tables, appends arrays of tables, and repeats nothing")
  func merge() throws {
    let diagnostics = Diagnostics()
    var main = try #require(
      TomlFile.parse(
        "a = 1\n[t]\nx = 1\ny = { p = 1 }\n[[r]]\nn = 1\n", file: "main", into: diagnostics))
    let more = try #require(
      TomlFile.parse(
        "a = 2\nb = 3\n[t]\nx = 1\nz = 2\ny = { q = 2 }\n[[r]]\nn = 2\n", file: "more", into: diagnostics))
    main.merge(more, diagnostics: diagnostics)
    #expect(
      diagnostics.sorted.map(\.text) == [
        "more:1:1: a: is set twice: also at main:1:1; keep one of the two",
        "more:4:1: t.x: is set twice: also at main:3:1; keep one of the two",
      ])
    let reader = TableReader(main, section: "", diagnostics: diagnostics)
    #expect(reader.integer("b", in: 0...9) == 3)
    #expect(reader.tables("r").map { $0.integer("n", in: 0...9) } == [1, 2])
    let table = try #require(reader.table("t"))
    #expect(table.integer("z", in: 0...9) == 2)
    #expect(table.table("y")?.table.members.map(\.key) == ["p", "q"])
  }
}
