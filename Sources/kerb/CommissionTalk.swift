// Commissioning by a person at a console: name, board, lines, devices, platforms, then everything is written at once.
// Every question has an answer that Enter gives. Until the last question nothing of the configuration has changed.

import FieldBus
import Gateway
import Glibc
import StreamCore

struct CommissionTalk {
  private let files: ConfigurationOptions
  var commissioning: Commissioning
  var table: TomlTable
  private var board: Board?
  private let machine = Machine()
  /// Nothing that is asked now can undo it.
  private(set) var isWritten = false

  init(_ files: ConfigurationOptions) {
    self.files = files
    commissioning = Commissioning(files, source: "the console", isStrict: false)
    let place = SourcePlace(file: CommissionFiles(configuration: files.path).path, line: 0, column: 0)
    table = TomlTable(place: place)
  }

  mutating func run() throws {
    try begin()
    try name()
    try chooseBoard()
    try lines()
    try platforms()
    let tokens = try consumers()
    try pushes()
    let configuration = try commissioning.configuration(table)
    try write(configuration)
    try finish(tokens)
  }

  // MARK: Before

  /// What an earlier run wrote is begun with, if it is wanted.
  private mutating func begin() throws {
    let output = CommissionFiles(configuration: files.path)
    show(
      Phrase(
        "Enter takes the answer in brackets; Ctrl-C ends without a change.", "回车采用方括号内的答案；Ctrl-C 退出，不作更改。")())
    guard let old = output.present else { return }
    let question = Phrase(
      "This box was commissioned before ({0}). Keep what it has, and go through it again?",
      "本机已开通过（{0}）。保留现有设置并重新检查？")(output.path)
    if try Dialogue.yes(question, usual: true),
      let found = TomlFile.parse(old, file: output.path, into: Diagnostics())
    {
      table = found
    } else {
      show(Phrase("The old file will be kept as {0}.", "旧文件将保留为 {0}。")(output.oldPath))
    }
  }

  private mutating func name() throws {
    Dialogue.heading(Phrase("1  The box", "1  设备名称")())
    var gateway = table.table("gateway")
    var usual = "kerb-box"
    if case .string(let id)? = gateway["id"]?.item.value {
      usual = id
    } else if case .success(let made) = BoxIdentity(machine).name(from: "kerb-{machine}") {
      usual = made
    }
    let id = try Dialogue.line(Phrase("Name of this box, as platforms see it", "本机名称（平台可见）")(), usual: usual) {
      nameProblem($0)
    }
    gateway.set("id", id)
    table.set("gateway", .table(gateway))
  }

  private mutating func chooseBoard() throws {
    let boards = BoardFinder.all
    let found = BoardDetection(boards, on: machine)
    var gateway = table.table("gateway")
    let question = Phrase("Which board is it", "是哪种主板")()
    if let best = found.board,
      try Dialogue.yes(
        Phrase("This is a {0} ({1}). Right?", "本机是 {0}（{1}），对吗？")(best.title.inLanguage, machine.title),
        usual: true)
    {
      board = best
    } else {
      let none = Phrase("none of these", "都不是")()
      let number = try Dialogue.choice(
        question, boards.map { "\($0.name)  \($0.title.inLanguage)" } + [none], usual: boards.count)
      board = number < boards.count ? boards[number] : nil
    }
    gateway.remove("board")
    if let board {
      gateway.set("board", board.name)
      table.set("gateway", .table(gateway))
      commissioning.rules(board)
    } else {
      table.set("gateway", .table(gateway))
    }
  }

  // MARK: Lines

