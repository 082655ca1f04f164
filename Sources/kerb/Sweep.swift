// A scan under way: address after address, setting after setting, with its progress on stderr.

import CLinux
import FieldBus
import Gateway
import Glibc
import StreamCore

struct Sweep {
  struct Found {
    var unit: FoundUnit
    /// Its name, if it is configured.
    var name: String?
  }

  let line: AskedLine
  let spec: BusSpec
  let formats: [LineFormat]
  let addresses: ClosedRange<Int>
  let known: [String: String]
  let profiles: [Profile]
  private var scan: Scan<AskedLine>
  private var found: [Found] = []

  init(
    line: AskedLine, spec: BusSpec, formats: [LineFormat], addresses: ClosedRange<Int>, known: [String: String],
    patience: ScanPatience, profiles: [Profile]
  ) {
    self.line = line
    self.spec = spec
    self.formats = formats
    self.addresses = addresses
    self.known = known
    self.profiles = profiles
    scan = Scan(line, isPatient: line.isLive, patience: patience)
  }

  mutating func run() throws -> [Found] {
    let longest = ScanPlan.longestNs(formats: formats, addresses: addresses.count, thinkNs: scan.patience.thinkNs)
    complain(
      wrapping: Messages.text(
        line.isLive ? .scanStartsLive : .scanStarts, spec.name, "\(formats.count)", "\(addresses.count)",
        Shown.span(seconds: Double(longest) / 1e9)))
    for (number, format) in formats.enumerated() { try sweep(format, rest: Array(formats[(number + 1)...])) }
    SweepProgress.clear()
    return found
  }

  private mutating func sweep(_ format: LineFormat, rest: [LineFormat]) throws {
    do throws(PortFailure) { try line.reopen(as: format) } catch {
      throw CommandFailure(
        Messages.text(.portMissing, spec.endpoint.text, String(cString: strerror(error.code))),
        exitCode: CommandFailure.unavailable)
    }
    for address in addresses {
      let left =
        ScanPlan.longestNs(
          formats: [format], addresses: addresses.upperBound - address + 1, thinkNs: scan.patience.thinkNs)
        + ScanPlan.longestNs(formats: rest, addresses: addresses.count, thinkNs: scan.patience.thinkNs)
      progress(format, address, leftNs: left)
      try ask(address, format)
    }
    if !SweepProgress.isTerminal {
      complain(Messages.text(.scanProgress, format.text, "\(addresses.upperBound)", "\(found.count)", ""))
    }
  }

  private mutating func ask(_ address: Int, _ format: LineFormat) throws {
    let name = format == spec.format ? known["\(address)"] : nil
    if line.isLive, let name {
      // The agent polls it: how it does is in `kerb devices`.
      return found.append(Found(unit: FoundUnit(address: address, format: format, tookNs: 0), name: name))
    }
    do throws(LineFailure) {
      guard var unit = try scan.probe(address, format) else { return }
      scan.identify(&unit)
      // What is configured has its profile; its registers may be personal.
      if name == nil { scan.fit(&unit, profiles) }
      found.append(Found(unit: unit, name: name))
    } catch { throw CommandFailure(error, spec.name) }
  }

  private func progress(_ format: LineFormat, _ address: Int, leftNs: Int64) {
    SweepProgress.show(
      Messages.text(
        .scanProgress, format.text, "\(address)/\(addresses.upperBound)", "\(found.count)",
        Shown.span(seconds: Double(leftNs) / 1e9)))
  }
}

/// One line on stderr that is written over; none where nobody looks.
enum SweepProgress {
  static let isTerminal = isatty(2) == 1

  static func show(_ text: String) {
    guard isTerminal else { return }
    put("\r\u{1B}[K" + Table.cut(text, to: Table.widthMax - 1))
  }

  static func clear() { if isTerminal { put("\r\u{1B}[K") } }

  private static func put(_ text: String) {
    let bytes = Array(text.utf8)
    _ = Glibc.write(2, bytes, bytes.count)
  }
}
