// A search for meters under way: setting after setting, with its progress on stderr.

import FieldBus
import Gateway
import Glibc
import StreamCore

struct MeterSweep {
  private let line: AskedLine
  private let formats: [LineFormat]
  private let thinkNs: Int64
  private let known: [String: String]
  private let profiles: [Profile]
  private var spec: BusSpec { line.bus }

  init(_ line: AskedLine, _ formats: [LineFormat], thinkNs: Int64, known: [String: String], profiles: [Profile]) {
    self.line = line
    self.formats = formats
    self.thinkNs = thinkNs
    self.known = known
    self.profiles = profiles
  }

  func run() throws -> [Sweep.Found] {
    let longest = MeterScan<AskedLine>.longestNs(spec.busProtocol, formats: formats, thinkNs: thinkNs)
    complain(
      wrapping: Messages.text(
        line.isLive ? .meterScanStartsLive : .meterScanStarts, spec.name, "\(formats.count)",
        Shown.span(seconds: Double(longest) / 1e9)))
    var found: [Sweep.Found] = []
    for format in formats { found += try sweep(format) }
    SweepProgress.clear()
    return found
  }

  private func sweep(_ format: LineFormat) throws -> [Sweep.Found] {
    do throws(PortFailure) { try line.reopen(as: format) } catch {
      throw CommandFailure(
        Messages.text(.portMissing, spec.endpoint.text, String(cString: strerror(error.code))),
        exitCode: CommandFailure.unavailable)
    }
    var scan = MeterScan(line, spec.busProtocol, format: format, thinkNs: thinkNs, isPatient: line.isLive) {
      SweepProgress.show(
        Messages.text(.scanProgress, format.text, "\($0.asked)/\($0.expected)", "\($0.found)", ""))
    }
    do throws(LineFailure) {
      let units = try scan.find()
      if scan.isCrowded { complain(Messages.text(.crowded, spec.name)) }
      return units.map { unit in
        var unit = unit
        let name = format == spec.format ? known[unit.addressText] : nil
        // What is configured has its profile.
        if name == nil { scan.fit(&unit, profiles) }
        return Sweep.Found(unit: unit, name: name)
      }
    } catch { throw CommandFailure(error, spec.name) }
  }
}
