// The box held against its configuration: the board that it names, the rules that name its ports, the ports themselves.
// What is wrong keeps only its own part from work. Reads files of the system, opens no port; takes some milliseconds.

import FieldBus
import Glibc
import StreamCore

package struct BoxLook: Sendable {
  private let configuration: Configuration
  private let machine: Machine
  package private(set) var troubles: [Trouble] = []

  package init(_ configuration: Configuration, on machine: Machine = Machine()) {
    self.configuration = configuration
    self.machine = machine
    board()
    rules()
    ports()
    missing()
    commission()
    notice()
  }

  private mutating func board() {
    for problem in configuration.boardProblems {
      troubles.append(
        Trouble(
          "board-unknown", problem.place.file,
          "\(problem.text); the agent runs without it: ports have no names of the case, nothing else is missing",
          "\(problem.text)；代理照常运行，仅缺少端口的外壳标识"))
    }
  }

  private mutating func rules() {
    let installed = InstalledRules(root: machine.root)
    guard let first = installed.files.first else { return }
    if let rival = installed.rival {
      let names = "\(first.path) (\(first.board)), \(rival.path) (\(rival.board))"
      troubles.append(
        Trouble(
          "rules-rival", rival.path,
          "rules of two boards are installed and claim each other's ports: \(names); remove the wrong file, then: "
            + "udevadm control --reload; udevadm trigger -s tty",
          "安装了两块主板的规则，会争用端口：\(names)；请删除错误的文件，再执行 udevadm control --reload; udevadm trigger -s tty"))
    } else if let board = configuration.board, first.board != board.name {
      troubles.append(
        Trouble(
          "rules-other", first.path,
          "\(first.path) names the ports of board \(first.board), and the configuration says \(board.name): kerb board "
            + "udev \(board.name) --install, or correct board under [gateway]",
          "\(first.path) 是主板 \(first.board) 的规则，而配置为 \(board.name)：请执行 kerb board udev \(board.name) "
            + "--install，或修改 [gateway] 的 board"))
    }
  }

  // MARK: Ports

  /// Two names that lead to one device: only one of the buses can have it.
  private mutating func ports() {
    var owners: [String: BusSpec] = [:]
    for bus in configuration.buses {
      guard let path = bus.serialPath, let real = TextFile.resolved(machine.root + path) else { continue }
      if let owner = owners[real] {
        troubles.append(
          Trouble(
            "port-shared", bus.name,
            "bus \(bus.name): \(path) leads to \(real), and so does the port of bus \(owner.name) "
              + "(\(owner.serialPath ?? "")): only one of them gets it, the other waits; are the rules of another "
              + "board installed? `kerb board check` and `kerb ports` say which is which",
            "总线 \(bus.name)：\(path) 指向 \(real)，总线 \(owner.name) 的端口（\(owner.serialPath ?? "")）也指向它："
              + "只有一条总线能使用；是否装了其他主板的规则？请用 `kerb board check` 和 `kerb ports` 核对"))
      } else {
        owners[real] = bus
        kind(of: bus, path, real)
      }
    }
  }

  /// What is there is not what the board has there.
  private mutating func kind(of bus: BusSpec, _ path: String, _ real: String) {
    guard let port = configuration.board?.ports.first(where: { $0.device == path }), let driver = port.driver,
      let name = real.split(separator: "/").last.map(String.init),
      let found = machine.port(name), let other = found.driver, other != driver
    else { return }
    troubles.append(
      Trouble(
        "port-other-kind", bus.name,
        "bus \(bus.name): \(path) is a port of driver \(other), and this board has one of \(driver) there: is it the "
          + "right board, the right adapter? `kerb ports` shows what it is; it is used as it is",
        "总线 \(bus.name)：\(path) 的驱动是 \(other)，该主板此处应为 \(driver)：主板或转换器是否正确？`kerb ports` 可查看；仍按现状使用"))
  }

  private mutating func missing() {
    for port in PortPresence(configuration, on: machine).missing {
      let (text, chinese) = port.words
      troubles.append(Trouble(Trouble.portMissing, port.bus, "bus \(port.bus): \(text)", "总线 \(port.bus)：\(chinese)"))
    }
  }

  // MARK: Commissioning

  private mutating func commission() {
    guard let record = CommissionRecord.read(statePath: configuration.statePath), !record.isGood else { return }
    let first = record.problems.first ?? ""
    troubles.append(
      Trouble(
        Trouble.commissionRefused, record.source,
        "commissioning by \(record.source) was refused and changed nothing: \(first); put it right, then: kerb "
          + "commission --from \(record.source)",
        "按 \(record.source) 开通被拒绝，未作更改：\(first)；请改正后执行 kerb commission --from \(record.source)"))
  }

  // MARK: What the system around the agent has to say

  /// A line of English, and one of Chinese, in the state folder: by whoever takes an update back or does without a
  /// partition. A person removes it.
  private mutating func notice() {
    let path = "\(configuration.statePath)/notice"
    guard let text = try? TextFile.read(path, bytesMax: Limits.noticeBytesMax) else { return }
    let lines = text.split(separator: "\n").map(String.init)
    guard let first = lines.first else { return }
    troubles.append(Trouble("notice", path, first, lines.count > 1 ? lines[1] : first))
  }
}
