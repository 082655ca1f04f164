// What the agent will write to the flash in a day, and for how many years that lasts. Pure.

import FieldBus
import StreamCore

package struct FlashPlan: Sendable {
  /// Samples a second at the most: every reading and every window reported.
  package var samplesPerSecond = 0.0
  /// Bytes that reach the block device in a day, at the most.
  package var bytesPerDay: Double = 0
  package var enduranceTBW: Double?

  /// A commit's open page in the log; a sample in the log, again while its page fills, and in the file (decision 009:
  /// 13.4 bytes a sample of a commit of 600). A cursor's commit: two pages.
  private static let bytesPerCommit = 4_120.0
  private static let bytesPerSample = 6.5
  private static let bytesPerCursors = 8_240.0

  package init(_ configuration: Configuration) {
    for device in configuration.devices {
      for point in device.points {
        samplesPerSecond += point.readingsPerSecond
        for window in point.windows {
          samplesPerSecond += Double(window.statistics.count) * 1e9 / Double(window.slideNs)
        }
      }
    }
    let day = 86_400.0
    bytesPerDay = day * 1e9 / Double(configuration.commitNs) * Self.bytesPerCommit
    bytesPerDay += samplesPerSecond * day * Self.bytesPerSample
    if !configuration.cursorOwners.isEmpty {
      bytesPerDay += day * 1e9 / Double(Limits.cursorCommitNs) * Self.bytesPerCursors
    }
    enduranceTBW = configuration.enduranceTBW
  }

  /// Of new flash. Nil: nobody knows what it bears.
  package var years: Double? { Self.years(bytesPerDay: bytesPerDay, enduranceTBW: enduranceTBW) }

  package static func years(bytesPerDay: Double, enduranceTBW: Double?) -> Double? {
    guard let enduranceTBW, bytesPerDay > 0 else { return nil }
    return enduranceTBW * 1e12 / (bytesPerDay * 365.25)
  }
}
