// The `[[bus]]` tables.

import FieldBus
import StreamCore

/// A bus as far as it is known. Every one keeps its place, so that devices can name it.
struct BusEntry {
  var spec: BusSpec
  /// Nil: wrong or missing, and reported.
  var busProtocol: BusProtocol?
  /// Nothing was reported in it.
  var isSound: Bool
  /// Keys of questions and replies that are set, and where: of no effect if its device speaks when it likes.
  var asking: [(key: String, place: SourcePlace)] = []
  /// Alarms that are switched off, by name.
  var alarmsOff: Set<String> = []
}

extension ConfigurationReader {
  package static let bauds = [1_200, 2_400, 4_800, 9_600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 921_600]

  mutating func readBuses(_ root: TableReader) {
    var names = UniqueNames()
    var ports: [BusEndpoint: SourcePlace] = [:]
    for reader in root.tables("bus") {
      let reportsBefore = diagnostics.count
      let name = reader.name()
      if let name { names.claim(name, in: reader) }
      let busProtocol = busProtocol(reader)
      var spec = BusSpec(
        name: name ?? "", place: reader.table.place, busProtocol: busProtocol ?? .modbusRTU,
        endpoint: .serialPort(path: ""))
      if let endpoint = endpoint(reader, busProtocol) {
        spec.endpoint = endpoint
        claim(endpoint, reader, &ports)
      }
      spec.format = lineFormat(reader, busProtocol)
      spec.rs485 = reader.choice("rs485") ?? .off
      spec.silence = reader.choice("silence") ?? .standard
      if busProtocol?.isMeter == true { spec.responseTimeoutNs = Limits.meterResponseNs }
      timing(&spec, reader)
      let alarmsOff = alarmsOff(reader, known: [BuiltInAlarm.busLost.rawValue])
      reader.finish()
      var entry = BusEntry(spec: spec, busProtocol: busProtocol, isSound: diagnostics.count == reportsBefore)
      for key in ["response_timeout", "turnaround", "retries"] where busProtocol == .serial && reader.has(key) {
        entry.asking.append((key, reader.place(key)))
      }
      entry.alarmsOff = alarmsOff
      buses.append(entry)
    }
  }

  /// Also says which keys have no meaning for it.
  private func busProtocol(_ reader: TableReader) -> BusProtocol? {
    let line = ["port", "baud", "parity", "stop_bits", "rs485"]
    reader.require("protocol")
    guard let word = reader.string("protocol") else { return nil }
    guard let found = BusProtocol(rawValue: word) else {
      reader.report(
        "protocol", TableReader.unknownWord(word, among: BusProtocol.allCases.map(\.rawValue)))
      return nil
    }
    switch found {
    case .modbusRTU: reader.reject(["host"], because: "has no meaning for modbus-rtu: name a serial port with port")
    case .modbusRTUTCP:
      reader.reject(["port", "rs485"], because: "has no meaning for modbus-rtu-tcp: write host = \"10.0.0.7:4001\"")
      reader.reject(["silence"], because: "has no meaning for modbus-rtu-tcp: the server keeps the line's silence")
    case .modbusTCP:
      reader.reject(
        line + ["silence"], because: "has no meaning for modbus-tcp: write host = \"10.0.0.7:502\"")
    case .serial, .dlt645, .cjt188:
      reader.reject(["silence"], because: "has no meaning for \(word): its frames are found by their bytes")
      reader.reject(["host"], because: "has no meaning for \(word): name a serial port with port")
    }
    return found
  }

  private func endpoint(_ reader: TableReader, _ busProtocol: BusProtocol?) -> BusEndpoint? {
    if let busProtocol { reader.require(busProtocol == .modbusTCP || busProtocol == .modbusRTUTCP ? "host" : "port") }
    let host = reader.string("host")
    if let path = reader.string("port") {
      if !path.hasPrefix("/") {
        reader.report("port", "\"\(path)\" is not an absolute path: write for example \"/dev/ttyUSB0\"")
        return nil
      }
      return .serialPort(path: path)
    }
    guard let host else { return nil }
    guard let address = HostAndPort(host, usualPort: Limits.modbusPort) else {
      reader.report("host", "\"\(host)\" is not an address: write for example \"10.0.0.7:502\"")
      return nil
    }
    return .tcp(host: address.host, port: address.port)
  }

  /// A second bus on a port would answer the first one's requests. Two names that lead to one port are seen when they
  /// do, which depends on what is plugged in: BoxLook tells of them.
  private func claim(_ endpoint: BusEndpoint, _ reader: TableReader, _ ports: inout [BusEndpoint: SourcePlace]) {
    var key = "host"
    if case .serialPort = endpoint { key = "port" }
    guard let first = ports[endpoint] else {
      ports[endpoint] = reader.valuePlace(key)
      return
    }
    reader.report(
      key, "is the \(key) of another bus already, at \(first.text): put all devices on one bus, or name another \(key)")
  }

  private func lineFormat(_ reader: TableReader, _ busProtocol: BusProtocol?) -> LineFormat {
    // What the meters' standards say (DL/T 645-2007, 5.1.4; CJ/T 188, 5.2).
    let usual = busProtocol?.isMeter == true ? LineFormat(baud: 2_400, parity: .even) : LineFormat()
    var format = usual
    if let baud = reader.integer("baud", in: 1...Int(Int32.max)) {
      if Self.bauds.contains(baud) {
        format.baud = baud
      } else {
        let allowed = Self.bauds.map(String.init).joined(separator: ", ")
        reader.report("baud", "\(baud) is not supported: allowed are \(allowed)")
      }
    }
    format.parity = reader.choice("parity") ?? usual.parity
    format.stopBits = reader.integer("stop_bits", in: 1...2) ?? 1
    return format
  }

  private func timing(_ spec: inout BusSpec, _ reader: TableReader) {
    let timeouts = Limits.responseTimeoutNsMin...Limits.responseTimeoutNsMax
    spec.responseTimeoutNs = reader.duration("response_timeout", in: timeouts) ?? spec.responseTimeoutNs
    spec.turnaroundNs = reader.duration("turnaround", in: 0...Limits.turnaroundNsMax) ?? 0
    spec.retries = reader.integer("retries", in: 0...Limits.retriesMax) ?? spec.retries
  }
}
