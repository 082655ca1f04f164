// `kerb boards`, `kerb board detect`, `kerb board check`: which boards Kerb knows, which one this is, and whether the
// box is as its board says. What makes rules of them stands in BoardRules.swift.

import ArgumentParser
import CLinux
import FieldBus
import Gateway
import Glibc
import StreamCore

struct Boards: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "boards",
    abstract: "The boards that Kerb knows, or everything about one.",
    discussion: """
      Example:
        kerb boards
        kerb boards raspberry-pi-4-rs485-hat
      """)

  @Argument(help: ArgumentHelp("Only this board, with its ports and how it is flashed.", valueName: "NAME"))
  var name: String?
  @Flag(help: "A JSON array, or one object; docs/cli.md lists the keys.") var json = false

  func run() throws {
    guard let name else { return try list() }
    let board = try BoardFinder.named(name)
    if json {
      var writer = JSONWriter()
      writer.board(board)
      return show(String(decoding: writer.bytes, as: UTF8.self))
    }
    show(BoardScreen(board).lines)
  }

  private func list() throws {
    let diagnostics = Diagnostics()
    let boards = BoardFolders.library.all(into: diagnostics)
    if json {
      var writer = JSONWriter()
      writer.array { list in for board in boards { list.board(board) } }
      show(String(decoding: writer.bytes, as: UTF8.self))
    } else {
      var table = Table(Messages.heads("BOARD|PORTS|TRIED ON|WHAT", "主板|端口|验证|说明"), rightAligned: [1])
      for board in boards {
        table.rows.append([
          Cell(board.name), Cell("\(board.ports.count)"), Cell(board.verified.rawValue), Cell(board.title.inLanguage),
        ])
      }
      show(table.lines())
    }
    try BoardFinder.refuse(diagnostics)
  }
}

struct BoardCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "board",
    abstract: "This box and its board: which one it is, whether it is as it should be, the names of its ports.",
    discussion: """
      Example:
        kerb board detect
        kerb board check
        kerb board udev --install
      """,
    subcommands: [BoardDetect.self, BoardCheckCommand.self, BoardRules.self])
}

struct BoardDetect: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "detect",
    abstract: "Which board this is, from the device tree or DMI.",
    discussion: """
      Opens nothing. Exit status 69 if it is no known one, or more than one.

      Example:
        kerb board detect
        kerb board detect --json | jq -r .board
      """)

  @Option(help: ArgumentHelp("Look at the machine below this folder.", valueName: "DIR")) var root = "/"
  @Flag(help: "One JSON object: board, title, model, compatible[], serial_number, candidates[].") var json = false

  func run() throws {
    let machine = Machine(root: root)
    let found = BoardDetection(BoardFinder.all, on: machine)
    if json {
      document(machine, found)
      if found.board == nil { throw ExitCode(CommandFailure.unavailable) }
      return
    }
    guard let board = found.board else { throw BoardFinder.undecided(machine, found) }
    show("\(board.name)  \(board.title.inLanguage)  (\(machine.title))")
  }

  private func document(_ machine: Machine, _ found: BoardDetection) {
    var writer = JSONWriter()
    writer.object { root in
      root.optional("board", found.board?.name)
      root.optional("title", found.board?.title["en"])
      root.optional("model", machine.title)
      root.key("compatible")
      root.array { for name in machine.compatible { $0.string(name) } }
      root.optional("serial_number", machine.serialNumber)
      root.key("candidates")
      root.array { for match in found.matches { $0.string(match.board.name) } }
    }
    show(String(decoding: writer.bytes, as: UTF8.self))
  }
}

