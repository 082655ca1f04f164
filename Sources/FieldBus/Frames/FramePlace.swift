// Where in a frame each point of a bus stands: one place a point, in the bus's arena, and the names of key=value lines.

import StreamCore

struct FramePlace: BitwiseCopyable {
  enum Kind: UInt8, BitwiseCopyable { case field, column, key, data }
  var kind = Kind.data
  /// Number of the field; first column; first byte of the name in the table of names.
  var first: UInt16 = 0
  /// Last column; length of the name.
  var last: UInt16 = 0
}

struct FramePlaces: ~Copyable {
  private let places: UnsafeMutablePointer<FramePlace>
  private let names: UnsafeMutablePointer<UInt8>

  static func bytes(_ layout: BusLayout) -> Int { bytes(layout.devices.flatMap(\.points)) }

  static func bytes(_ points: [PointSpec]) -> Int {
    Arena.bytes(of: FramePlace.self, count: points.count) + Arena.bytes(of: UInt8.self, count: nameBytes(points))
  }

  private static func nameBytes(_ points: [PointSpec]) -> Int {
    points.reduce(0) { sum, point in
      if case .key(let name) = point.source { sum + name.utf8.count } else { sum }
    }
  }

  init(_ layout: BusLayout, arena: inout Arena) { self.init(layout.devices.flatMap(\.points), arena: &arena) }

  init(_ points: [PointSpec], arena: inout Arena) {
    places = arena.take(FramePlace.self, count: points.count, first: FramePlace())
    names = arena.take(UInt8.self, count: Self.nameBytes(points), first: 0)
    var used = 0
    for (index, point) in points.enumerated() {
      switch point.source {
      case .field(let number): places[index] = FramePlace(kind: .field, first: UInt16(number))
      case .column(let first, let last):
        places[index] = FramePlace(kind: .column, first: UInt16(first), last: UInt16(last))
      case .key(let name):
        let bytes = Array(name.utf8)
        places[index] = FramePlace(kind: .key, first: UInt16(used), last: UInt16(bytes.count))
        for byte in bytes {
          names[used] = byte
          used += 1
        }
      case .register, .byte, .identifier, .computed: break
      }
    }
  }

  /// The part of the line that is the point's; nil: the line doesn't have it.
  func part(of lines: borrowing LineSplitter, point: Int) -> UnsafeBufferPointer<UInt8>? {
    let place = places[point]
    switch place.kind {
    case .field: return lines.field(Int(place.first))
    case .column: return lines.column(first: Int(place.first), last: Int(place.last))
    case .key:
      return lines.value(
        of: UnsafeBufferPointer(start: UnsafePointer(names) + Int(place.first), count: Int(place.last)))
    case .data: return nil
    }
  }
}

extension Binding {
  /// Of a point that is a part of a frame, at the place that its source says.
  init(framePoint spec: PointSpec, point: Int) {
    var offset = 0
    switch spec.source {
    case .byte(let place): offset = place
    case .identifier(_, let place, _): offset = place
    case .register, .field, .column, .key, .computed: break
    }
    self.init(spec, point: point, offset: offset)
  }
}
