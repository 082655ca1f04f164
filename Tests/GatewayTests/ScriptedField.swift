// A field that says what it is told to say.

import FieldBus
import Gateway
import StreamCore
import Synchronization

final class ScriptedField: FieldView {
  struct Reports {
    var buses: [BusReport] = []
    var devices: [DeviceReport] = []
    var points: [PointReport] = []
    var frames: [LineFrame] = []
    /// What was asked of the buses, and how they answer.
    var asked: [LineRequest] = []
    var forgotten: [Int] = []
    var clockOffsetNs: Int64?
    var answer: @Sendable (LineRequest) -> Result<LineReply, LineFailure> = { _ in .failure(.noReply) }
  }
  let reports: Mutex<Reports>

  init(_ catalogue: Catalogue) {
    var reports = Reports()
    var bus = BusReport()
    bus.name = "rs485-1"
    bus.state = .running
    bus.utilisation = 0.5
    bus.produced = 120
    reports.buses = [bus]
    for device in catalogue.devices {
      var report = DeviceReport()
      report.name = device.name
      report.kind = device.kind
      report.bus = device.bus
      report.address = device.address
      report.state = .online
      reports.devices.append(report)
    }
    reports.points = Array(repeating: PointReport(), count: catalogue.pointCount)
    self.reports = Mutex(reports)
  }

  func change(_ body: (inout Reports) -> Void) { reports.withLock { body(&$0) } }
  var busCount: Int { reports.withLock { $0.buses.count } }
  var deviceCount: Int { reports.withLock { $0.devices.count } }
  var pointCount: Int { reports.withLock { $0.points.count } }
  var clockOffsetNs: Int64? { reports.withLock { $0.clockOffsetNs } }
  func bus(_ index: Int) -> BusReport { reports.withLock { $0.buses[index] } }
  func device(_ index: Int) -> DeviceReport { reports.withLock { $0.devices[index] } }
  func point(_ index: Int) -> PointReport { reports.withLock { $0.points[index] } }
  func frames(_ bus: Int, after number: Int64) -> [LineFrame] {
    reports.withLock { $0.frames.filter { $0.number > number } }
  }
  func forget(_ device: Int, until deadline: Instant) throws(LineFailure) {
    reports.withLock {
      $0.forgotten.append(device)
      $0.devices[device].refusedBefore = 0
    }
  }
  func ask(_ request: LineRequest, bus: Int, until deadline: Instant) throws(LineFailure) -> LineReply {
    let answer = reports.withLock {
      $0.asked.append(request)
      return $0.answer
    }
    return try answer(request).get()
  }
}
