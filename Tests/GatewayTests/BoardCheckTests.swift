import FieldBus
import Gateway
import TestSupport
import Testing

@Suite("A box held against its board")
struct BoardCheckTests {
  private static func board(_ name: String) throws -> Board {
    try #require(ProjectBoardTests.library.load(name, into: Diagnostics()))
  }

  /// QEMU's machine with both adapters, named, and all else as it should be.
  private static func whole() throws -> FakeMachine {
    let fake = try FakeMachine()
    try fake.tree(["linux,dummy-virt"])
    try fake.adapter("ttyUSB0", socket: "2")
    try fake.adapter("ttyUSB1", socket: "1")
    try fake.named("rs485-1", "ttyUSB1")
    try fake.named("rs485-2", "ttyUSB0")
    try fake.watchdog("i6300ESB timer")
    try fake.clock("rtc-pl031 9010000.pl031")
    return fake
  }

  private static func check(_ fake: FakeMachine, _ name: String = "qemu-virt") throws -> BoardCheck {
    let machine = fake.machine()
    let boards = ProjectBoardTests.library.all(into: Diagnostics())
    return BoardCheck(try board(name), on: machine, detection: BoardDetection(boards, on: machine))
  }

  private static func wrong(_ check: BoardCheck) -> [String] {
    check.findings.filter { $0.weight == .wrong }.map { "\($0.subject) \($0.name): \($0.text)" }
  }

  private static func rules(_ fake: FakeMachine, _ name: String = "qemu-virt") throws {
    try fake.rules(UdevRules.general, UdevRules.generalName, in: "usr/lib/udev/rules.d")
    try fake.rules(UdevRules.of(try board(name)), UdevRules.boardName)
  }

  @Test("is good where all is there, whichever adapter the kernel found first")
  func good() throws {
    let fake = try Self.whole()
    try Self.rules(fake)
    let check = try Self.check(fake)
    #expect(Self.wrong(check) == [])
    #expect(check.isGood)
    #expect(check.findings.first { $0.name == "rs485-1" }?.text == "ttyUSB1")
  }

  @Test("says which socket is empty, and that is no fault")
  func empty() throws {
    let fake = try FakeMachine()
    try fake.tree(["linux,dummy-virt"])
    try fake.adapter("ttyUSB0", socket: "2")
    try fake.named("rs485-2", "ttyUSB0")
    try fake.watchdog("i6300ESB timer")
    try fake.clock("rtc-efi rtc-efi.0")
    try Self.rules(fake)
    let check = try Self.check(fake)
    #expect(check.isGood, "\(Self.wrong(check))")
    #expect(check.findings.first { $0.name == "rs485-1" }?.text.hasPrefix("no adapter is plugged in") == true)
  }

  @Test("says what to do where the rules are missing, old, or another board's")
  func rulesAreWrong() throws {
    let fake = try Self.whole()
    #expect(Self.wrong(try Self.check(fake)).contains { $0.contains("kerb board udev --install") })
    try fake.rules(UdevRules.of(try Self.board("raspberry-pi-4")), "62-old.rules")
    try Self.rules(fake)
    let wrong = Self.wrong(try Self.check(fake))
    #expect(wrong.count == 1 && wrong[0].contains("two boards would claim one name"), "\(wrong)")
    try fake.rules(UdevRules.of(try Self.board("qemu-virt")) + "# changed\n", UdevRules.boardName)
    #expect(Self.wrong(try Self.check(fake)).contains { $0.contains("are not those of this version") })
  }

  @Test("says that a name leads to another place")
  func misled() throws {
    let fake = try FakeMachine()
    try fake.tree(["linux,dummy-virt"])
    try fake.adapter("ttyUSB0", socket: "1")
    try fake.adapter("ttyUSB1", socket: "2")
    try fake.named("rs485-1", "ttyUSB1")
    try Self.rules(fake)
    let wrong = Self.wrong(try Self.check(fake))
    #expect(wrong.contains { $0.contains("rs485-1") && $0.contains("ttyUSB0 is in that place") }, "\(wrong)")
    #expect(wrong.contains { $0.contains("ttyUSB1 is there, but not /dev/kerb/rs485-2") }, "\(wrong)")
    #expect(wrong.contains { $0.hasPrefix("watchdog") } && wrong.contains { $0.hasPrefix("clock") })
  }

  @Test("says that the machine is another one")
  func otherMachine() throws {
    let fake = try Self.whole()
    let wrong = Self.wrong(try Self.check(fake, "raspberry-pi-5"))
    #expect(wrong.contains { $0.contains("looks like qemu-virt: write board = \"qemu-virt\"") }, "\(wrong)")
  }

