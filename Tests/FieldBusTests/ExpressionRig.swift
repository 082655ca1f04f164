import FieldBus
import StreamCore

/// Compiled expressions in memory of their own, on readings that a test sets.
final class ExpressionRig {
  let names: SiteNames
  private let words: UnsafeMutablePointer<UInt64>
  private let links: UnsafeMutablePointer<Link>
  private let cells: UnsafeMutablePointer<Int64>
  private let states: UnsafeMutablePointer<PointState>
  private var program = Program()
  private(set) var compiled = CompiledExpression()

  /// The first device's points are its own, all others are foreign.
  init(_ devices: [DeviceSpec]) {
    names = SiteNames(devices)
    words = .allocate(capacity: 256)
    links = .allocate(capacity: 16)
    cells = .allocate(capacity: 16)
    states = .allocate(capacity: 64)
    words.initialize(repeating: 0, count: 256)
    links.initialize(repeating: Link(), count: 16)
    cells.initialize(repeating: 0, count: 16)
    states.initialize(repeating: PointState(), count: 64)
  }

  deinit {
    words.deallocate()
    links.deallocate()
    cells.deallocate()
    states.deallocate()
  }

  func load(_ text: String) throws(ExpressionError) {
    compiled = try ExpressionCompiler.compile(try ExpressionParser.parse(text), device: 0, names: names)
    program = compiled.instructions.withUnsafeBufferPointer { Program.assemble($0, into: words) }.program
    cells.update(repeating: 0, count: 16)
  }

  var isRestless: Bool { program.isRestless }

  func set(_ point: Int, _ value: Double, _ quality: Quality = .good, at ns: Int64 = 0) {
    states[point].value = value
    states[point].quality = quality
    states[point].at = Instant(nanoseconds: ns)
  }

  func setForeign(_ target: LinkTarget, _ value: Double, _ quality: Quality = .good, at ns: Int64 = 0) {
    guard let index = compiled.links.firstIndex(of: target) else { return }
    links[index] = Link(value: value, quality: quality, at: Instant(nanoseconds: ns))
  }

  func evaluate(at ns: Int64 = 1) -> Reading {
    program.evaluate(
      ProgramMemory(code: words, links: links, cells: cells), states, at: Instant(nanoseconds: ns))
  }
}

/// A device with number points of these names; "power:W" has a unit.
func named(_ device: String, _ points: String..., change: (inout DeviceSpec) -> Void = { _ in }) -> DeviceSpec {
  var spec = DeviceSpec(name: device, place: nowhere, bus: 0, address: 1, profile: "", kind: "test")
  for (index, text) in points.enumerated() {
    let parts = text.split(separator: ":").map(String.init)
    var point = PointSpec(name: parts[0], place: nowhere, source: .register(.holding, address: index))
    if parts.count > 1 { point.unit = parts[1] }
    spec.points.append(point)
  }
  change(&spec)
  return spec
}
