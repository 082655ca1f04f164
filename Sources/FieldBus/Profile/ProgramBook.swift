// The programs of one bus, packed one behind the other. Devices of one profile have equal programs: they share
// one copy.

import StreamCore

package struct ProgramBook: Sendable {
  /// In words of 8 bytes.
  package private(set) var code: [UInt64] = []
  private var known: [[UInt64]: Program] = [:]

  package init() {}

  /// `firstPoint`: the number of its device's first point on the bus.
  package mutating func place(_ instructions: [Instruction], firstPoint: Int) -> Program {
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
    program.firstPoint = UInt16(firstPoint)
    return program
  }
}
