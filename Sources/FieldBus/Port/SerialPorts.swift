// The serial ports of this machine: their names out of sysfs, what they are out of libserialport. Nothing is opened:
// an open would raise DTR on an adapter, and fail on a port that an agent has.
//
// libserialport looks a port up by its name in sysfs, so links are followed first; ptys have no entry there and are
// no ports of this list. It frees what it made here, in the same function.

import CSerialPort
import Glibc
import StreamCore

package struct SerialPortFacts: Sendable, Hashable {
  /// "/dev/ttyUSB0"
  package var path: String
  /// The name that udev gives by the place it is plugged into; nil: none.
  package var stablePath: String?
  package var transport = "native"
  package var description = ""
  package var maker: String?
  package var product: String?
  package var serialNumber: String?
  /// "0403:6001"
  package var usbID: String?
  /// The kernel's: "ftdi_sio".
  package var driver: String?
  /// Where it is in the machine: "usb-1.2:1.0", "serial8250".
  package var place: String?
  /// Of an FTDI adapter, in milliseconds: how long it keeps bytes back.
  package var latencyMs: Int?

  init(path: String) { self.path = path }
}

package enum SerialPorts {
  private static let classes = "/sys/class/tty"

  package static func all() -> [SerialPortFacts] {
    let links = stableLinks()
    var ports: [SerialPortFacts] = []
    for name in (try? TextFile.names(in: classes)) ?? [] {
      let folder = "\(classes)/\(name)"
      // Consoles and the like have no device; a UART of type 0 is a place where none is built in.
      guard access("\(folder)/device", F_OK) == 0, line("\(folder)/type") != "0", access("/dev/\(name)", F_OK) == 0
      else { continue }
      ports.append(facts(name, folder, links))
    }
    return ports.sorted { ($0.path.count, $0.path) < ($1.path.count, $1.path) }
  }

  private static func facts(_ name: String, _ folder: String, _ links: [String: String]) -> SerialPortFacts {
    var facts = SerialPortFacts(path: "/dev/\(name)")
    facts.stablePath = links[facts.path]
    facts.driver = driver(folder)
    facts.place = TextFile.resolved("\(folder)/device").flatMap(place)
    facts.latencyMs = line("\(folder)/device/latency_timer").flatMap { Int($0) }
    describe(&facts)
    return facts
  }

  private static func describe(_ facts: inout SerialPortFacts) {
    var made: OpaquePointer?
    guard sp_get_port_by_name(facts.path, &made) == SP_OK, let port = made else { return }
    defer { sp_free_port(port) }
    func text(_ pointer: UnsafeMutablePointer<CChar>?) -> String? { pointer.map { String(cString: $0) } }
    facts.description = text(sp_get_port_description(port)) ?? ""
    switch sp_get_port_transport(port) {
    case SP_TRANSPORT_USB: facts.transport = "usb"
    case SP_TRANSPORT_BLUETOOTH: facts.transport = "bluetooth"
    default: facts.transport = "native"
    }
    guard facts.transport == "usb" else { return }
    facts.maker = text(sp_get_port_usb_manufacturer(port))
    facts.product = text(sp_get_port_usb_product(port))
    facts.serialNumber = text(sp_get_port_usb_serial(port))
    var (vendor, product): (Int32, Int32) = (0, 0)
    if sp_get_port_usb_vid_pid(port, &vendor, &product) == SP_OK { facts.usbID = "\(hex(vendor)):\(hex(product))" }
  }

  private static func hex(_ value: Int32) -> String {
    let digits = String(value & 0xFFFF, radix: 16)
    return String(repeating: "0", count: 4 - digits.count) + digits
  }

  /// The nearest driver above the port that is not the serial core's own.
  private static func driver(_ folder: String) -> String? {
    guard var device = TextFile.resolved("\(folder)/device") else { return nil }
    var found: String?
    while device.hasPrefix("/sys/devices/") {
      if let driver = TextFile.resolved("\(device)/driver") {
        let name = String(driver.split(separator: "/").last ?? "")
        if !["port", "ctrl"].contains(name) { return name }
        found = found ?? name
      }
      guard let slash = device.lastIndex(of: "/") else { break }
      device = String(device[..<slash])
    }
    return found
  }

  /// "usb-1.2:1.0" of ".../usb1/1-1/1-1.2/1-1.2:1.0/ttyUSB0".
  private static func place(_ device: String) -> String? {
    let parts = device.split(separator: "/")
    if let port = parts.last(where: { $0.contains(":") && $0.first?.isNumber == true && $0.contains("-") }) {
      return "usb-\(port)"
    }
    return parts.last(where: { !$0.hasPrefix("tty") && !$0.contains(":") }).map(String.init)
  }

  /// By real path: a name that survives another order of plugging in.
  private static func stableLinks() -> [String: String] {
    var links: [String: String] = [:]
    for folder in ["/dev/serial/by-id", "/dev/serial/by-path", "/dev/kerb"] {
      for name in (try? TextFile.names(in: folder)) ?? [] {
        if let real = TextFile.resolved("\(folder)/\(name)") { links[real] = "\(folder)/\(name)" }
      }
    }
    return links
  }

  private static func line(_ path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 64)
    let count = Glibc.read(descriptor, &bytes, bytes.count)
    return count <= 0 ? nil : String(decoding: bytes[..<count].prefix { $0 != 0x0A }, as: UTF8.self)
  }
}
