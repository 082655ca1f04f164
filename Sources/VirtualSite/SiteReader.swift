// A site file: its lines and devices. Everything wrong is reported, each at its place (docs/simulate.md describes
// the keys).

import FieldBus
import StreamCore

package struct SiteReader {
  let diagnostics: Diagnostics
  private let profiles: ProfileLibrary
  private(set) var spec = SiteSpec()
  /// Lines and devices with something wrong are known by name all the same: what refers to them is not wrong, too.
  private(set) var lineNames: [String] = []
  private(set) var deviceNames: [String] = []
  private var lineIndex: [String: Int] = [:]
  private var deviceIndex: [String: Int] = [:]

  private init(profiles: ProfileLibrary, diagnostics: Diagnostics) {
    self.profiles = profiles
    self.diagnostics = diagnostics
  }

  /// What `text` describes; only to be used if nothing was reported.
  package static func read(
    _ text: String, file: String, profiles: ProfileLibrary, into diagnostics: Diagnostics
  ) -> SiteSpec {
    var reader = SiteReader(profiles: profiles, diagnostics: diagnostics)
    guard let table = TomlFile.parse(text, file: file, into: diagnostics) else { return reader.spec }
    let root = TableReader(table, section: "site", path: "", diagnostics: diagnostics)
    reader.spec.seed = root.integer("seed", in: 0...Int(Int32.max)).map { UInt64($0) } ?? 1
    reader.readLines(root)
    reader.readDevices(root)
    for event in root.tables("event") {
      let made = EventReader(event, site: reader.spec, known: reader.known).event()
      if let made { reader.spec.events.append(made) }
    }
    if !root.has("line"), diagnostics.isEmpty {
      diagnostics.report(table.place, "line", "is missing: a site has at least one [[line]]")
    }
    root.finish()
    return reader.spec
  }

  /// One event given by hand: `device = "manhole-03", point = "tilt", value = 34, for = "5s"`; `at` is from now.
  package static func event(_ line: String, site: SiteSpec, into diagnostics: Diagnostics) -> SiteEvent? {
    guard let table = TomlFile.parse("event = { \(line) }", file: "", into: diagnostics) else { return nil }
    let root = TableReader(table, section: "site", diagnostics: diagnostics)
    guard let reader = root.table("event") else { return nil }
    let known = EventReader.Known(devices: site.devices.map(\.name), lines: site.lines.map(\.name))
    return EventReader(reader, site: site, known: known).event(atIsRequired: false)
  }

  private var known: EventReader.Known { .init(devices: deviceNames, lines: lineNames) }

  // MARK: Lines

  private mutating func readLines(_ root: TableReader) {
    var names = UniqueNames()
    var links = UniqueNames()
    for reader in root.tables("line") {
      let name = reader.name()
      if let name {
        names.claim(name, in: reader)
        lineNames.append(name)
      }
      reader.require("protocol")
      let busProtocol: BusProtocol? = reader.choice("protocol")
      let end = end(reader, busProtocol)
      if case .link(let path)? = end { links.claim(path, in: reader, key: "link") }
      var line = SiteLine(
        name: name ?? "", place: reader.table.place, busProtocol: busProtocol ?? .modbusRTU,
        end: end ?? .link(path: ""))
      if busProtocol?.isMeter == true { line.format = LineFormat(baud: 2_400, parity: .even) }
      line.format.baud = reader.integer("baud", in: Limits.virtualBauds) ?? line.format.baud
      line.format.parity = reader.choice("parity") ?? line.format.parity
      line.format.stopBits = reader.integer("stop_bits", in: 1...2) ?? 1
      line.paced = reader.bool("paced") ?? (busProtocol != .modbusTCP)
      line.strict = reader.bool("strict") ?? line.paced
      line.turnaroundNs = reader.duration("turnaround", in: 0...Limits.turnaroundNsMax) ?? 0
      reader.finish()
      if let name { lineIndex[name] = spec.lines.count }
      spec.lines.append(line)
    }
  }

  private func end(_ reader: TableReader, _ busProtocol: BusProtocol?) -> LineEnd? {
    switch busProtocol {
    case .modbusTCP:
      reader.reject(
        ["link", "baud", "parity", "stop_bits", "paced", "strict"],
        because: "has no meaning for modbus-tcp: write listen = \"127.0.0.1:1502\"")
      reader.require("listen")
    case .modbusRTU, .serial, .dlt645, .cjt188:
      reader.reject(["listen"], because: "has no meaning for a serial line: write link = \"/tmp/rs485-1\"")
      reader.require("link")
    case .modbusRTUTCP:
      reader.report(
        "protocol", "virtual lines speak modbus-rtu, modbus-tcp and serial; relay a link to TCP for this one")
    case nil: break
    }
    if let path = reader.string("link") {
      if path.isEmpty { reader.report("link", "is empty: write the path that the agent's configuration names as port") }
      return .link(path: path)
    }
    guard let text = reader.string("listen") else { return nil }
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2, isIPv4(parts[0]), let port = Int(parts[1]), (0...65_535).contains(port) else {
      reader.report("listen", "\"\(text)\" is not an IPv4 address and port: write for example \"127.0.0.1:1502\"")
      return nil
    }
    return .listen(host: String(parts[0]), port: port)
  }

  private func isIPv4(_ text: Substring) -> Bool {
    let bytes = text.split(separator: ".", omittingEmptySubsequences: false)
    return bytes.count == 4 && bytes.allSatisfy { UInt8($0) != nil }
  }

  // MARK: Devices

  private mutating func readDevices(_ root: TableReader) {
    var names = UniqueNames()
    var units: [String: SourcePlace] = [:]
    for reader in root.tables("device") {
      let name = reader.name()
      if let name {
        names.claim(name, in: reader)
        deviceNames.append(name)
      }
      let line = line(of: reader)
      let profile = profile(reader, line)
      let meterAddress = meterAddress(reader, line)
      let number = meterAddress == nil ? address(reader, line, profile) : nil
      if let address = meterAddress?.text ?? number.map({ "\($0)" }), let line,
        spec.lines[line].busProtocol != .serial || reader.has("address")
      {
        let unit = "\(line)/\(address)"
        if let first = units[unit] {
          reader.report("address", "\(address) is already the address of a device on this line, at \(first.text)")
        }
        units[unit] = units[unit] ?? reader.valuePlace("address")
      }
      if let profile {
        var device = SiteDevice(
          name: name ?? "", place: reader.table.place, line: line ?? 0, address: number ?? 0, profile: profile)
        device.meterAddress = meterAddress
        details(&device, reader)
        spec.devices.append(device)
      } else {
        reader.ignore("signal", "registers", "holes", "speaks_every", "silence")
      }
      reader.finish()
    }
  }

  private func line(of reader: TableReader) -> Int? {
    guard let text = reader.requiredString("line") else { return nil }
    if let index = lineIndex[text] { return index }
    reader.report("line", TableReader.unknownWord(text, among: lineNames))
    return nil
  }

  private func address(_ reader: TableReader, _ line: Int?, _ profile: Profile?) -> Int? {
    switch line.map({ spec.lines[$0].busProtocol }) {
    case .serial:
      let asks = profile?.points.compactMap(\.ask) ?? []
      if asks.contains(where: \.hasAddress) {
        reader.require("address")
        return reader.integer("address", in: Limits.tcpUnits)
      }
      reader.reject(["address"], because: "has no meaning on a serial line")
      return 0
    case .modbusTCP:
      reader.require("address")
      return reader.integer("address", in: Limits.tcpUnits)
    case .modbusRTU, .modbusRTUTCP, nil:
      reader.require("address")
      return reader.integer("address", in: Limits.rtuUnits)
    case .dlt645, .cjt188:
      _ = reader.item("address")
      return nil
    }
  }

  private func meterAddress(_ reader: TableReader, _ line: Int?) -> MeterAddress? {
    guard let line, spec.lines[line].busProtocol.isMeter else { return nil }
    let bytes = spec.lines[line].busProtocol == .dlt645 ? MeterAddress.dlt645Bytes : MeterAddress.cjt188Bytes
    reader.require("address")
    guard let text = reader.string("address") else { return nil }
    guard let address = MeterAddress(text, bytes: bytes), !address.hasWildcard else {
      reader.report("address", "\"\(text)\" is not a meter's address: write its \(2 * bytes) digits")
      return nil
    }
    return address
  }

  private func profile(_ reader: TableReader, _ line: Int?) -> Profile? {
    guard let id = reader.requiredString("profile") else { return nil }
    guard
      var profile = profiles.load(
        id, place: reader.valuePlace("profile"), key: reader.keyPath("profile"), into: diagnostics)
    else { return nil }
    // A device tells what is read from it; the agent computes the rest.
    profile.points.removeAll(where: \.isComputed)
    guard let line else { return profile }
    let busProtocol = spec.lines[line].busProtocol
    if let frame = profile.frame {
      if frame.busProtocol != busProtocol {
        let right = frame.busProtocol.rawValue
        let what = frame.isMeter ? "speaks \(right)" : profile.isAsked ? "has a [frame]" : "sends lines of text"
        reader.report("profile", "\"\(id)\" \(what): put the device on a line with protocol = \"\(right)\"")
      }
    } else if !busProtocol.isModbus {
      let name = busProtocol == .serial ? "serial" : busProtocol.rawValue
      reader.report("profile", "\"\(id)\" has registers: a device on a \(name) line needs a profile with a [frame]")
    }
    return profile
  }

  private func details(_ device: inout SiteDevice, _ reader: TableReader) {
    if device.profile.frame != nil {
      reader.reject(["registers", "holes", "silence"], because: "has no meaning for a device without registers")
    }
    if device.profile.isAsked {
      let what = device.profile.frame == nil ? "a Modbus device" : "this device"
      reader.reject(["speaks_every"], because: "has no meaning for \(what): it speaks when it is asked")
    } else {
      device.speaksEveryNs = reader.duration("speaks_every", in: Limits.speaksEveryNsMin...Limits.intervalNsMax) ?? 0
    }
    device.silenceNs = reader.duration("silence", in: 0...Limits.turnaroundNsMax) ?? 0
    device.holes = reader.choice("holes") ?? .zero
    for member in reader.members("registers", of: "a table such as { \"holding 5\" = 42, \"coil 3\" = true }") ?? [] {
      if let register = fixed(member, reader) { device.registers.append(register) }
    }
    for signal in reader.tables("signal") {
      let points = device.profile.points
      guard let name = signal.requiredString("point") else { continue }
      guard let point = points.first(where: { $0.name == name }) else {
        signal.report("point", TableReader.unknownWord(name, among: points.map(\.name)))
        continue
      }
      if device.signals[name] != nil { signal.report("point", "\"\(name)\" has a signal already") }
      device.signals[name] = SignalReader(signal, point: point).signal()
      signal.finish()
    }
  }

  private func fixed(_ member: TomlMember, _ reader: TableReader) -> FixedRegister? {
    let path = "\(reader.keyPath("registers")).\(member.key)"
    let words = member.key.split(separator: " ")
    guard words.count == 2, let table = RegisterTable.words.first(where: { $0.word == words[0] })?.value,
      let address = PointParser.address(words[1]), address < Limits.registersPerTable
    else {
      diagnostics.report(member.keyPlace, path, "is not a register: write for example \"holding 5\" or \"coil 0x10\"")
      return nil
    }
    switch member.item.value {
    case .bool(let on) where table.isBits: return FixedRegister(table, address, on ? 1 : 0)
    case .integer(let value) where !table.isBits && (-32_768...65_535).contains(value):
      return FixedRegister(table, address, UInt16(truncatingIfNeeded: value))
    default:
      let expected = table.isBits ? "true or false" : "an integer from -32768 to 65535"
      diagnostics.report(member.item.place, path, "expected \(expected), got \(member.item.value.typeName)")
      return nil
    }
  }
}

extension TableReader {
  /// Keys that can't be looked at because something before was wrong.
  func ignore(_ keys: String...) {
    for key in keys { _ = item(key) }
  }
}
