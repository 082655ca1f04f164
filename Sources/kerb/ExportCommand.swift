// `kerb export`: stored telemetry as CSV or SenML on stdout, page by page.

import ArgumentParser
import Gateway
import Glibc

struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Stored telemetry as CSV (RFC 4180) or SenML JSON (RFC 8428).",
    discussion: """
      Asks the running agent; without one the files are read. Personal points are left out; with --personal, and the
      rights to change things, they come as pseudonyms of this box's exports. What is missing is said on stderr.
      Where the box did not know the time, `time` is empty and `mono` has the seconds since the box was started; where
      it falls back from one line to the next, the box was started again.

      Example:
        kerb export --since 2h --csv > today.csv
        kerb export --since 2026-01-31 --until 2026-02-01T06:00 --senml
      """)

  @OptionGroup var files: ConfigurationOptions

  @Option(help: ArgumentHelp("From then on: 90m, 2h or 7d ago, or a UTC date or time.", valueName: "TIME"))
  var since: String?

  @Option(help: ArgumentHelp("Before then; the same forms.", valueName: "TIME"))
  var until: String?

  @Flag(help: "Lines of time, name, value, unit, quality, statistic, window, mono.")
  var csv = false

  @Flag(help: "One SenML pack.")
  var senml = false

  @Flag(help: "Personal points, too, as pseudonyms: root or group kerb-admin.")
  var personal = false

  func run() throws {
    guard csv != senml else { throw CommandFailure(Messages.text(.exportForm), exitCode: CommandFailure.usage) }
    var parameters = [("format", senml ? "senml" : "kerb")]
    for (name, text) in [("since_ms", since), ("until_ms", until)] {
      guard let text else { continue }
      guard let ms = ExportTime.unixMs(text, now: Int64(time(nil))) else {
        throw CommandFailure(Messages.text(.exportTime, text), exitCode: CommandFailure.usage)
      }
      parameters.append((name, "\(ms)"))
    }
    if personal { parameters.append(("personal", "yes")) }
    let holder = try BufferHolder(files)
    var output = Output()
    output.put(senml ? "[" : Self.header)
    var after: Int64 = 0
    var isFirst = true
    var missing: Int64 = 0
    var untimed = 0
    var mono: JSONValue?
    while true {
      let page = try holder.ask("export", parameters + [("after", "\(after)")])
      for gap in page["gaps"]?.array ?? [] {
        missing += (gap["to"]?.integer ?? 0) - (gap["from"]?.integer ?? 0) + 1
      }
      mono = page["mono"] ?? mono
      for record in page["records"]?.array ?? [] {
        if record["unsynchronised"]?.bool == true { untimed += 1 }
        if senml {
          output.put(isFirst ? "\n" : ",\n")
          var writer = JSONWriter()
          writer.value(record)
          output.put(String(decoding: writer.bytes, as: UTF8.self))
        } else {
          output.put(Self.line(record))
        }
        isFirst = false
      }
      output.flush()
      guard StandardOutput.isOpen else { return }
      let next = page["next"]?.integer ?? after
      guard page["more"]?.bool == true, next > after else { break }
      after = next
    }
    if senml { output.put("\n]\n") }
    output.flush()
    if missing > 0 { complain(Messages.text(.exportMissing, "\(missing)")) }
    if untimed > 0 { complain(Messages.text(.exportUntimed, "\(untimed)")) }
    if untimed > 0, let mono { complain(Messages.text(.exportMono, Shown.scalar(mono))) }
  }

  static let header = "time,name,value,unit,quality,statistic,window,mono\r\n"

  /// `time` is Unix seconds; where no wall time is known it is empty, and `mono` has the seconds since the box's start.
  static func line(_ record: JSONValue) -> String {
    let isKnown = record["unsynchronised"]?.bool != true
    func text(_ name: String) -> String { record[name]?.string ?? "" }
    func shown(_ value: JSONValue?) -> String { value.map(Shown.scalar) ?? "" }
    let time: String = isKnown ? shown(record["t"]) : ""
    let mono: String = isKnown ? "" : shown(record["mono"])
    let value: String = shown(record["v"] ?? record["vb"] ?? record["vs"])
    let cells: [String] = [time, text("n"), value, text("u"), text("q"), text("stat"), text("window"), mono]
    return cells.map(quoted).joined(separator: ",") + "\r\n"
  }

  /// RFC 4180, 2.5 to 2.7.
  static func quoted(_ text: String) -> String {
    guard text.contains(where: { $0 == "," || $0 == "\"" || $0.isNewline }) else { return text }
    return "\"" + text.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
  }

  /// A page at a time.
  private struct Output {
    private var bytes: [UInt8] = []
    mutating func put(_ text: String) { bytes += text.utf8 }
    mutating func flush() {
      StandardOutput.write(bytes)
      bytes.removeAll(keepingCapacity: true)
    }
  }
}

/// A time as a person writes it: so long ago, or a date with or without a time of day, in UTC.
enum ExportTime {
  static func unixMs(_ text: String, now: Int64) -> Int64? {
    if let unit = text.last, let seconds = ["s": 1, "m": 60, "h": 3_600, "d": 86_400][unit] as Int64?,
      let count = Int64(text.dropLast()), count >= 0, count < 1_000_000_000
    {
      return (now - count * seconds) * 1_000
    }
    var rest = text[...]
    if rest.hasSuffix("Z") { rest = rest.dropLast() }
    let parts = rest.split(omittingEmptySubsequences: false) { $0 == "T" || $0 == " " }
    let date = parts.first?.split(separator: "-", omittingEmptySubsequences: false).map { Int32($0) } ?? []
    guard (1...2).contains(parts.count), date.count == 3, let year = date[0], let month = date[1], let day = date[2],
      (1970...9_999).contains(year), (1...12).contains(month), (1...31).contains(day)
    else { return nil }
    var moment = tm()
    moment.tm_year = year - 1_900
    moment.tm_mon = month - 1
    moment.tm_mday = day
    if parts.count == 2 {
      let clock = parts[1].split(separator: ":", omittingEmptySubsequences: false).map { Int32($0) }
      guard (2...3).contains(clock.count), let hour = clock[0], let minute = clock[1], (0...23).contains(hour),
        (0...59).contains(minute)
      else { return nil }
      moment.tm_hour = hour
      moment.tm_min = minute
      if clock.count == 3 {
        guard let second = clock[2], (0...60).contains(second) else { return nil }
        moment.tm_sec = second
      }
    }
    return Int64(timegm(&moment)) * 1_000
  }
}
