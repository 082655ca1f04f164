import FieldBus
import Gateway
import Store
import StreamCore
import Testing

/// What is wrong with a box keeps only its own part from work, and is said with what to do.
@Suite("A look at the box")
struct BoxLookTests {
  private static func bus(_ name: String, _ port: String) -> String {
    "[[bus]]\nname = \"\(name)\"\nprotocol = \"modbus-rtu\"\nport = \"/dev/kerb/\(port)\"\n"
  }

  private static func troubles(
    _ fake: FakeMachine, board: String? = "qemu-virt", _ buses: String
  ) throws -> [Trouble] {
    let line = board.map { "board = \"\($0)\"\n" } ?? ""
    let site = try ConfigurationSite("[gateway]\nid = \"b\"\nstate = \"FOLDER/state\"\n\(line)\(buses)")
    #expect(site.problems == [])
    return BoxLook(try #require(site.configuration), on: fake.machine()).troubles
  }

  private static func board(_ name: String) throws -> Board {
    try #require(ProjectBoardTests.library.load(name, into: Diagnostics()))
  }

  @Test("finds nothing wrong with a box that is well")
  func well() throws {
    let fake = try FakeMachine()
    try fake.adapter("ttyUSB0", socket: "1")
    try fake.named("rs485-1", "ttyUSB0")
    try fake.rules(UdevRules.of(try Self.board("qemu-virt")), "62-kerb-board.rules")
    #expect(try Self.troubles(fake, Self.bus("a", "rs485-1")) == [])
  }

  @Test("names the files of two boards' rules, and the one to remove")
  func rivals() throws {
    let fake = try FakeMachine()
    try fake.rules(UdevRules.of(try Self.board("qemu-virt")), "62-kerb-board.rules")
    try fake.rules(UdevRules.of(try Self.board("raspberry-pi-4")), "70-old.rules")
    let troubles = try Self.troubles(fake, board: nil, "")
    #expect(troubles.map(\.code) == ["rules-rival"])
    #expect(troubles[0].text.contains("70-old.rules (raspberry-pi-4)") && troubles[0].text.contains("remove"))
    #expect(troubles[0].chineseText.contains("70-old.rules"))
  }

  @Test("names rules of another board than the configuration's")
  func other() throws {
    let fake = try FakeMachine()
    try fake.rules(UdevRules.of(try Self.board("raspberry-pi-4")), "62-kerb-board.rules")
    let troubles = try Self.troubles(fake, "")
    #expect(troubles.map(\.code) == ["rules-other"])
    #expect(troubles[0].text.contains("kerb board udev qemu-virt --install"))
  }

  @Test("names two buses whose names lead to one port")
  func shared() throws {
    let fake = try FakeMachine()
    try fake.adapter("ttyUSB0", socket: "1")
    try fake.named("rs485-1", "ttyUSB0")
    try fake.named("rs485-2", "ttyUSB0")
    let troubles = try Self.troubles(fake, Self.bus("a", "rs485-1") + Self.bus("b", "rs485-2"))
    #expect(troubles.map(\.code) == ["port-shared"] && troubles.map(\.subject) == ["b"])
    #expect(troubles[0].text.contains("the port of bus a (/dev/kerb/rs485-1)"))
  }

  @Test("says of an adapter that is there without its name how it gets it")
  func unnamed() throws {
    let fake = try FakeMachine()
    try fake.adapter("ttyUSB3", socket: "1")
    let troubles = try Self.troubles(fake, Self.bus("a", "rs485-1") + Self.bus("b", "rs485-2"))
    #expect(troubles.map(\.code) == ["port-missing", "port-missing"])
    #expect(troubles[0].text.contains("ttyUSB3 is at") && troubles[0].text.contains("kerb board udev --install"))
    #expect(
      troubles[1].text.contains("there is no adapter at USB port 2") && troubles[1].text.contains("plug one in"))
  }

  @Test("says of a port of another driver than the board's that it is one")
  func kind() throws {
    let fake = try FakeMachine()
    try fake.port(
      "ttySC0",
      [("soc", "platform", nil), ("fe215080.spi", "platform", "spi"), ("spi1.0", "spi", "max310x")])
    try fake.named("rs485-1", "ttySC0")
    let troubles = try Self.troubles(fake, board: "raspberry-pi-4-rs485-hat", Self.bus("a", "rs485-1"))
    #expect(troubles.map(\.code) == ["port-other-kind"])
    #expect(troubles[0].text.contains("driver max310x, and this board has one of sc16is7xx"))
  }

  @Test("says of a missing port that is part of the board where it is switched on")
  func builtIn() throws {
    let troubles = try Self.troubles(
      try FakeMachine(), board: "raspberry-pi-4-rs485-hat", Self.bus("a", "rs485-1"))
    #expect(troubles.map(\.code) == ["port-missing"])
    #expect(troubles[0].text.contains("device tree") && !troubles[0].text.contains("plug"))
  }
}

@Suite("A full state partition")
struct StateRoomTests {
  @Test("bytes are shown as a person reads them")
  func bytes() {
    #expect(StateRoom.text(0) == "0 B" && StateRoom.text(1_023) == "1023 B")
    #expect(StateRoom.text(1_536) == "1.5 KiB" && StateRoom.text(13 << 20) == "13.0 MiB")
    #expect(StateRoom.text(3 << 30) == "3.0 GiB")
  }

  @Test("is told although the buffer has its room and goes on")
  func tight() throws {
    var report = StoreReport()
    report.state = .good
    func trouble(_ freeBytes: Int64) -> Trouble? {
      StateRoom("/state", freeBytes: freeBytes, totalBytes: 64 << 20).trouble(report)
    }
    #expect(trouble(Limits.stateRoomBytesMin) == nil)
    let tight = try #require(trouble(Limits.stateRoomBytesMin - 1))
    #expect(tight.code == "state-tight" && tight.subject == "/state")
    #expect(tight.text.contains("as good as full (/state: 1023.9 KiB of 64.0 MiB free)"))
    #expect(tight.text.contains("du -shx /state/*") && tight.chineseText.contains("1023.9 KiB"))
    report.state = .full
    #expect(trouble(0)?.code == "state-full")
  }
}
