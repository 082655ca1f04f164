// What the journal says of the store beside its troubles: damage that it met and dealt with, and goes on. What keeps it
// from its work stands among the box's troubles, with what to do (`StateRoom`). Pure.

import Store

package struct StoreNews {
  private var failures: Int64 = 0
  private var said = ""

  package init() {}

  /// Nil: nothing new. A failure that is met again every second is said once.
  package mutating func hear(_ report: StoreReport) -> String? {
    defer { failures = report.failures }
    guard report.state == .good, report.failures > failures else {
      said = ""
      return nil
    }
    defer { said = report.lastFailure }
    return report.lastFailure == said ? nil : report.lastFailure
  }
}
