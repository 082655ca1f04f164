// conf.d/scan-BUS.toml: devices that a scan found are added at its end. What stands there is kept; if the
// configuration would be wrong with the new entries, they go again.

import FieldBus
import Gateway
import Glibc
import StreamCore

struct ScanFile {
  private let files: ConfigurationOptions
  private let configuration: Configuration
  private let bus: BusSpec
  private var folder: String { "\(files.folder)/conf.d" }
  private var path: String { "\(folder)/scan-\(bus.name).toml" }

  /// Below this a profile is only mentioned.
  static let confidenceMin = 0.5

  init(_ files: ConfigurationOptions, _ configuration: Configuration, bus: BusSpec) {
    self.files = files
    self.configuration = configuration
    self.bus = bus
  }

  func add(_ units: [FoundUnit], known: Set<String>) throws -> (path: String, added: Int) {
    var names = Set(configuration.devices.map(\.name))
    var addresses = known
    var text = ""
    var added = 0
    for unit in units where !addresses.contains(unit.addressText) {
      guard let fit = unit.fits.first, fit.confidence >= Self.confidenceMin, unit.format == bus.format else {
        text += note(unit)
        continue
      }
      let name = unit.deviceName(fit, on: bus.name, &names)
      let value = unit.meter == nil ? unit.addressText : "\"\(unit.addressText)\""
      text += "\n[[device]]\nname = \"\(name)\"\nbus = \"\(bus.name)\"\naddress = \(value)\n"
      text += "profile = \"\(fit.profile)\"  # fits to \(Shown.percent(fit.confidence))\n"
      addresses.insert(unit.addressText)
      added += 1
    }
    if text.isEmpty { return (path, 0) }
    try append(text)
    return (path, added)
  }

  /// What can't be an entry is said in a comment.
  private func note(_ unit: FoundUnit) -> String {
    var text = "\n# Unit \(unit.addressText) answers at \(unit.format.text)"
    if unit.format != bus.format { text += ", and the bus is at \(bus.format.text): set one of them to the other's" }
    let fits = unit.fits.prefix(3).map { "\($0.profile) \(Shown.percent($0.confidence))" }
    return text + (fits.isEmpty ? "; no profile fits.\n" : "; profiles: \(fits.joined(separator: ", ")).\n")
  }

  private func append(_ text: String) throws {
    if mkdir(folder, 0o755) != 0, errno != EEXIST { throw CommandFailure(cannotWrite: folder, errno) }
    let fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
    if fd < 0 { throw CommandFailure(cannotWrite: path, errno) }
    defer { close(fd) }
    var facts = stat()
    guard fstat(fd, &facts) == 0 else { throw CommandFailure(cannotWrite: path, errno) }
    let bytes = Array((facts.st_size == 0 ? "# Found by `kerb scan \(bus.name)`.\n" + text : text).utf8)
    let written = WholeWrite.bytes(bytes, to: fd)
    let code = written == 0 && fsync(fd) != 0 ? errno : written
    guard code == 0 else {
      undo(fd, facts.st_size)
      throw CommandFailure(cannotWrite: path, code)
    }
    let diagnostics = Diagnostics()
    if files.read(into: diagnostics) != nil { return }
    undo(fd, facts.st_size)
    for diagnostic in diagnostics.sorted { complain(diagnostic.text) }
    throw CommandFailure(
      Messages.text(.wrongConfiguration, "\(diagnostics.count)"), exitCode: CommandFailure.configuration)
  }

  private func undo(_ fd: Int32, _ size: off_t) {
    if size == 0 { unlink(path) } else { ftruncate(fd, size) }
  }
}

extension FoundUnit {
  /// A name of its own for the device that this is.
  func deviceName(_ fit: ProfileFit, on bus: String, _ names: inout Set<String>) -> String {
    for name in ["\(fit.kind)-\(addressText)", "\(bus)-\(fit.kind)-\(addressText)"]
    where nameProblem(name) == nil && names.insert(name).inserted {
      return name
    }
    var number = 2
    while !names.insert("device-\(addressText)-\(number)").inserted { number += 1 }
    return "device-\(addressText)-\(number)"
  }
}
