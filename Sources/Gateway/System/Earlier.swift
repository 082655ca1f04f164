// What this agent has done in houses that a reload has replaced: counts that begin anew with each house.

import Store

package struct Earlier: Sendable, Equatable {
  /// By buses that are gone, by the box's own alarms, by commands.
  package var produced: Int64 = 0
  package var lost: Int64 = 0
  package var accepted: Int64 = 0
  package var commits: Int64 = 0
  package var failures: Int64 = 0

  package init() {}

  /// `report`: the last one of a store that is closed.
  mutating func add(_ report: StoreReport) {
    accepted += report.acceptedSamples + report.acceptedEvents
    commits += report.commits
    failures += report.failures
  }
}
