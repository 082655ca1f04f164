import FieldBus
import Gateway
import StreamCore
import TestSupport
import Testing

@Suite("A configuration")
struct ConfigurationReaderTests {
  static let whole = """
    [gateway]
    id = "box-0042"
    state = "/s"
    runtime = "/r"
    memory_limit = "16MiB"
    clock = "trusted"
    board = "qemu-virt"

    [buffer]
    telemetry = "64MiB"
    alarms = "2MiB"
    commit_every = "10s"
    thin = true
    reserve = "8MiB"
    retain_personal = "30d"
    endurance_tbw = 20

    [pull]
    listen = ["127.0.0.1:8480", "[::1]:8481", "unix:/r/pull.sock", "0.0.0.0:8482"]
    insecure = true

    [[bus]]
    name = "rs485-1"
    protocol = "modbus-rtu"
    port = "/dev/kerb-no-a"
    baud = 19200
    parity = "even"
    stop_bits = 2
    response_timeout = "250ms"
    turnaround = "10ms"
    rs485 = "kernel-inverted"
    silence = "learned"
    retries = 3

    [[bus]]
    name = "plc"
    protocol = "modbus-tcp"
    host = "10.0.0.7"

    [[bus]]
    name = "reader"
    protocol = "serial"
    port = "/dev/kerb-no-b"

    [[device]]
    name = "manhole-17"
    bus = "rs485-1"
    address = 17
    profile = "manhole-cover/generic"
    labels = { grid = "G3", department = "water" }
    keep = "long"

      [[device.point]]
      name = "battery"
      read = "input 0x0004"
      type = "u16"
      scale = 0.01
      unit = "V"

      [[device.point]]
      name = "lid_count"
      read = "input 5"

      [[device.alarm]]
      name = "battery-low"
      when = "battery < 3"
      severity = "notice"

    [[device]]
    name = "meter"
    bus = "plc"
    address = 255
    kind = "meter"

      [[device.point]]
      name = "energy"
      read = "holding 0"
      type = "f64"

    [[device]]
    name = "door"
    bus = "reader"
    profile = "access-gate/card-reader"

    [[consumer]]
    name = "water-bureau"
    token_sha256 = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"
    devices = ["manhole-17"]
    kinds = ["manhole-cover", "hydrant"]
    labels = { department = "water" }
    points = ["tilt", "meter/energy"]
    min_severity = "major"
    lanes = ["alarms"]
    personal = "pseudonym"
    """

  @Test("gives every key to what it is for")
  func everyKey() throws {
    let site = try ConfigurationSite(Self.whole)
    #expect(site.problems == [])
    let configuration = try #require(site.configuration)
    #expect(configuration.gatewayID == "box-0042")
    #expect(configuration.statePath == "/s")
    #expect(configuration.runtimePath == "/r")
    #expect(configuration.memoryLimitBytes == 16 << 20)
    #expect(configuration.clock == .trusted)
    #expect(configuration.telemetryBytes == 64 << 20)
    #expect(configuration.alarmBytes == 2 << 20)
    #expect(configuration.commitNs == 10_000_000_000)
    #expect(configuration.isThinning && configuration.reserveBytes == 8 << 20)
    #expect(configuration.personalNs == Int64(2_592_000_000_000_000))
    #expect(configuration.enduranceTBW == 20)
    #expect(configuration.keep == ["manhole-17": .long])
    #expect(
      configuration.listen == [
        .tcp(host: "127.0.0.1", port: 8_480), .tcp(host: "::1", port: 8_481), .unix(path: "/r/pull.sock"),
        .tcp(host: "0.0.0.0", port: 8_482),
      ])
    #expect(configuration.insecure)