  private mutating func lines() throws {
    Dialogue.heading(Phrase("2  Lines and devices", "2  线路与设备")())
    for port in board?.ports ?? [] {
      let isThere = !machine.ports(port).isEmpty
      let label = "\(port.name) (\(port.label.inLanguage)\(isThere ? "" : Phrase(", empty", "，空")()))"
      let usual = isThere || lineNames.contains(port.name)
      let question = Phrase("Is a line connected to {0}?", "{0} 接有线路吗？")(label)
      if try Dialogue.yes(question, usual: usual) {
        try line(port.name, port.device, port)
      } else {
        drop(port.name)
      }
    }
    while true {
      let question = Phrase("Another port (its path, or Enter for none)", "其他端口（输入路径，回车表示没有）")()
      let path = try Dialogue.line(question) { text in
        text.isEmpty || text.hasPrefix("/") ? nil : Phrase("a path begins with /", "路径以 / 开头")()
      }
      if path.isEmpty { return }
      let usual = "line-\(lineNames.count + 1)"
      let name = try Dialogue.line(Phrase("Its name", "名称")(), usual: usual) { nameProblem($0) }
      try line(name, path, nil)
    }
  }

  private var lineNames: [String] {
    table.tables("bus").compactMap { if case .string(let name)? = $0["name"]?.item.value { name } else { nil } }
  }

  private mutating func drop(_ bus: String) {
    for key in ["bus", "device"] {
      let kept = table.tables(key).filter { entry in
        guard case .string(let name)? = entry[key == "bus" ? "name" : "bus"]?.item.value else { return true }
        return name != bus
      }
      table.set(key, tables: kept)
      if kept.isEmpty { table.remove(key) }
    }
  }

  private mutating func line(_ name: String, _ path: String, _ port: BoardPort?) throws {
    if lineNames.contains(name),
      try Dialogue.yes(Phrase("Keep {0} and its devices as they are?", "保留 {0} 及其设备不变？")(name), usual: true)
    {
      return
    }
    drop(name)
    let protocols: [(word: String, text: String)] = [
      ("modbus-rtu", "Modbus RTU"), ("dlt645", Phrase("electricity meters, DL/T 645", "电表 DL/T 645")()),
      ("cjt188", Phrase("water, gas and heat meters, CJ/T 188", "水、气、热表 CJ/T 188")()),
    ]
    let kind = try Dialogue.choice(Phrase("What is spoken on it", "使用的协议")(), protocols.map(\.text), usual: 0)
    var bus = TomlTable(place: table.place)
    bus.set("name", name)
    bus.set("protocol", protocols[kind].word)
    bus.set("port", path)
    if let port, port.direction != .automatic { bus.set("rs485", port.direction.rs485.rawValue) }
    if let port, port.turnaroundNs > 0 { bus.set("turnaround", durationText(port.turnaroundNs)) }
    let isSearched = try settings(&bus, isMeter: kind > 0)
    table.append(bus, to: "bus")
    do throws(CommandFailure) { _ = try commissioning.configuration(table) } catch {
      show(error.text)
      show(Phrase("{0} is left out.", "{0} 未加入。")(name))
      return drop(name)
    }
    try search(name, everySetting: isSearched, isMeter: kind > 0)
  }

  /// True: every usual speed is to be tried.
  private func settings(_ bus: inout TomlTable, isMeter: Bool) throws -> Bool {
    let usual = isMeter ? "2400" : "9600"
    let speeds = ConfigurationReader.bauds.map(String.init)
    let speed = try Dialogue.line(
      Phrase("Its speed in baud, or ? to find it by trying", "波特率（输入 ? 表示自动查找）")(), usual: usual
    ) { text in
      text == "?" || text == "？" || speeds.contains(text)
        ? nil : Phrase("one of {0}, or ?", "可选 {0}，或 ?")(speeds.joined(separator: ", "))
    }
    guard let baud = Int64(speed) else { return true }
    bus.set("baud", .integer(baud))
    let parities = Parity.allCases.map(\.rawValue)
    let parity = try Dialogue.line(
      Phrase("Parity: none, even or odd", "校验：none、even 或 odd")(), usual: isMeter ? "even" : "none"
    ) { parities.contains($0) ? nil : TableReader.unknownWord($0, among: parities) }
    bus.set("parity", parity)
    return false
  }

  // MARK: Devices

