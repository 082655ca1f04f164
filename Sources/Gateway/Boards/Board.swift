// What is known of a kind of box: its serial ports by their place on the case, how its RS-485 transceivers turn round,
// its watchdog, clock, storage and lamps, how it is recognised and flashed. A value, read from boards/NAME/board.toml.

import FieldBus

package struct Board: Sendable {
  /// The name of its folder.
  package var name: String
  package var place: SourcePlace
  package var title: [String: String] = [:]
  package var verified = BoardProof.none
  /// Where the facts were read.
  package var sources: [String] = []
  package var detection = BoardSigns()
  package var ports: [BoardPort] = []
  package var lamps: [BoardLamp] = []
  package var watchdog: BoardWatchdog?
  package var rtc: BoardClock?
  package var storage: BoardStorage?
  /// By language.
  package var flashing: [String: [String]] = [:]

  package init(name: String, place: SourcePlace) {
    self.name = name
    self.place = place
  }
}

/// On what the facts were tried.
package enum BoardProof: String, Sendable, CaseIterable {
  /// Read in documents and device trees only.
  case none
  /// On an emulated box.
  case emulated
  case hardware
}

/// How a box is recognised. Every part that is given must be true; of a list any entry.
package struct BoardSigns: Sendable {
  /// Of the device tree's root.
  package var compatible: [String] = []
  /// A property «hardware» of the device tree's root, which makers' overlays set; with * and ?.
  package var hardware: [String] = []
  /// Of a chip on SPI or I2C.
  package var chip: [String] = []
  /// From DMI, by the names of /sys/class/dmi/id, with * and ?.
  package var dmi: [String: String] = [:]
  /// As `uname -m` says it.
  package var architecture: String?

  package init() {}
}

package enum PortKind: String, Sendable, CaseIterable {
  /// A socket for an adapter.
  case usb
  /// Part of the processor.
  case uart
  /// A chip behind SPI or I2C.
  case spi, i2c
  case pci
  /// At an I/O address of a PC.
  case isa
}

package enum PortLevel: String, Sendable, CaseIterable {
  case rs485, rs232
  /// As its switches, or the adapter in it, have it.
  case any
}

/// Who turns an RS-485 transceiver round.
package enum PortDirection: String, Sendable, CaseIterable {
  /// The transceiver, or the adapter, by itself.
  case automatic
  /// The kernel, with RTS or the pin that the device tree names, high while sending.
  case kernel
  case kernelInverted = "kernel-inverted"

  package var rs485: RS485Mode {
    switch self {
    case .automatic: .off
    case .kernel: .kernel
    case .kernelInverted: .kernelInverted
    }
  }
}

package struct BoardPort: Sendable {
  /// It is /dev/kerb/NAME.
  package var name: String
  package var place: SourcePlace
  /// What stands on the case.
  package var label: [String: String] = [:]
  package var kind = PortKind.usb
  package var level = PortLevel.any
  package var direction = PortDirection.automatic
  /// Extra silence before a request, for a transceiver that is slow to turn round.
  package var turnaroundNs: Int64 = 0
  /// udev's ID_PATH, with * and ?.
  package var path: String?
  /// The kernel's name, with * and ?: tells the ports of one chip apart.
  package var kernel: String?
  /// The I/O address of a PC's port.
  package var io: Int?
  /// The kernel's driver.
  package var driver: String?

  package init(name: String, place: SourcePlace) {
    self.name = name
    self.place = place
  }

  package var device: String { "\(Self.folder)/\(name)" }
  package static let folder = "/dev/kerb"

  /// Where it is in the machine, as udev knows it.
  package var whereabouts: String {
    let address = io.map { "I/O 0x\(String($0, radix: 16, uppercase: true))" }
    return [path, kernel, address].compactMap { $0 }.joined(separator: " ")
  }

  /// Some device could be both.
  package func clashes(with other: BoardPort) -> Bool {
    func overlap(_ one: String?, _ two: String?) -> Bool {
      guard let one, let two else { return true }
      return Glob.overlap(one, two)
    }
    if let io, let otherIO = other.io, io != otherIO { return false }
    return overlap(path, other.path) && overlap(kernel, other.kernel)
  }
}

package struct BoardLamp: Sendable {
  /// Its name in /sys/class/leds.
  package var name: String
  package var colour: String
  package var use: String
}

package struct BoardWatchdog: Sendable {
  /// The kernel's.
  package var driver: String
  package var timeoutMaxNs: Int64
}

package struct BoardClock: Sendable {
  /// The kernel's names, any of which it may be; none: wall time is unknown until a time server was asked.
  package var chips: [String]
  /// It runs on without power.
  package var isBacked = false
}

package enum StorageKind: String, Sendable, CaseIterable {
  case sd, emmc, ssd
  case emulated = "virtual"
}

/// What the buffer's wear is reckoned with. Nil: depends on the card or disk that is put in.
package struct BoardStorage: Sendable {
  package var kind: StorageKind
  package var capacityBytes: Int?
  /// Terabytes that can be written over its life.
  package var enduranceTBW: Double?
}
