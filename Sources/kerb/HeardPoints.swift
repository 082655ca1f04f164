// What a frame says that a device has sent unasked: its points' values, as its profile has them. Personal points are
// left out: their frames come as zeros.

import FieldBus
import Gateway

struct HeardPoints {
  private var spec: FrameSpec?
  private var points: [(spec: PointSpec, series: CatalogueSeries)] = []

  /// None.
  init() {}

  /// Of a bus that is asked there are none: which frame holds which point is the questions' matter.
  init(bus: String, _ configuration: Configuration?) {
    guard let configuration, let index = configuration.buses.firstIndex(where: { $0.name == bus }),
      configuration.buses[index].busProtocol == .serial
    else { return }
    let catalogue = Catalogue(configuration)
    var number = 0
    for device in configuration.devices {
      defer { number += device.points.count }
      guard device.bus == index, !device.isAsked else { continue }
      spec = device.frame
      for (place, point) in device.points.enumerated() where !point.personal && !point.isComputed {
        points.append((point, catalogue.series[number + place]))
      }
    }
  }

  /// {point, v or vb or vs, label, u, q, bytes} of each.
  func values(_ frame: LineFrame) -> [JSONValue] {
    guard let spec, frame.kind == .reply, !frame.isMasked, frame.length == frame.bytes.count else { return [] }
    return points.compactMap { point, series in
      guard let reading = FrameReading.point(point, unasked: frame.bytes, spec) else { return nil }
      var writer = JSONWriter()
      PointAnswer(point.name, series).write(reading, into: &writer)
      guard case .object(let members)? = try? JSONParser.parse(writer.bytes) else { return nil }
      return .object(members.filter { $0.name != "took_ms" })
    }
  }

  /// "tilt 4.2 deg · state 1 open"
  func text(_ frame: LineFrame) -> String? {
    let values = values(frame)
    if values.isEmpty { return nil }
    return values.map { "\($0["point"]?.string ?? "") \(PointDesk.value($0))" }.joined(separator: " · ")
  }

  /// A line of text as it was sent, what can't be printed by its number; nil: bytes.
  static func line(_ bytes: [UInt8]) -> String? {
    guard !bytes.isEmpty, String(validating: bytes, as: UTF8.self) != nil else { return nil }
    let odd = bytes.filter { $0 < 0x20 || $0 == 0x7F }.count
    guard odd <= 4, odd < bytes.count else { return nil }
    var text = "\""
    for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
      switch scalar.value {
      case 0x0D: text += "\\r"
      case 0x0A: text += "\\n"
      case 0x22, 0x5C: text += "\\" + String(scalar)
      case 0..<0x20, 0x7F...0x9F: text += "\\x" + Hexadecimal.text([UInt8(truncatingIfNeeded: scalar.value)])
      default: text.unicodeScalars.append(scalar)
      }
    }
    return text + "\""
  }
}
