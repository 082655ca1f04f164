// What the house shows of the field: copies, made by any thread without stopping a bus.

import FieldBus

package protocol FieldView: Sendable {
  var busCount: Int { get }
  var deviceCount: Int { get }
  var pointCount: Int { get }
  func bus(_ index: Int) -> BusReport
  func device(_ index: Int) -> DeviceReport
  /// A point's number is that of its own series.
  func point(_ index: Int) -> PointReport
}
