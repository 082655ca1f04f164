// Where a device hangs in the machine: the path that udev's builtin path_id composes (systemd 252 and 257, of what
// serial ports can hang on), from sysfs alone: it is known before a rule has run, and on a box without udev.

import FieldBus

struct DevicePath {
  /// "platform-fe215080.spi-cs-0", "pci-0000:00:14.0-usb-0:2:1.0"; nil: nothing on the way has a place.
  private(set) var id: String?
  /// The nearest driver that is not the serial core's own.
  private(set) var driver: String?

  /// `device`: its real folder in sysfs.
  init(_ device: String, root: String) {
    let top = (TextFile.resolved("\(root)/sys") ?? "\(root)/sys") + "/devices"
    var folder = device
    var parts: [String] = []
    var skipped: String?
    var hasPlace = false
    while folder.hasPrefix(top + "/"), let slash = folder.lastIndex(of: "/") {
      let name = String(folder[folder.index(after: slash)...])
      let subsystem = Self.link("\(folder)/subsystem")
      if let found = Self.link("\(folder)/driver"), driver == nil || driver == "port" || driver == "ctrl" {
        driver = found
      }
      // Of neighbours in one subsystem the lowest speaks for all.
      if subsystem == nil || subsystem != skipped {
        skipped = nil
        if let subsystem, let part = Self.part(subsystem, name) {
          parts.append(part)
          skipped = subsystem
          hasPlace = hasPlace || ["pci", "platform", "acpi"].contains(subsystem)
        }
      }
      folder = String(folder[..<slash])
    }
    if hasPlace { id = parts.reversed().joined(separator: "-") }
  }

  private static func part(_ subsystem: String, _ name: String) -> String? {
    switch subsystem {
    case "usb": return name.firstIndex(of: "-").map { "usb-0:\(name[name.index(after: $0)...])" }
    case "pci", "platform", "acpi": return "\(subsystem)-\(name)"
    case "spi":
      let digits = name.reversed().prefix { $0.isNumber }.reversed()
      return digits.isEmpty ? nil : "cs-\(String(digits))"
    default: return nil
    }
  }

  private static func link(_ path: String) -> String? {
    TextFile.resolved(path).flatMap { $0.split(separator: "/").last }.map(String.init)
  }
}
