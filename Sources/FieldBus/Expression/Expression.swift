// An expression as it is written: a tree that knows where each of its parts stands, and no point yet.
//
//   expression := or         or := and { "or" and }         and := not { "and" not }
//   not := "not" not | comparison                           comparison := sum [ ("<"|"<="|">"|">="|"=="|"!=") sum ]
//   sum := product { ("+"|"-") product }                    product := unary { ("*"|"/") unary }
//   unary := "-" unary | number | "true" | "false" | text | name | function "(" or { "," or } ")" | "(" or ")"
//   name := point | "@" device "." point                    function := min | max | abs | age | rising | falling

import StreamCore

package struct PointReference: Hashable, Sendable {
  /// "tilt", or "pump-1.flow" behind an @.
  package var name: String
  package var isForeign: Bool

  package var text: String { isForeign ? "@\(name)" : name }
}

package struct Expression: Sendable {
  package indirect enum Form: Sendable {
    case number(Double)
    case truth(Bool)
    case text(String)
    case point(PointReference)
    case age(PointReference)
    case unary(Operator, Expression)
    case binary(Operator, Expression, Expression)
  }
  package var form: Form
  /// Column of its first character, and of its operator; from 0.
  package var start: Int
  package var place: Int

  /// True or false, whatever its points are.
  package var isCondition: Bool {
    switch form {
    case .truth: return true
    case .unary(let code, _): return code == .not || code == .rising || code == .falling
    case .binary(let code, _, _): return code.isCondition
    case .number, .text, .point, .age: return false
    }
  }

  /// Every point that it names.
  package var references: Set<PointReference> {
    switch form {
    case .number, .truth, .text: return []
    case .point(let point), .age(let point): return [point]
    case .unary(_, let side): return side.references
    case .binary(_, let left, let right): return left.references.union(right.references)
    }
  }
}

extension Operator {
  /// Its result is true or false.
  var isCondition: Bool {
    switch self {
    case .less, .lessOrEqual, .greater, .greaterOrEqual, .equal, .notEqual, .and, .or: true
    default: false
    }
  }

  static let comparisons: [String: Operator] = [
    "<": .less, "<=": .lessOrEqual, ">": .greater, ">=": .greaterOrEqual, "==": .equal, "!=": .notEqual,
  ]
  static let functions: [String: Operator] = [
    "min": .min, "max": .max, "abs": .abs, "age": .age, "rising": .rising, "falling": .falling,
  ]

  /// As it is written.
  var sign: String {
    switch self {
    case .add: "+"
    case .subtract, .negate: "-"
    case .multiply: "*"
    case .divide: "/"
    case .and: "and"
    case .or: "or"
    case .not: "not"
    default:
      Operator.comparisons.first { $0.value == self }?.key ?? Operator.functions.first { $0.value == self }?.key ?? ""
    }
  }
}

