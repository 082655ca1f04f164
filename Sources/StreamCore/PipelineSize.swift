// How many of each thing a bus's pipeline has, and the memory that follows: what `kerb plan` sums.

package struct PipelineSize: BitwiseCopyable, Sendable {
  package var points = 0
  package var windows = 0
  package var alarms = 0
  /// Words of 8 bytes of the programs' code; what they keep between two evaluations; other devices' points that
  /// they name.
  package var codeWords = 0
  package var cells = 0
  package var links = 0
  package init() {}

  package var pointBytes: Int {
    Arena.bytes(of: PointRule.self, count: points) + Arena.bytes(of: PointState.self, count: points)
  }
  package var windowBytes: Int {
    Arena.bytes(of: WindowRule.self, count: windows) + Arena.bytes(of: WindowState.self, count: windows)
  }
  package var alarmBytes: Int {
    Arena.bytes(of: AlarmRule.self, count: alarms) + Arena.bytes(of: AlarmMachine.self, count: alarms)
  }
  package var programBytes: Int {
    Arena.bytes(of: UInt64.self, count: codeWords) + Arena.bytes(of: Int64.self, count: cells)
      + Arena.bytes(of: Link.self, count: links)
  }
  package var bytes: Int { pointBytes + windowBytes + alarmBytes + programBytes }
}