  private mutating func search(_ name: String, everySetting: Bool, isMeter: Bool) throws {
    var last = 0
    if isMeter {
      guard try Dialogue.yes(Phrase("Search {0} for meters now?", "现在搜索 {0} 上的表计？")(name), usual: true) else {
        return
      }
    } else {
      last = try Dialogue.number(
        Phrase("Search {0} for devices up to which address (0: don't)", "搜索 {0} 到哪个地址（0 表示不搜索）")(name),
        usual: 32, in: 0...247)
      if last == 0 { return }
    }
    var found: [Sweep.Found]
    do {
      found = try commissioning.search(name, table, to: max(1, last), everySetting: everySetting)
    } catch let failure as CommandFailure {
      return show(failure.text)
    }
    if found.isEmpty { return show(Messages.text(.nothingFound, name)) }
    if everySetting, let line = FoundLine(found, isMeter: isMeter) {
      adopt(line, name)
      found = line.units
    }
    showFound(found)
    guard try Dialogue.yes(Phrase("Take these into the configuration?", "加入配置？")(), usual: true) else { return }
    let notesBefore = commissioning.notes.count
    let count = try commissioning.take(found, on: name, &table)
    show(Phrase("{0}: {1} devices added.", "{0}：已加入 {1} 台设备。")(name, "\(count)"))
    for note in commissioning.notes[notesBefore...] { show("  \(note)") }
    commissioning.notes.removeSubrange(notesBefore...)
  }

  private mutating func adopt(_ line: FoundLine, _ name: String) {
    let format = line.format
    let buses = table.tables("bus").map { entry in
      var entry = entry
      if case .string(let own)? = entry["name"]?.item.value, own == name {
        entry.set("baud", .integer(Int64(format.baud)))
        entry.set("parity", format.parity.rawValue)
      }
      return entry
    }
    table.set("bus", tables: buses)
    show(Phrase("{0} runs at {1}.", "{0} 的参数为 {1}。")(name, format.text))
    guard !line.others.isEmpty else { return }
    let others = line.others.map(\.text).joined(separator: ", ")
    show(Phrase("It answers at another setting, too: {0}.", "在其他参数下也有应答：{0}。")(others))
  }

  private func showFound(_ found: [Sweep.Found]) {
    var table = Table(Messages.columns(.scanHead), rightAligned: [0])
    for each in found {
      let fits = each.unit.fits.prefix(1).map { "\($0.profile) \(Shown.percent($0.confidence))" }
      table.rows.append([
        Cell(each.unit.addressText), Cell(each.unit.format.text), Cell(each.name ?? "-"),
        Cell(ScanCommand.identity(each.unit)), Cell(fits.first ?? "-"),
      ])
    }
    show(table.lines())
  }

  // MARK: Platforms

  private mutating func platforms() throws {
    Dialogue.heading(Phrase("3  Platforms", "3  平台")())
    let ways = [
      Phrase("platforms pull over the network, with TLS", "平台经网络拉取（TLS）")(),
      Phrase("only programs on this box pull", "仅本机程序拉取")(),
    ]
    let hasTLS = table.table("pull")["certificate"] != nil
    let way = try Dialogue.choice(
      Phrase("How is data handed over", "数据交付方式")(), ways, usual: hasTLS || table["pull"] == nil ? 0 : 1)
    guard way == 0 else { return table.remove("pull") }
    if hasTLS, try Dialogue.yes(Phrase("Keep the certificate?", "保留现有证书？")(), usual: true) { return }
    table.remove("pull")
    let kinds = [
      Phrase("one that the box signs itself; platforms know it by its fingerprint", "自签名证书，平台按指纹识别")(),
      Phrase("files that I name", "使用已有文件")(),
    ]
    if try Dialogue.choice(Phrase("Which certificate", "使用哪种证书")(), kinds, usual: 0) == 0 {
      do throws(CommandFailure) { try commissioning.certificate(&table, name: gatewayID) } catch {
        show(error.text)
        show(Phrase("Only programs on this box can pull for now.", "目前仅本机程序可拉取。")())
      }
    } else {
      try certificateFiles()
    }
  }

