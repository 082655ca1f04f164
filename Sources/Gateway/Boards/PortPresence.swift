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
  }

  package private(set) var missing: [Missing] = []

  package init(_ configuration: Configuration, root: String = "") {
    for bus in configuration.buses {
      guard case .serialPort(let path) = bus.endpoint, access(root + path, F_OK) != 0 else { continue }
      let port = configuration.board?.ports.first { $0.device == path }
      missing.append(Missing(bus: bus.name, device: path, label: port?.label ?? [:]))
    }
  }
}
