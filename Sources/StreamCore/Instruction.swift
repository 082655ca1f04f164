// What an expression is made of, and how it is packed: the compiler writes instructions for a stack machine,
// one a value and one an operator; packed, an operator carries the last value that it takes, four bytes each,
// and the constants stand behind.

package enum Operator: UInt8, BitwiseCopyable, Sendable {
  // What puts a value on the stack: a number; a point of the device; a point of another device; the seconds
  // since one of either was last good.
  case constant, point, link, age, linkAge
  // One value becomes one.
  case negate, not, abs, rising, falling
  // Two become one.
  case add, subtract, multiply, divide, min, max
  case less, lessOrEqual, greater, greaterOrEqual, equal, notEqual
  case and, or

  package var isBinary: Bool { rawValue >= Operator.add.rawValue }
  package var isUnary: Bool { rawValue >= Operator.negate.rawValue && !isBinary }
  /// Keeps something from one evaluation to the next.
  package var hasCell: Bool { self == .age || self == .linkAge || self == .rising || self == .falling }
  /// Changes although nothing of the device was read.
  package var isRestless: Bool { self == .age || self == .linkAge || self == .link }
}

/// One step, as the compiler writes it.
package struct Instruction: BitwiseCopyable, Sendable {
  package var code: Operator
  /// The program's first cell is 0.
  package var cell: UInt8
  /// Of `point` and `age`: the number among its device's points. Of `link` and `linkAge`: among the program's links.
  package var operand: UInt16
  /// Of `constant`.
  package var value: Double

  package init(_ code: Operator, point: Int = 0, cell: Int = 0, value: Double = 0) {
    self.code = code
    self.cell = UInt8(truncatingIfNeeded: cell)
    operand = UInt16(truncatingIfNeeded: point)
    self.value = value
  }
}

/// Where a packed operator's right side comes from.
enum OperandSource: UInt8, BitwiseCopyable {
  case stack, constant, point, link
}

/// Four bytes.
struct PackedInstruction: BitwiseCopyable {
  var code: Operator
  /// Of an operator with two sides: an `OperandSource`. Of what has a cell: the cell.
  var extra: UInt8
  /// Number of a constant, a point or a link.
  var operand: UInt16
}

extension Program {
  /// Room for `count` instructions and their constants, in words of 8 bytes.
  package static func wordsMax(_ count: Int) -> Int { (count + 1) / 2 + count }

  /// Packs `source` into `words`, which has room for `wordsMax`; answers the program, which starts at 0, and
  /// the words taken.
  package static func assemble(
    _ source: UnsafeBufferPointer<Instruction>, into words: UnsafeMutablePointer<UInt64>
  ) -> (program: Program, words: Int) {
    var program = Program()
    let bytes = UnsafeMutableRawPointer(words)
    var constants = 0
    var length = 0
    var index = 0
    while index < source.count {
      let instruction = source[index]
      var packed = PackedInstruction(code: instruction.code, extra: instruction.cell, operand: instruction.operand)
      if instruction.code == .constant {
        packed.operand = UInt16(truncatingIfNeeded: constants)
        constants += 1
      }
      if instruction.code.isBinary { packed.extra = OperandSource.stack.rawValue }
      // A value that its operator takes at once never goes on the stack.
      if index + 1 < source.count, source[index + 1].code.isBinary, let right = instruction.code.source {
        packed.code = source[index + 1].code
        packed.extra = right.rawValue
        index += 1
      }
      if instruction.code.isRestless { program.isRestless = true }
      if instruction.code == .rising || instruction.code == .falling { program.hasEdges = true }
      bytes.storeBytes(of: packed, toByteOffset: 4 * length, as: PackedInstruction.self)
      length += 1
      index += 1
    }
    if length % 2 == 1 {
      let filler = PackedInstruction(code: .constant, extra: 0, operand: 0)
      bytes.storeBytes(of: filler, toByteOffset: 4 * length, as: PackedInstruction.self)
    }
    program.length = UInt8(truncatingIfNeeded: length)
    var word = (length + 1) / 2
    for instruction in source where instruction.code == .constant {
      words[word] = instruction.value.bitPattern
      word += 1
    }
    return (program, word)
  }
}

extension Operator {
  fileprivate var source: OperandSource? {
    switch self {
    case .constant: .constant
    case .point: .point
    case .link: .link
    default: nil
    }
  }
}
