// What the journal says of the store: what fails when it begins to fail, and that it works again. Pure.

import Store

package struct StoreNews {
  package struct Line: Equatable {
    package var isTrouble: Bool
    package var text: String
  }

  private var failures: Int64 = 0
  private var state = StoreState.good
  private var said = ""

  package init() {}

  /// Nil: nothing new. A failure that is met again every second is said once.
  package mutating func hear(_ report: StoreReport) -> Line? {
    let isTrouble = report.failures > failures || report.state != .good
    let isNew = report.lastFailure != said || report.state != state
    defer { (failures, state) = (report.failures, report.state) }
    if isTrouble {
      said = report.lastFailure
      return isNew ? Line(isTrouble: true, text: report.lastFailure) : nil
    }
    guard state != .good else { return nil }
    said = ""
    return Line(isTrouble: false, text: "the store works again")
  }
}
