// An expression as a fixed-size program for a stack machine: compiled when the configuration is loaded,
// evaluated without allocation, without a loop and without a way to fail. A computed point takes its number, an
// alarm's condition its truth.
//
// Invariants:
//  1. A result is never better than what it rests on: the worst quality of all values that had a say in it.
//     What rests on a value that isn't there, or isn't finite, is bad.
//  2. `and` and `or` are decided by the one side that decides them, whatever the other is (Kleene's logic).
//  3. A program knows points relative to its device and links relative to its own: devices of one profile share
//     one copy.

package enum Truth: UInt8, BitwiseCopyable, Sendable {
  case no = 0
  case yes = 1
  case unknown = 2
}

/// What an expression says: a number and how far it can be trusted; truth is 1 and 0.
package struct Reading: BitwiseCopyable, Sendable, Equatable {
  package var value: Double
  package var quality: Quality
  package init(value: Double, quality: Quality) {
    self.value = value
    self.quality = quality
  }

  static let unknown = Reading(value: 0, quality: .bad)
  package var isUsable: Bool { quality <= .uncertain }
  var isTrue: Bool { isUsable && value != 0 }
  var isFalse: Bool { isUsable && value == 0 }
  package var truth: Truth { isUsable ? (value != 0 ? .yes : .no) : .unknown }
}

/// The latest value of another device's point, as this bus knows it.
package struct Link: BitwiseCopyable, Sendable {
  package var value = 0.0
  package var at = Instant.zero
  package var quality = Quality.bad
  package init() {}
  package init(value: Double, quality: Quality, at: Instant) {
    self.value = value
    self.at = at
    self.quality = quality
  }
}

/// What the programs of a bus are made of and keep.
package struct ProgramMemory: BitwiseCopyable {
  let code: UnsafeMutablePointer<UInt64>
  let links: UnsafeMutablePointer<Link>
  /// What is kept between two evaluations. Of `age`: when the value was last good. Of `rising` and `falling`: 1
  /// if the condition did not hold, 2 if it did. 0: never evaluated.
  let cells: UnsafeMutablePointer<Int64>

  package init(
    code: UnsafeMutablePointer<UInt64>, links: UnsafeMutablePointer<Link>, cells: UnsafeMutablePointer<Int64>
  ) {
    self.code = code
    self.links = links
    self.cells = cells
  }
}

/// A program's place in its bus's memory, and what it works on there. An empty one says nothing.
package struct Program: BitwiseCopyable, Sendable {
  /// In words of 8 bytes.
  package var start: UInt32 = 0
  /// Packed instructions.
  package internal(set) var length: UInt8 = 0
  private var flags: UInt8 = 0
  /// On the bus: its device's first point, its first link, its first cell.
  package var firstPoint: UInt16 = 0
  package var firstLink: UInt16 = 0
  package var firstCell: UInt16 = 0

  package init() {}

  package var isEmpty: Bool { length == 0 }

  /// What it says may change although nothing of its device was read: it is looked at again by the clock.
  package var isRestless: Bool {
    get { flags & 1 != 0 }
    set { flags = newValue ? flags | 1 : flags & ~1 }
  }
  /// An evaluation changes what the next one says: it must not be in vain.
  package internal(set) var hasEdges: Bool {
    get { flags & 2 != 0 }
    set { flags = newValue ? flags | 2 : flags & ~2 }
  }
}

extension Program {
  /// The point of its own device that the packed instruction reads, by its number on the bus; nil: it reads none.
  package func point(_ index: Int, _ memory: ProgramMemory) -> Int? {
    let packed = instruction(index, memory)
    let fromPoint = packed.code.isBinary && packed.extra == OperandSource.point.rawValue
    guard fromPoint || packed.code == .point || packed.code == .age else { return nil }
    return Int(firstPoint) + Int(packed.operand)
  }

  private func instruction(_ index: Int, _ memory: ProgramMemory) -> PackedInstruction {
    UnsafeRawPointer(memory.code + Int(truncatingIfNeeded: start)).load(
      fromByteOffset: 4 * index, as: PackedInstruction.self)
  }

