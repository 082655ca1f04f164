// The rules that give ports their names by where they are plugged in: /dev/kerb/NAME for the ports of a board, and for
// any USB adapter /dev/kerb/ and its path. Never by the order in which the kernel found them. Text only; installs
// nothing.
//
// Both files sort behind 60-serial.rules, which asks adapters for their path and their port's number.

package enum UdevRules {
  package static let folder = "/etc/udev/rules.d"
  package static let generalName = "61-kerb.rules"
  /// One a box: two of them would give one name to two ports.
  package static let boardName = "62-kerb-board.rules"
  static let boardMark = "# Board: "

  private static let ours = "GROUP=\"kerb\", MODE=\"0660\", TAG+=\"systemd\", ENV{ID_MM_DEVICE_IGNORE}=\"1\""

  package static let general = """
    # Made by `kerb board udev`. Of every USB serial adapter: the name /dev/kerb/PATH, PATH being where it is plugged
    # in; the group; no modem is looked for behind it; an FTDI adapter hands bytes over after 1 ms instead of 16.

    ACTION=="remove", GOTO="kerb_end"
    SUBSYSTEM=="usb-serial", DRIVER=="ftdi_sio", ATTR{latency_timer}="1"
    SUBSYSTEM!="tty", GOTO="kerb_end"
    KERNEL!="ttyUSB*|ttyACM*", GOTO="kerb_end"
    ENV{ID_PATH}=="", IMPORT{builtin}="path_id"
    \(ours)
    ENV{ID_PATH}=="?*", ENV{.ID_PORT}!="[1-9]*", SYMLINK+="kerb/$env{ID_PATH}"
    ENV{ID_PATH}=="?*", ENV{.ID_PORT}=="[1-9]*", SYMLINK+="kerb/$env{ID_PATH}-port$env{.ID_PORT}"
    LABEL="kerb_end"

    """

  package static func of(_ board: Board) -> String {
    var text = """
      # Made by `kerb board udev \(board.name)`, from boards/\(board.name)/board.toml: /dev/kerb/NAME of its ports.
      \(boardMark)\(board.name)

      ACTION=="remove", GOTO="kerb_board_end"
      SUBSYSTEM!="tty", GOTO="kerb_board_end"
      ENV{ID_PATH}=="", IMPORT{builtin}="path_id"

      """
    for port in board.ports {
      text += "\n# \(port.label["en"] ?? port.name)\n"
      var matches: [String] = []
      switch port.kind {
      case .usb: matches.append("KERNEL==\"\(port.kernel ?? "ttyUSB*|ttyACM*")\"")
      default: if let kernel = port.kernel { matches.append("KERNEL==\"\(kernel)\"") }
      }
      if let path = port.path { matches.append("ENV{ID_PATH}==\"\(path)\"") }
      if let io = port.io { matches.append("ATTR{port}==\"0x\(String(io, radix: 16, uppercase: true))\"") }
      if port.kind == .usb { matches.append("ENV{.ID_PORT}!=\"[1-9]*\"") }
      text += "\(matches.joined(separator: ", ")), \\\n  SYMLINK+=\"kerb/\(port.name)\", \(ours)\n"
    }
    return text + "\nLABEL=\"kerb_board_end\"\n"
  }

  /// Of which board a file of rules is; nil: of none.
  static func board(of text: String) -> String? {
    for line in text.split(separator: "\n") where line.hasPrefix(boardMark) {
      return String(line.dropFirst(boardMark.count))
    }
    return nil
  }
}
