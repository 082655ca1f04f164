// An alarm's condition as a fixed-size program for a stack machine: compiled when the configuration is loaded,
// evaluated without allocation and without a way to fail. Three-valued: what rests on a value that isn't there
// is unknown.

package enum Truth: UInt8, BitwiseCopyable, Sendable {
  case no = 0
  case yes = 1
  case unknown = 2
}

package enum Operator: UInt8, BitwiseCopyable, Sendable {
  case constant, point
  case add, subtract, multiply, divide, negate
  case less, lessOrEqual, greater, greaterOrEqual, equal, notEqual
  case and, or, not
}

package struct Instruction: BitwiseCopyable, Sendable {
  package var code: Operator
  /// Of `point`: its number on the bus.
  package var point: UInt16
  /// Of `constant`.
  package var value: Double

  package init(_ code: Operator, point: UInt16 = 0, value: Double = 0) {
    self.code = code
    self.point = point
    self.value = value
  }
}

/// A number that may be unknown; truth is 1 and 0.
struct Operand: BitwiseCopyable {
  var value: Double
  var known: Bool

  static let unknown = Operand(value: 0, known: false)
  var isTrue: Bool { known && value != 0 }
  var isFalse: Bool { known && value == 0 }
}

/// A place in the program memory of a bus.
package struct Program: BitwiseCopyable, Sendable {
  package var start: UInt32 = 0
  package var length: UInt16 = 0
  package init() {}
  package init(start: Int, length: Int) {
    self.start = UInt32(truncatingIfNeeded: start)
    self.length = UInt16(truncatingIfNeeded: length)
  }
}

extension Program {
  /// `points`: the latest readings of the bus. The compiler has proved the stack's depth and every point's number.
  func evaluate(
    _ memory: UnsafeMutablePointer<Instruction>, _ points: UnsafeMutablePointer<PointState>
  ) -> Truth {
    // Limits.programStackMax; a value generic takes only a literal.
    var stack = InlineArray<16, Operand>(repeating: .unknown)
    var depth = 0
    var index = Int(truncatingIfNeeded: start)
    let end = index + Int(length)
    while index < end {
      let instruction = memory[index]
      index += 1
      switch instruction.code {
      case .constant:
        stack[depth] = Operand(value: instruction.value, known: true)
        depth += 1
      case .point:
        let state = points[Int(instruction.point)]
        stack[depth] = Operand(value: state.value, known: state.isUsable)
        depth += 1
      case .negate:
        stack[depth - 1].value = -stack[depth - 1].value
      case .not:
        stack[depth - 1].value = stack[depth - 1].value == 0 ? 1 : 0
      default:
        let right = stack[depth - 1]
        depth -= 1
        stack[depth - 1] = Program.combine(instruction.code, stack[depth - 1], right)
      }
    }
    let result = stack[0]
    return result.known ? (result.value != 0 ? .yes : .no) : .unknown
  }

  private static func combine(_ code: Operator, _ left: Operand, _ right: Operand) -> Operand {
    // Kleene: what is decided by one side doesn't wait for the other.
    if code == .and {
      if left.isFalse || right.isFalse { return Operand(value: 0, known: true) }
      return Operand(value: 1, known: left.known && right.known)
    }
    if code == .or {
      if left.isTrue || right.isTrue { return Operand(value: 1, known: true) }
      return Operand(value: 0, known: left.known && right.known)
    }
    let a = left.value
    let b = right.value
    var value = 0.0
    switch code {
    case .add: value = a + b
    case .subtract: value = a - b
    case .multiply: value = a * b
    case .divide: value = a / b
    case .less: value = a < b ? 1 : 0
    case .lessOrEqual: value = a <= b ? 1 : 0
    case .greater: value = a > b ? 1 : 0
    case .greaterOrEqual: value = a >= b ? 1 : 0
    case .equal: value = a == b ? 1 : 0
    case .notEqual: value = a != b ? 1 : 0
    default: break
    }
    // A division by zero says nothing about the world.
    return Operand(value: value, known: left.known && right.known && value.isFinite)
  }
}
