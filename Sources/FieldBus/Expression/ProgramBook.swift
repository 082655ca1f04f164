// The programs of one bus, packed one behind the other. Devices of one profile have equal programs: they share
// one copy of the code, and one link to another device if they name the same.

import StreamCore

package struct ProgramBook: Sendable {
  /// In words of 8 bytes.
  package private(set) var code: [UInt64] = []
  package private(set) var links: [LinkTarget] = []
  package private(set) var cells = 0
  private var known: [[UInt64]: Program] = [:]
  private var knownLinks: [[LinkTarget]: Int] = [:]

  package init() {}

  /// `firstPoint`: the number of its device's first point on the bus. `isRestless`: it names a point that is.
  package mutating func place(
    _ expression: CompiledExpression, firstPoint: Int, isRestless: Bool = false
  ) -> Program {
    let instructions = expression.instructions
    guard !instructions.isEmpty else { return Program() }
    var words = [UInt64](repeating: 0, count: Program.wordsMax(instructions.count))
    var (program, count) = instructions.withUnsafeBufferPointer { source in
      words.withUnsafeMutableBufferPointer { target in
        // Neither is empty, so both have a beginning.
        target.baseAddress.map { Program.assemble(source, into: $0) } ?? (Program(), 0)
      }
    }
    words.removeLast(words.count - count)
    if let before = known[words] {
      program.start = before.start
    } else {
      program.start = UInt32(code.count)
      known[words] = program
      code += words
    }
    if isRestless { program.isRestless = true }
    program.firstPoint = UInt16(firstPoint)
    program.firstLink = UInt16(place(expression.links))
    // Between two evaluations each keeps its own.
    program.firstCell = UInt16(cells)
    cells += expression.cells
    return program
  }

  private mutating func place(_ targets: [LinkTarget]) -> Int {
    if targets.isEmpty { return 0 }
    if let before = knownLinks[targets] { return before }
    let first = links.count
    knownLinks[targets] = first
    links += targets
    return first
  }
}
