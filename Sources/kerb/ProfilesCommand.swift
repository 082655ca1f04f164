// `kerb profiles`: the library of device profiles, and what one of them says.

import ArgumentParser
import FieldBus
import Gateway
import StreamCore

struct Profiles: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "profiles",
    abstract: "The library of device profiles; with a NAME, what that one reads and watches.",
    discussion: """
      A profile is found in the folders given with --profiles, in /etc/kerb/profiles, /usr/share/kerb/profiles, and
      beside the configuration. Try one on a device with `kerb profile test`.

      Example:
        kerb profiles
        kerb profiles manhole-cover/generic
        kerb profiles --json | jq '.[] | select(.kind == "hydrant").name'
      """)

  @OptionGroup var files: ConfigurationOptions
  @Argument(help: ArgumentHelp("Only this one, and all of it.", valueName: "NAME")) var name: String?
  @Flag(help: "An array, or one JSON object for a NAME; docs/cli.md lists the keys.") var json = false

  func run() throws {
    let library = files.library
    if let name { return try showOne(name, library) }
    let diagnostics = Diagnostics()
    let nowhere = SourcePlace(file: "", line: 0, column: 0)
    let found = library.ids().compactMap { library.load($0, place: nowhere, key: "profile", into: diagnostics) }
    if json {
      var writer = JSONWriter()
      writer.array { list in for profile in found { list.object { ProfileText(profile).head(into: &$0) } } }
      show(String(decoding: writer.bytes, as: UTF8.self))
    } else if found.isEmpty {
      show(Self.none(library.searchPaths.joined(separator: ", ")))
    } else {
      var table = Table(Self.head().split(separator: "|").map(String.init), rightAligned: [1, 2], whole: [0])
      for profile in found {
        table.rows.append([
          Cell(profile.id), Cell("\(profile.points.count)"), Cell("\(profile.alarms.count)"),
          Cell(ProfileText(profile).title),
        ])
      }
      show(table.lines())
    }
    // A broken file is not the library's end, nor is it silence.
    guard !diagnostics.isEmpty else { return }
    throw CommandFailure(
      diagnostics.sorted.map(\.text).joined(separator: "\n"), exitCode: CommandFailure.configuration)
  }

  private func showOne(_ name: String, _ library: ProfileLibrary) throws {
    let diagnostics = Diagnostics()
    let profile = library.load(
      name, place: SourcePlace(file: "kerb profiles", line: 0, column: 0), key: name, into: diagnostics)
    guard let profile, diagnostics.isEmpty else {
      throw CommandFailure(
        diagnostics.sorted.map(\.text).joined(separator: "\n"), exitCode: CommandFailure.configuration)
    }
    let text = ProfileText(profile)
    guard json else { return show(text.lines) }
    var writer = JSONWriter()
    writer.object { text.write(into: &$0) }
    show(String(decoding: writer.bytes, as: UTF8.self))
  }

  private static let head = Phrase("PROFILE|POINTS|ALARMS|TITLE", "配置文件|测点|报警|名称")
  private static let none = Phrase("no profiles; looked in {0}", "没有配置文件；已查找 {0}")
}

extension ConfigurationOptions {
  /// Profiles where this configuration would look for them; it may be wrong, or not there at all.
  var library: ProfileLibrary {
    ProfileLibrary(searchPaths: profiles + ProfileFolders.usual + ["\(folder)/profiles"])
  }
}

/// A profile in words.
struct ProfileText {
  let profile: Profile

  init(_ profile: Profile) { self.profile = profile }

  var title: String { profile.title[Language.current.code] ?? profile.title["en"] ?? "" }

  var lines: [String] {
    var lines = ["\(profile.id)  \(title)"]
    if !profile.source.isEmpty { lines += Self.wrapped(profile.source) }
    var points = Table(Self.pointsHead().split(separator: "|").map(String.init))
    for point in profile.points {
      points.rows.append([
        Cell(point.name), Cell(Self.place(point)), Cell(point.isComputed ? "" : point.type.word),
        Cell(point.unit ?? ""),
        Cell(Self.interval(point)), Cell(Self.marks(point)),
      ])
    }
    lines += [""] + points.lines()
    guard !profile.alarms.isEmpty else { return lines }
    var alarms = Table(Self.alarmsHead().split(separator: "|").map(String.init))
    for alarm in profile.alarms {
      alarms.rows.append([
        Cell(alarm.name), Cell(Self.word(alarm.severity)), Cell(alarm.forNs == 0 ? "" : durationText(alarm.forNs)),
        Cell(alarm.when),
      ])
    }
    return lines + [""] + alarms.lines()
  }

