// A box held against its board: what is there, what is missing, what is otherwise, and what to do about it. Opens no
// port and no watchdog; whoever can ask a port for RS-485 hands that in.

import FieldBus
import Glibc
import StreamCore

/// One thing that was looked at.
package struct BoardFinding: Sendable {
  package enum Weight: String, Sendable {
    case good, note, wrong
  }

  /// "port", "rules", "watchdog", "clock", "board".
  package var subject: String
  /// The port's, or the device's; empty where there is only one.
  package var name: String
  package var weight: Weight
  package var text: String
  package var chineseText: String
}

package struct BoardCheck: Sendable {
  package private(set) var findings: [BoardFinding] = []
  private let machine: Machine
  private let board: Board

  package var isGood: Bool { findings.allSatisfy { $0.weight != .wrong } }

  /// `detection`: what this machine looks like. `hasRS485`: what a port says to it; nil: it could not be asked.
  package init(
    _ board: Board, on machine: Machine, detection: BoardDetection, hasRS485: (_ device: String) -> Bool? = { _ in nil }
  ) {
    self.board = board
    self.machine = machine
    compare(detection)
    rules()
    let ports = machine.ports
    for port in board.ports { look(port, ports, hasRS485) }
    claims(ports)
    watchdog()
    clock()
  }

  private mutating func add(
    _ subject: String, _ name: String, _ weight: BoardFinding.Weight, _ text: String, _ chineseText: String
  ) {
    findings.append(
      BoardFinding(subject: subject, name: name, weight: weight, text: text, chineseText: chineseText))
  }

  private mutating func compare(_ detection: BoardDetection) {
    let best = detection.best
    let names = best.map(\.name).joined(separator: ", ")
    if best.contains(where: { $0.name == board.name }) {
      add("board", board.name, .good, machine.title, machine.title)
    } else if best.isEmpty {
      add(
        "board", board.name, .note,
        "this machine (\(machine.title)) is none that Kerb knows: compare board.toml with the box by hand",
        "本机（\(machine.title)）不在已知主板中：请人工核对 board.toml")
    } else {
      add(
        "board", board.name, .wrong,
        "this machine (\(machine.title)) looks like \(names): write board = \"\(best[0].name)\" under [gateway]",
        "本机（\(machine.title)）像是 \(names)：请在 [gateway] 写 board = \"\(best[0].name)\"")
    }
  }

  // MARK: Rules

  private mutating func rules() {
    let installed = InstalledRules(root: machine.root)
    let found = installed.files
    for file in found where file.board == board.name && file.text != UdevRules.of(board) {
      add(
        "rules", file.path, .wrong, "are not those of this version: run kerb board udev --install",
        "不是本版本的规则：请执行 kerb board udev --install")
    }
    let others = found.filter { $0.board != board.name }
    for other in others {
      add(
        "rules", other.path, .wrong,
        "are of board \(other.board), and this is \(board.name): two boards would claim one name; remove the file, "
          + "then: udevadm control --reload",
        "属于主板 \(other.board)，而本机是 \(board.name)：两块主板会争用同一名称；请删除该文件，再执行 udevadm control --reload")
    }
    if !found.contains(where: { $0.board == board.name }) {
      add(
        "rules", "", .wrong, "no rules name the ports of this board: run kerb board udev --install",
        "没有为本主板端口命名的规则：请执行 kerb board udev --install")
    } else if others.isEmpty {
      add("rules", "", .good, "name the ports of this board", "已为本主板端口命名")
    }
    if !installed.hasGeneral {
      add(
        "rules", UdevRules.generalName, .note,
        "is not installed: other USB adapters have no /dev/kerb name; run kerb board udev --install",
        "未安装：其他 USB 转换器没有 /dev/kerb 名称；请执行 kerb board udev --install")
    }
  }

  // MARK: Ports

  private mutating func look(_ port: BoardPort, _ ports: [MachinePort], _ hasRS485: (String) -> Bool?) {
    guard let found = ports.first(where: { $0.isA(port) }) else {
      return absent(port)
    }
    let before = findings.count
    if let driver = port.driver, let other = found.driver, driver != other {
      add(
        "port", port.name, .note, "\(found.kernel) is run by \(other), expected \(driver)",
        "\(found.kernel) 的驱动是 \(other)，应为 \(driver)")
    }
    named(port, found)
    group(port, found)
    if port.direction != .automatic, hasRS485("\(machine.root)/dev/\(found.kernel)") == false {
      add(
        "port", port.name, .wrong,
        "\(found.kernel) has no RS-485 mode in the kernel: the device tree names no pin for its direction",
        "\(found.kernel) 在内核中没有 RS-485 模式：设备树未指定方向引脚")
    }
    if findings.count == before { add("port", port.name, .good, found.kernel, found.kernel) }
  }

  /// A socket may be empty, a PC have fewer ports than there are addresses.
  private mutating func absent(_ port: BoardPort) {
    let place = port.whereabouts
    switch port.kind {
    case .usb:
      add("port", port.name, .note, "no adapter is plugged in here (\(place))", "此处未插转换器（\(place)）")
    case .isa:
      add(
        "port", port.name, .note, "is not there (\(place)): if the box has it, switch it on in the BIOS",
        "不存在（\(place)）：若有此端口，请在 BIOS 中启用")
    case .uart, .spi, .i2c, .pci:
      add(
        "port", port.name, .wrong,
        "is not there (\(place)): switch it on in the device tree, as this board's README says",
        "不存在（\(place)）：请按本主板 README 在设备树中启用")
    }
  }

  private mutating func named(_ port: BoardPort, _ found: MachinePort) {
    guard let real = TextFile.resolved(machine.root + port.device) else {
      return add(
        "port", port.name, .wrong,
        "\(found.kernel) is there, but not \(port.device): run kerb board udev --install, or plug it in again",
        "\(found.kernel) 存在，但没有 \(port.device)：请执行 kerb board udev --install，或重新插拔")
    }
    if real.split(separator: "/").last.map(String.init) != found.kernel {
      add(
        "port", port.name, .wrong, "\(port.device) leads to \(real), and \(found.kernel) is in that place",
        "\(port.device) 指向 \(real)，而该位置是 \(found.kernel)")
    }
  }

  /// Only where there is such a group: else everybody here is root.
  private mutating func group(_ port: BoardPort, _ found: MachinePort) {
    var facts = stat()
    guard machine.root.isEmpty, let group = getgrnam("kerb"), stat("/dev/\(found.kernel)", &facts) == 0,
      facts.st_gid != group.pointee.gr_gid
    else { return }
    add(
      "port", port.name, .wrong, "\(found.kernel) does not belong to group kerb: run kerb board udev --install",
      "\(found.kernel) 不属于 kerb 组：请执行 kerb board udev --install")
  }

  /// Two ports of the board that one device is.
  private mutating func claims(_ ports: [MachinePort]) {
    for device in ports {
      let names = board.ports.filter(device.isA).map(\.name)
      if names.count > 1 {
        add(
          "port", device.kernel, .wrong, "is claimed by \(names.joined(separator: " and "))",
          "被 \(names.joined(separator: "、")) 同时占用")
      }
    }
  }

  // MARK: Watchdog and clock

  private mutating func watchdog() {
    guard let wanted = board.watchdog else { return }
    let folder = "\(machine.root)/sys/class/watchdog"
    var drivers: [String] = []
    for name in (try? TextFile.names(in: folder)) ?? [] {
      let link = TextFile.resolved("\(folder)/\(name)/device/driver")?.split(separator: "/").last
      drivers.append(link.map(String.init) ?? Machine.line("\(folder)/\(name)/identity") ?? name)
    }
    if drivers.contains(wanted.driver) {
      add("watchdog", wanted.driver, .good, "is there", "存在")
    } else if drivers.isEmpty {
      add(
        "watchdog", wanted.driver, .wrong,
        "there is no hardware watchdog: load its module, or a box that hangs stays so", "没有硬件看门狗：请加载其模块，否则死机后不会重启")
    } else {
      add(
        "watchdog", wanted.driver, .note, "there is \(drivers.joined(separator: ", ")) instead",
        "实际是 \(drivers.joined(separator: "、"))")
    }
  }

  private mutating func clock() {
    guard let wanted = board.rtc else { return }
    let folder = "\(machine.root)/sys/class/rtc"
    let names = ((try? TextFile.names(in: folder)) ?? []).compactMap { Machine.line("\(folder)/\($0)/name") }
    let chips = wanted.chips.joined(separator: "/")
    if wanted.chips.isEmpty {
      add(
        "clock", "", .good, "no clock that runs without power: wall time comes from a time server", "没有掉电时钟：时间来自时间服务器")
    } else if names.contains(where: { name in wanted.chips.contains { name.contains($0) } }) {
      add("clock", chips, .good, "is there", "存在")
    } else {
      add(
        "clock", chips, .wrong,
        "there is no such clock" + (names.isEmpty ? "" : " but \(names.joined(separator: ", "))")
          + ": after a power cut the time is unknown until a time server answers",
        "没有该时钟" + (names.isEmpty ? "" : "，实际是 \(names.joined(separator: "、"))") + "：断电后须等时间服务器应答")
    }
  }
}
