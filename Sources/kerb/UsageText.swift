// Help and usage as ArgumentParser makes them, with the usage broken where it passes 80 columns: the parser wraps all
// but that line. Pure.

enum UsageText {
  static func wrapped(_ text: String) -> String {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    return lines.flatMap { line in
      line.lowercased().hasPrefix("usage: ") && line.count > Table.widthMax ? usage(line) : [String(line)]
    }.joined(separator: "\n")
  }

  /// What belongs together stays so: a bracket's inside, and an option with its value.
  private static func usage(_ line: Substring) -> [String] {
    var parts: [String] = []
    var depth = 0
    for word in line.split(separator: " ") {
      let joins = depth > 0 || word == "..." || (word.hasPrefix("<") && parts.last?.hasPrefix("--") == true)
      if joins, let last = parts.popLast() { parts.append("\(last) \(word)") } else { parts.append(String(word)) }
      depth += word.count { $0 == "[" } - word.count { $0 == "]" }
    }
    var lines: [String] = []
    var current = ""
    for part in parts {
      if current.count + 1 + part.count > Table.widthMax {
        lines.append(current)
        current = String(repeating: " ", count: "usage:".count)
      }
      current += current.isEmpty ? part : " \(part)"
    }
    return lines + [current]
  }
}