  func head(into writer: inout JSONWriter) {
    writer.member("name", profile.id)
    writer.member("kind", profile.kind)
    writer.key("title")
    writer.object { for key in profile.title.keys.sorted() { $0.member(key, profile.title[key] ?? "") } }
    writer.member("points", profile.points.count)
    writer.member("alarms", profile.alarms.count)
  }

  func write(into writer: inout JSONWriter) {
    writer.member("name", profile.id)
    writer.member("kind", profile.kind)
    writer.key("title")
    writer.object { for key in profile.title.keys.sorted() { $0.member(key, profile.title[key] ?? "") } }
    writer.member("source", profile.source)
    writer.key("points")
    writer.array { list in
      for point in profile.points {
        list.object {
          $0.member("name", point.name)
          $0.member("read", Self.place(point))
          if !point.isComputed { $0.member("type", point.type.word) }
          if let unit = point.unit { $0.member("unit", unit) }
          $0.member("every_s", Double(point.everyNs) / 1e9)
          $0.member("personal", point.personal)
          $0.member("write", WriteAccess.words.first { $0.value == point.write }?.word ?? "no")
        }
      }
    }
    writer.key("alarms")
    writer.array { list in
      for alarm in profile.alarms {
        list.object {
          $0.member("name", alarm.name)
          $0.member("severity", Self.word(alarm.severity))
          $0.member("for_s", Double(alarm.forNs) / 1e9)
          $0.member("when", alarm.when)
        }
      }
    }
  }

  /// Where a value is read, as the profile writes it.
  static func place(_ point: PointSpec) -> String {
    if let compute = point.compute { return "= \(compute)" }
    switch point.source {
    case .register(let table, let address):
      let word = RegisterTable.words.first { $0.value == table }?.word ?? ""
      guard let bits = point.bits else { return "\(word) \(address)" }
      return "\(word) \(address) bits \(bits.lowerBound)" + (bits.count > 1 ? "..\(bits.upperBound)" : "")
    case .field(let number): return "field \(number)"
    case .column(let first, let last): return "column \(first)..\(last)"
    case .key(let name): return "key \(name)"
    case .byte(let number): return "byte \(number)"
    case .identifier(let item, let offset, _):
      let text = String(item, radix: 16, uppercase: true)
      return "di \(text)" + (offset > 0 ? " +\(offset)" : "")
    case .computed: return "="
    }
  }

  private static func interval(_ point: PointSpec) -> String {
    if point.isOccurrence || point.isComputed { return "" }
    return point.everyNs == 0 ? always() : durationText(point.everyNs)
  }

  private static func marks(_ point: PointSpec) -> String {
    var marks: [String] = []
    if point.personal { marks.append(personal()) }
    if point.write != .no { marks.append(writable()) }
    if !point.windows.isEmpty { marks.append(windows("\(point.windows.count)")) }
    return marks.joined(separator: ", ")
  }

  private static func word(_ severity: Severity) -> String {
    Severity.words.first { $0.value == severity }?.word ?? ""
  }

  /// Cut at spaces into what fits the screen.
  static func wrapped(_ text: String, width: Int = Table.widthMax - 2) -> [String] {
    var lines: [String] = []
    var line = ""
    for word in text.split(separator: " ") {
      if !line.isEmpty, Table.width(line) + 1 + Table.width(String(word)) > width {
        lines.append("  " + line)
        line = ""
      }
      line += (line.isEmpty ? "" : " ") + word
    }
    return line.isEmpty ? lines : lines + ["  " + line]
  }

  private static let pointsHead = Phrase("POINT|READ|TYPE|UNIT|EVERY|", "测点|读取|类型|单位|间隔|")
  private static let alarmsHead = Phrase("ALARM|SEVERITY|FOR|WHEN", "报警|级别|持续|条件")
  private static let always = Phrase("always", "尽快")
  private static let personal = Phrase("personal", "个人数据")
  private static let writable = Phrase("can be written", "可写")
  private static let windows = Phrase("windows: {0}", "窗口：{0}")
}
