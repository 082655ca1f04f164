// Reads boards/NAME/board.toml. Everything wrong is reported with its place; what is sound comes back.

import FieldBus
import StreamCore

package enum BoardParser {
  /// `name`: of its folder.
  package static func parse(_ root: TomlTable, name: String, diagnostics: Diagnostics) -> Board {
    let reader = TableReader(root, section: "board", diagnostics: diagnostics)
    var board = Board(name: name, place: root.place)
    board.title = languages("title", reader)
    board.verified = reader.choice("verified") ?? .none
    reader.require("sources")
    board.sources = reader.strings("sources") ?? []
    if reader.has("sources"), board.sources.isEmpty {
      reader.report("sources", "is empty: say where these facts were read")
    }
    reader.require("detect")
    if let signs = reader.table("detect") { board.detection = detection(signs) }
    board.ports = ports(reader)
    board.lamps = reader.tables("lamp").compactMap(lamp)
    board.watchdog = reader.table("watchdog").flatMap(watchdog)
    board.rtc = reader.table("rtc").flatMap(clock)
    board.storage = reader.table("storage").flatMap(storage)
    if let flashing = reader.table("flashing") {
      for language in ["en", "zh"] { board.flashing[language] = flashing.strings(language) ?? [] }
      flashing.finish()
    }
    for section in ["watchdog", "rtc", "storage", "flashing"] { reader.require(section) }
    reader.finish()
    return board
  }

  /// English is what everybody can fall back on.
  private static func languages(_ key: String, _ reader: TableReader) -> [String: String] {
    reader.require(key)
    var texts: [String: String] = [:]
    for (language, text, place) in reader.placedTexts(key) ?? [] {
      if ["en", "zh"].contains(language) {
        texts[language] = text
      } else {
        reader.diagnostics.report(
          place, "\(reader.keyPath(key)).\(language)", "is no language of the tools: write en or zh")
      }
    }
    if reader.has(key), texts["en"] == nil { reader.report(key, "has no English text: write { en = \"…\" }") }
    return texts
  }

  private static func detection(_ reader: TableReader) -> BoardSigns {
    var signs = BoardSigns()
    signs.compatible = reader.strings("compatible") ?? []
    signs.hardware = reader.strings("hardware") ?? []
    signs.chip = reader.strings("chip") ?? []
    signs.architecture = reader.string("architecture")
    for (key, text, place) in reader.placedTexts("dmi") ?? [] {
      if Machine.dmiKeys.contains(key) {
        signs.dmi[key] = text
      } else {
        reader.diagnostics.report(
          place, "\(reader.keyPath("dmi")).\(key)", TableReader.unknownWord(key, among: Machine.dmiKeys))
      }
    }
    reader.finish()
    if signs.compatible.isEmpty, signs.dmi.isEmpty, signs.architecture == nil {
      reader.diagnostics.report(
        reader.table.place, reader.path, "says nothing that a box could be recognised by: write compatible or dmi")
    }
    return signs
  }

  // MARK: Ports

  private static func ports(_ root: TableReader) -> [BoardPort] {
    var names = UniqueNames()
    var ports: [BoardPort] = []
    let readers = root.tables("port")
    if readers.isEmpty { root.diagnostics.report(root.table.place, "port", "is missing: a board has a serial port") }
    if readers.count > Limits.boardPortsMax {
      root.diagnostics.report(
        readers[Limits.boardPortsMax].table.place, "port",
        "there are \(readers.count) ports: a board has at most \(Limits.boardPortsMax)")
    }
    for reader in readers {
      guard let name = reader.name() else { continue }
      names.claim(name, in: reader)
      var port = BoardPort(name: name, place: reader.table.place)
      port.label = languages("label", reader)
      reader.require("kind")
      port.kind = reader.choice("kind") ?? .usb
      port.level = reader.choice("level") ?? .any
      port.direction = reader.choice("direction") ?? .automatic
      port.turnaroundNs = reader.duration("turnaround", in: 0...Limits.turnaroundNsMax) ?? 0
      port.driver = reader.string("driver")
      place(&port, reader)
      reader.finish()
      for other in ports where other.clashes(with: port) {
        reader.diagnostics.report(
          port.place, reader.path,
          "claims the same device as \"\(other.name)\" at \(other.place.text): give each a path, kernel or io of its "
            + "own")
      }
      ports.append(port)
    }
    return ports
  }

  /// Where it is in the machine.
  private static func place(_ port: inout BoardPort, _ reader: TableReader) {
    port.path = pattern("path", reader)
    port.kernel = pattern("kernel", reader)
    port.io = reader.integer("io", in: 1...0xFFFF)
    if let kernel = port.kernel, !kernel.hasPrefix("tty") {
      reader.report("kernel", "\"\(kernel)\" is no name of a port: write for example \"ttySC0\"")
    }
    switch port.kind {
    case .isa:
      reader.reject(["path"], because: "has no meaning for a port at an I/O address: write io = 0x3F8")
      reader.require("io")
    case .usb, .uart, .spi, .i2c, .pci:
      reader.reject(["io"], because: "has no meaning for \(port.kind.rawValue): write path")
      reader.require("path")
      if let path = port.path, !isPlausible(path, port.kind) {
        reader.report("path", "\"\(path)\" can't be the path of a port of kind \(port.kind.rawValue)")
      }
      if port.kind != .usb, let path = port.path, path.hasPrefix("*") {
        reader.report("path", "\"\(path)\" begins with *: only a socket's controller may go by another name")
      }
    }
  }

  private static func isPlausible(_ path: String, _ kind: PortKind) -> Bool {
    switch kind {
    case .usb:
      // Behind the controller: the ports on the way, then configuration and interface.
      let parts = path.split(separator: "-", omittingEmptySubsequences: false)
      guard parts.count >= 3, parts[parts.count - 2] == "usb", let place = parts.last, place.hasPrefix("0:") else {
        return false
      }
      let numbers = place.split { $0 == ":" || $0 == "." }
      return numbers.count >= 4 && numbers.allSatisfy { Int($0) != nil }
    case .uart: return path.hasPrefix("platform-")
    case .spi: return path.hasPrefix("platform-") && path.contains(".spi")
    case .i2c: return path.hasPrefix("platform-")
    case .pci: return path.contains("pci-")
    case .isa: return true
    }
  }

  /// Of characters that a rule of udev carries as they are.
  private static func pattern(_ key: String, _ reader: TableReader) -> String? {
    guard let text = reader.string(key) else { return nil }
    let isSound = !text.isEmpty && text.utf8.allSatisfy { byte in
      (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
        || "._:*?-".utf8.contains(byte)
    }
    if isSound { return text }
    reader.report(key, "\"\(text)\" is no pattern: allowed are A-Z a-z 0-9 . _ : - and * ?")
    return nil
  }

  // MARK: The rest

  private static func lamp(_ reader: TableReader) -> BoardLamp? {
    let (name, colour) = (reader.requiredString("name"), reader.requiredString("colour"))
    let use = reader.string("use")
    reader.finish()
    guard let name, let colour else { return nil }
    return BoardLamp(name: name, colour: colour, use: use ?? "")
  }

  private static func watchdog(_ reader: TableReader) -> BoardWatchdog? {
    let driver = reader.requiredString("driver")
    reader.require("timeout_max")
    let most = reader.duration("timeout_max", in: 1_000_000_000...86_400_000_000_000)
    reader.finish()
    guard let driver, let most else { return nil }
    return BoardWatchdog(driver: driver, timeoutMaxNs: most)
  }

  private static func clock(_ reader: TableReader) -> BoardClock? {
    reader.require("chips")
    let chips = reader.strings("chips")
    let isBacked = reader.bool("backed") ?? false
    reader.finish()
    return chips.map { BoardClock(chips: $0, isBacked: isBacked) }
  }

  private static func storage(_ reader: TableReader) -> BoardStorage? {
    reader.require("kind")
    let kind = reader.choice("kind", StorageKind.self)
    let capacity = reader.size("capacity", in: 1 << 20...Int.max)
    let endurance = reader.number("endurance_tbw")
    if let endurance, endurance <= 0 { reader.report("endurance_tbw", "must be more than 0") }
    reader.finish()
    return kind.map { BoardStorage(kind: $0, capacityBytes: capacity, enduranceTBW: endurance) }
  }
}
