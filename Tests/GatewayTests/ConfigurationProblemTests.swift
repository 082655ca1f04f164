import FieldBus
import Gateway
import Glibc
import StreamCore
import TestSupport
import Testing

@Suite("An installer is told")
struct ConfigurationProblemTests {
  @Test("everything that is wrong with a configuration", arguments: try ProblemCase.all(in: "configuration.problems"))
  func problems(_ one: ProblemCase) throws {
    let site = try ConfigurationSite(one.lines.joined(separator: "\n"))
    #expect(site.problems == one.problems)
    #expect(site.configuration == nil)
    #expect(!one.problems.isEmpty)
  }

  @Test("in one go what is wrong in the main file, in conf.d and in profiles")
  func allFiles() throws {
    let site = try ConfigurationSite(
      """
      [gateway]
      id = "b"
      [[bus]]
      name = "a"
      protocol = "modbus-rtu"
      port = "/dev/kerb-no-a"
      bauds = 9600
      """,
      more: [
        ("conf.d/10.toml", "[[device]]\nname = \"x\"\nbus = \"a\"\naddress = \"1\"\nprofile = \"gate/odd\"\n"),
        ("conf.d/20.toml", "[gateway]\nid = \"c\"\n"),
        ("conf.d/30.toml", "a = b\n"),
        ("conf.d/40.toml.bak", "nonsense"),
        ("profiles/gate/odd.toml", "kind = \"gate\"\n[[point]]\nname = \"p\"\nread = \"holding 0\"\nbits = \"16\"\n"),
      ])
    #expect(
      site.problems == [
        "conf.d/10.toml:4:11: device.x.address: expected an integer from 1 to 247, got a string",
        "conf.d/20.toml:2:1: gateway.id: is set twice: also at kerb.toml:2:1; keep one of the two",
        "conf.d/30.toml:1:5: not valid TOML",
        "7:1: bus.a.bauds: unknown key; did you mean \"baud\"?",
        "profiles/gate/odd.toml:5:8: point.p.bits: \"16\" does not fit: a u16 has the bits 0 to 15, "
          + "of which at most 63 are taken",
      ])
  }

  @Test("of a link that leads nowhere")
  func danglingLink() throws {
    let folder = try TemporaryFolder()
    try folder.write("kerb.toml", "[gateway]\nid = \"b\"\n")
    try folder.write("conf.d/10.toml", "")
    #expect(symlink("\(folder.path)/gone.toml", "\(folder.path)/conf.d/20.toml") == 0)
    let diagnostics = Diagnostics()
    _ = ConfigurationReader.read(
      path: "\(folder.path)/kerb.toml", profileDirectories: [], diagnostics: diagnostics, systemProfileDirectories: [],
      machineIDPath: "\(folder.path)/none")
    #expect(
      diagnostics.all.map(\.text) == [
        "\(folder.path)/conf.d/20.toml: is a link that leads nowhere: remove it, or put the file where it leads"
      ])
  }

  /// What names lead to depends on what is plugged in: BoxLook tells of it.
  @Test("not of two names of a port, which may be two again tomorrow")
  func portThroughLink() throws {
    let site = try ConfigurationSite(
      """
      [gateway]
      id = "b"
      [[bus]]
      name = "one"
      protocol = "modbus-rtu"
      port = "/dev/null"
      [[bus]]
      name = "two"
      protocol = "modbus-rtu"
      port = "FOLDER/usb"
      """, links: [("usb", "/dev/null")])
    #expect(site.problems == [] && site.configuration?.buses.count == 2)
  }

  @Test("not of a board: an unknown one, and one with two ports in one place, are told and left out")
  func boards() throws {
    let unknown = try ConfigurationSite("[gateway]\nid = \"b\"\nboard = \"qemu-vert\"\n")
    #expect(unknown.problems == [] && unknown.configuration?.board == nil)
    let elsewhere = try ConfigurationSite("[gateway]\nid = \"b\"\nboard = \"../boards/qemu-virt\"\n")
    #expect(elsewhere.configuration?.board == nil && elsewhere.configuration?.boardProblems.count == 1)
    let told = try #require(unknown.configuration?.boardProblems.first)
    #expect(told.place.line == 3 && told.key == "gateway.board")
    #expect(told.message.contains("did you mean \"qemu-virt\"?"))

    func port(_ name: String) -> String {
      "[[port]]\nname = \"\(name)\"\nlabel = { en = \"\(name)\" }\nkind = \"usb\"\npath = \"pci-0-usb-0:1:1.0\"\n"
    }
    let board = """
      title = { en = "Box" }
      sources = ["https://example.org"]
      [detect]
      compatible = ["acme,box"]
      [watchdog]
      driver = "w"
      timeout_max = "10s"
      [rtc]
      chips = []
      [storage]
      kind = "sd"
      [flashing]
      en = ["s"]

      """
    let twice = try ConfigurationSite(
      "[gateway]\nid = \"b\"\nboard = \"own\"\n",
      more: [("boards/own/board.toml", board + port("one") + port("two"))])
    #expect(twice.problems == [])
    let configuration = try #require(twice.configuration)
    #expect(configuration.boardProblems.map(\.message).contains { $0.hasPrefix("claims the same device as \"one\"") })
    #expect(configuration.board?.ports.count == 2, "the names of its case are as good as before")
  }

  @Test("of a file that is not there, and of a folder in its place")
  func absent() throws {
    let folder = try TemporaryFolder()
    for (name, answer) in [
      ("kerb.toml", "there is no such file: write one, or name another with --config"), ("", "is not a file"),
    ] {
      let diagnostics = Diagnostics()
      let path = "\(folder.path)/\(name)"
      #expect(ConfigurationReader.read(path: path, profileDirectories: [], diagnostics: diagnostics) == nil)
      #expect(diagnostics.all.map(\.text) == ["\(path): \(answer)"])
    }
  }

  @Test("nothing that only follows from a file that could not be parsed")
  func nothingFollows() throws {
    let site = try ConfigurationSite(
      "[[bus]]\nname = \n",
      more: [("conf.d/d.toml", "[[device]]\nname = \"x\"\nbus = \"a\"\naddress = 1\nprofile = \"hydrant/generic\"\n")])
    #expect(site.problems == ["2:8: not valid TOML"])
  }

  @Test("nothing about a device that an unknown profile or a broken point explains")
  func noConsequences() throws {
    let site = try ConfigurationSite(
      """
      [gateway]
      id = "b"
      [[bus]]
      name = "a"
      protocol = "modbus-rtu"
      port = "/dev/kerb-no-a"
      [[device]]
      name = "x"
      bus = "a"
      address = 1
      profile = "hydrant/unknown-kind"
      [[device.alarm]]
      name = "low"
      when = "pressure < 1"
      message = { en = "{pressure}" }
      [[consumer]]
      name = "fire"
      token_sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
      points = ["x/pressure", "pressure"]
      """)
    #expect(site.problems.count == 1)
    let start = "11:11: device.x.profile: there is no profile \"hydrant/unknown-kind\""
    #expect(site.problems.first?.hasPrefix(start) == true)
  }

  @Test("where the first bus, consumer, point and alarm too many stands")
  func limits() throws {
    var text = "[gateway]\nid = \"b\"\n"
    for index in 0...Limits.busesMax {
      text += "[[bus]]\nname = \"b\(index)\"\nprotocol = \"modbus-tcp\"\nhost = \"10.0.0.\(index)\"\n"
    }
    for index in 0...Limits.consumersMax {
      let digits = String(index, radix: 16)
      let token = String(repeating: "0", count: 64 - digits.count) + digits
      text += "[[consumer]]\nname = \"c\(index)\"\ntoken_sha256 = \"\(token)\"\n"
    }
    let devices = 1 + Limits.pointsMax / 100
    for index in 0..<devices {
      text += "[[device]]\nname = \"d\(index)\"\nbus = \"b0\"\naddress = \(index)\nprofile = \"many/points\"\n"
    }
    var profile = "kind = \"many\"\n"
    let windows = "windows = [ { every = \"1m\", stats = [\"min\", \"max\", \"mean\", \"last\", \"count\"] } ]"
    for index in 0..<100 {
      profile += "[[point]]\nname = \"p\(index)\"\nread = \"holding \(index)\"\n\(windows)\n"
      profile += "[[alarm]]\nname = \"a\(index)\"\nwhen = \"p\(index) > 1\"\n"
    }
    let site = try ConfigurationSite(text, more: [("profiles/many/points.toml", profile)])
    let busLine = 3 + 4 * Limits.busesMax
    let consumerLine = busLine + 4 + 3 * Limits.consumersMax
    func deviceLine(_ index: Int) -> Int { consumerLine + 3 + 5 * index }
    let give = "a box has at most"
    #expect(
      site.problems == [
        "\(busLine):1: bus: there are 33 buses: \(give) 32",
        "\(consumerLine):1: consumer: there are 17 consumers and pushes: \(give) 16",
        "\(deviceLine(39)):1: device.d39: with this device there are 4040 alarms, with all 8214: \(give) 4000; "
          + "give some devices to another box",
        "\(deviceLine(66)):1: device.d66: with this device there are 40200 series "
          + "(points and their windows' statistics), with all 48600: \(give) 40000; give some devices to another box",
        "\(deviceLine(80)):1: device.d80: with this device there are 8100 points, with all 8100: \(give) 8000; "
          + "give some devices to another box",
      ])
  }
}
