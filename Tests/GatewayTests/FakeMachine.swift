// A machine below a folder: device tree, DMI, sysfs with devices and their links, /dev/kerb.

import Gateway
import Glibc
import TestSupport

final class FakeMachine {
  let folder: TemporaryFolder
  private var made: Set<String> = []

  init() throws {
    folder = try TemporaryFolder()
    try folder.write("sys/devices/kept", "")
  }

  func machine(_ architecture: String = "aarch64") -> Machine {
    Machine(root: folder.path, architecture: architecture)
  }

  func tree(_ compatible: [String], hardware: String? = nil, serial: String? = nil) throws {
    let base = "sys/firmware/devicetree/base"
    if !compatible.isEmpty {
      try folder.write("\(base)/compatible", compatible.map { $0 + "\0" }.joined())
      try folder.write("\(base)/model", "A machine\0")
    }
    if let hardware { try folder.write("\(base)/hardware", hardware + "\0") }
    if let serial { try folder.write("\(base)/serial-number", serial + "\0") }
  }

  func dmi(vendor: String, product: String) throws {
    try folder.write("sys/class/dmi/id/sys_vendor", vendor + "\n")
    try folder.write("sys/class/dmi/id/product_name", product + "  \n")
  }

  func chips(_ names: [String]) throws {
    for (index, name) in names.enumerated() {
      try folder.write("sys/bus/spi/devices/spi1.\(index)/of_node/compatible", name + "\0")
    }
  }

  /// `chain`: from the outermost device inwards, each with its subsystem and its driver.
  func port(
    _ kernel: String, _ chain: [(name: String, subsystem: String?, driver: String?)], io: String? = nil
  ) throws {
    var path = "sys/devices"
    for (name, subsystem, driver) in chain {
      path += "/\(name)"
      if !made.insert(path).inserted { continue }
      try folder.write("\(path)/uevent", "")
      let up = String(repeating: "../", count: path.split(separator: "/").count - 1)
      if let subsystem {
        try keep("sys/bus/\(subsystem)")
        folder.link("\(path)/subsystem", to: "\(up)bus/\(subsystem)")
      }
      if let driver {
        try keep("sys/bus/drivers/\(driver)")
        folder.link("\(path)/driver", to: "\(up)bus/drivers/\(driver)")
      }
    }
    try keep("sys/class/tty/\(kernel)")
    let inner = path.split(separator: "/").dropFirst().joined(separator: "/")
    folder.link("sys/class/tty/\(kernel)/device", to: "../../../\(inner)")
    if let io { try folder.write("sys/class/tty/\(kernel)/port", io + "\n") }
    try folder.write("dev/\(kernel)", "")
  }

  /// An adapter in a socket of a controller on PCI.
  func adapter(_ kernel: String, socket: String, driver: String = "ftdi_sio", number: Int? = nil) throws {
    let device = "1-\(socket)"
    try port(
      kernel,
      [
        ("4010000000.pcie", "platform", "pci-host"), ("pci0000:00", nil, nil), ("0000:00:02.0", "pci", "xhci_hcd"),
        ("usb1", "usb", "usb"), (device, "usb", "usb"), ("\(device):1.0", "usb", driver),
        (kernel, "usb-serial", driver),
      ])
    if let number {
      try folder.write(
        "sys/devices/4010000000.pcie/pci0000:00/0000:00:02.0/usb1/\(device)/\(device):1.0/\(kernel)/port_number",
        "\(number)\n")
    }
  }

  func named(_ name: String, _ kernel: String) throws {
    try keep("dev/kerb")
    folder.link("dev/kerb/\(name)", to: "../\(kernel)")
  }

  func rules(_ text: String, _ name: String, in place: String = "etc/udev/rules.d") throws {
    try folder.write("\(place)/\(name)", text)
  }

  func watchdog(_ driver: String) throws {
    try keep("sys/class/watchdog/watchdog0/device")
    try keep("sys/bus/drivers/\(driver)")
    folder.link("sys/class/watchdog/watchdog0/device/driver", to: "../../../../bus/drivers/\(driver)")
  }

  func clock(_ name: String) throws { try folder.write("sys/class/rtc/rtc0/name", name + "\n") }

  private func keep(_ path: String) throws { if made.insert(path).inserted { try folder.write("\(path)/.kept", "") } }
}
