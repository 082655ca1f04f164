import FieldBus
import Gateway
import TestSupport
import Testing

/// Every board of the project, as an installer's box would read it.
@Suite("A board of the project")
struct ProjectBoardTests {
  static let folder = "\(packageRoot)/boards"
  static let library = BoardLibrary(searchPaths: [folder])
  static let names = library.names()

  private static func board(_ name: String) throws -> Board {
    let diagnostics = Diagnostics()
    let board = library.load(name, into: diagnostics)
    #expect(diagnostics.sorted.map(\.text) == [])
    return try #require(board)
  }

  @Test("is one of those that were promised, and each folder is one")
  func promised() throws {
    let promised = [
      "raspberry-pi-4", "raspberry-pi-4-rs485-hat", "raspberry-pi-5", "raspberry-pi-5-rs485-hat",
      "seeed-recomputer-r1000", "seeed-recomputer-r1000-v1-0", "phytec-phygate-tauri-l",
      "embedfire-lubancat-2io", "orange-pi-zero2",
      "x86-industrial-pc", "qemu-virt",
    ]
    #expect(Self.names == promised.sorted())
    #expect(try TextFile.names(in: Self.folder).filter { $0 != "README.md" } == Self.names)
  }

  @Test("is read without a mistake, has ports, a source for its facts, steps for flashing", arguments: names)
  func sound(_ name: String) throws {
    let board = try Self.board(name)
    #expect(!board.ports.isEmpty)
    #expect(board.sources.allSatisfy { $0.hasPrefix("https://") })
    #expect(board.title["zh"] != nil && board.ports.allSatisfy { $0.label["zh"] != nil })
    #expect(board.flashing["en"]?.isEmpty == false)
    #expect(board.flashing["en"]?.count == board.flashing["zh"]?.count)
    #expect(board.watchdog != nil && board.rtc != nil && board.storage != nil)
  }

  @Test("has a README that names each of its ports and says what was not tried", arguments: names)
  func readme(_ name: String) throws {
    let board = try Self.board(name)
    let page = try text(ofFile: "\(Self.folder)/\(name)/README.md")
    for port in board.ports { #expect(page.contains("`\(port.device)`"), "\(port.name)") }
    #expect(page.contains("not yet seen on hardware") == (board.verified == .none))
    #expect(page.contains("## Flashing") && page.contains("## 中文"))
  }

  @Test("has the rules that are made of it, and there are no others", arguments: names)
  func rules(_ name: String) throws {
    let committed = try text(ofFile: "\(packageRoot)/udev/boards/\(name).rules")
    #expect(committed == UdevRules.of(try Self.board(name)))
    #expect(try TextFile.names(in: "\(packageRoot)/udev/boards") == Self.names.map { "\($0).rules" }.sorted())
  }

  @Test("shares the general rules with the others")
  func general() throws {
    #expect(try text(ofFile: "\(packageRoot)/udev/\(UdevRules.generalName)") == UdevRules.general)
    #expect(UdevRules.generalName > "60-serial.rules" && UdevRules.boardName > UdevRules.generalName)
  }

  @Test("names no port by the order in which the kernel found it", arguments: names)
  func order(_ name: String) throws {
    for port in try Self.board(name).ports where port.kind == .usb {
      #expect(port.path != nil)
      #expect(port.kernel == nil, "a USB adapter's number is the order of plugging in")
    }
  }

  @Test("is found on a machine of its kind, before those that say less")
  func found() throws {
    let diagnostics = Diagnostics()
    let boards = Self.library.all(into: diagnostics)
    typealias Case = (compatible: [String], hardware: String?, chips: [String], dmi: (String, String)?, name: String?)
    let machines: [Case] = [
      (["raspberrypi,4-model-b", "brcm,bcm2711"], nil, [], nil, "raspberry-pi-4"),
      (["raspberrypi,4-model-b", "brcm,bcm2711"], nil, ["nxp,sc16is752"], nil, "raspberry-pi-4-rs485-hat"),
      (["raspberrypi,5-model-b", "brcm,bcm2712"], nil, ["nxp,sc16is752"], nil, "raspberry-pi-5-rs485-hat"),
      (
        ["raspberrypi,4-compute-module", "brcm,bcm2711"], "reComputer-R100x V1.0&V1.1", [], nil,
        "seeed-recomputer-r1000"
      ),
      (
        ["raspberrypi,4-compute-module", "brcm,bcm2711"], "reComputer-R100x V1.0", [], nil,
        "seeed-recomputer-r1000-v1-0"
      ),
      (["raspberrypi,4-compute-module", "brcm,bcm2711"], nil, [], nil, nil),
      (["linux,dummy-virt"], nil, [], nil, "qemu-virt"),
      ([], nil, [], ("QEMU", "QEMU Virtual Machine"), "qemu-virt"),
      ([], nil, [], ("ACME", "Box"), nil),
    ]
    for machine in machines {
      let fake = try FakeMachine()
      try fake.tree(machine.compatible, hardware: machine.hardware)
      try fake.chips(machine.chips)
      if let dmi = machine.dmi { try fake.dmi(vendor: dmi.0, product: dmi.1) }
      let detection = BoardDetection(boards, on: fake.machine("aarch64"))
      #expect(detection.board?.name == machine.name, "\(machine)")
    }
    let pc = try FakeMachine()
    try pc.dmi(vendor: "ACME", product: "Box")
    #expect(BoardDetection(boards, on: pc.machine("x86_64")).board?.name == "x86-industrial-pc")
    let emulatedPC = try FakeMachine()
    try emulatedPC.dmi(vendor: "QEMU", product: "Standard PC (Q35 + ICH9, 2009)")
    #expect(BoardDetection(boards, on: emulatedPC.machine("x86_64")).board?.name == "x86-industrial-pc")
  }
}

@Suite("The reader of a board")
struct BoardParserTests {
  private static let sound = """
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
    capacity = "32GiB"
    endurance_tbw = 60
    [flashing]
    en = ["dd"]
    zh = ["dd"]

    """

