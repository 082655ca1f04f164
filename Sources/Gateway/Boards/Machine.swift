// The machine that this is, as its firmware and kernel describe it: device tree, DMI, serial ports in sysfs. Opens no
// device. `root` is where /sys and /dev are looked for, so that tests have machines of their own.

import FieldBus
import Glibc
import StreamCore

package struct Machine: Sendable {
  /// What DMI tells everybody; the serial numbers only root.
  package static let dmiKeys = [
    "sys_vendor", "product_name", "product_version", "product_family", "board_vendor", "board_name",
  ]

  /// "" is the machine itself.
  package let root: String
  package let architecture: String
  /// Of the device tree; empty: there is none.
  package let compatible: [String]
  package let model: String?
  package let hardware: String?
  package let dmi: [String: String]

  package init(root: String = "", architecture: String? = nil) {
    self.root = root == "/" ? "" : root
    self.architecture = architecture ?? Self.running
    let tree = "\(self.root)/sys/firmware/devicetree/base"
    compatible = Self.strings("\(tree)/compatible")
    model = Self.strings("\(tree)/model").first
    hardware = Self.strings("\(tree)/hardware").first
    var dmi: [String: String] = [:]
    for key in Self.dmiKeys { dmi[key] = Self.line("\(self.root)/sys/class/dmi/id/\(key)") }
    self.dmi = dmi
  }

  /// As a person would call it.
  package var title: String {
    if let model { return model }
    let words = [dmi["sys_vendor"], dmi["product_name"]].compactMap { $0 }
    return words.isEmpty ? architecture : words.joined(separator: " ")
  }

  /// What its maker gave it: of the device tree, else of DMI (which shows it to root).
  package var serialNumber: String? {
    let given =
      Self.strings("\(root)/sys/firmware/devicetree/base/serial-number").first
      ?? Self.line("\(root)/sys/class/dmi/id/product_serial")
    guard let given, given.contains(where: { $0 != "0" && $0 != " " }) else { return nil }
    return given
  }

  /// Of network cards that are hardware, in the order of their names: "52:54:00:12:34:56".
  package var macAddresses: [String] {
    let folder = "\(root)/sys/class/net"
    return ((try? TextFile.names(in: folder)) ?? []).compactMap { name in
      guard TextFile.resolved("\(folder)/\(name)/device") != nil, let text = Self.line("\(folder)/\(name)/address"),
        text.utf8.count == 17, text != "00:00:00:00:00:00"
      else { return nil }
      return text.lowercased()
    }
  }

  /// Of chips on SPI and I2C.
  package var chips: Set<String> {
    var chips: Set<String> = []
    for bus in ["spi", "i2c"] {
      let folder = "\(root)/sys/bus/\(bus)/devices"
      for name in (try? TextFile.names(in: folder)) ?? [] {
        chips.formUnion(Self.strings("\(folder)/\(name)/of_node/compatible"))
      }
    }
    return chips
  }

  private static let running: String = {
    var facts = utsname()
    guard uname(&facts) == 0 else { return "" }
    return withUnsafeBytes(of: &facts.machine) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }()

  /// A property of the device tree: strings, each with a zero behind it.
  private static func strings(_ path: String) -> [String] {
    guard let text = try? TextFile.read(path, bytesMax: Limits.sysfsBytesMax) else { return [] }
    return text.split(separator: "\0").map(String.init)
  }

  /// The first line of a file of sysfs; nil if there is none, or it is blank.
  static func line(_ path: String) -> String? {
    guard let text = try? TextFile.read(path, bytesMax: Limits.sysfsBytesMax) else { return nil }
    var line = String(text.prefix { $0 != "\n" && $0 != "\0" })
    while line.last == " " { line.removeLast() }
    return line.isEmpty ? nil : line
  }
}

/// A serial port of a machine, with what tells its place.
package struct MachinePort: Sendable {
  /// "ttyUSB0"
  package var kernel: String
  /// As udev's path_id composes it.
  package var path: String?
  package var io: Int?
  /// Of several ports behind one interface of an adapter, counted from 0.
  package var number = 0
  package var driver: String?

  package func isA(_ port: BoardPort) -> Bool {
    if let io = port.io, io != self.io { return false }
    if let pattern = port.path {
      guard let path, Glob.matches(pattern, path) else { return false }
    }
    if let pattern = port.kernel, !Glob.matches(pattern, kernel) { return false }
    return number == 0
  }
}

extension Machine {
  /// Those with a device behind them, in the order of their names.
  package var ports: [MachinePort] {
    let folder = "\(root)/sys/class/tty"
    return ((try? TextFile.names(in: folder)) ?? []).compactMap(port)
  }

  /// By its name, "ttyUSB0"; nil: there is no such port, or no device behind it.
  package func port(_ name: String) -> MachinePort? {
    let folder = "\(root)/sys/class/tty"
    guard let device = TextFile.resolved("\(folder)/\(name)/device"), Self.line("\(folder)/\(name)/type") != "0"
    else { return nil }
    var port = MachinePort(kernel: name)
    let ancestry = DevicePath(device, root: root)
    port.path = ancestry.id
    port.driver = ancestry.driver
    port.io = Self.line("\(folder)/\(name)/port").flatMap { text in
      text.hasPrefix("0x") ? Int(text.dropFirst(2), radix: 16).flatMap { $0 == 0 ? nil : $0 } : nil
    }
    port.number = Self.line("\(device)/port_number").flatMap { Int($0) } ?? 0
    return port
  }

  /// False: what is at this path is surely no tty. Opens nothing.
  package func isSerial(_ path: String) -> Bool {
    var facts = stat()
    guard stat(root + path, &facts) == 0 else { return true }
    guard facts.st_mode & S_IFMT == S_IFCHR else { return false }
    let number = facts.st_rdev
    let major = number >> 8 & 0xFFF
    let minor = number & 0xFF | number >> 12 & 0xFFF00
    // Ptys have no place in sysfs (devices.txt of the kernel).
    if (136...143).contains(major) { return true }
    let subsystem = TextFile.resolved("\(root)/sys/dev/char/\(major):\(minor)/subsystem")
    return subsystem.map { $0.hasSuffix("/tty") } ?? true
  }

  package func ports(_ port: BoardPort) -> [MachinePort] { ports.filter { $0.isA(port) } }
}
