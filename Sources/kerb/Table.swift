// Columns for a terminal of 80 characters, and the texts of numbers, sizes, spans and times that stand in them.

import Gateway
import Glibc

enum Colour: String {
  case plain = "", red = "31", yellow = "33", green = "32", bold = "1"

  /// Only on a terminal, and never against NO_COLOR (no-color.org).
  static let isOn = isatty(1) == 1 && environment("NO_COLOR") == nil && environment("TERM") != "dumb"

  func apply(_ text: String) -> String {
    self == .plain || !Self.isOn ? text : "\u{1B}[\(rawValue)m\(text)\u{1B}[0m"
  }
}

struct Cell: ExpressibleByStringLiteral {
  var text: String
  var colour = Colour.plain
  init(_ text: String, _ colour: Colour = .plain) {
    self.text = text
    self.colour = colour
  }
  init(stringLiteral text: String) { self.init(text) }
}

struct Table {
  static let widthMax = 80
  /// A column is not cut below this.
  private static let columnMin = 6

  let titles: [String]
  /// Columns of numbers.
  let rightAligned: Set<Int>
  /// Columns of names that somebody will copy.
  let whole: Set<Int>
  var rows: [[Cell]] = []

  init(_ titles: [String], rightAligned: Set<Int> = [], whole: Set<Int> = []) {
    self.titles = titles
    self.rightAligned = rightAligned
    self.whole = whole
  }

  /// The lines; the widest columns are cut until they fit, numbers and what must stay whole never.
  func lines(width: Int = widthMax) -> [String] {
    var widths = titles.map(Self.width)
    for row in rows {
      for (index, cell) in row.enumerated() where index < widths.count {
        widths[index] = max(widths[index], Self.width(cell.text))
      }
    }
    let between = 2 * (widths.count - 1)
    while widths.reduce(between, +) > width {
      let candidates = widths.indices.filter {
        !rightAligned.contains($0) && !whole.contains($0) && widths[$0] > Self.columnMin
      }
      guard let widest = candidates.max(by: { widths[$0] < widths[$1] }) else { break }
      widths[widest] -= 1
    }
    return [line(titles.map { Cell($0, .bold) }, widths)] + rows.map { line($0, widths) }
  }

  private func line(_ cells: [Cell], _ widths: [Int]) -> String {
    var line = ""
    for (index, cell) in cells.enumerated() where index < widths.count {
      if index > 0 { line += "  " }
      let text = Self.cut(cell.text, to: widths[index])
      let space = String(repeating: " ", count: max(0, widths[index] - Self.width(text)))
      let shown = cell.colour.apply(text)
      if rightAligned.contains(index) {
        line += space + shown
      } else {
        line += index == cells.count - 1 ? shown : shown + space
      }
    }
    return line
  }

  /// Cells that the text takes: Chinese characters take two.
  static func width(_ text: String) -> Int {
    text.unicodeScalars.reduce(0) { $0 + width($1) }
  }

  private static func width(_ scalar: Unicode.Scalar) -> Int {
    switch scalar.value {
    case 0..<0x20, 0x300..<0x370, 0x200B...0x200F, 0xFE00...0xFE0F: return 0
    case 0x1100..<0x1160, 0x2E80..<0xA4D0, 0xAC00..<0xD7A4, 0xF900..<0xFB00, 0xFE30..<0xFE70, 0xFF00..<0xFF61,
      0xFFE0..<0xFFE7, 0x1F300..<0x1F650, 0x20000..<0x40000:
      return 2
    default: return 1
    }
  }

  static func cut(_ text: String, to limit: Int) -> String {
    guard width(text) > limit else { return text }
    var result = ""
    var used = 1
    for character in text {
      used += width(String(character))
      if used > limit { break }
      result.append(character)
    }
    return result + "…"
  }
}

enum Shown {
  /// "1.5 MiB"
  static func bytes(_ count: Int64) -> String {
    let units = ["B", "KiB", "MiB", "GiB"]
    var value = Double(count)
    var unit = 0
    while value >= 1_024, unit < units.count - 1 {
      value /= 1_024
      unit += 1
    }
    return unit == 0 ? "\(count) B" : "\(tenths(value)) \(units[unit])"
  }

  /// "3 s", "2 min", "4 h", "5 d"
  static func span(seconds: Double) -> String {
    switch seconds {
    case ..<1: return "\(Int(seconds * 1_000)) ms"
    case ..<120: return "\(Int(seconds)) s"
    case ..<7_200: return "\(Int(seconds / 60)) min"
    case ..<172_800: return "\(Int(seconds / 3_600)) h"
    default: return "\(Int(min(seconds / 86_400, 1e9))) d"
    }
  }

  static func percent(_ part: Double) -> String { "\(Int((min(max(part, 0), 9.99) * 100).rounded()))%" }

  /// One digit behind the point.
  static func tenths(_ value: Double) -> String {
    let scaled = Int64((min(max(value, -1e15), 1e15) * 10).rounded())
    return "\(scaled < 0 ? "-" : "")\(abs(scaled) / 10).\(abs(scaled) % 10)"
  }

  /// "2026-11-21 09:30:05", in the zone of this terminal.
  static func time(unix seconds: Double) -> String {
    var moment = time_t(min(max(seconds, 0), 1e11))
    var parts = tm()
    localtime_r(&moment, &parts)
    func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
    return "\(parts.tm_year + 1_900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday)) "
      + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
  }

  static func integer(_ value: JSONValue?) -> String { value?.integer.map(String.init) ?? "-" }

  /// Any scalar as JSON writes it, strings bare.
  static func scalar(_ value: JSONValue) -> String {
    if let text = value.string { return text }
    var writer = JSONWriter()
    writer.value(value)
    return String(decoding: writer.bytes, as: UTF8.self)
  }

  /// "41 ms"
  static func milliseconds(_ value: JSONValue?) -> String { value?.double.map { "\(Int($0.rounded())) ms" } ?? "-" }

  /// "3.5 ms"
  static func tenths(ms: JSONValue?) -> String { ms?.double.map { "\(tenths($0)) ms" } ?? "-" }

  static func age(ms: JSONValue?) -> String {
    ms?.double.map { span(seconds: $0 / 1_000) } ?? Messages.text(.never)
  }
}
