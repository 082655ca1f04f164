// `kerb points`, `kerb alarms`: tables of what the running agent knows.

import ArgumentParser
import Gateway

struct Points: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "points",
    abstract: "The latest value of every point, or of one device's.",
    discussion: """
      Example:
        kerb points
        kerb points manhole-17 --json
      """)

  @OptionGroup var files: ConfigurationOptions

  @Argument(help: ArgumentHelp("Only this device.", valueName: "DEVICE"))
  var device: String?

  @Flag(help: "A JSON array; docs/cli.md lists the keys.")
  var json = false

  func run() throws {
    let points = try Agent(options: files).ask("points", device.map { [("device", $0)] } ?? [])
    if json { return show(points) }
    var table = Table(Messages.columns(.pointsHead), rightAligned: [1])
    for point in points.array ?? [] {
      let quality = point["q"]?.string ?? ""
      let colour: Colour = quality == "good" ? .plain : quality == "uncertain" ? .yellow : .red
      table.rows.append([
        Cell("\(point["device"]?.string ?? "")/\(point["point"]?.string ?? "")"), Cell(Self.value(point)),
        Cell(point["u"]?.string ?? ""), Cell(quality, colour), Cell(Shown.age(ms: point["age_ms"])),
      ])
    }
    show(table.rows.isEmpty ? [Messages.text(.noPoints)] : table.lines())
  }

  static func value(_ point: JSONValue) -> String {
    if point["personal"]?.bool == true { return "***" }
    guard let value = point["v"] ?? point["vb"] ?? point["vs"] else { return "-" }
    let text = Table.cut(Shown.scalar(value), to: 24)
    return point["label"]?.string.map { "\(text) \($0)" } ?? text
  }
}

struct VersionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "version",
    abstract: "The version of this program.",
    discussion: """
      Example:
        kerb version --json
      """)

  @Flag(help: "One JSON object: version.")
  var json = false

  func run() {
    if json {
      show(JSONValue.object([JSONMember(name: "version", value: .string(Version.text))]))
    } else {
      show("kerb \(Version.text)")
    }
  }
}
