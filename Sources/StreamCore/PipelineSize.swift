// How many of each thing a bus's pipeline has, and the memory that follows: what `kerb plan` sums.

package struct PipelineSize: BitwiseCopyable, Sendable {
  package var points = 0
  /// Rules are shared by points, and windows, of the same kind.
  package var pointRules = 0
  package var conditioningRules = 0
  package var windows = 0
  package var windowRules = 0
  /// Words of 8 bytes that the points' conditioning and the windows' panes keep; of these, the quantiles' sketches.
  package var conditioningWords = 0
  package var windowWords = 0
  package var sketchWords = 0
  package var alarms = 0
  package var alarmRules = 0
  /// Relations of one alarm that explains another.
  package var suppressors = 0
  /// Words of 8 bytes of the programs' code; what they keep between two evaluations; other devices' points that
  /// they name.
  package var codeWords = 0
  package var cells = 0
  package var links = 0
  /// Points that are computed.
  package var computed = 0
  package init() {}

  /// What each alarm takes beside the rules and programs that it shares. Sixty-four of anything fill whole cache
  /// lines.
  package static var bytesPerAlarm: Int {
    var size = PipelineSize()
    size.alarms = 64
    let some = size.alarmBytes
    size.alarms = 128
    return (size.alarmBytes - some) / 64
  }

  /// Counts the windows of a point, and what it keeps for its conditioning.
  package mutating func add(windows rules: UnsafeBufferPointer<WindowRule>, conditioning: ConditioningRule?) {
    points += 1
    conditioningWords += conditioning?.words ?? 0
    for rule in rules {
      windows += 1
      windowWords += rule.words
      sketchWords += rule.sketchWords
    }
  }

  package var pointBytes: Int {
    Arena.bytes(of: PointRule.self, count: pointRules) + Arena.bytes(of: PointState.self, count: points)
  }
  package var conditioningBytes: Int {
    Arena.bytes(of: ConditioningRule.self, count: conditioningRules)
      + Arena.bytes(of: Int64.self, count: conditioningWords)
  }
  package var windowBytes: Int {
    Arena.bytes(of: WindowRule.self, count: windowRules) + Arena.bytes(of: WindowState.self, count: windows)
      + Arena.bytes(of: Int64.self, count: windowWords + Accumulators.plainWordsMax) - sketchBytes
  }
  package var sketchBytes: Int { sketchWords * 8 }
  package var alarmBytes: Int {
    Arena.bytes(of: AlarmRule.self, count: alarmRules) + Arena.bytes(of: AlarmPlace.self, count: alarms)
      + Arena.bytes(of: AlarmMachine.self, count: alarms) + Arena.bytes(of: UInt16.self, count: suppressors)
  }
  package var programBytes: Int {
    Arena.bytes(of: UInt64.self, count: codeWords) + Arena.bytes(of: Int64.self, count: cells)
      + Arena.bytes(of: Link.self, count: links) + Arena.bytes(of: ComputedRule.self, count: computed)
  }
  package var bytes: Int {
    pointBytes + conditioningBytes + windowBytes + sketchBytes + alarmBytes + programBytes
  }
}
