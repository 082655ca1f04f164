// The points of other devices that a bus's expressions name, looked up on the boards: each bus writes its own, and
// everybody may read them. Owned by the bus's thread, in its arena. A look never waits: a cell that is being written
// keeps its last value here until the next look.

import StreamCore

/// Where a link's value comes from, known before the buses run.
package struct LinkPlace: Sendable {
  var bus: Int
  /// Among the bus's points.
  var point: Int
  var encoding: Encoding
  var scale: Double
  var offset: Double

  static func all(_ targets: [LinkTarget], of devices: [DeviceSpec]) -> [LinkPlace] {
    guard !targets.isEmpty else { return [] }
    var firstPoint: [Int] = []
    var pointsOfBus: [Int: Int] = [:]
    for device in devices {
      firstPoint.append(pointsOfBus[device.bus, default: 0])
      pointsOfBus[device.bus, default: 0] += device.points.count
    }
    return targets.map { target in
      let spec = devices[target.device].points[target.point]
      return LinkPlace(
        bus: devices[target.device].bus, point: firstPoint[target.device] + target.point, encoding: spec.encoding,
        scale: spec.scale, offset: spec.offset)
    }
  }
}

private struct LinkSource: BitwiseCopyable {
  var board: PointBoard
  var point: UInt16
  var encoding: Encoding
  var scale: Double
  var offset: Double
}

package struct LinkTable: ~Copyable {
  private let sources: UnsafeMutablePointer<LinkSource>
  private let count: Int

  package static func bytes(_ layout: BusLayout) -> Int {
    Arena.bytes(of: LinkSource.self, count: layout.links.count)
  }

  /// `boards`: of all buses, by their number; the bus's own is one of them.
  package init(_ layout: BusLayout, boards: [PointBoard], own: PointBoard, arena: inout Arena) {
    let nothing = LinkSource(board: own, point: 0, encoding: .signed, scale: 1, offset: 0)
    sources = arena.take(LinkSource.self, count: layout.links.count, first: nothing)
    count = layout.links.count
    for (index, place) in layout.links.enumerated() {
      sources[index] = LinkSource(
        board: boards.indices.contains(place.bus) ? boards[place.bus] : own, point: UInt16(place.point),
        encoding: place.encoding, scale: place.scale, offset: place.offset)
    }
  }

  /// Before anything of the bus is evaluated.
  package func look(_ pipeline: inout Pipeline) {
    for index in 0..<count {
      let source = sources[index]
      guard let seen = source.board.look(Int(source.point)) else { continue }
      let value = source.encoding.value(raw: seen.raw, scale: source.scale, offset: source.offset)
      pipeline.setLink(
        index, Link(value: value, quality: value.isFinite ? seen.quality : .bad, at: seen.at))
    }
  }
}
