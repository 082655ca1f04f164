// The devices of the box by name, for the expressions that name points of others.

import StreamCore

package struct SiteNames: Sendable {
  package private(set) var devices: [DeviceSpec]
  private let numbers: [String: Int]
  /// By device: points that were reported as wrong. Who names one makes no second mistake.
  private let broken: [Set<String>]
  /// Everything could be read: a device that isn't found isn't there. By device: the same of its points.
  private let isComplete: Bool
  private let isKnown: [Bool]

  package init(
    _ devices: [DeviceSpec], broken: [Set<String>]? = nil, known: [Bool]? = nil, isComplete: Bool = true
  ) {
    self.devices = devices
    self.broken = broken ?? Array(repeating: [], count: devices.count)
    isKnown = known ?? Array(repeating: true, count: devices.count)
    self.isComplete = isComplete
    numbers = Dictionary(
      devices.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// Of a computed point: the unit of its expression.
  package mutating func setUnit(_ unit: String, of target: LinkTarget) {
    devices[target.device].points[target.point].unit = unit
  }

  package enum Found {
    case point(device: Int, point: Int)
    /// Something before was wrong: nothing can be said about it.
    case unclear
    case missing(String)
  }

  /// What a device of its own names.
  package func own(_ name: String, of device: Int) -> Found {
    let points = devices[device].points
    if let point = points.firstIndex(where: { $0.name == name }) { return .point(device: device, point: point) }
    if broken[device].contains(name) || !isKnown[device] { return .unclear }
    var message = "no point is named \"\(name)\""
    if let near = nearestMatch(to: name, among: points.map(\.name)) {
      message += "; did you mean \"\(near)\"?"
    } else if name.contains("-") {
      message += "; to subtract, put spaces around the minus"
    } else {
      message += "; known here: \(points.map(\.name).sorted().joined(separator: ", "))"
    }
    return .missing(message)
  }

  /// "pump-1.flow": names may have dots, so the last dot behind a device's name is taken.
  package func foreign(_ text: String) -> Found {
    let dots = text.indices.filter { text[$0] == "." }
    for dot in dots.reversed() {
      guard let device = numbers[String(text[..<dot])] else { continue }
      let name = String(text[text.index(after: dot)...])
      let points = devices[device].points
      if let point = points.firstIndex(where: { $0.name == name }) { return .point(device: device, point: point) }
      if broken[device].contains(name) || !isKnown[device] { return .unclear }
      let known = points.map(\.name)
      var message = "\(devices[device].name) has no point \"\(name)\""
      if let near = nearestMatch(to: name, among: known) {
        message += "; did you mean \"@\(devices[device].name).\(near)\"?"
      } else {
        message += "; it has \(known.sorted().joined(separator: ", "))"
      }
      return .missing(message)
    }
    guard isComplete, let dot = dots.last else { return .unclear }
    let name = String(text[..<dot])
    var message = "no device is named \"\(name)\""
    if let near = nearestMatch(to: name, among: numbers.keys) {
      message += "; did you mean \"@\(near)\(text[dot...])\"?"
    } else {
      message += ": write @device.point with a device of this configuration"
    }
    return .missing(message)
  }
}
