// Expressions: any text, over a device with points of every sort and a neighbour. What compiles is packed and run, on
// values that are there and on none.

import StreamCore

private let nowhere = SourcePlace(file: "", line: 0, column: 0)

private let site: SiteNames = {
  var devices: [DeviceSpec] = []
  for name in ["a", "b-1", "b-1.c"] {
    var spec = DeviceSpec(name: name, place: nowhere, bus: 0, address: 1, profile: "", kind: "k")
    for (index, point) in ["p", "q", "state", "t", "card", "d.e"].enumerated() {
      spec.points.append(PointSpec(name: point, place: nowhere, source: .register(.holding, address: index)))
    }
    spec.points[0].unit = "W"
    spec.points[1].unit = "kW"
    spec.points[2].values = [0: "off", 1: "on"]
    spec.points[3].type = .text(characters: 4)
    spec.points[4].personal = true
    devices.append(spec)
  }
  return SiteNames(devices)
}()

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzExpressions(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  guard let data else { return 0 }
  let text = String(decoding: UnsafeBufferPointer(start: data, count: size), as: UTF8.self)
  do {
    let tree = try ExpressionParser.parse(text)
    let compiled = try ExpressionCompiler.compile(tree, device: 0, names: site)
    run(compiled)
    _ = try? ExpressionCompiler.condition(text, device: 0, names: site)
  } catch {
    require(error.column >= 0 && error.column <= text.count && !error.message.isEmpty)
  }
  return 0
}

private func run(_ compiled: CompiledExpression) {
  let count = compiled.instructions.count
  require(count > 0 && count <= Limits.programLengthMax)
  require(compiled.links.count <= Limits.linksPerProgramMax && compiled.cells <= Limits.cellsPerProgramMax)
  withFuzzArena(bytes: 8_192) { arena in
    let words = arena.take(UInt64.self, count: Program.wordsMax(count), first: 0)
    let states = arena.take(PointState.self, count: 6, first: PointState())
    let links = arena.take(Link.self, count: Limits.linksPerProgramMax, first: Link())
    let cells = arena.take(Int64.self, count: Limits.cellsPerProgramMax, first: 0)
    let program = compiled.instructions.withUnsafeBufferPointer { Program.assemble($0, into: words).program }
    let memory = ProgramMemory(code: words, links: links, cells: cells)
    for round in 0..<4 {
      let now = Instant(nanoseconds: Int64(round) &* 0x3FFF_FFFF_FFFF_FFFF)
      let reading = program.evaluate(memory, states, at: now)
      require(!reading.isUsable || reading.value.isFinite)
      for point in 0..<6 {
        states[point].value = [0, -1, 1e308][round % 3]
        states[point].quality = round == 2 ? .uncertain : .good
        states[point].at = now
      }
      links[round].quality = .good
    }
  }
}
