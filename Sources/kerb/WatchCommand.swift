// `kerb watch`: points as they change, each with a line of its last values.

import ArgumentParser
import CLinux
import Gateway
import Glibc

struct Watch: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "watch",
    abstract: "Follow points as the agent polls them, with a line of their last values.",
    discussion: """
      Shows what the running agent has, it asks no device. On a terminal the lines stay where they are; elsewhere
      a line is written for each change. Ends with Ctrl-C, or after --count looks.

      Example:
        kerb watch manhole-17/tilt manhole-17/battery
        kerb watch pump-1/flow --every 5 --json >> flow.jsonl
      """)

  @OptionGroup var files: ConfigurationOptions
  @Argument(help: ArgumentHelp("DEVICE/POINT, or DEVICE for all of its points.", valueName: "POINT"))
  var points: [String]
  @Option(help: ArgumentHelp("Seconds between two looks.", valueName: "SECONDS")) var every = 1.0
  @Option(help: ArgumentHelp("End after so many looks.", valueName: "LOOKS")) var count: Int?
  @Flag(help: "One JSON object a line for each change: as of `kerb points`.") var json = false

  func validate() throws {
    guard !points.isEmpty else { throw ValidationError("name a point: kerb watch DEVICE/POINT") }
    guard (0.1...3_600).contains(every) else { throw ValidationError("--every takes 0.1 to 3600 seconds") }
    if let count, count < 1 { throw ValidationError("--count takes 1 or more") }
  }

  func run() throws {
    let agent = Agent(options: files)
    guard let client = try agent.clientIfRunning() else {
      throw CommandFailure(noAgentAt: ControlServer.path(runtime: files.runtimePath), files)
    }
    kerb_block_signals()
    let inPlace = !json && isatty(1) == 1
    var rows: [String: WatchedPoint] = [:]
    var left = count ?? Int.max
    var drawn = 0
    while left > 0, StandardOutput.isOpen {
      let seen = try look(agent, client)
      for point in seen {
        let name = WatchedPoint.name(point)
        let isNew = rows[name, default: WatchedPoint()].take(point, at: kerb_monotonic_ns())
        guard isNew, !inPlace else { continue }
        if json { show(point) } else { show(rows[name]?.change ?? "") }
      }
      if inPlace { drawn = draw(seen.compactMap { rows[WatchedPoint.name($0)]?.line }, over: drawn) }
      left -= 1
      guard left > 0 else { break }
      let signal = StandardOutput.waitForSignal(ms: Int64(every * 1_000))
      if signal == SIGINT || signal == SIGTERM || signal == SIGHUP { break }
    }
  }

  /// In the order of the command line; a point that is named twice is shown once.
  private func look(_ agent: Agent, _ client: ControlClient) throws -> [JSONValue] {
    var seen: [JSONValue] = []
    for wanted in points {
      let parts = wanted.split(separator: "/", maxSplits: 1).map(String.init)
      let all = try agent.ask(client, "points", [("device", parts.first ?? wanted)]).array ?? []
      let chosen = parts.count == 2 ? all.filter { $0["point"]?.string == parts[1] } : all
      guard !chosen.isEmpty else {
        let names = all.compactMap { $0["point"]?.string }.joined(separator: ", ")
        throw CommandFailure(Self.noPoint(wanted, parts[0], names), exitCode: CommandFailure.usage)
      }
      for point in chosen where !seen.contains(where: { WatchedPoint.name($0) == WatchedPoint.name(point) }) {
        seen.append(point)
      }
    }
    return seen
  }

  /// Over what was drawn before. The number of lines.
  private func draw(_ lines: [String], over before: Int) -> Int {
    var text = before > 0 ? "\u{1B}[\(before)A" : ""
    for line in lines { text += "\u{1B}[2K\(line)\n" }
    StandardOutput.write(text)
    return lines.count
  }

  private static let noPoint = Phrase("there is no point {0}; device {1} has: {2}", "没有测点 {0}；设备 {1} 有：{2}")
}

/// A point and its last values.
struct WatchedPoint {
  private static let valueWidth = 22
  private static let barsMax = 28
  private var bars = Sparkline(length: barsMax)
  private var last: JSONValue?
  /// When it was read: Unix time, or since the box's start where that is not known. Nil: not yet.
  private var readMs: Int64?
  /// An age that is told to the millisecond, on its way from another process.
  private static let jitterMs: Int64 = 50

  /// True: it was read anew since the last look, or is another one. `monotonicNs`: of the look.
  mutating func take(_ point: JSONValue, at monotonicNs: Int64) -> Bool {
    // The age grows of itself.
    func shown(_ value: JSONValue?) -> [JSONValue?] { [value?["v"], value?["vb"], value?["vs"], value?["q"]] }
    let isRelative = Self.isRelative(point)
    let ms = point["t"]?.double.map { Int64(($0 * 1_000).rounded()) + (isRelative ? monotonicNs / 1_000_000 : 0) }
    let isLater =
      if let ms, let readMs { abs(ms - readMs) > (isRelative ? Self.jitterMs : 0) } else { ms != readMs }
    let isNew = last == nil || isLater || shown(last) != shown(point)
    // A little at a time it would creep past the jitter.
    if isNew || !isRelative { readMs = ms }
    last = point
    bars.add(point["q"]?.string == "bad" ? nil : Self.number(point))
    return isNew
  }

  static func name(_ point: JSONValue) -> String {
    "\(point["device"]?.string ?? "")/\(point["point"]?.string ?? "")"
  }

  private static func isRelative(_ point: JSONValue) -> Bool { point["unsynchronised"]?.bool == true }

  private static func number(_ point: JSONValue) -> Double? {
    point["v"]?.double ?? point["vb"]?.bool.map { $0 ? 1 : 0 }
  }

  private var value: String { last?["personal"]?.bool == true ? "***" : PointDesk.value(last) }

  /// Name, value, quality, its last values and between what they were: 80 characters at most.
  var line: String {
    guard let last else { return "" }
    let quality = last["q"]?.string ?? ""
    let colour: Colour = quality == "good" ? .plain : quality == "uncertain" ? .yellow : .red
    let head =
      Self.padded(Table.cut(Self.name(last), to: 24), 24) + " "
      + colour.apply(Self.padded(Table.cut(value, to: Self.valueWidth), Self.valueWidth)) + " "
    return head + bars.text
  }

  /// With the time of the reading, for a log.
  var change: String {
    guard let last else { return "" }
    let time = readMs.map {
      Self.isRelative(last) ? FrameLine.sinceStart($0 * 1_000_000) : Shown.time(unix: Double($0) / 1_000)
    }
    return "\(time ?? "-")  \(Self.name(last))  \(value)  \(last["q"]?.string ?? "")"
  }

  private static func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - Table.width(text)))
  }
}
