// An expression's speed: five operations on three points, evaluated where an alarm's condition is.

import Benchmark
import StreamCore

extension Benchmark {
  /// (p0 - p1) * 2 > 15 and p2 > 2.5
  static func expressions() {
    Benchmark("expression: five operations") { benchmark in
      let rig = ExpressionBench()
      benchmark.startMeasurement()
      for index in benchmark.scaledIterations { rig.evaluate(index) }
      benchmark.stopMeasurement()
      blackHole(rig.held)
    }
  }
}

final class ExpressionBench {
  private let words: UnsafeMutablePointer<UInt64>
  private let states: UnsafeMutablePointer<PointState>
  private let links: UnsafeMutablePointer<Link>
  private let cells: UnsafeMutablePointer<Int64>
  private let program: Program
  private(set) var held = 0

  init() {
    let list = [
      Instruction(.point), Instruction(.point, point: 1), Instruction(.subtract), Instruction(.constant, value: 2),
      Instruction(.multiply), Instruction(.constant, value: 15), Instruction(.greater), Instruction(.point, point: 2),
      Instruction(.constant, value: 2.5), Instruction(.greater), Instruction(.and),
    ]
    words = .allocate(capacity: Program.wordsMax(list.count))
    states = .allocate(capacity: 3)
    links = .allocate(capacity: 1)
    cells = .allocate(capacity: 1)
    links.initialize(to: Link())
    cells.initialize(to: 0)
    states.initialize(repeating: PointState(), count: 3)
    for index in 0..<3 {
      states[index].value = Double(3 * index)
      states[index].quality = .good
    }
    let words = words
    program = list.withUnsafeBufferPointer { Program.assemble($0, into: words).program }
  }

  deinit {
    words.deallocate()
    states.deallocate()
    links.deallocate()
    cells.deallocate()
  }

  func evaluate(_ index: Int) {
    states[0].value = Double(index & 63)
    let reading = program.evaluate(
      ProgramMemory(code: words, links: links, cells: cells), states, at: Instant(nanoseconds: Int64(index)))
    if reading.truth == .yes { held += 1 }
  }
}