  private static func read(_ text: String) -> (board: Board?, problems: [String]) {
    let diagnostics = Diagnostics()
    let board = TomlFile.parse(text, file: "b", into: diagnostics).map {
      BoardParser.parse($0, name: "box", diagnostics: diagnostics)
    }
    return (board, diagnostics.sorted.map(\.text))
  }

  private static func port(_ name: String, _ more: String) -> String {
    "[[port]]\nname = \"\(name)\"\nlabel = { en = \"L\" }\n\(more)\n"
  }

  @Test("takes what is whole, storage and its wear figures among it")
  func whole() throws {
    let (board, problems) = Self.read(
      Self.sound + Self.port("a", "kind = \"usb\"\npath = \"*-usb-0:1:1.0\"\nturnaround = \"2ms\""))
    #expect(problems == [])
    let storage = try #require(board?.storage)
    #expect(storage.capacityBytes == 32 << 30 && storage.enduranceTBW == 60)
    #expect(board?.ports[0].turnaroundNs == 2_000_000)
    #expect(board?.ports[0].device == "/dev/kerb/a")
  }

  @Test(
    "refuses two ports that one device could be",
    arguments: [
      ("kind = \"usb\"\npath = \"*-usb-0:1:1.0\"", "kind = \"usb\"\npath = \"pci-0000:00:14.0-usb-0:1:1.0\"", true),
      ("kind = \"usb\"\npath = \"*-usb-0:1:1.0\"", "kind = \"usb\"\npath = \"*-usb-0:1.1:1.0\"", false),
      (
        "kind = \"spi\"\npath = \"platform-a.spi*\"\nkernel = \"ttySC0\"",
        "kind = \"spi\"\npath = \"platform-a.spi-cs-0\"\nkernel = \"ttySC1\"", false
      ),
      (
        "kind = \"spi\"\npath = \"platform-a.spi*\"\nkernel = \"ttySC0\"",
        "kind = \"spi\"\npath = \"platform-a.spi-cs-0\"", true
      ),
      ("kind = \"isa\"\nio = 0x3F8", "kind = \"isa\"\nio = 0x3F8", true),
      ("kind = \"isa\"\nio = 0x3F8", "kind = \"isa\"\nio = 0x2F8", false),
    ])
  func claims(_ one: String, _ two: String, _ clashes: Bool) {
    let problems = Self.read(Self.sound + Self.port("a", one) + Self.port("b", two)).problems
    #expect(problems.contains { $0.contains("claims the same device as \"a\"") } == clashes, "\(problems)")
    #expect(clashes || problems.isEmpty, "\(problems)")
  }

