// What the house shows of the field, copies made by any thread without stopping a bus; and what may be asked of a bus.

import FieldBus
import StreamCore

package protocol FieldView: Sendable {
  var busCount: Int { get }
  var deviceCount: Int { get }
  var pointCount: Int { get }
  /// Wall time = monotonic time + this; nil: it is not known.
  var clockOffsetNs: Int64? { get }
  func bus(_ index: Int) -> BusReport
  func device(_ index: Int) -> DeviceReport
  /// A point's number is that of its own series.
  func point(_ index: Int) -> PointReport
  func frames(_ bus: Int, after number: Int64) -> [LineFrame]
  /// Blocks; not on an event loop.
  func forget(_ device: Int, until deadline: Instant) throws(LineFailure)
  /// Blocks; not on an event loop.
  func ask(_ request: LineRequest, bus: Int, until deadline: Instant) throws(LineFailure) -> LineReply
}