struct BoardCheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Is this box as its board says: ports, names, group, RS-485, watchdog, clock?",
    discussion: """
      The board is the configuration's ([gateway] board), or --board, or the one that is detected. A port is opened only
      where the kernel has to turn its RS-485 transceiver round, and nobody has it. Exit status 69 if anything is wrong.

      Example:
        kerb board check
        kerb board check --json | jq '.findings[] | select(.weight == "wrong")'
      """)

  @OptionGroup var files: ConfigurationOptions
  @Option(help: ArgumentHelp("Of this board.", valueName: "NAME")) var board: String?
  @Option(help: ArgumentHelp("Look at the machine below this folder.", valueName: "DIR")) var root = "/"
  @Flag(help: "One JSON object: board, good, findings[] {subject, name, weight, en, zh}.") var json = false

  func run() throws {
    let machine = Machine(root: root)
    let known = BoardFinder.all
    let detection = BoardDetection(known, on: machine)
    let board = try wanted(machine, detection)
    let check = BoardCheck(board, on: machine, detection: detection) { device in
      root == "/" && PortHolders.names(device).isEmpty ? Self.hasRS485(device) : nil
    }
    if json { document(board, check) } else { report(board, check) }
    if !check.isGood { throw ExitCode(CommandFailure.unavailable) }
  }

  private func wanted(_ machine: Machine, _ detection: BoardDetection) throws -> Board {
    if let board { return try BoardFinder.named(board) }
    if root == "/", let configuration = files.read(into: Diagnostics(), enforcesMemoryLimit: false) {
      for problem in configuration.boardProblems { complain(problem.text) }
      if let configured = configuration.board { return configured }
    }
    guard let found = detection.board else { throw BoardFinder.undecided(machine, detection) }
    return found
  }

  private static func hasRS485(_ device: String) -> Bool? {
    let descriptor = Glibc.open(device, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
    if descriptor < 0 { return nil }
    defer { Glibc.close(descriptor) }
    return kerb_tty_has_rs485(descriptor) == 0
  }

  private func report(_ board: Board, _ check: BoardCheck) {
    show("\(board.name)  \(board.title.inLanguage)")
    for finding in check.findings {
      let colour: Colour = finding.weight == .wrong ? .red : finding.weight == .note ? .yellow : .green
      let mark = colour.apply(finding.weight == .wrong ? "✗" : finding.weight == .note ? "!" : "✓")
      let text = Language.current == .chinese ? finding.chineseText : finding.text
      let name = [Self.subject(finding.subject), finding.name].filter { !$0.isEmpty }.joined(separator: " ")
      show("\(mark) \(name): \(text)")
    }
  }

  private static func subject(_ word: String) -> String {
    guard Language.current == .chinese else { return word }
    return ["port": "端口", "rules": "规则", "watchdog": "看门狗", "clock": "时钟", "board": "主板"][word] ?? word
  }

  private func document(_ board: Board, _ check: BoardCheck) {
    var writer = JSONWriter()
    writer.object { root in
      root.member("board", board.name)
      root.member("good", check.isGood)
      root.key("findings")
      root.array { list in
        for finding in check.findings {
          list.object {
            $0.member("subject", finding.subject)
            $0.member("name", finding.name)
            $0.member("weight", finding.weight.rawValue)
            $0.member("en", finding.text)
            $0.member("zh", finding.chineseText)
          }
        }
      }
    }
    show(String(decoding: writer.bytes, as: UTF8.self))
  }
}

/// Boards by name, and what to say where there is none.
enum BoardFinder {
  /// Those that can be read; of the others it is said why not.
  static var all: [Board] {
    let diagnostics = Diagnostics()
    let boards = BoardFolders.library.all(into: diagnostics)
    for diagnostic in diagnostics.sorted { complain(diagnostic.text) }
    return boards
  }

  static func named(_ name: String) throws(CommandFailure) -> Board {
    let library = BoardFolders.library
    let diagnostics = Diagnostics()
    let board = library.load(name, into: diagnostics)
    try refuse(diagnostics)
    guard let board else { throw CommandFailure(library.unknown(name), exitCode: CommandFailure.usage) }
    return board
  }

  /// A board's file with mistakes: all of them at once.
  static func refuse(_ diagnostics: Diagnostics) throws(CommandFailure) {
    if diagnostics.isEmpty { return }
    throw CommandFailure(
      diagnostics.sorted.map(\.text).joined(separator: "\n"), exitCode: CommandFailure.configuration)
  }

  static func undecided(_ machine: Machine, _ found: BoardDetection) -> CommandFailure {
    let names = found.best.map(\.name).joined(separator: ", ")
    return CommandFailure(
      found.best.isEmpty
        ? Phrase(
          "this machine ({0}) is no board that Kerb knows: `kerb boards` lists them; name one with board = \"…\" "
            + "under [gateway], or write your own: /etc/kerb/boards/NAME/board.toml",
          "本机（{0}）不是已知主板：`kerb boards` 可列出；请在 [gateway] 写 board = \"…\"，或自建 "
            + "/etc/kerb/boards/名称/board.toml")(machine.title)
        : Phrase(
          "this machine ({0}) could be {1}: name one with board = \"…\" under [gateway]",
          "本机（{0}）可能是 {1}：请在 [gateway] 写 board = \"…\" 指定")(machine.title, names),
      exitCode: CommandFailure.unavailable)
  }
}

extension [String: String] {
  /// The terminal's language, else English.
  var inLanguage: String { self[Language.current.code] ?? self["en"] ?? "" }
}

extension JSONWriter {
  mutating func optional(_ key: String, _ value: String?) {
    self.key(key)
    if let value { string(value) } else { null() }
  }
}