  @Test("asks a port for RS-485 only where the kernel has to turn it round")
  func direction() throws {
    let fake = try FakeMachine()
    try fake.tree(["phytec,imx8mm-phygate-tauri-l", "fsl,imx8mm"])
    for (kernel, address) in [("ttymxc3", "30a60000"), ("ttymxc1", "30890000")] {
      try fake.port(
        kernel,
        [
          ("soc@0", "platform", nil), ("\(address).serial", "platform", "imx-uart"),
          ("\(address).serial:0", "serial-base", "ctrl"), ("\(address).serial:0.0", "serial-base", "port"),
        ])
    }
    let machine = fake.machine()
    let board = try Self.board("phytec-phygate-tauri-l")
    var asked: [String] = []
    let check = BoardCheck(
      board, on: machine, detection: BoardDetection([board], on: machine),
      hasRS485: { device in
        asked.append(device)
        return false
      })
    #expect(asked == ["\(fake.folder.path)/dev/ttymxc3"])
    #expect(check.findings.contains { $0.name == "rs485-1" && $0.text.contains("no RS-485 mode") })
    #expect(!check.findings.contains { $0.text.contains("is run by") }, "the driver below the serial core's own")
  }
}

@Suite("A missing adapter")
struct PortPresenceTests {
  @Test("is named by its place on the case; what is there is not")
  func missing() throws {
    let fake = try FakeMachine()
    try fake.adapter("ttyUSB0", socket: "2")
    try fake.named("rs485-2", "ttyUSB0")
    let buses = ["rs485-1", "rs485-2"].map {
      "[[bus]]\nname = \"\($0)\"\nprotocol = \"modbus-rtu\"\nport = \"/dev/kerb/\($0)\"\n"
    }
    let other = "[[bus]]\nname = \"o\"\nprotocol = \"modbus-rtu\"\nport = \"/dev/kerb-no-o\"\n"
    let tcp = "[[bus]]\nname = \"t\"\nprotocol = \"modbus-tcp\"\nhost = \"10.0.0.1\"\n"
    let site = try ConfigurationSite(
      "[gateway]\nid = \"b\"\nboard = \"qemu-virt\"\n" + buses.joined() + other + tcp)
    #expect(site.problems == [])
    let missing = PortPresence(try #require(site.configuration), on: fake.machine()).missing
    #expect(missing.map(\.bus) == ["rs485-1", "o"])
    #expect(missing[0].label["en"] == "USB port 1 of qemu-xhci" && missing[1].label.isEmpty)
    var status = GatewayStatus()
    status.missingPorts = missing
    var writer = JSONWriter()
    status.write(into: &writer)
    let written = try JSONParser.parse(writer.bytes)
    #expect(written["missing_ports"]?.array?[0]["label"]?["en"]?.string == "USB port 1 of qemu-xhci")
  }
}

@Suite("A serial port's place")
struct DevicePathTests {
  /// As udevadm showed them on such machines.
  @Test("is that of udev's path_id")
  func places() throws {
    let fake = try FakeMachine()
    try fake.adapter("ttyUSB0", socket: "1.2")
    try fake.port(
      "ttySC0",
      [
        ("soc", "platform", nil), ("fe215080.spi", "platform", "spi-bcm2835aux"), ("spi_master", nil, nil),
        ("spi1", "spi_master", nil), ("spi1.0", "spi", "sc16is7xx"),
      ])
    try fake.port("ttyS0", [("pnp0", nil, nil), ("00:04", "pnp", "serial")], io: "0x3F8")
    try fake.port(
      "ttyS4", [("pci0000:00", nil, nil), ("0000:00:1c.0", "pci", "pcieport"), ("0000:02:00.0", "pci", "serial")])
    let ports = Dictionary(uniqueKeysWithValues: fake.machine().ports.map { ($0.kernel, $0) })
    #expect(ports["ttyUSB0"]?.path == "platform-4010000000.pcie-pci-0000:00:02.0-usb-0:1.2:1.0")
    #expect(ports["ttyUSB0"]?.driver == "ftdi_sio")
    #expect(ports["ttySC0"]?.path == "platform-fe215080.spi-cs-0")
    #expect(ports["ttyS0"]?.path == nil && ports["ttyS0"]?.io == 0x3F8)
    #expect(ports["ttyS4"]?.path == "pci-0000:02:00.0")
  }

  @Test("is of the first port only where one interface has several")
  func several() throws {
    let fake = try FakeMachine()
    try fake.adapter("ttyUSB0", socket: "1", number: 0)
    try fake.adapter("ttyUSB1", socket: "1", number: 1)
    let board = try #require(ProjectBoardTests.library.load("qemu-virt", into: Diagnostics()))
    #expect(fake.machine().ports(board.ports[0]).map(\.kernel) == ["ttyUSB0"])
  }
}
