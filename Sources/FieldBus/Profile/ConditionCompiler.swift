// An alarm's condition, from text to the stack machine's program. What it accepts can't fail at run time: every
// point exists, every operator gets what it needs, the stack's depth is proved here.
//
//   condition := or          or := and { "or" and }         and := not { "and" not }
//   not := "not" not | comparison                            comparison := sum [ ("<"|"<="|">"|">="|"=="|"!=") sum ]
//   sum := product { ("+"|"-") product }                     product := unary { ("*"|"/") unary }
//   unary := "-" unary | number | "true" | "false" | point | "(" or ")"

import StreamCore

package struct ConditionError: Error, Equatable {
  /// Of the condition's text, from 0, in characters.
  package var column: Int
  package var message: String
}

/// A point that a condition may name.
package struct ConditionPoint {
  /// Among its device's points.
  package var number: Int
  /// Texts and pseudonyms can't be compared.
  package var isNumber: Bool
  package init(number: Int, isNumber: Bool) {
    self.number = number
    self.isNumber = isNumber
  }
}

package struct ConditionCompiler {
  private enum Token: Equatable {
    case number(Double)
    case word(String)
    case symbol(String)
    case end

    var shown: String {
      switch self {
      case .number(let value): return "\(value)"
      case .word(let text), .symbol(let text): return "\"\(text)\""
      case .end: return "the end"
      }
    }
  }
  private enum Kind {
    case number, truth
    /// A point stands for both: its value, or that it isn't zero.
    case either
  }

  private let points: [String: ConditionPoint]
  private var tokens: [(token: Token, column: Int)] = []
  private var place = 0
  private var program: [Instruction] = []
  private var depth = 0
  /// Of parentheses and signs: bounds the compiler's own recursion, whatever the text.
  private var nesting = 0

  /// Compiles `text`; `points`: those that may be named. A program of at least one instruction.
  package static func compile(
    _ text: String, points: [String: ConditionPoint]
  ) throws(ConditionError) -> [Instruction] {
    var compiler = ConditionCompiler(points: points)
    try compiler.tokenize(text)
    let kind = try compiler.disjunction()
    if kind == .number {
      throw ConditionError(column: 0, message: "is a number, not a condition: compare it with something")
    }
    if compiler.peek.token != .end {
      throw ConditionError(column: compiler.peek.column, message: "\(compiler.peek.token.shown) is one too many here")
    }
    return compiler.program
  }

  private init(points: [String: ConditionPoint]) { self.points = points }

  // MARK: Tokens

  private mutating func tokenize(_ text: String) throws(ConditionError) {
    let characters = Array(text)
    var index = 0
    while index < characters.count {
      let character = characters[index]
      let start = index
      if character == " " || character == "\t" || character == "\n" {
        index += 1
      } else if character.isASCII && character.isNumber {
        while index < characters.count, characters[index].isASCII,
          characters[index].isNumber || characters[index].isLetter || characters[index] == "."
        { index += 1 }
        let word = String(characters[start..<index])
        guard let value = Self.number(word) else {
          throw ConditionError(column: start, message: "\"\(word)\" is not a number")
        }
        tokens.append((.number(value), start))
      } else if character.isASCII && character.isLetter || character == "_" {
        while index < characters.count, characters[index].isASCII,
          characters[index].isLetter || characters[index].isNumber || "_.-".contains(characters[index])
        { index += 1 }
        tokens.append((.word(String(characters[start..<index])), start))
      } else {
        let two = String(characters[start..<Swift.min(start + 2, characters.count)])
        if ["<=", ">=", "==", "!="].contains(two) {
          index += 2
          tokens.append((.symbol(two), start))
        } else if "<>+-*/()".contains(character) {
          index += 1
          tokens.append((.symbol(String(character)), start))
        } else if character == "=" {
          throw ConditionError(column: start, message: "write == to compare")
        } else if character == "&" || character == "|" || character == "!" {
          throw ConditionError(column: start, message: "write and, or, not in words")
        } else {
          throw ConditionError(column: start, message: "\"\(character)\" means nothing here")
        }
      }
    }
    tokens.append((.end, characters.count))
  }

  private static func number(_ word: String) -> Double? {
    if word.hasPrefix("0x") || word.hasPrefix("0X") {
      return Int64(word.dropFirst(2), radix: 16).map { Double($0) }
    }
    return Double(word).flatMap { $0.isFinite ? $0 : nil }
  }

  private var peek: (token: Token, column: Int) { tokens[place] }

  private mutating func take(_ symbols: String...) -> (text: String, column: Int)? {
    switch peek.token {
    case .symbol(let text) where symbols.contains(text), .word(let text) where symbols.contains(text):
      defer { place += 1 }
      return (text, peek.column)
    default: return nil
    }
  }

  // MARK: Code

  private mutating func emit(_ instruction: Instruction, pushes: Int, column: Int) throws(ConditionError) {
    depth += pushes
    guard depth <= Limits.programStackMax else {
      throw ConditionError(
        column: column, message: "nests too deeply: at most \(Limits.programStackMax) values at once")
    }
    guard program.count < Limits.programLengthMax else {
      throw ConditionError(
        column: column, message: "is too long: at most \(Limits.programLengthMax) values and operators")
    }
    program.append(instruction)
  }

  private func demand(_ kind: Kind, _ wanted: Kind, _ column: Int, _ what: String) throws(ConditionError) {
    guard kind == .either || kind == wanted else {
      throw ConditionError(
        column: column,
        message: wanted == .truth
          ? "\(what) joins conditions, and this side is a number: compare it with something"
          : "\(what) works on numbers, and this side is a condition")
    }
  }

  // MARK: Grammar

  private mutating func disjunction() throws(ConditionError) -> Kind {
    try chain("or", .or) { (compiler) throws(ConditionError) in try compiler.conjunction() }
  }

  private mutating func conjunction() throws(ConditionError) -> Kind {
    try chain("and", .and) { (compiler) throws(ConditionError) in try compiler.negation() }
  }

  private mutating func chain(
    _ word: String, _ code: Operator, _ side: (inout ConditionCompiler) throws(ConditionError) -> Kind
  ) throws(ConditionError) -> Kind {
    let start = peek.column
    var kind = try side(&self)
    while let found = take(word) {
      try demand(kind, .truth, start, word)
      let rightStart = peek.column
      let right = try side(&self)
      try demand(right, .truth, rightStart, word)
      try emit(Instruction(code), pushes: -1, column: found.column)
      kind = .truth
    }
    return kind
  }

  private mutating func negation() throws(ConditionError) -> Kind {
    guard let found = take("not") else { return try comparison() }
    try nest(found.column)
    defer { nesting -= 1 }
    let start = peek.column
    let kind = try negation()
    try demand(kind, .truth, start, "not")
    try emit(Instruction(.not), pushes: 0, column: found.column)
    return .truth
  }

  private mutating func comparison() throws(ConditionError) -> Kind {
    let codes: [String: Operator] = [
      "<": .less, "<=": .lessOrEqual, ">": .greater, ">=": .greaterOrEqual, "==": .equal, "!=": .notEqual,
    ]
    let start = peek.column
    let left = try sum()
    guard let found = take("<", "<=", ">", ">=", "==", "!="), let code = codes[found.text] else { return left }
    try demand(left, .number, start, found.text)
    let rightStart = peek.column
    let right = try sum()
    try demand(right, .number, rightStart, found.text)
    if let second = take("<", "<=", ">", ">=", "==", "!=") {
      throw ConditionError(column: second.column, message: "comparisons don't chain: join two of them with and")
    }
    try emit(Instruction(code), pushes: -1, column: found.column)
    return .truth
  }

  private mutating func sum() throws(ConditionError) -> Kind {
    try arithmetic(["+": .add, "-": .subtract]) { (compiler) throws(ConditionError) in try compiler.product() }
  }

  private mutating func product() throws(ConditionError) -> Kind {
    try arithmetic(["*": .multiply, "/": .divide]) { (compiler) throws(ConditionError) in try compiler.unary() }
  }

  private mutating func arithmetic(
    _ codes: [String: Operator], _ side: (inout ConditionCompiler) throws(ConditionError) -> Kind
  ) throws(ConditionError) -> Kind {
    let start = peek.column
    var kind = try side(&self)
    while case .symbol(let text) = peek.token, let code = codes[text] {
      let column = peek.column
      place += 1
      try demand(kind, .number, start, text)
      let rightStart = peek.column
      let right = try side(&self)
      try demand(right, .number, rightStart, text)
      try emit(Instruction(code), pushes: -1, column: column)
      kind = .number
    }
    return kind
  }

  private mutating func unary() throws(ConditionError) -> Kind {
    let (token, column) = peek
    try nest(column)
    defer { nesting -= 1 }
    if take("-") != nil {
      let start = peek.column
      let kind = try unary()
      try demand(kind, .number, start, "-")
      try emit(Instruction(.negate), pushes: 0, column: column)
      return .number
    }
    if take("(") != nil {
      let kind = try disjunction()
      guard take(")") != nil else {
        throw ConditionError(column: peek.column, message: "a closing parenthesis is missing here")
      }
      return kind
    }
    switch token {
    case .number(let value):
      place += 1
      try emit(Instruction(.constant, value: value), pushes: 1, column: column)
      return .number
    case .word("true"), .word("false"):
      place += 1
      try emit(Instruction(.constant, value: token == .word("true") ? 1 : 0), pushes: 1, column: column)
      return .either
    case .word(let name):
      guard let point = points[name] else { throw unknown(name, column) }
      guard point.isNumber else {
        throw ConditionError(column: column, message: "\"\(name)\" is a text: conditions compare numbers")
      }
      place += 1
      try emit(Instruction(.point, point: point.number), pushes: 1, column: column)
      return .either
    default:
      throw ConditionError(column: column, message: "a point or a number is missing before \(token.shown)")
    }
  }

  private mutating func nest(_ column: Int) throws(ConditionError) {
    nesting += 1
    guard nesting <= 2 * Limits.programStackMax else {
      throw ConditionError(column: column, message: "nests too deeply: at most \(2 * Limits.programStackMax) levels")
    }
  }

  private func unknown(_ name: String, _ column: Int) -> ConditionError {
    if ["and", "or", "not"].contains(name) {
      return ConditionError(column: column, message: "a point or a number is missing before \"\(name)\"")
    }
    var message = "no point is named \"\(name)\""
    if let near = nearestMatch(to: name, among: points.keys) {
      message += "; did you mean \"\(near)\"?"
    } else if name.contains("-") {
      message += "; to subtract, put spaces around the minus"
    } else {
      message += "; known here: \(points.keys.sorted().joined(separator: ", "))"
    }
    return ConditionError(column: column, message: message)
  }
}
