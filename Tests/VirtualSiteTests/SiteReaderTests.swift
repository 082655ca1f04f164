import FieldBus
import Glibc
import StreamCore
import Testing
import VirtualSite

@Suite("A site file")
struct SiteReaderTests {
  /// A folder with one Modbus profile and one of text lines.
  private func read(_ text: String) -> (spec: SiteSpec, problems: [String]) {
    let folder = temporaryFolder()
    let files = [
      "cover": "kind = \"cover\"\n[[point]]\nname = \"tilt\"\nread = \"holding 0\"\ntype = \"i16\"\nscale = 0.1\n"
        + "[[point]]\nname = \"state\"\nread = \"holding 1\"\nvalues = { 0 = \"closed\", 1 = \"open\" }\n",
      "reader": "kind = \"cover\"\n[frame]\nformat = \"text\"\nend = \"\\r\\n\"\nsplit = \",\"\n"
        + "[[point]]\nname = \"card\"\nread = \"field 1\"\ntype = \"text:8\"\n",
    ]
    mkdir(folder + "/cover", 0o700)
    for (name, body) in files {
      let fd = open("\(folder)/cover/\(name).toml", O_CREAT | O_WRONLY, 0o600)
      _ = write(fd, body, body.utf8.count)
      close(fd)
    }
    defer {
      for name in files.keys { unlink("\(folder)/cover/\(name).toml") }
      rmdir(folder + "/cover")
      rmdir(folder)
    }
    let diagnostics = Diagnostics()
    let library = ProfileLibrary(searchPaths: [folder])
    let spec = SiteReader.read(text, file: "site.toml", profiles: library, into: diagnostics)
    return (spec, diagnostics.sorted.map(\.text))
  }

  static let line = """
    [[line]]
    name = "a"
    protocol = "modbus-rtu"
    link = "/tmp/a"

    """
  static let device = """
    [[device]]
    name = "m"
    line = "a"
    address = 3
    profile = "cover/cover"

    """

  @Test("says all that a site has")
  func whole() throws {
    let (spec, problems) = read(
      """
      seed = 42
      [[line]]
      name = "a"
      protocol = "modbus-rtu"
      link = "/tmp/a"
      baud = 19200
      parity = "even"
      turnaround = "5ms"
      paced = false
      [[line]]
      name = "t"
      protocol = "modbus-tcp"
      listen = "127.0.0.1:1502"
      [[line]]
      name = "s"
      protocol = "serial"
      link = "/tmp/s"
      [[device]]
      name = "m"
      line = "a"
      address = 3
      profile = "cover/cover"
      holes = "refuse"
      registers = { "holding 5" = 42, "coil 0x10" = true }
        [[device.signal]]
        point = "tilt"
        shape = "sine"
        low = 0
        high = 5
        period = "10s"
        noise = 0.2
      [[device]]
      name = "r"
      line = "s"
      profile = "cover/reader"
      speaks_every = "2s"
      [[event]]
      at = "10s"
      every = "60s"
      for = "5s"
      device = "m"
      point = "state"
      value = "open"
      [[event]]
      at = "1s"
      device = "m"
      fault = "late"
      delay = "750ms"
      times = 3
      [[event]]
      at = "2s"
      for = "1s"
      line = "a"
      fault = "unplugged"
      """)
    #expect(problems == [])
    #expect(spec.seed == 42)
    #expect(spec.lines[0].format == LineFormat(baud: 19_200, parity: .even, stopBits: 1))
    #expect(!spec.lines[0].paced && !spec.lines[0].strict && spec.lines[0].turnaroundNs == 5_000_000)
    #expect(spec.lines[1].end == .listen(host: "127.0.0.1", port: 1_502))
    #expect(spec.lines[2].paced)
    #expect(spec.devices[0].registers == [FixedRegister(.holding, 5, 42), FixedRegister(.coil, 16, 1)])
    #expect(spec.devices[0].holes == .refuse)
    #expect(
      spec.devices[0].signals["tilt"] == Signal(.sine(low: 0, high: 5, periodNs: 10_000_000_000), noise: 0.2))
    #expect(spec.devices[1].speaksEveryNs == 2_000_000_000)
    #expect(
      spec.events.map(\.action) == [
        .value(point: "state", .text("open")), .fault(Fault(.late(ns: 750_000_000), times: 3)), .lineUnplugged,
      ])
    #expect(spec.events[0].everyNs == 60_000_000_000 && spec.events[0].forNs == 5_000_000_000)
  }

  @Test("gets everything wrong in it told at once, each at its place")
  func problems() throws {
    let (_, problems) = read(
      Self.line + Self.device + """
        [[device]]
        name = "n"
        line = "b"
        address = 3
        profile = "cover/cover"
        [[device]]
        name = "o"
        line = "a"
        address = 3
        profile = "cover/cove"
        [[event]]
        at = "1s"
        device = "m"
        point = "tilt"
        value = "much"
        [[event]]
        at = "1s"
        device = "m"
        fault = "wrong-unti"
        [[event]]
        device = "m"
        point = "tlit"
        value = 3
        speed = 1
        """)
    #expect(problems.count == 8, "\(problems)")
    let expected = [
      "site.toml:12:8: device.n.line: \"b\" is not one of \"a\"",
      "site.toml:18:11: device.o.address: 3 is already the address of a device on this line, at site.toml:8:11",
      "site.toml:19:11: device.o.profile: there is no profile \"cover/cove\"; did you mean \"cover/cover\"?",
      "site.toml:24:9: event[1].value: \"much\" is no value of \"tilt\"",
      "site.toml:28:9: event[2].fault: \"wrong-unti\" is not one of",
      "event[3].at: is missing",
      "site.toml:31:9: event[3].point: \"tlit\" is not one of \"tilt\", \"state\"; did you mean \"tilt\"?",
      "site.toml:33:1: event[3].speed: unknown key",
    ]
    for text in expected { #expect(problems.contains { $0.contains(text) }, "\(text) in \(problems)") }
  }

  @Test("keeps serial and Modbus devices apart")
  func kinds() throws {
    let (_, problems) = read(
      Self.line + """
        [[device]]
        name = "r"
        line = "a"
        address = 1
        profile = "cover/reader"
        """)
    #expect(problems.count == 1)
    #expect(problems.first?.contains("put the device on a line with protocol = \"serial\"") == true, "\(problems)")
  }

  @Test("is not needed for an event given by hand")
  func byHand() throws {
    let (spec, problems) = read(Self.line + Self.device)
    #expect(problems == [])
    let diagnostics = Diagnostics()
    let line = "device = \"m\", point = \"tilt\", value = 34, for = \"5s\""
    let event = SiteReader.event(line, site: spec, into: diagnostics)
    #expect(diagnostics.isEmpty)
    #expect(event?.action == .value(point: "tilt", .number(34)))
    #expect(event?.atNs == 0 && event?.forNs == 5_000_000_000)
    #expect(SiteReader.event("device = \"x\", fault = \"late\"", site: spec, into: diagnostics) == nil)
    #expect(!diagnostics.isEmpty)
  }
}
