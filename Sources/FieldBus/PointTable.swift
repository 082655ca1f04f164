// The points and windows of one bus as its pipeline will hold them: those of one kind share their rules.

import StreamCore

package struct PointTable: Sendable {
  package private(set) var places: [PointPlace] = []
  package private(set) var rules: [PointRule] = []
  package private(set) var conditioningRules: [ConditioningRule] = []
  package private(set) var conditioningWords = 0
  package private(set) var windows: [WindowState] = []
  package private(set) var windowRules: [WindowRule] = []
  package private(set) var windowWords = 0
  private(set) var sketchWords = 0
  private var knownRules: [PointRule: Int] = [:]
  private var knownConditioning: [ConditioningRule: Int] = [:]
  private var knownWindows: [WindowRule: Int] = [:]

  package init() {}

  /// `series`: the site's number of the point; `firstWindowSeries`: of the first series of its windows.
  mutating func add(_ spec: PointSpec, series: Int, firstWindowSeries: Int) {
    var rule = PointRule(spec)
    let words = conditioningWords
    if let conditioning = spec.conditioning {
      rule.conditioning = UInt16(Self.place(conditioning, &conditioningRules, &knownConditioning) + 1)
      conditioningWords += conditioning.words
    }
    var next = firstWindowSeries
    places.append(
      PointPlace(
        rule: Self.place(rule, &rules, &knownRules), series: series, firstWindow: windows.count, words: words))
    for window in spec.windows {
      let rule = WindowRule(window)
      windows.append(
        WindowState(
          rule: Self.place(rule, &windowRules, &knownWindows), point: places.count - 1, firstSeries: next,
          words: windowWords))
      next += window.statistics.count
      windowWords += rule.words
      sketchWords += rule.sketchWords
    }
  }

  private static func place<Rule: Hashable>(_ rule: Rule, _ rules: inout [Rule], _ known: inout [Rule: Int]) -> Int {
    if let index = known[rule] { return index }
    known[rule] = rules.count
    rules.append(rule)
    return rules.count - 1
  }

  func count(in size: inout PipelineSize) {
    size.points = places.count
    size.pointRules = rules.count
    size.conditioningRules = conditioningRules.count
    size.conditioningWords = conditioningWords
    size.windows = windows.count
    size.windowRules = windowRules.count
    size.windowWords = windowWords
    size.sketchWords = sketchWords
  }

  func fill(_ pipeline: inout Pipeline) {
    for (index, rule) in conditioningRules.enumerated() { pipeline.setConditioningRule(index, rule) }
    for (index, rule) in rules.enumerated() { pipeline.setPointRule(index, rule) }
    for (index, place) in places.enumerated() { pipeline.setPoint(index, place) }
    for (index, rule) in windowRules.enumerated() { pipeline.setWindowRule(index, rule) }
    for (index, window) in windows.enumerated() { pipeline.setWindow(index, window) }
  }
}

extension PointRule {
  package init(_ spec: PointSpec) {
    self.init()
    scale = spec.scale
    offset = spec.offset
    if let range = spec.range {
      low = range.lowerBound
      high = range.upperBound
    }
    deadband = spec.deadband
    isDeadbandRelative = spec.isDeadbandRelative
    heartbeatNs = spec.heartbeatNs
    // What speaks when it likes stands until it speaks again.
    // What is computed changes when its inputs do, and is bad when they are.
    validNs = spec.isOccurrence || spec.isComputed ? 0 : Swift.max(spec.everyNs * 3, Limits.validNsMin)
    encoding = spec.encoding
    windowCount = UInt8(spec.windows.count)
    isOccurrence = spec.isOccurrence
    isComputed = spec.isComputed
  }
}

extension WindowRule {
  package init(_ spec: WindowSpec) {
    self.init(everyNs: spec.everyNs, slideNs: spec.slideNs, latenessNs: spec.latenessNs)
    for statistic in spec.statistics { add(statistic) }
  }
}
