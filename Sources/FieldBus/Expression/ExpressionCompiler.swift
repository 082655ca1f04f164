// From an expression's tree to the stack machine's instructions. What it accepts can't fail at run time: every
// point exists and is a number, every operator gets what it needs, units agree, the stack's depth is proved here.

import StreamCore

/// A point of another device that a program names: its device in the configuration, its number there.
package struct LinkTarget: Hashable, Sendable {
  package var device: Int
  package var point: Int
  package init(device: Int, point: Int) {
    self.device = device
    self.point = point
  }
}

package struct CompiledExpression: Sendable {
  package fileprivate(set) var instructions: [Instruction] = []
  /// Instructions name them by their place here.
  package fileprivate(set) var links: [LinkTarget] = []
  package fileprivate(set) var cells = 0
  /// Nil: not known, or a condition.
  package fileprivate(set) var unit: String?
  package init() {}
}

package struct ExpressionCompiler {
  private enum Kind {
    case number, truth
    /// A point stands for both: its value, or that it isn't zero.
    case either
  }
  private struct Side {
    var kind: Kind
    var unit = UnitKnowledge.unknown
  }

  private let names: SiteNames
  private let device: Int
  private var result = CompiledExpression()
  private var depth = 0

  /// `device`: whose points are named without an @.
  package static func compile(
    _ expression: Expression, device: Int, names: SiteNames
  ) throws(ExpressionError) -> CompiledExpression {
    var compiler = ExpressionCompiler(names: names, device: device)
    compiler.result.unit = try compiler.emit(expression).unit.name
    return compiler.result
  }

  /// The same of a text that must be true or false.
  package static func condition(
    _ text: String, device: Int, names: SiteNames
  ) throws(ExpressionError) -> CompiledExpression {
    let expression = try ExpressionParser.parse(text)
    var compiler = ExpressionCompiler(names: names, device: device)
    if try compiler.emit(expression).kind == .number {
      throw ExpressionError(column: 0, message: "is a number, not a condition: compare it with something")
    }
    return compiler.result
  }

  private init(names: SiteNames, device: Int) {
    self.names = names
    self.device = device
  }

  // MARK: Code

  private mutating func add(_ instruction: Instruction, pushes: Int, column: Int) throws(ExpressionError) {
    depth += pushes
    guard depth <= Limits.programStackMax else {
      throw ExpressionError(
        column: column, message: "nests too deeply: at most \(Limits.programStackMax) values at once")
    }
    guard result.instructions.count < Limits.programLengthMax else {
      throw ExpressionError(
        column: column, message: "is too long: at most \(Limits.programLengthMax) values and operators")
    }
    result.instructions.append(instruction)
  }

  private mutating func cell(_ column: Int) throws(ExpressionError) -> Int {
    guard result.cells < Limits.cellsPerProgramMax else {
      throw ExpressionError(
        column: column, message: "one expression has at most \(Limits.cellsPerProgramMax) of age, rising and falling")
    }
    result.cells += 1
    return result.cells - 1
  }

  private func demand(_ kind: Kind, _ wanted: Kind, _ column: Int, _ what: String) throws(ExpressionError) {
    guard kind != .either, kind != wanted else { return }
    var message = "\(what) works on numbers, and this side is a condition"
    if wanted == .truth {
      let joins = what == "and" || what == "or"
      message = "\(what) \(joins ? "joins conditions, and this side" : "takes a condition, and this") is a number"
        + ": compare it with something"
    }
    throw ExpressionError(column: column, message: message)
  }

  private mutating func emit(_ expression: Expression) throws(ExpressionError) -> Side {
    switch expression.form {
    case .number(let value):
      try add(Instruction(.constant, value: value), pushes: 1, column: expression.start)
      return Side(kind: .number, unit: .any)
    case .truth(let value):
      try add(Instruction(.constant, value: value ? 1 : 0), pushes: 1, column: expression.start)
      return Side(kind: .either, unit: .any)
    case .text(let text):
      throw ExpressionError(
        column: expression.start,
        message: "a text such as \"\(text)\" is compared with a point that has values, by == or !=")
    case .point(let reference): return try emit(reference, .point, .link, expression.start)
    case .age(let reference):
      _ = try emit(reference, .age, .linkAge, expression.place)
      return Side(kind: .number, unit: .unit("s"))
    case .unary(let code, let inner): return try emit(code, inner, expression)
    case .binary(let code, let left, let right): return try emit(code, left, right, expression)
    }
  }

  private mutating func emit(
    _ code: Operator, _ inner: Expression, _ whole: Expression
  ) throws(ExpressionError) -> Side {
    let side = try emit(inner)
    switch code {
    case .not, .rising, .falling:
      try demand(side.kind, .truth, inner.start, code.sign)
      let cell = code.hasCell ? try cell(whole.place) : 0
      try add(Instruction(code, cell: cell), pushes: 0, column: whole.place)
      return Side(kind: .truth)
    default:
      try demand(side.kind, .number, inner.start, code.sign)
      try add(Instruction(code), pushes: 0, column: whole.place)
      return Side(kind: .number, unit: side.unit)
    }
  }

  private mutating func emit(
    _ code: Operator, _ left: Expression, _ right: Expression, _ whole: Expression
  ) throws(ExpressionError) -> Side {
    if code == .equal || code == .notEqual, let named = try namedValue(code, left, right, whole) { return named }
    let wanted = code == .and || code == .or ? Kind.truth : .number
    let a = try emit(left)
    try demand(a.kind, wanted, left.start, code.sign)
    let b = try emit(right)
    try demand(b.kind, wanted, right.start, code.sign)
    try add(Instruction(code), pushes: -1, column: whole.place)
    if wanted == .truth { return Side(kind: .truth) }
    if code == .multiply || code == .divide { return Side(kind: .number) }
    guard let unit = a.unit.joined(with: b.unit) else { throw mixed(code, left, a.unit, right, b.unit, whole) }
    return code.isCondition ? Side(kind: .truth) : Side(kind: .number, unit: unit)
  }

  // MARK: Units

  private func mixed(
    _ code: Operator, _ left: Expression, _ a: UnitKnowledge, _ right: Expression, _ b: UnitKnowledge,
    _ whole: Expression
  ) -> ExpressionError {
    let (from, to) = (a.name ?? "", b.name ?? "")
    let (first, second) = (Self.shown(left, "the left side"), Self.shown(right, "the right side"))
    var message = "\(code.sign) mixes units: \(first) is in \(from), \(second) in \(to)"
    if let factor = UnitConversion.text(from: from, to: to), case .point(let point) = left.form {
      message += "; write \(point.text) \(factor)"
    } else if let factor = UnitConversion.text(from: to, to: from), case .point(let point) = right.form {
      message += "; write \(point.text) \(factor)"
    } else {
      message += "; multiply or divide one of them to convert it: a product has no unit of its own"
    }
    return ExpressionError(column: whole.place, message: message)
  }

  private static func shown(_ side: Expression, _ otherwise: String) -> String {
    switch side.form {
    case .point(let point): return point.text
    case .age(let point): return "age(\(point.text))"
    default: return otherwise
    }
  }

  // MARK: Points

  private func find(_ reference: PointReference, _ column: Int) throws(ExpressionError) -> LinkTarget? {
    let found = reference.isForeign ? names.foreign(reference.name) : names.own(reference.name, of: device)
    switch found {
    case .point(let device, let point): return LinkTarget(device: device, point: point)
    case .unclear: return nil
    case .missing(let message): throw ExpressionError(column: column, message: message)
    }
  }

  private mutating func emit(
    _ reference: PointReference, _ own: Operator, _ foreign: Operator, _ column: Int
  ) throws(ExpressionError) -> Side {
    // What can't be known now is refused for another reason, and never run.
    guard let target = try find(reference, column) else {
      try add(Instruction(.constant), pushes: 1, column: column)
      return Side(kind: .either)
    }
    let spec = names.devices[target.device].points[target.point]
    guard !spec.personal else {
      throw ExpressionError(
        column: column,
        message: "\"\(reference.text)\" is personal: only its pseudonym is kept, and no expression may rest on it")
    }
    guard !spec.encoding.hasText else {
      throw ExpressionError(column: column, message: "\"\(reference.text)\" is a text: expressions work on numbers")
    }
    let cell = own.hasCell ? try cell(column) : 0
    if target.device == device {
      try add(Instruction(own, point: target.point, cell: cell), pushes: 1, column: column)
    } else {
      let link = try link(target, column)
      try add(Instruction(foreign, point: link, cell: cell), pushes: 1, column: column)
    }
    return Side(kind: .either, unit: spec.unit.map { .unit($0) } ?? .unknown)
  }

  private mutating func link(_ target: LinkTarget, _ column: Int) throws(ExpressionError) -> Int {
    if let known = result.links.firstIndex(of: target) { return known }
    guard result.links.count < Limits.linksPerProgramMax else {
      throw ExpressionError(
        column: column, message: "one expression names at most \(Limits.linksPerProgramMax) points of other devices")
    }
    result.links.append(target)
    return result.links.count - 1
  }

  // MARK: Values by their names

  /// `state == "open"`; nil: neither side is a text.
  private mutating func namedValue(
    _ code: Operator, _ left: Expression, _ right: Expression, _ whole: Expression
  ) throws(ExpressionError) -> Side? {
    var (side, text) = (left, right)
    if case .text = left.form { (side, text) = (right, left) }
    guard case .text(let name) = text.form else { return nil }
    guard case .point(let reference) = side.form else {
      throw ExpressionError(column: text.start, message: "\"\(name)\" is compared with something that is not a point")
    }
    let target = try find(reference, side.start)
    _ = try emit(side)
    var value = 0.0
    if let target {
      value = try Self.value(name, of: names.devices[target.device].points[target.point], reference, text)
    }
    try add(Instruction(.constant, value: value), pushes: 1, column: text.start)
    try add(Instruction(code), pushes: -1, column: whole.place)
    return Side(kind: .truth)
  }

  private static func value(
    _ name: String, of spec: PointSpec, _ reference: PointReference, _ text: Expression
  ) throws(ExpressionError) -> Double {
    let raws = spec.values.filter { $0.value == name }.keys.sorted()
    guard raws.count <= 1 else {
      throw ExpressionError(
        column: text.start,
        message: "\"\(name)\" is the name of several values of \(reference.text): compare the numbers")
    }
    guard let raw = raws.first else {
      let known = Set(spec.values.values).sorted()
      var message = "\(reference.text) has no value \"\(name)\""
      if let near = nearestMatch(to: name, among: known) {
        message += "; did you mean \"\(near)\"?"
      } else {
        let list = known.map { "\"\($0)\"" }.joined(separator: ", ")
        message += known.isEmpty ? ": its values have no names" : "; it has \(list)"
      }
      throw ExpressionError(column: text.start, message: message)
    }
    return spec.encoding.value(raw: raw, scale: spec.scale, offset: spec.offset)
  }
}
