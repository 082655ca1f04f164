import FieldBus
import Gateway
import Glibc
import TestSupport
import Testing

@Suite("A tree of TOML as text")
struct TomlTextTests {
  /// Without places.
  private static func plain(_ value: TomlValue) -> String {
    switch value {
    case .table(let table):
      return "{\(table.members.map { "\($0.key)=\(plain($0.item.value))" }.sorted().joined(separator: ";"))}"
    case .array(let items): return "[\(items.map { plain($0.value) }.joined(separator: ";"))]"
    default: return "\(value)"
    }
  }

  private static func read(_ text: String) throws -> TomlTable {
    let diagnostics = Diagnostics()
    let table = TomlFile.parse(text, file: "t", into: diagnostics)
    #expect(diagnostics.sorted.map(\.text) == [])
    return try #require(table)
  }

  @Test("is read as the same tree again, of every file of the project")
  func project() throws {
    var files = ProjectBoardTests.names.map { "boards/\($0)/board.toml" }
    for kind in try TextFile.names(in: "\(packageRoot)/profiles") {
      for name in try TextFile.names(in: "\(packageRoot)/profiles/\(kind)") where name.hasSuffix(".toml") {
        files.append("profiles/\(kind)/\(name)")
      }
    }
    #expect(files.count > 15)
    for file in files {
      let tree = try Self.read(try text(ofFile: "\(packageRoot)/\(file)"))
      let again = try Self.read(TomlText.of(tree))
      #expect(Self.plain(.table(again)) == Self.plain(.table(tree)), "\(file)")
    }
  }

