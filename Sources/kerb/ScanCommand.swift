// `kerb scan`: what is on a bus. Through the running agent in the gaps of its polls, with the bus's own settings; on
// a line that nobody has, through all usual settings, fastest first.

import ArgumentParser
import CLinux
import FieldBus
import Gateway
import StreamCore

struct ScanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "scan",
    abstract: "Find the devices on a bus: address, speed, parity, who they are, which profiles fit.",
    discussion: """
      Where an agent runs, nothing that it polls is disturbed: the scan takes the gaps, and only the bus's present
      speed. Says how long it will take if nobody answers; devices that answer make it shorter. With --write the
      devices go to conf.d/scan-BUS.toml beside the configuration; what stands there is kept.

      Meters are found by their own answers: one alone at once, several DL/T 645 meters on one line by two digits after
      the other, a hundred questions each; several CJ/T 188 meters can't be told apart.

      Example:
        kerb scan rs485-1
        kerb scan rs485-1 --baud 9600 --baud 19200 --parity none --to 32 --write
        kerb scan meters --baud 2400 --write
      """)

  @OptionGroup var files: ConfigurationOptions
  @Argument(help: ArgumentHelp("The bus's name.", valueName: "BUS")) var bus: String
  @Option(help: ArgumentHelp("The first address.", valueName: "N")) var from = 1
  @Option(help: ArgumentHelp("The last address.", valueName: "N")) var to = 247
  @Option(help: ArgumentHelp("Only this speed; may be given more than once.", valueName: "BAUD")) var baud: [Int] = []
  @Option(help: ArgumentHelp("Only none, even or odd; may be given more than once.", valueName: "PARITY"))
  var parity: [String] = []
  @Option(help: ArgumentHelp("How long a device may think, for example 150ms.", valueName: "TIME")) var timeout: String?
  @Flag(help: "Add the devices found to the configuration.") var write = false
  @Flag(help: "One JSON object; docs/cli.md lists the keys.") var json = false

  func run() throws {
    let configuration = try files.read()
    guard let index = configuration.buses.firstIndex(where: { $0.name == bus }) else {
      throw CommandFailure(PointName.noBus(bus, configuration.buses), exitCode: CommandFailure.usage)
    }
    let spec = configuration.buses[index]
    let isMeters = FrameSpec.meter(spec.busProtocol) != nil
    guard spec.busProtocol.isModbus || isMeters else {
      throw CommandFailure(Messages.text(.notSearched, bus), exitCode: CommandFailure.usage)
    }
    if isMeters, from != 1 || to != 247 {
      throw CommandFailure(Messages.text(.notMeters, bus), exitCode: CommandFailure.usage)
    }
    let addresses = try isMeters ? 1...1 : self.addresses(spec)
    let thinkNs = try self.thinkNs(isMeters ? Limits.meterScanTimeoutNs : Limits.scanTimeoutNs)
    let line = try AskedLine(index, configuration, files)
    let formats = try self.formats(spec, isLive: line.isLive)
    let known = Dictionary(
      configuration.devices(on: index).map { ($0.meterAddress?.text ?? "\($0.address)", $0.name) },
      uniquingKeysWith: { first, _ in first })
    let profiles = Self.profiles(files, spec.busProtocol)
    var found: [Sweep.Found]
    if isMeters {
      found = try MeterSweep(line, formats, thinkNs: thinkNs, known: known, profiles: profiles).run()
    } else {
      var sweep = Sweep(
        line: line, spec: spec, formats: formats, addresses: addresses, known: known,
        patience: ScanPatience(mostNs: thinkNs), profiles: profiles)
      found = try sweep.run()
    }
    var file: (path: String, added: Int)?
    if write { file = try ScanFile(files, configuration, bus: spec).add(found.map(\.unit), known: Set(known.keys)) }
    if json { return document(found, file) }
    report(found, file)
  }

  // MARK: What was asked for

  private func addresses(_ spec: BusSpec) throws -> ClosedRange<Int> {
    let allowed = spec.busProtocol == .modbusTCP ? Limits.tcpUnits : Limits.rtuUnits
    guard from <= to, allowed.contains(from), allowed.contains(to) else {
      throw CommandFailure(
        Messages.text(.badAddresses, "\(allowed.lowerBound)", "\(allowed.upperBound)"), exitCode: CommandFailure.usage)
    }
    return from...to
  }

  private func thinkNs(_ usual: Int64) throws -> Int64 {
    guard let timeout else { return usual }
    let allowed = Limits.responseTimeoutNsMin...Limits.responseTimeoutNsMax
    guard let given = parseDuration(timeout), allowed.contains(given) else {
      throw CommandFailure(Messages.text(.badTimeout, timeout), exitCode: CommandFailure.usage)
    }
    return given
  }

  private func formats(_ spec: BusSpec, isLive: Bool) throws -> [LineFormat] {
    var parities: [Parity] = []
    for word in parity {
      guard let known = Parity(rawValue: word) else {
        throw CommandFailure(
          TableReader.unknownWord(word, among: Parity.allCases.map(\.rawValue)), exitCode: CommandFailure.usage)
      }
      parities.append(known)
    }
    for speed in baud where !ConfigurationReader.bauds.contains(speed) {
      throw CommandFailure(
        Messages.text(.badBaud, "\(speed)", ConfigurationReader.bauds.map(String.init).joined(separator: ", ")),
        exitCode: CommandFailure.usage)
    }
    if isLive || spec.serialPath == nil {
      if !baud.isEmpty || !parity.isEmpty {
        throw CommandFailure(Messages.text(.liveSettings, spec.name), exitCode: CommandFailure.usage)
      }
      return [spec.format]
    }
    guard FrameSpec.meter(spec.busProtocol) == nil else {
      return ScanPlan.meterFormats(bauds: baud, parities: parities)
    }
    return ScanPlan.formats(bauds: baud, parities: parities)
  }

  /// Every profile that is whole; what is wrong with others is `kerb check`'s to say.
  static func profiles(_ files: ConfigurationOptions, _ busProtocol: BusProtocol) -> [Profile] {
    let library = ProfileLibrary(searchPaths: files.profiles + ProfileFolders.usual + ["\(files.folder)/profiles"])
    return library.ids().compactMap { id in
      let diagnostics = Diagnostics()
      let place = SourcePlace(file: id, line: 0, column: 0)
      guard let profile = library.load(id, place: place, key: "profile", into: diagnostics), diagnostics.isEmpty,
        busProtocol.isModbus ? profile.frame == nil : profile.frame?.busProtocol == busProtocol
      else { return nil }
      return profile
    }
  }

  // MARK: What was found

  private func report(_ found: [Sweep.Found], _ file: (path: String, added: Int)?) {
    if found.isEmpty {
      show(Messages.text(.nothingFound, bus))
    } else {
      var table = Table(Messages.columns(.scanHead), rightAligned: [0])
      for each in found {
        let fits = each.unit.fits.prefix(2).map { "\($0.profile) \(Shown.percent($0.confidence))" }.joined(
          separator: ", ")
        table.rows.append([
          Cell(each.unit.addressText), Cell(each.unit.format.text), Cell(each.name ?? "-"),
          Cell(Self.identity(each.unit)),
          Cell(fits.isEmpty ? "-" : fits),
        ])
      }
      show(table.lines())
    }
    guard let file else { return }
    show(Messages.text(.scanWritten, "\(file.added)", file.path))
    if file.added > 0 { show(Messages.text(.consumerRestart)) }
  }

  static func identity(_ unit: FoundUnit) -> String {
    let said = [unit.identification.vendor, unit.identification.product, unit.identification.revision].compactMap { $0 }
    if !said.isEmpty { return said.joined(separator: " ") }
    return unit.report.isEmpty ? "-" : unit.report
  }

  private func document(_ found: [Sweep.Found], _ file: (path: String, added: Int)?) {
    var writer = JSONWriter()
    writer.object { root in
      root.member("bus", bus)
      root.key("found")
      root.array { list in for each in found { list.object { Self.write(each, into: &$0) } } }
      root.key("file")
      if let file { root.string(file.path) } else { root.null() }
      root.member("added", file?.added ?? 0)
    }
    show(String(decoding: writer.bytes, as: UTF8.self))
  }

  private static func write(_ each: Sweep.Found, into writer: inout JSONWriter) {
    func optional(_ key: String, _ value: String?) {
      writer.key(key)
      if let value, !value.isEmpty { writer.string(value) } else { writer.null() }
    }
    if let meter = each.unit.meter {
      writer.member("address", meter.text)
    } else {
      writer.member("address", each.unit.address)
    }
    writer.member("baud", each.unit.format.baud)
    writer.member("parity", each.unit.format.parity.rawValue)
    writer.member("stop_bits", each.unit.format.stopBits)
    optional("device", each.name)
    optional("vendor", each.unit.identification.vendor)
    optional("product", each.unit.identification.product)
    optional("revision", each.unit.identification.revision)
    optional("server_id", each.unit.report)
    writer.key("profiles")
    writer.array { list in
      for fit in each.unit.fits {
        list.object {
          $0.member("profile", fit.profile)
          $0.member("confidence", (fit.confidence * 100).rounded() / 100)
        }
      }
    }
  }
}

extension LineFormat {
  /// "9600 8N1"
  var text: String { "\(baud) 8\(parity.rawValue.prefix(1).uppercased())\(stopBits)" }
}
