import FieldBus
import Gateway
import StreamCore
import TestSupport
import Testing

/// What people copy first: an example that has every common key once, with values that only show what may stand there.
@Suite("The contract's example")
struct ContractExampleTests {
  /// A placeholder and the files of the certificate are all that is left to fill in.
  static let box = """
    [gateway]
    id = "box-0042"                  # default: from /etc/machine-id
    state = "/var/lib/kerb"          # default
    runtime = "/run/kerb"            # control.sock lives here
    memory_limit = "8MiB"            # for all that is sized from this file; `kerb plan` shows the sum

    [buffer]
    telemetry = "256MiB"
    alarms = "16MiB"
    commit_every = "60s"             # telemetry; alarms commit at once

    [pull]
    listen = ["127.0.0.1:8480"]      # "0.0.0.0:8443" needs certificate and key; "unix:/run/kerb/pull.sock" works too
    certificate = "FOLDER/cert.pem"
    key = "FOLDER/key.pem"
    client_ca = "FOLDER/ca.pem"

    [[consumer]]
    name = "water-bureau"
    token_sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    kinds = ["manhole-cover", "hydrant"]
    personal = "omit"

    [[push]]
    name = "city"
    kind = "mqtt"
    url = "mqtts://broker.example:8883"
    topic = "kerb/{gateway}/{lane}"

    [[bus]]
    name = "rs485-1"
    protocol = "modbus-rtu"          # modbus-tcp · modbus-rtu-tcp · serial · dlt645 · cjt188
    port = "/dev/kerb/rs485-1"       # tcp kinds: host = "10.0.0.7:502"
    baud = 9600
    parity = "none"                  # none · even · odd
    stop_bits = 1
    response_timeout = "500ms"       # the ceiling; the working timeout is learned per unit
    turnaround = "0ms"               # extra silence that a slow device needs
    retries = 1

    [[device]]
    name = "manhole-17"
    bus = "rs485-1"
    address = 17
    profile = "manhole-cover/example"
    labels = { grid = "G3", department = "water" }

      [[device.point]]               # points of its own, in the same form as in a profile
      name = "battery"
      read = "input 0x0004"
      type = "u16"
      scale = 0.01
      unit = "V"
    """

  static let profile = """
    kind = "manhole-cover"
    title = { en = "…", zh = "…" }
    source = "where the register map was read: maker, document, revision"
    max_registers = 32               # optional limits of the device
    [identify]                       # optional: how `kerb scan` recognises it

    [[point]]
    name = "tilt"
    read = "holding 0"               # holding · input · coil · discrete, zero-based protocol address, decimal or 0x
    type = "i16"                     # bool u16 i16 u32 i32 u64 i64 f32 f64 bcd16 bcd32 text:N
    order = "ABCD"                   # ABCD CDAB BADC DCBA
    bits = "4..7"                    # part of a register; "3" for one bit
    scale = 0.1
    offset = 0.0
    unit = "deg"                     # a SenML unit (RFC 8428, RFC 8798) where there is one
    every = "1s"                     # "0s": as often as the line allows
    range = [-90, 90]                # outside: uncertain
    invalid = [0x7FFF]               # raw values that mean «no value»: bad
    values = { 0 = "closed", 1 = "open" }
    deadband = 0.5                   # report when it moved this far (0: on any change) …
    heartbeat = "10m"                # … and at least this often
    personal = false
    write = "no"                     # no · maintenance · upstream
    windows = [ { every = "1m", stats = ["min", "max", "mean", "last", "count"] } ]
               # also: sum stddev p50 p90 p95 p99 first rises falls time_true rate ; slide = "10s" for sliding windows

    [[alarm]]
    name = "cover-open"
    when = "tilt > 15 and battery > 2.5"
    for = "2s"
    clear = "tilt < 10"              # default: not `when`
    clear_for = "10s"
    severity = "critical"            # notice · warning · major · critical
    message = { en = "Cover {device} tilted {tilt} deg", zh = "…" }
    remind = "30m"
    escalate = { after = "10m", to = "critical" }
    """

