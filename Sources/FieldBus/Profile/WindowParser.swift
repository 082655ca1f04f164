// A point's windows: how long, and what is computed over each.

import StreamCore

enum WindowParser {
  /// `everyNs`: the interval at which the point is read.
  static func windows(of reader: TableReader, everyNs: Int64) -> [WindowSpec] {
    var result: [WindowSpec] = []
    for window in reader.tables("windows") {
      window.require("every")
      let every = window.duration("every", in: Limits.windowNsMin...Limits.intervalNsMax)
      let slide = window.duration("slide", in: Limits.windowNsMin...Limits.intervalNsMax)
      let lateness = window.duration("lateness", in: 0...Limits.intervalNsMax) ?? 0
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
      if lateness > every {
        window.report("lateness", "\(durationText(lateness)) is longer than the window: at most \(durationText(every))")
      }
      var spec = WindowSpec(everyNs: every, latenessNs: min(lateness, every), statistics: statistics)
      if let slide, isPane(slide, of: every, window) { spec.slideNs = slide }
      result.append(spec)
    }
    if result.count > Limits.windowsPerPointMax {
      reader.report("windows", "has \(result.count) windows: allowed are \(Limits.windowsPerPointMax)")
    }
    return result
  }

  /// A window that slides is made of equal panes.
  private static func isPane(_ slide: Int64, of every: Int64, _ window: TableReader) -> Bool {
    let most = Int64(Limits.panesPerWindowMax)
    if slide > every || every % slide != 0 {
      window.report("slide", "\(durationText(slide)) does not divide the window's \(durationText(every)) evenly")
      return false
    }
    if every / slide > most {
      window.report(
        "slide",
        "makes \(every / slide) panes: allowed are \(most), so at least \(durationText((every + most - 1) / most))")
      return false
    }
    return true
  }

  private static func statistics(_ window: TableReader) -> [Statistic] {
    window.require("stats")
    guard let words = window.placedStrings("stats") else { return [] }
    if words.isEmpty { window.report("stats", "is empty: name at least one statistic") }
    var result: [Statistic] = []
    for (word, place) in words {
      let key = window.keyPath("stats")
      if let statistic = Statistic.words.first(where: { $0.word == word })?.value {
        if result.contains(statistic) { window.diagnostics.report(place, key, "\"\(word)\" is named twice") }
        result.append(statistic)
      } else {
        window.diagnostics.report(place, key, TableReader.unknownWord(word, among: Statistic.words.map(\.word)))
      }
    }
    return result
  }
}