  @Test(
    "says where a mistake stands, and what would be right",
    arguments: [
      ("kind = \"usb\"\npath = \"*-usb-1\"", "can't be the path of a port of kind usb"),
      ("kind = \"uart\"\npath = \"*-x.serial\"", "can't be the path"),
      ("kind = \"usb\"\npath = \"a\\\" b\"", "is no pattern"),
      ("kind = \"usb\"", "port.a.path: is missing"),
      ("kind = \"isa\"\npath = \"x\"", "has no meaning for a port at an I/O address"),
      ("kind = \"usb\"\npath = \"*-usb-0:1:1.0\"\nkernal = \"ttyS0\"", "did you mean \"kernel\"?"),
      ("kind = \"usb\"\npath = \"*-usb-0:1:1.0\"\nkernel = \"sda\"", "is no name of a port"),
    ])
  func mistakes(_ more: String, _ wanted: String) {
    let problems = Self.read(Self.sound + Self.port("a", more)).problems
    #expect(problems.contains { $0.contains(wanted) && $0.hasPrefix("b:") }, "\(problems)")
  }

  @Test("has every key in the page beside the boards")
  func documented() throws {
    let diagnostics = Diagnostics()
    let lamp = "[[lamp]]\nname = \"l\"\ncolour = \"red\"\n"
    let text = Self.sound + lamp + Self.port("a", "kind = \"usb\"\npath = \"*-usb-0:1:1.0\"")
    let root = try #require(TomlFile.parse(text, file: "b", into: diagnostics))
    _ = BoardParser.parse(root, name: "b", diagnostics: diagnostics)
    let page = try TestSupport.text(ofFile: "\(packageRoot)/boards/README.md")
    for (section, keys) in diagnostics.knownKeys {
      for key in keys { #expect(page.contains("`\(key)`") || page.contains("[\(key)]"), "\(section).\(key)") }
    }
  }

  @Test("wants the facts that an installer needs")
  func missing() {
    let problems = Self.read("title = { zh = \"盒\" }\n").problems
    for wanted in ["sources", "detect", "watchdog", "rtc", "storage", "flashing", "port"] {
      #expect(problems.contains { $0.contains(" \(wanted): is missing") }, "\(wanted): \(problems)")
    }
    #expect(problems.contains { $0.contains("has no English text") })
  }
}

@Suite("A pattern")
struct GlobTests {
  @Test(
    "matches as udev's do",
    arguments: [
      ("*-usb-0:1:1.0", "platform-x-usb-0:1:1.0", true), ("*-usb-0:1:1.0", "platform-x-usb-0:1:1.01", false),
      ("platform-5200*.usb", "platform-5200400.usb", true), ("a?c", "abc", true), ("a?c", "ac", false),
      ("**a*", "bca", true), ("", "", true), ("*", "", true), ("a*b*c", "axxbyybzc", true),
      ("a*b*c", "axxbyybz", false),
    ])
  func matches(_ pattern: String, _ text: String, _ isMatch: Bool) { #expect(Glob.matches(pattern, text) == isMatch) }

  @Test("overlaps another exactly if some text matches both")
  func overlaps() {
    // All patterns and texts of up to three characters over a small alphabet: nothing is left to chance.
    func words(_ alphabet: [String], _ length: Int) -> [String] {
      (0..<length).reduce([[""]]) { all, _ in all + [(all.last ?? []).flatMap { w in alphabet.map { w + $0 } }] }
        .flatMap { $0 }
    }
    let patterns = words(["a", "b", "*", "?"], 3)
    let texts = words(["a", "b"], 6)
    let hits = patterns.map { pattern in Set(texts.filter { Glob.matches(pattern, $0) }) }
    var wrong = 0
    for i in patterns.indices {
      for j in patterns.indices where Glob.overlap(patterns[i], patterns[j]) == hits[i].isDisjoint(with: hits[j]) {
        wrong += 1
      }
    }
    #expect(wrong == 0)
  }
}