  private static func site(_ box: String = box, _ profile: String = profile) throws -> ConfigurationSite {
    let tls = try CertificateFolder(clientCA: TestCertificates.authority)
    return try withExtendedLifetime(tls) {
      try ConfigurationSite(
        box, more: [("profiles/manhole-cover/example.toml", profile)],
        links: ["cert.pem", "key.pem", "ca.pem"].map { ($0, "\(tls.folder.path)/\($0)") })
    }
  }

  private static func changed(_ text: String, _ line: String, to other: String) throws -> String {
    let parts = text.split(separator: "\n", omittingEmptySubsequences: false)
    try #require(parts.contains { $0.contains(line) }, "\(line)")
    return parts.map { $0.contains(line) ? other : String($0) }.joined(separator: "\n")
  }

  @Test("is valid as it stands, and is told what of it has no effect")
  func whole() throws {
    let site = try Self.site()
    #expect(site.problems == [])
    let configuration = try #require(site.configuration)
    #expect(
      configuration.warnings.map { "\($0.place.line) \($0.key)" } == [
        "18 point.tilt.invalid", "36 alarm.cover-open.escalate.to",
      ])
    let device = try #require(configuration.devices.first)
    #expect(device.points.map(\.name) == ["tilt", "battery"] && device.points.first?.invalid == [0x7FFF])
    #expect(device.alarms.first?.name == "cover-open")
    #expect(configuration.consumers.map(\.name) == ["water-bureau"] && configuration.pushes.map(\.name) == ["city"])
  }

  @Test(
    "is valid with what its comments allow instead",
    arguments: [
      ("listen = [", "listen = [\"0.0.0.0:8443\", \"unix:/run/kerb/pull.sock\"]"), ("parity =", "parity = \"even\""),
      ("parity =", "parity = \"odd\""),
      ("port = ", "port = \"/dev/kerb/rs485-1\"\n[[bus]]\nname=\"t\"\nprotocol=\"modbus-tcp\"\nhost=\"10.0.0.7:502\""),
      ("port = ", "port = \"/dev/kerb/rs485-1\"\n[[bus]]\nname=\"t\"\nprotocol=\"modbus-rtu-tcp\"\nhost=\"10.0.0.7\""),
      ("port = ", "port = \"/dev/kerb/rs485-1\"\n[[bus]]\nname=\"t\"\nprotocol=\"dlt645\"\nport = \"/dev/kerb/t\""),
      ("port = ", "port = \"/dev/kerb/rs485-1\"\n[[bus]]\nname=\"t\"\nprotocol=\"cjt188\"\nport = \"/dev/kerb/t\""),
      ("port = ", "port = \"/dev/kerb/rs485-1\"\n[[bus]]\nname=\"t\"\nprotocol=\"serial\"\nport = \"/dev/kerb/t\""),
    ])
  func ofTheBox(_ line: String, _ other: String) throws {
    // A second bus takes the keys of the first that stand behind its port.
    var text = try Self.changed(Self.box, line, to: other.split(separator: "\n").first.map(String.init) ?? "")
    text += "\n" + other.split(separator: "\n").dropFirst().joined(separator: "\n")
    let site = try Self.site(text)
    #expect(site.problems == [])
  }

  @Test(
    "has a profile that is valid with what its comments allow instead",
    arguments: [
      ("bits =", "bits = \"3\""), ("bits =", ""), ("every = \"1s\"", "every = \"0s\""), ("deadband", "deadband = 0"),
      ("write =", "write = \"maintenance\""), ("write =", "write = \"upstream\""),
      ("to = \"critical\"", "escalate = { after = \"10m\", to = \"notice\" }"), ("clear = ", ""),
      ("severity = ", "severity = \"notice\""),
      ("stats =", "windows = [ { every = \"1m\", slide = \"10s\", stats = [\"sum\", \"p50\", \"rate\"] } ]"),
      ("stats =", "windows = [ { every = \"1m\", stats = [\"stddev\", \"p90\", \"p95\", \"p99\", \"first\"] } ]"),
    ])
  func ofTheProfile(_ line: String, _ other: String) throws {
    let site = try Self.site(Self.box, Self.changed(Self.profile, line, to: other))
    #expect(site.problems == [])
  }
}