  @Test("keeps strings with quotes and controls, odd keys, numbers, dates, tables in arrays and in lines")
  func odd() throws {
    let source = #"""
      a = "q\" b\\ n\n t\t u\u0001 井盖 \u007F"
      "odd key" = 1
      "" = 2
      f = [1.5, -0.0, 1e300, inf, -inf]
      d = 2026-11-21T07:00:00Z
      e = []
      mixed = [{ x = 1 }, 2, [3, { y = "z" }]]
      t = { u = { v = true } }
      [[list]]
      n = 1
      [[list.inner]]
      m = 1
      [[list.inner]]
      m = 2
      [[list]]
      n = 2
      [empty]
      [deep."with.dot"]
      k = -5
      """#
    let tree = try Self.read(source)
    let again = try Self.read(TomlText.of(tree))
    #expect(Self.plain(.table(again)) == Self.plain(.table(tree)))
  }
}

@Suite("A provisioning file")
struct ProvisioningFileTests {
  private static let box = BoxIdentity(
    serial: "10000000ABCDEF01", macs: ["52:54:00:12:34:56"], machineID: "0123456789abcdef0123456789abcdef")

  private static func read(
    _ text: String, on box: BoxIdentity = box
  ) -> (provision: Provision?, problems: [String]) {
    let diagnostics = Diagnostics()
    let provision = TomlFile.parse(text, file: "c", into: diagnostics).flatMap {
      ProvisioningFile.parse($0, on: box, diagnostics: diagnostics)
    }
    return (provision, diagnostics.sorted.map(\.text))
  }

  private static func id(_ provision: Provision?) -> String? {
    guard case .string(let id)? = provision?.table.table("gateway")["id"]?.item.value else { return nil }
    return id
  }

  @Test(
    "names a box by what it has",
    arguments: [
      ("box-{serial}", "box-10000000ABCDEF01"), ("{mac}", "525400123456"), ("m-{machine}", "m-0123456789ab"),
      ("{serial}-{mac}", "10000000ABCDEF01-525400123456"), ("plain", "plain"),
    ])
  func template(_ template: String, _ name: String) {
    let (provision, problems) = Self.read("[commission]\nid = \"\(template)\"\n")
    #expect(problems == [])
    #expect(Self.id(provision) == name && provision?.gatewayID == name)
  }

  @Test("takes of a hundred boxes the one that this is, with what is only its own")
  func hundred() throws {
    var text = "[commission]\n[[bus]]\nname = \"common\"\n"
    for number in 0..<100 {
      text += "[[box]]\nserial = \"\(number)\"\nid = \"box-\(number)\"\n[[box.bus]]\nname = \"own-\(number)\"\n"
    }
    let mine = BoxIdentity(serial: "73", macs: [], machineID: nil)
    let (provision, problems) = Self.read(text, on: mine)
    #expect(problems == [])
    #expect(Self.id(provision) == "box-73")
    let buses = provision?.table.tables("bus").compactMap { $0["name"]?.item.value }
    #expect(buses.map { "\($0)" } == #"[FieldBus.TomlValue.string("common"), FieldBus.TomlValue.string("own-73")]"#)
    #expect(provision?.table["box"] == nil && provision?.table["commission"] == nil)
  }

  @Test("knows a box by its network card, whatever the letters")
  func mac() {
    let (provision, problems) = Self.read("[commission]\n[[box]]\nmac = \"52:54:00:12:34:56\"\nid = \"b\"\n")
    #expect(problems == [] && Self.id(provision) == "b")
  }

  @Test(
    "says what is wrong, where, and what to do",
    arguments: [
      ("[[bus]]\nname = \"b\"\n", "c:1:1: commission: is missing"),
      ("[commission]\nidd = \"x\"\n", "unknown key; did you mean \"id\"?"),
      ("[commission]\n[[box]]\nid = \"b\"\n", "needs serial or mac: which box is it?"),
      ("[commission]\n[[box]]\nserial = \"1\"\n", "id: is missing"),
      (
        "[commission]\n[[box]]\nserial = \"1\"\nid = \"b\"\n",
        "none of them is this box (serial 10000000ABCDEF01, MAC 52:54:00:12:34:56): add a [[box]] for it"
      ),
      (
        "[commission]\n[[box]]\nserial = \"1\"\nid = \"b\"\n[[box]]\nserial = \"1\"\nid = \"c\"\n",
        "\"1\" is already the serial at"
      ),
      (
        "[commission]\n[[box]]\nserial = \"1\"\nid = \"b\"\n[[box]]\nserial = \"2\"\nid = \"b\"\n",
        "\"b\" is already the id at"
      ),
      (
        "[commission]\n[[box]]\nserial = \"10000000abcdef01\"\nid = \"b\"\n"
          + "[[box]]\nmac = \"52:54:00:12:34:56\"\nid = \"c\"\n", "is this box, as is the one at c:2:1"
      ),
      ("[commission]\nid = \"a b\"\n", "is not a name"),
      ("[commission]\nid = \"a\"\n[gateway]\nid = \"b\"\n", "gateway.id: is also given by commission.id"),
      ("[commission]\ncertificate = \"own\"\n", "is not one of \"none\", \"self-signed\""),
      ("[commission]\nscan_to = 300\n", "300 is out of range"),
    ])
  func mistakes(_ text: String, _ wanted: String) {
    let (provision, problems) = Self.read(text)
    #expect(provision == nil)
    #expect(problems.contains { $0.contains(wanted) && $0.hasPrefix("c:") }, "\(problems)")
  }

  @Test("says of a template what this box has nothing for")
  func nothing() {
    let bare = BoxIdentity(serial: nil, macs: [], machineID: nil)
    let (provision, problems) = Self.read("[commission]\nid = \"b-{serial}\"\n", on: bare)
    #expect(provision == nil)
    #expect(
      problems == [
        "c:2:6: commission.id: this box has nothing for {serial} (no serial number and no network card): name it by a "
          + "[[box]]"
      ])
  }

  @Test(
    "takes the address of a network card with colons and with dashes",
    arguments: ["52:54:00:12:34:56", "52-54-00-12-34-56", "52-54-00-aB-34-56"])
  func dashes(_ mac: String) {
    let mine = BoxIdentity(serial: nil, macs: ["52:54:00:12:34:56", "52:54:00:ab:34:56"], machineID: nil)
    let (provision, problems) = Self.read("[commission]\n[[box]]\nmac = \"\(mac)\"\nid = \"b\"\n", on: mine)
    #expect(problems == [] && provision?.gatewayID == "b")
  }

  @Test(
    "refuses what is no address of a network card at its place",
    arguments: ["", "52:54:00:12:34", "52:54:00:12:34:5g", "52:54:00:12:34:56:78", "+2:54:00:12:34:56", "525400123456"])
  func nonsense(_ mac: String) {
    let (_, problems) = Self.read("[commission]\nid = \"{mac}\"\n[[box]]\nmac = \"\(mac)\"\nid = \"b\"\n")
    #expect(problems.count == 1 && problems[0].hasPrefix("c:4:7: box[1].mac: \"\(mac)\" is no address"), "\(problems)")
  }

  @Test("says where the boxes stand when none of them is this one")
  func nobody() {
    let (_, problems) = Self.read("[commission]\n\n[[box]]\nserial = \"1\"\nid = \"b\"\n")
    #expect(problems.count == 1 && problems[0].hasPrefix("c:3:1: box: none of them is this box ("), "\(problems)")
  }

  @Test("calls a misspelt placeholder what it is, in any box")
  func placeholder() {
    let known = "is no placeholder: there are {serial}, {mac}, {machine}"
    let (_, problems) = Self.read(
      "[commission]\nid = \"box-{serail}\"\n[[box]]\nserial = \"1\"\nid = \"{x}\"\n")
    #expect(
      problems == [
        "c:2:6: commission.id: {serail} \(known); did you mean {serial}?", "c:5:6: box[1].id: {x} \(known)",
      ])
  }

  @Test("tells of every line that is none, with whatever else is wrong")
  func scan() {
    let text =
      "[commission]\nid = \"b\"\nscan = [\"rs1\", \"rs2\", \"other\", \"own\", \"sr1\"]\nscan_to = 300\n"
      + "[[bus]]\nname = \"rs1\"\n[[box]]\nserial = \"1\"\nid = \"b1\"\n[[box.bus]]\nname = \"own\"\n"
    let diagnostics = Diagnostics()
    let root = TomlFile.parse(text.replacing("id = \"b\"", with: "id = \"{mac}\""), file: "c", into: diagnostics)
    _ = root.flatMap { ProvisioningFile.parse($0, on: Self.box, buses: ["other"], diagnostics: diagnostics) }
    let told = diagnostics.sorted.map(\.text)
    #expect(told.count == 3 && told[2].hasPrefix("c:4:11: commission.scan_to: 300 is out of range"), "\(told)")
    #expect(told.first?.hasPrefix("c:3:16: commission.scan: there is no bus rs2; did you mean ") == true, "\(told)")
    #expect(told.dropFirst().first?.hasPrefix("c:3:39: commission.scan: there is no bus sr1; did") == true, "\(told)")
  }

  @Test("is held against the configuration with its own places")
  func places() throws {
    let folder = try TemporaryFolder()
    let diagnostics = Diagnostics()
    let text = "[commission]\nid = \"b\"\n[[bus]]\nname = \"l\"\nprotocol = \"modbus-rtu\"\nport = \"ttyS0\"\n"
    let table = try #require(TomlFile.parse(text, file: "boot/c.toml", into: diagnostics))
    let provision = try #require(ProvisioningFile.parse(table, on: Self.box, diagnostics: diagnostics))
    func read(_ table: TomlTable) -> Configuration? {
      ConfigurationReader.read(
        path: "\(folder.path)/kerb.toml", profileDirectories: [], diagnostics: diagnostics,
        systemProfileDirectories: [], machineIDPath: "\(folder.path)/none",
        draft: ConfigurationReader.Draft(name: CommissionFiles.name, table: table))
    }
    #expect(read(provision.table) == nil)
    #expect(diagnostics.sorted.map(\.text).contains { $0.hasPrefix("boot/c.toml:6:8: bus.l.port: ") })
    var sound = provision.table
    sound.remove("bus")
    let empty = Diagnostics()
    #expect(
      ConfigurationReader.read(
        path: "\(folder.path)/kerb.toml", profileDirectories: [], diagnostics: empty, systemProfileDirectories: [],
        machineIDPath: "\(folder.path)/none", draft: .init(name: CommissionFiles.name, table: sound))?.gatewayID == "b",
      "a draft may be all that there is")
    #expect(TextFile.resolved("\(folder.path)/kerb.toml") == nil, "reading writes nothing")
  }
}

@Suite("What commissioning writes")
struct CommissionFilesTests {
  private static func mode(_ path: String) -> mode_t {
    var facts = stat()
    return stat(path, &facts) == 0 ? facts.st_mode & 0o777 : 0
  }

  private static func clean(_ folder: TemporaryFolder) {
    for name in ["conf.d/commission.toml", "conf.d/commission.toml.old", "kerb.toml"] {
      unlink("\(folder.path)/\(name)")
    }
    rmdir("\(folder.path)/conf.d")
  }

  @Test("is there once, is the same the second time, and keeps what stood there before")
  func writing() throws {
    let folder = try TemporaryFolder()
    defer { Self.clean(folder) }
    let files = CommissionFiles(configuration: "\(folder.path)/kerb.toml")
    #expect(try files.write("one = 1\n"))
    #expect(try !files.write("one = 1\n"), "nothing new")
    #expect(TextFile.resolved(files.oldPath) == nil)
    #expect(Self.mode(files.path) == 0o640 && Self.mode(files.configuration) == 0o640)
    let own = "# mine\n"
    try TextFile.write(Array(own.utf8), to: files.configuration)
    #expect(try files.write("two = 2\n"))
    #expect(files.present == "two = 2\n")
    #expect(try text(ofFile: files.oldPath) == "one = 1\n")
    #expect(try text(ofFile: files.configuration) == own, "kerb.toml belongs to whoever wrote it")
    let names = try TextFile.names(in: "\(folder.path)/conf.d")
    #expect(names == ["commission.toml", "commission.toml.old"], "no drafts are left: \(names)")
  }

  @Test("is refused with the path, where it can't be")
  func refused() throws {
    let folder = try TemporaryFolder()
    try folder.write("conf.d", "a file")
    let files = CommissionFiles(configuration: "\(folder.path)/kerb.toml")
    #expect(throws: FileProblem.self) { try files.write("one = 1\n") }
    #expect(TextFile.resolved(files.configuration) == nil, "kerb.toml comes last")
  }

  @Test("is recorded for `kerb status`, and a damaged record says nothing")
  func record() throws {
    let folder = try TemporaryFolder()
    defer { unlink(CommissionRecord.path(statePath: folder.path)) }
    #expect(CommissionRecord.read(statePath: folder.path) == nil)
    let record = CommissionRecord(
      isGood: false, source: "/boot/c.toml", digest: "d", gateway: "", at: 5, problems: ["c:1:1: \"x\" 井盖"])
    try record.write(statePath: folder.path)
    #expect(CommissionRecord.read(statePath: folder.path) == record)
    var status = GatewayStatus()
    status.commission = record
    var writer = JSONWriter()
    status.write(into: &writer)
    #expect(try JSONParser.parse(writer.bytes)["commission"]?["problems"]?.array?[0].string == "c:1:1: \"x\" 井盖")
    try TextFile.write(Array("{\"good\":".utf8), to: CommissionRecord.path(statePath: folder.path))
    #expect(CommissionRecord.read(statePath: folder.path) == nil)
  }
}
