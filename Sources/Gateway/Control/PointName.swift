// Which point, bus or register a command means, in a checked configuration.

import FieldBus
import StreamCore

package struct NameProblem: Error, Sendable { package var text: String }

package enum PointName {
  package struct Found: Sendable {
    package var device: DeviceSpec
    package var point: PointSpec
    /// The point's number in the site, and its series'.
    package var number: Int
  }

  package static func find(_ device: String, _ point: String, in devices: [DeviceSpec]) -> Result<Found, NameProblem> {
    guard let index = devices.firstIndex(where: { $0.name == device }) else {
      return .failure(NameProblem(text: missing("device", device, devices.map(\.name))))
    }
    let points = devices[index].points
    guard let place = points.firstIndex(where: { $0.name == point }) else {
      return .failure(NameProblem(text: missing("point", "\(device)/\(point)", points.map(\.name), typed: point)))
    }
    let before = devices[..<index].reduce(0) { $0 + $1.points.count }
    return .success(Found(device: devices[index], point: points[place], number: before + place))
  }

  package static func noDevice(_ name: String, _ devices: [DeviceSpec]) -> String {
    missing("device", name, devices.map(\.name))
  }

  package static func noBus(_ name: String, _ buses: [BusSpec]) -> String { noBus(name, among: buses.map(\.name)) }
  package static func noBus(_ name: String, among buses: [String]) -> String { missing("bus", name, buses) }

  private static func missing(_ what: String, _ name: String, _ all: [String], typed: String? = nil) -> String {
    var text = "there is no \(what) \(name.prefix(80))"
    if let near = nearestMatch(to: typed ?? name, among: all) {
      text += "; did you mean \(near)?"
    } else if !all.isEmpty, all.count <= 12 {
      text += "; there are: \(all.joined(separator: ", "))"
    }
    return text
  }
}

/// Registers that are read for nobody.
package enum PersonalItems {
  /// "meter-1/card" if a meter's question asks for that point's item, of that meter or of one that it could be.
  package static func point(touchedBy question: MeterQuestion, bus: Int, devices: [DeviceSpec]) -> String? {
    for device in devices where device.bus == bus && device.meterAddress?.matches(question.address) == true {
      for point in device.points where point.personal {
        if case .identifier(question.identifier, _, _) = point.source { return "\(device.name)/\(point.name)" }
      }
    }
    return nil
  }
}

package enum PersonalRegisters {
  /// "gate-1/card" if the frame reads any of that point's registers.
  package static func point(touchedBy frame: [UInt8], bus: Int, devices: [DeviceSpec]) -> String? {
    guard frame.count >= 6, let table = RegisterTable.allCases.first(where: { $0.readFunction == frame[1] }) else {
      return nil
    }
    let first = Int(frame[2]) << 8 | Int(frame[3])
    let asked = first..<(first + max(1, Int(frame[4]) << 8 | Int(frame[5])))
    for device in devices where device.bus == bus && device.address == Int(frame[0]) {
      for point in device.points where point.personal {
        guard case .register(table, let address) = point.source else { continue }
        if asked.overlaps(address..<(address + (table.isBits ? 1 : point.type.registers))) {
          return "\(device.name)/\(point.name)"
        }
      }
    }
    return nil
  }
}
