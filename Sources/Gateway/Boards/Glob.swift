// Patterns with * (any run of characters) and ? (one), as udev's rules have them. Values only.

package enum Glob {
  package static func matches(_ pattern: String, _ text: String) -> Bool {
    matches(Array(pattern.utf8)[...], Array(text.utf8)[...])
  }

  /// There is a text that both match.
  package static func overlap(_ one: String, _ two: String) -> Bool {
    overlap(Array(one.utf8)[...], Array(two.utf8)[...])
  }

  private static let any = UInt8(ascii: "*")
  private static let single = UInt8(ascii: "?")

  /// Goes back to the last star only: no more steps than pattern times text.
  private static func matches(_ pattern: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>) -> Bool {
    var (at, here) = (pattern.startIndex, text.startIndex)
    var retry: (pattern: Int, text: Int)?
    while here < text.endIndex {
      if at < pattern.endIndex, pattern[at] == any {
        retry = (at + 1, here)
        at += 1
      } else if at < pattern.endIndex, pattern[at] == single || pattern[at] == text[here] {
        at += 1
        here += 1
      } else if let last = retry {
        retry = (last.pattern, last.text + 1)
        (at, here) = (last.pattern, last.text + 1)
      } else {
        return false
      }
    }
    return pattern[at...].allSatisfy { $0 == any }
  }

  /// A table of suffixes against suffixes: patterns are short.
  private static func overlap(_ one: ArraySlice<UInt8>, _ two: ArraySlice<UInt8>) -> Bool {
    let (a, b) = (Array(one), Array(two))
    var table = Array(repeating: Array(repeating: false, count: b.count + 1), count: a.count + 1)
    for i in stride(from: a.count, through: 0, by: -1) {
      for j in stride(from: b.count, through: 0, by: -1) {
        if i == a.count, j == b.count {
          table[i][j] = true
        } else if i < a.count, a[i] == any {
          table[i][j] = table[i + 1][j] || (j < b.count && table[i][j + 1])
        } else if j < b.count, b[j] == any {
          table[i][j] = table[i][j + 1] || (i < a.count && table[i + 1][j])
        } else if i < a.count, j < b.count {
          table[i][j] = (a[i] == b[j] || a[i] == single || b[j] == single) && table[i + 1][j + 1]
        }
      }
    }
    return table[0][0]
  }
}
