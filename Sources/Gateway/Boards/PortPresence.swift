// Which adapters are missing: the serial ports of the configuration's buses that are not there, by the name on the
// case. A bus without its port keeps trying to open it; this says what to plug in where. A value; opens nothing.

import FieldBus
import Glibc

package struct PortPresence: Sendable {
  package struct Missing: Sendable, Equatable {
    package var bus: String
    package var device: String
    /// On the case; empty if the board names no such port.
    package var label: [String: String]
    /// What the board has there; nil: it names no such port.
    package var kind: PortKind?
    /// The kernel has found it, and no rule has given it its name.
    package var unnamed: String?

    package func place(_ language: String) -> String {
      (label[language] ?? label["en"]).map { "\($0) (\(device))" } ?? device
    }

    /// What is missing and what to do, in English and Chinese; they follow the bus's name.
    package var words: (text: String, chineseText: String) {
      if let unnamed {
        return (
          "\(unnamed) is at \(place("en")), and has not got that name: run kerb board udev --install, or plug it in "
            + "again; the other buses run",
          "\(place("zh")) 处是 \(unnamed)，但没有该名称：请执行 kerb board udev --install 或重新插拔；其余照常运行"
        )
      }
      switch kind {
      case .uart, .spi, .i2c, .pci:
        return (
          "there is no port at \(place("en")); switch it on in the device tree, as the board's README says, the other "
            + "buses run", "\(place("zh")) 没有端口；请按主板 README 在设备树中启用，其余照常运行"
        )
      case .isa:
        return (
          "there is no port at \(place("en")); switch it on in the BIOS, the other buses run",
          "\(place("zh")) 没有端口；请在 BIOS 中启用，其余照常运行"
        )
      case .usb, nil:
        return (
          "there is no adapter at \(place("en")); plug one in, the other buses run",
          "\(place("zh")) 没有转换器；请插上，其余照常运行"
        )
      }
    }
  }

  package private(set) var missing: [Missing] = []

  /// `machine`: where an adapter without its name is looked for; nil: that is not asked.
  package init(_ configuration: Configuration, on machine: Machine? = nil) {
    let root = machine?.root ?? ""
    for bus in configuration.buses {
      guard case .serialPort(let path) = bus.endpoint, access(root + path, F_OK) != 0 else { continue }
      let port = configuration.board?.ports.first { $0.device == path }
      let found = port.flatMap { machine?.ports($0).first?.kernel }
      missing.append(
        Missing(bus: bus.name, device: path, label: port?.label ?? [:], kind: port?.kind, unnamed: found))
    }
  }
}
