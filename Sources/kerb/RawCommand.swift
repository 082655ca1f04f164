// `kerb raw`: registers as they are, every reading of them side by side.

import ArgumentParser
import FieldBus
import Gateway
import StreamCore

struct Raw: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "raw",
    abstract: "Registers or bits of a unit, or a data item of a meter, as they are.",
    discussion: """
      Any unit on a configured bus, whether it is configured or not. Registers are shown in hexadecimal, decimal, and
      as 32 bits in all word orders: the last four columns take a register with the one after it. Of a meter one item
      is read: its bytes as they came, and its digits with the lowest byte first. Nothing personal is read.

      Example:
        kerb raw rs485-1 17 holding 0 8
        kerb raw rs485-1 17 input 0x10 4 --as i32 --json
        kerb raw meters 202301234567 di 00010000
        kerb raw water 78330011223344 di 901F
      """)

  enum Wide: String, ExpressibleByArgument, CaseIterable { case f32, u32, i32 }

  @OptionGroup var files: ConfigurationOptions
  @Argument(help: ArgumentHelp("The bus's name.", valueName: "BUS")) var bus: String
  @Argument(help: ArgumentHelp("The unit's address; a meter's digits.", valueName: "UNIT")) var unit: String
  @Argument(help: ArgumentHelp("holding, input, coil or discrete; di.", valueName: "TABLE")) var table: String
  @Argument(
    help: ArgumentHelp("The first, from 0; decimal or 0x. Of a meter: the data identifier.", valueName: "ADDRESS"))
  var address: String
  @Argument(help: ArgumentHelp("How many.", valueName: "COUNT")) var count = 1
  @Option(help: ArgumentHelp("What two registers are shown as: f32, u32 or i32.", valueName: "TYPE")) var `as` = Wide
    .f32
  @Flag(help: "One JSON object; docs/cli.md lists the keys.") var json = false

  func run() throws {
    let configuration = try files.read()
    guard let index = configuration.buses.firstIndex(where: { $0.name == bus }) else {
      throw CommandFailure(PointName.noBus(bus, configuration.buses), exitCode: CommandFailure.usage)
    }
    let spec = configuration.buses[index]
    if FrameSpec.meter(spec.busProtocol) != nil { return try RawItem(self, index, configuration).run() }
    guard spec.busProtocol.isModbus else {
      throw CommandFailure(Messages.text(.metersHaveItems, bus), exitCode: CommandFailure.usage)
    }
    let (table, number, first) = try place()
    let frames = frames(number, table, first)
    for frame in frames {
      if let point = PersonalRegisters.point(touchedBy: frame.bytes, bus: index, devices: configuration.devices) {
        throw CommandFailure(Messages.text(.personalPoint, point), exitCode: CommandFailure.permission)
      }
    }
    let line = try AskedLine(index, configuration, files)
    var values: [UInt16] = []
    var tookNs: Int64 = 0
    for frame in frames {
      do throws(LineFailure) {
        let reply = try line.ask(LineRequest(frame.bytes, timeoutNs: spec.responseTimeoutNs))
        values += CommandFrame.words(reply.frame, count: frame.count)
        tookNs += reply.tookNs
      } catch { throw CommandFailure(error, "\(bus), \(unit), \(self.table) \(address)") }
    }
    if json { return document(number, first, values, tookNs) }
    show(table.isBits ? bitLines(first, values) : registerLines(first, values))
  }

  private func place() throws -> (RegisterTable, unit: Int, first: Int) {
    guard let table = RegisterTable.words.first(where: { $0.word == table })?.value else {
      throw CommandFailure(
        TableReader.unknownWord(table, among: RegisterTable.words.map(\.word)), exitCode: CommandFailure.usage)
    }
    guard let first = PointParser.address(address[...]), (0..<Limits.registersPerTable).contains(first),
      (1...Limits.registersPerTable - first).contains(count), let number = Int(unit), (0...255).contains(number)
    else {
      throw CommandFailure(
        Messages.text(.badRange, "\(Limits.registersPerTable - 1)"), exitCode: CommandFailure.usage)
    }
    return (table, number, first)
  }

  private func frames(_ unit: Int, _ table: RegisterTable, _ first: Int) -> [(bytes: [UInt8], count: Int)] {
    let most = table.isBits ? Limits.bitsPerReadMax : Limits.registersPerReadMax
    return stride(from: 0, to: count, by: most).map { start in
      let part = min(most, count - start)
      return (CommandFrame.read(unit: unit, table, address: first + start, count: part), part)
    }
  }

  private func document(_ unit: Int, _ first: Int, _ values: [UInt16], _ tookNs: Int64) {
    var writer = JSONWriter()
    writer.object { root in
      root.member("bus", bus)
      root.member("unit", unit)
      root.member("table", table)
      root.member("address", first)
      root.key("values")
      root.array { for value in values { $0.integer(value) } }
      root.member("took_ms", Double(tookNs) / 1e6)
    }
    show(String(decoding: writer.bytes, as: UTF8.self))
  }

  // MARK: For a person

  private func registerLines(_ first: Int, _ values: [UInt16]) -> [String] {
    var table = Table(
      ["ADDR", "HEX", "U16", "I16"] + WordOrder.words.map { "\($0.word) \(self.as.rawValue)" },
      rightAligned: Set(0..<8))
    for (index, value) in values.enumerated() {
      var row: [Cell] = [
        Cell("\(first + index)"), Cell(Hexadecimal.text(words: [value])), Cell("\(value)"),
        Cell("\(Int16(bitPattern: value))"),
      ]
      for (_, order) in WordOrder.words {
        row.append(Cell(index + 1 < values.count ? wide(values[index], values[index + 1], order) : ""))
      }
      table.rows.append(row)
    }
    return table.lines()
  }

  private func wide(_ high: UInt16, _ low: UInt16, _ order: WordOrder) -> String {
    let bits = UInt32(truncatingIfNeeded: RegisterCode.integer([high, low], order: order))
    switch self.as {
    case .u32: return "\(bits)"
    case .i32: return "\(Int32(bitPattern: bits))"
    case .f32: return Self.short(Float(bitPattern: bits))
    }
  }

  /// At most ten characters: what is a plausible measurement is shown well, and what is not is seen to be none.
  static func short(_ value: Float) -> String {
    let text = "\(value)"
    if text.count <= 10 { return text.hasSuffix(".0") ? String(text.dropLast(2)) : text }
    if value.isFinite, abs(value) >= 0.001, abs(value) < 1_000_000 {
      let thousandths = Int64((Double(abs(value)) * 1_000).rounded())
      let rest = "\(thousandths % 1_000 + 1_000)".dropFirst()
      return "\(value < 0 ? "-" : "")\(thousandths / 1_000).\(rest)"
    }
    guard let exponent = text.firstIndex(of: "e") else { return String(text.prefix(9)) + "…" }
    return String(text[..<exponent].prefix(5) + text[exponent...])
  }

  private func bitLines(_ first: Int, _ values: [UInt16]) -> [String] {
    stride(from: 0, to: values.count, by: 16).map { start in
      let bits = values[start..<min(start + 16, values.count)].map { $0 == 0 ? "0" : "1" }
      let address = "\(first + start)"
      return String(repeating: " ", count: max(0, 5 - address.count)) + address + "  " + bits.joined(separator: " ")
    }
  }
}