package struct ExpressionParser {
  private let tokens: [(token: ExpressionToken, column: Int)]
  private var place = 0
  /// Values and operators so far: bounds the tree, and so whatever walks through it.
  private var nodes = 0
  /// Of parentheses and signs: bounds the parser's own recursion, whatever the text.
  private var nesting = 0

  package static func parse(_ text: String) throws(ExpressionError) -> Expression {
    var parser = ExpressionParser(tokens: try ExpressionTokens(text).all)
    let expression = try parser.disjunction()
    if parser.peek.token != .end {
      throw ExpressionError(column: parser.peek.column, message: "\(parser.peek.token.shown) is one too many here")
    }
    return expression
  }

  private init(tokens: [(token: ExpressionToken, column: Int)]) { self.tokens = tokens }

  private var peek: (token: ExpressionToken, column: Int) { tokens[place] }

  private mutating func take(_ symbols: String...) -> (text: String, column: Int)? {
    switch peek.token {
    case .symbol(let text) where symbols.contains(text), .word(let text) where symbols.contains(text):
      defer { place += 1 }
      return (text, peek.column)
    default: return nil
    }
  }

  private mutating func make(_ form: Expression.Form, start: Int, place: Int) throws(ExpressionError) -> Expression {
    nodes += 1
    guard nodes <= Limits.programLengthMax else {
      throw ExpressionError(
        column: place, message: "is too long: at most \(Limits.programLengthMax) values and operators")
    }
    return Expression(form: form, start: start, place: place)
  }

  private mutating func nest(_ column: Int) throws(ExpressionError) {
    nesting += 1
    guard nesting <= 2 * Limits.programStackMax else {
      throw ExpressionError(column: column, message: "nests too deeply: at most \(2 * Limits.programStackMax) levels")
    }
  }

  // MARK: Grammar

  private mutating func disjunction() throws(ExpressionError) -> Expression {
    var left = try conjunction()
    while let found = take("or") {
      left = try make(.binary(.or, left, try conjunction()), start: left.start, place: found.column)
    }
    return left
  }

  private mutating func conjunction() throws(ExpressionError) -> Expression {
    var left = try negation()
    while let found = take("and") {
      left = try make(.binary(.and, left, try negation()), start: left.start, place: found.column)
    }
    return left
  }

  private mutating func negation() throws(ExpressionError) -> Expression {
    guard let found = take("not") else { return try comparison() }
    try nest(found.column)
    defer { nesting -= 1 }
    return try make(.unary(.not, try negation()), start: found.column, place: found.column)
  }

  private mutating func comparison() throws(ExpressionError) -> Expression {
    let left = try sum()
    guard case .symbol(let sign) = peek.token, let code = Operator.comparisons[sign] else { return left }
    let column = peek.column
    place += 1
    let right = try sum()
    if case .symbol(let second) = peek.token, Operator.comparisons[second] != nil {
      throw ExpressionError(column: peek.column, message: "comparisons don't chain: join two of them with and")
    }
    return try make(.binary(code, left, right), start: left.start, place: column)
  }

  private mutating func sum() throws(ExpressionError) -> Expression {
    var left = try product()
    while let found = take("+", "-") {
      let code = found.text == "+" ? Operator.add : .subtract
      left = try make(.binary(code, left, try product()), start: left.start, place: found.column)
    }
    return left
  }

  private mutating func product() throws(ExpressionError) -> Expression {
    var left = try unary()
    while let found = take("*", "/") {
      let code = found.text == "*" ? Operator.multiply : .divide
      left = try make(.binary(code, left, try unary()), start: left.start, place: found.column)
    }
    return left
  }

  private mutating func unary() throws(ExpressionError) -> Expression {
    let (token, column) = peek
    try nest(column)
    defer { nesting -= 1 }
    if take("-") != nil { return try make(.unary(.negate, try unary()), start: column, place: column) }
    if take("(") != nil {
      var inner = try disjunction()
      guard take(")") != nil else {
        throw ExpressionError(column: peek.column, message: "a closing parenthesis is missing here")
      }
      inner.start = column
      return inner
    }
    switch token {
    case .number(let value): return try leaf(.number(value), column)
    case .text(let text): return try leaf(.text(text), column)
    case .foreign(let name): return try leaf(.point(PointReference(name: name, isForeign: true)), column)
    case .word("true"), .word("false"): return try leaf(.truth(token == .word("true")), column)
    case .word(let word):
      if case .symbol("(") = tokens[place + 1].token { return try call(word, column) }
      if ["and", "or", "not"].contains(word) { throw missing(before: token, column) }
      return try leaf(.point(PointReference(name: word, isForeign: false)), column)
    case .symbol, .end: throw missing(before: token, column)
    }
  }

  private func missing(before token: ExpressionToken, _ column: Int) -> ExpressionError {
    ExpressionError(column: column, message: "a point or a number is missing before \(token.shown)")
  }

  private mutating func leaf(_ form: Expression.Form, _ column: Int) throws(ExpressionError) -> Expression {
    place += 1
    return try make(form, start: column, place: column)
  }

  // MARK: Functions

  private mutating func call(_ name: String, _ column: Int) throws(ExpressionError) -> Expression {
    guard let code = Operator.functions[name] else {
      throw ExpressionError(column: column, message: Self.unknownFunction(name))
    }
    place += 2
    var sides = [try disjunction()]
    while take(",") != nil { sides.append(try disjunction()) }
    let close = peek.column
    guard take(")") != nil else {
      throw ExpressionError(column: close, message: "a closing parenthesis is missing here")
    }
    if code.isBinary {
      guard sides.count >= 2 else {
        throw ExpressionError(column: close, message: "\(name) takes two values or more: \(name)(a, b)")
      }
      var result = sides[0]
      for side in sides.dropFirst() {
        result = try make(.binary(code, result, side), start: column, place: column)
      }
      return result
    }
    guard sides.count == 1 else {
      throw ExpressionError(column: sides[1].start, message: "\(name) takes one value")
    }
    guard code == .age else { return try make(.unary(code, sides[0]), start: column, place: column) }
    guard case .point(let point) = sides[0].form else {
      throw ExpressionError(column: sides[0].start, message: "age takes the name of a point: age(tilt)")
    }
    // In place of the name that was counted already.
    return Expression(form: .age(point), start: column, place: sides[0].start)
  }

  private static func unknownFunction(_ name: String) -> String {
    let known = Operator.functions.keys.sorted()
    guard let near = nearestMatch(to: name, among: known) else {
      return "there is no function \"\(name)\"; there are \(known.joined(separator: ", "))"
    }
    return "there is no function \"\(name)\"; did you mean \"\(near)\"?"
  }
}