  /// `states`: the latest readings of the bus. The compiler has proved the stack's depth and every number.
  package func evaluate(
    _ memory: ProgramMemory, _ states: UnsafeMutablePointer<PointState>, at now: Instant
  ) -> Reading {
    // Limits.programStackMax; a value generic takes only a literal. The topmost value is held apart.
    var stack = InlineArray<16, Reading>(repeating: .unknown)
    var depth = 0
    var top = Reading.unknown
    let points = states + Int(firstPoint)
    let code = UnsafeRawPointer(memory.code + Int(truncatingIfNeeded: start))
    let constants = UnsafePointer(memory.code) + Int(truncatingIfNeeded: start) + (Int(length) + 1) / 2
    var offset = 0
    let end = 4 * Int(length)
    while offset < end {
      let packed = code.load(fromByteOffset: offset, as: PackedInstruction.self)
      offset += 4
      let operand = Int(packed.operand)
      switch packed.code {
      case .constant, .point, .link, .age, .linkAge:
        stack[depth] = top
        depth += 1
        switch packed.code {
        case .constant: top = Reading(value: Double(bitPattern: constants[operand]), quality: .good)
        case .point: top = Reading(value: points[operand].value, quality: points[operand].quality)
        case .link:
          let link = memory.links + Int(firstLink) + operand
          top = Reading(value: link.pointee.value, quality: link.pointee.quality)
        case .age:
          let state = points + operand
          let cell = memory.cells + Int(firstCell) + Int(packed.extra)
          top = Program.age(cell, state.pointee.quality, state.pointee.at, now)
        default:
          let link = memory.links + Int(firstLink) + operand
          let cell = memory.cells + Int(firstCell) + Int(packed.extra)
          top = Program.age(cell, link.pointee.quality, link.pointee.at, now)
        }
      case .negate: top.value = -top.value
      case .abs: top.value = top.value.magnitude
      case .not: top.value = top.value == 0 ? 1 : 0
      case .rising, .falling:
        top = Program.edge(memory.cells + Int(firstCell) + Int(packed.extra), packed.code, top)
      default:
        var left = top
        switch packed.extra {
        case OperandSource.constant.rawValue:
          top = Reading(value: Double(bitPattern: constants[operand]), quality: .good)
        case OperandSource.point.rawValue:
          top = Reading(value: points[operand].value, quality: points[operand].quality)
        case OperandSource.link.rawValue:
          let link = memory.links + Int(firstLink) + operand
          top = Reading(value: link.pointee.value, quality: link.pointee.quality)
        default:
          depth -= 1
          left = stack[depth]
        }
        top = Program.combine(packed.code, left, top)
      }
    }
    return top
  }

  /// Seconds since the last good value; before the first one, since it was first looked at.
  private static func age(
    _ cell: UnsafeMutablePointer<Int64>, _ quality: Quality, _ at: Instant, _ now: Instant
  ) -> Reading {
    if quality == .good { cell.pointee = at.nanoseconds }
    // 0 means «never»: the clock's own 0 is put off by a nanosecond.
    if cell.pointee == 0 { cell.pointee = now.nanoseconds == 0 ? 1 : now.nanoseconds }
    let span = now - Instant(nanoseconds: cell.pointee)
    return Reading(value: span > 0 ? span.double / 1e9 : 0, quality: .good)
  }

  /// What is unknown is no edge, and hides none: the next known value is compared with the one before.
  private static func edge(_ cell: UnsafeMutablePointer<Int64>, _ code: Operator, _ now: Reading) -> Reading {
    guard now.isUsable else { return now }
    let before = cell.pointee
    cell.pointee = now.value != 0 ? 2 : 1
    let turned = code == .rising ? before == 1 && now.value != 0 : before == 2 && now.value == 0
    return Reading(value: turned ? 1 : 0, quality: now.quality)
  }

  private static func combine(_ code: Operator, _ left: Reading, _ right: Reading) -> Reading {
    let a = left.value
    let b = right.value
    let worst = left.quality > right.quality ? left.quality : right.quality
    let value: Double
    switch code {
    case .add: value = a + b
    case .subtract: value = a - b
    case .multiply: value = a * b
    case .divide: value = a / b
    case .min: value = a < b ? a : b
    case .max: value = a > b ? a : b
    case .less: value = a < b ? 1 : 0
    case .lessOrEqual: value = a <= b ? 1 : 0
    case .greater: value = a > b ? 1 : 0
    case .greaterOrEqual: value = a >= b ? 1 : 0
    case .equal: value = a == b ? 1 : 0
    case .notEqual: value = a != b ? 1 : 0
    case .and:
      if left.isFalse || right.isFalse {
        return Reading(value: 0, quality: deciding(left, right, left.isFalse, right.isFalse))
      }
      return Reading(value: 1, quality: worst)
    case .or:
      if left.isTrue || right.isTrue {
        return Reading(value: 1, quality: deciding(left, right, left.isTrue, right.isTrue))
      }
      return Reading(value: 0, quality: worst)
    default: value = 0
    }
    // A division by zero says nothing about the world.
    return Reading(value: value, quality: value.isFinite ? worst : (worst > .bad ? worst : .bad))
  }

  /// The quality of the side that decides; of the better one if either would.
  private static func deciding(_ left: Reading, _ right: Reading, _ byLeft: Bool, _ byRight: Bool) -> Quality {
    if byLeft, byRight { return left.quality < right.quality ? left.quality : right.quality }
    return byLeft ? left.quality : right.quality
  }
}
