// A point's windows: how long, and what is computed over each.

import StreamCore

enum WindowParser {
  /// `everyNs`: the interval at which the point is read.
  static func windows(of reader: TableReader, everyNs: Int64) -> [WindowSpec] {
    var result: [WindowSpec] = []
    for window in reader.tables("windows") {
      window.notSupported("slide")
      window.require("every")
      let every = window.duration("every", in: Limits.windowNsMin...Limits.intervalNsMax)
      let statistics = statistics(window)
      window.finish()
      guard let every else { continue }
      if every < everyNs {
        window.report(
          "every", "is shorter than the point's own interval, \(durationText(everyNs)): a window would be empty")
      }
      if result.contains(where: { $0.everyNs == every }) {
        window.report("every", "there is a window of \(durationText(every)) already: add the statistics there")
      }
      result.append(WindowSpec(everyNs: every, statistics: statistics))
    }
    if result.count > Limits.windowsPerPointMax {
      reader.report("windows", "has \(result.count) windows: allowed are \(Limits.windowsPerPointMax)")
    }
    return result
  }

  private static func statistics(_ window: TableReader) -> [Statistic] {
    window.require("stats")
    guard let words = window.placedStrings("stats") else { return [] }
    if words.isEmpty { window.report("stats", "is empty: name at least one statistic") }
    var result: [Statistic] = []
    for (word, place) in words {
      let key = window.keyPath("stats")
      if Statistic.later.contains(word) {
        window.diagnostics.report(place, key, "\"\(word)\" is not supported yet")
      } else if let statistic = Statistic.words.first(where: { $0.word == word })?.value {
        if result.contains(statistic) { window.diagnostics.report(place, key, "\"\(word)\" is named twice") }
        result.append(statistic)
      } else {
        let all = Statistic.words.map(\.word) + Statistic.later
        window.diagnostics.report(place, key, TableReader.unknownWord(word, among: all))
      }
    }
    return result
  }
}
