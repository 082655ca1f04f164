// `kerb board udev`: the rules that name a box's ports. Printed, installed on this box, or written for all boards into
// a folder, which is how those of the project are made.

import ArgumentParser
import FieldBus
import Gateway
import Glibc
import StreamCore

struct BoardRules: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "udev",
    abstract: "Rules that give a board's ports their names, /dev/kerb/NAME, by the place they are plugged in.",
    discussion: """
      Without a board: the one that is detected. --install writes them and the general ones for USB adapters to
      /etc/udev/rules.d, in the place of another board's, and has udev use them at once.

      Example:
        kerb board udev raspberry-pi-4
        kerb board udev --install
      """)

  @Argument(help: ArgumentHelp("Of this board.", valueName: "NAME")) var name: String?
  @Flag(help: "Write them to /etc/udev/rules.d.") var install = false
  @Option(help: ArgumentHelp("Install below this folder, as into an image.", valueName: "DIR")) var root = "/"
  @Option(
    help: ArgumentHelp("Write the general rules, and into boards/ those of every board, here.", valueName: "DIR"))
  var write: String?

  func run() throws {
    if let write { return try writeAll(write) }
    let board = try wanted()
    if install { return try BoardInstall.rules(board, root: root) }
    // The text ends its last line itself.
    show(String(UdevRules.of(board).dropLast()))
  }

  private func wanted() throws -> Board {
    if let name { return try BoardFinder.named(name) }
    let machine = Machine(root: root)
    let found = BoardDetection(BoardFinder.all, on: machine)
    guard let board = found.board else { throw BoardFinder.undecided(machine, found) }
    return board
  }

  private func writeAll(_ folder: String) throws {
    let diagnostics = Diagnostics()
    let boards = BoardFolders.library.all(into: diagnostics)
    try BoardFinder.refuse(diagnostics)
    try BoardInstall.file("\(folder)/\(UdevRules.generalName)", UdevRules.general)
    for board in boards { try BoardInstall.file("\(folder)/boards/\(board.name).rules", UdevRules.of(board)) }
  }
}

enum BoardInstall {
  /// The general rules and the board's, and udev told so: on this box only.
  static func rules(_ board: Board, root: String) throws(CommandFailure) {
    let root = root == "/" ? "" : root
    try file("\(root)\(UdevRules.folder)/\(UdevRules.generalName)", UdevRules.general)
    try file("\(root)\(UdevRules.folder)/\(UdevRules.boardName)", UdevRules.of(board))
    guard root.isEmpty else { return }
    let trigger = ["trigger", "--action=add", "--subsystem-match=tty"]
    for arguments in [["control", "--reload"], trigger, ["settle", "-t", "5"]] {
      guard Tool.run("udevadm", arguments).status == 0 else {
        complain(
          Phrase(
            "udev did not take the rules over; they are in force after: udevadm control --reload, or a restart",
            "udev 未重新加载规则；执行 udevadm control --reload 或重启后生效")())
        return
      }
    }
  }

  /// Written beside it, then renamed; nothing is written where it stands already.
  static func file(_ path: String, _ text: String) throws(CommandFailure) {
    if let old = try? TextFile.read(path, bytesMax: Limits.boardBytesMax), old == text { return }
    var folder = ""
    for part in path.split(separator: "/", omittingEmptySubsequences: false).dropLast() {
      folder += folder.isEmpty && part.isEmpty ? "/" : "\(part)/"
      let code = mkdir(folder, 0o755) == 0 ? EEXIST : errno
      if code != EEXIST, access(folder, F_OK) != 0 { throw CommandFailure(cannotWrite: folder, code) }
    }
    do { try TextFile.write(Array(text.utf8), to: path) } catch {
      throw CommandFailure("\(path): \(error.message)", exitCode: CommandFailure.inputOutput)
    }
    complain(Phrase("written: {0}", "已写入：{0}")(path))
  }
}