  private var gatewayID: String {
    if case .string(let id)? = table.table("gateway")["id"]?.item.value { return id }
    return "kerb"
  }

  private mutating func certificateFiles() throws {
    while true {
      var pull = table.table("pull")
      for (key, question) in [
        ("certificate", Phrase("Path of the certificate (PEM)", "证书路径（PEM）")()),
        ("key", Phrase("Path of its key", "密钥路径")()),
      ] {
        pull.set(
          key,
          try Dialogue.line(question) { $0.hasPrefix("/") ? nil : Phrase("a path begins with /", "路径以 / 开头")() })
      }
      pull.set("listen", texts: ["0.0.0.0:\(Limits.tlsPortUsual)", "127.0.0.1:\(Limits.pullPortDefault)"])
      table.set("pull", .table(pull))
      do throws(CommandFailure) {
        _ = try commissioning.configuration(table)
        return
      } catch {
        show(error.text)
        table.remove("pull")
        guard try Dialogue.yes(Phrase("Try other files?", "换其他文件？")(), usual: true) else { return }
      }
    }
  }

  /// Names of platforms that are to have a token.
  private func consumers() throws -> [String] {
    var names: [String] = []
    let known = Set(try commissioning.configuration(table).consumers.map(\.name))
    while true {
      let question = Phrase(
        "Name of a platform that may pull (Enter for no more)", "可拉取数据的平台名称（回车结束）")()
      let name = try Dialogue.line(question) { text in
        if text.isEmpty { return nil }
        if known.contains(text) || names.contains(text) { return Phrase("it is there already", "已存在")() }
        return nameProblem(text)
      }
      if name.isEmpty { return names }
      names.append(name)
    }
  }

  // MARK: The end

  private mutating func write(_ configuration: Configuration) throws {
    Dialogue.heading(Phrase("4  Write", "4  写入")())
    let output = CommissionFiles(configuration: files.path)
    let counts = ["\(configuration.buses.count)", "\(configuration.devices.count)"]
    show(
      Phrase(
        "{0}: {1} lines, {2} devices, to {3}.", "{0}：{1} 条线路，{2} 台设备，写入 {3}。")(
          configuration.gatewayID, counts[0],
          counts[1], output.path))
    guard try Dialogue.yes(Phrase("Write it?", "写入？")(), usual: true) else {
      throw CommandFailure(Phrase("nothing was written", "未写入")(), exitCode: CommandFailure.usage)
    }
    _ = try commissioning.write(table)
    isWritten = true
    commissioning.key(statePath: configuration.statePath)
    commissioning.record([], gateway: configuration.gatewayID, digest: "", statePath: configuration.statePath)
  }

  private func finish(_ names: [String]) throws {
    for name in names {
      // As `kerb consumer add` does it: the token on the console, its hash in a file of its own.
      let add = try ConsumerAdd.parse(["-c", files.path, name] + files.profiles.flatMap { ["--profiles", $0] })
      do { try add.run() } catch let failure as CommandFailure { complain(failure.text) }
    }
    if !names.isEmpty {
      _ = try Dialogue.line(Phrase("Write the tokens down, then Enter", "请抄下令牌，然后回车")())
    }
    let configuration = try commissioning.configuration(table)
    show(CommissionScreen(configuration, notes: commissioning.notes).lines)
    try start()
  }

  /// Where systemd runs the agent.
  private func start() throws {
    guard geteuid() == 0, access("/run/systemd/system", F_OK) == 0 else { return }
    guard try Dialogue.yes(Phrase("Start the agent with this now?", "现在启动代理？")(), usual: true) else { return }
    for arguments in [["enable", "kerb"], ["restart", "kerb"]] {
      let tool = Tool.run("systemctl", arguments)
      if tool.status != 0 { complain(tool.said) }
    }
  }
}