    let buses = configuration.buses
    #expect(buses.map(\.name) == ["rs485-1", "plc", "reader"])
    #expect(buses.map(\.busProtocol) == [.modbusRTU, .modbusTCP, .serial])
    #expect(
      buses.map(\.endpoint) == [
        .serialPort(path: "/dev/kerb-no-a"), .tcp(host: "10.0.0.7", port: 502), .serialPort(path: "/dev/kerb-no-b"),
      ])
    #expect(buses[0].format == LineFormat(baud: 19_200, parity: .even, stopBits: 2))
    #expect(buses[0].responseTimeoutNs == 250_000_000)
    #expect(buses[0].turnaroundNs == 10_000_000)
    #expect(buses[0].retries == 3)
    #expect(buses.map(\.silence) == [.learned, .standard, .standard])
    #expect(buses.map(\.rs485) == [.kernelInverted, .off, .off])

    let devices = configuration.devices
    #expect(devices.map(\.name) == ["manhole-17", "meter", "door"])
    #expect(devices.map(\.bus) == [0, 1, 2])
    #expect(devices.map(\.address) == [17, 255, 0])
    #expect(devices.map(\.kind) == ["manhole-cover", "meter", "access-gate"])
    #expect(devices.map(\.profile) == ["manhole-cover/generic", "", "access-gate/card-reader"])
    #expect(devices[0].labels == ["grid": "G3", "department": "water"])
    #expect(devices[2].frame == .text(end: [13, 10], split: 0x2C))

    let consumer = try #require(configuration.consumers.first)
    #expect(consumer.name == "water-bureau")
    #expect(consumer.tokenSHA256 == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    #expect(consumer.devices == ["manhole-17"])
    #expect(consumer.kinds == ["manhole-cover", "hydrant"])
    #expect(consumer.labels == ["department": "water"])
    #expect(consumer.points == ["tilt", "meter/energy"])
    #expect(consumer.severityMin == .major)
    #expect(consumer.lanes == [.alarms])
    #expect(consumer.personal == .pseudonym)
  }

  @Test("lets a device's own points and alarms take the place of its profile's")
  func ownPoints() throws {
    let device = try #require(ConfigurationSite(Self.whole).configuration?.devices.first)
    #expect(
      device.points.map(\.name) == ["tilt", "state", "water_level", "gas", "temperature", "battery", "lid_count"])
    let battery = try #require(device.points.first { $0.name == "battery" })
    #expect(battery.source == .register(.input, address: 4))
    #expect(device.alarms.map(\.name) == ["cover-open", "water-high", "gas-high", "battery-low", "device-offline"])
    #expect(device.alarms.dropLast().last?.when == "battery < 3")
    #expect(device.alarms.dropLast().last?.severity == .notice)
  }

  @Test("names the files that it was read from")
  func files() throws {
    let site = try ConfigurationSite(Self.whole, more: [("conf.d/a.toml", "# empty\n")])
    #expect(
      site.configuration?.files == [
        "\(site.folder.path)/kerb.toml", "\(site.folder.path)/conf.d/a.toml",
        "\(packageRoot)/profiles/manhole-cover/generic.toml", "\(packageRoot)/profiles/access-gate/card-reader.toml",
      ])
  }

  @Test("may be nearly empty, and has an identity of the machine then")
  func defaults() throws {
    let site = try ConfigurationSite("", more: [("machine-id", "0123456789ABCDEF0123456789abcdef\n")])
    #expect(site.problems == [])
    let configuration = try #require(site.configuration)
    #expect(configuration.gatewayID == "kerb-0123456789ab")
    #expect(configuration.statePath == "/var/lib/kerb")
    #expect(configuration.runtimePath == "/run/kerb")
    #expect(configuration.memoryLimitBytes == 8 << 20)
    #expect(configuration.clock == .auto)
    #expect(configuration.telemetryBytes == 256 << 20)
    #expect(configuration.alarmBytes == 16 << 20)
    #expect(configuration.commitNs == 60_000_000_000)
    #expect(configuration.listen == [.tcp(host: "127.0.0.1", port: 8_480)])
    #expect(!configuration.insecure)
    #expect(configuration.consumers.isEmpty)
  }

  @Test("is put together from conf.d in the order of the names")
  func confFolder() throws {
    func bus(_ name: String) -> String {
      "[[bus]]\nname = \"\(name)\"\nprotocol = \"modbus-tcp\"\nhost = \"\(name)\"\n"
    }
    let site = try ConfigurationSite(
      "[gateway]\nid = \"b\"\n" + bus("main"),
      more: [
        ("conf.d/20-b.toml", bus("b") + "[gateway]\nclock = \"trusted\"\n"), ("conf.d/10-a.toml", bus("a")),
        ("conf.d/notes.txt", "not read"), ("conf.d/.hidden.toml", "not read"),
      ])
    #expect(site.problems == [])
    #expect(site.configuration?.buses.map(\.name) == ["main", "a", "b"])
    #expect(site.configuration?.gatewayID == "b")
    #expect(site.configuration?.clock == .trusted)
  }

  @Test("has profiles beside it, and the given folders before them")
  func profileOrder() throws {
    let device = """
      [gateway]
      id = "b"
      [[bus]]
      name = "a"
      protocol = "modbus-tcp"
      host = "h"
      [[device]]
      name = "d"
      bus = "a"
      address = 1
      profile = "NAME"
      """
    func points(_ profile: String, _ file: String) throws -> [String]? {
      let text = "kind = \"hydrant\"\n[[point]]\nname = \"own\"\nread = \"coil 0\"\n"
      let parts = device.split(separator: "NAME", omittingEmptySubsequences: false)
      let site = try ConfigurationSite(parts.joined(separator: profile), more: [("profiles/\(file)", text)])
      #expect(site.problems == [])
      return site.configuration?.devices.first?.points.map(\.name)
    }
    #expect(try points("hydrant/mine", "hydrant/mine.toml") == ["own"])
    #expect(try points("hydrant/generic", "hydrant/generic.toml")?.contains("pressure") == true)
  }

  @Test(
    "knows addresses to listen on",
    arguments: [
      ("127.0.0.1:8480", true), ("127.9.9.9:1", true), ("localhost:80", true), ("[::1]:8480", true), ("unix:/x", true),
      ("0.0.0.0:8443", false), ("[::]:8443", false), ("10.0.0.1:80", false), ("127.example.com:80", false),
      ("box.local:65535", false),
    ])
  func listenAddresses(_ text: String, _ isLocal: Bool) {
    #expect(ListenAddress(text)?.isLocal == isLocal)
  }

  @Test(
    "speaks TLS to the network where there is a certificate, in the clear to this box, and as the scheme says",
    arguments: [
      ("127.0.0.1:8480", ListenAddress.tcp(host: "127.0.0.1", port: 8_480)),
      ("0.0.0.0:8443", .tls(host: "0.0.0.0", port: 8_443)), ("[::]:8443", .tls(host: "::", port: 8_443)),
      ("https://[::1]:8443", .tls(host: "::1", port: 8_443)), ("http://10.0.0.1:80", .tcp(host: "10.0.0.1", port: 80)),
      ("unix:/x", .unix(path: "/x")),
    ])
  func schemes(_ text: String, _ address: ListenAddress) {
    #expect(ListenAddress(text, hasCertificate: true) == address)
  }

  @Test(
    "knows what is no address",
    arguments: [
      "", ":80", "host", "host:", "host:0", "host:65536", "host:+80", "host:8 0", "ho st:80", "[::1]", "[::1]80",
      "[x]:80",
      "::1:80", "unix:", "unix:relative", "unix:/" + String(repeating: "x", count: 107), "ftp://x:80", "https://x",
      "https://unix:/x",
    ])
  func noAddresses(_ text: String) { #expect(ListenAddress(text) == nil) }
}
