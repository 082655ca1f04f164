// An expression's text, cut into words, numbers, texts and signs, each with its column.

import StreamCore

package struct ExpressionError: Error, Equatable {
  /// Of the expression's text, from 0, in characters.
  package var column: Int
  package var message: String
  package init(column: Int, message: String) {
    self.column = column
    self.message = message
  }
}

enum ExpressionToken: Equatable {
  case number(Double)
  case word(String)
  /// What follows an @: "pump-1.flow".
  case foreign(String)
  case text(String)
  case symbol(String)
  case end

  var shown: String {
    switch self {
    case .number(let value): return value == value.rounded() && value.magnitude < 1e15 ? "\(Int64(value))" : "\(value)"
    case .word(let text), .symbol(let text), .text(let text): return "\"\(text)\""
    case .foreign(let text): return "\"@\(text)\""
    case .end: return "the end"
    }
  }
}

struct ExpressionTokens {
  private(set) var all: [(token: ExpressionToken, column: Int)] = []
  private let characters: [Character]
  private var index = 0

  init(_ text: String) throws(ExpressionError) {
    characters = Array(text)
    while index < characters.count {
      let start = index
      if let token = try next() { all.append((token, start)) }
    }
    all.append((.end, characters.count))
  }

  /// Nil: a blank.
  private mutating func next() throws(ExpressionError) -> ExpressionToken? {
    let character = characters[index]
    if character == " " || character == "\t" || character.isNewline {
      index += 1
      return nil
    }
    if character.isASCII && character.isNumber { return try number() }
    if character.isASCII && character.isLetter || character == "_" { return .word(word()) }
    if character == "@" { return try foreign() }
    if character == "\"" || character == "'" { return try text(until: character) }
    return try symbol()
  }

  private mutating func number() throws(ExpressionError) -> ExpressionToken {
    let start = index
    while index < characters.count, characters[index].isASCII,
      characters[index].isNumber || characters[index].isLetter || characters[index] == "." || isExponentSign(start)
    { index += 1 }
    let word = String(characters[start..<index])
    guard let value = Self.number(word) else {
      throw ExpressionError(column: start, message: "\"\(word)\" is not a number")
    }
    return .number(value)
  }

  /// Of 1e-3, but not of 0x1e-3.
  private func isExponentSign(_ start: Int) -> Bool {
    guard characters[index] == "-" || characters[index] == "+", index > start else { return false }
    guard characters[index - 1] == "e" || characters[index - 1] == "E" else { return false }
    return !(start + 1 < characters.count && characters[start] == "0" && "xX".contains(characters[start + 1]))
  }

  private static func number(_ word: String) -> Double? {
    if word.hasPrefix("0x") || word.hasPrefix("0X") {
      return Int64(word.dropFirst(2), radix: 16).map { Double($0) }
    }
    // Double takes «nan» and «infinity», too; a number begins with a digit.
    return Double(word).flatMap { $0.isFinite ? $0 : nil }
  }

  private mutating func word() -> String {
    let start = index
    while index < characters.count, characters[index].isASCII,
      characters[index].isLetter || characters[index].isNumber || "_.-".contains(characters[index])
    { index += 1 }
    return String(characters[start..<index])
  }

  private mutating func foreign() throws(ExpressionError) -> ExpressionToken {
    let start = index
    index += 1
    let name = word()
    guard name.contains(".") else {
      throw ExpressionError(column: start, message: "write a point of another device as @device.point")
    }
    return .foreign(name)
  }

  private mutating func text(until quote: Character) throws(ExpressionError) -> ExpressionToken {
    let start = index
    index += 1
    while index < characters.count, characters[index] != quote { index += 1 }
    guard index < characters.count else {
      throw ExpressionError(column: start, message: "the closing quotation mark is missing")
    }
    index += 1
    return .text(String(characters[(start + 1)..<(index - 1)]))
  }

  private mutating func symbol() throws(ExpressionError) -> ExpressionToken {
    let start = index
    let character = characters[index]
    let two = String(characters[start..<Swift.min(start + 2, characters.count)])
    if ["<=", ">=", "==", "!="].contains(two) {
      index += 2
      return .symbol(two)
    }
    if "<>+-*/(),".contains(character) {
      index += 1
      return .symbol(String(character))
    }
    switch character {
    case "=": throw ExpressionError(column: start, message: "write == to compare")
    case "&", "|", "!": throw ExpressionError(column: start, message: "write and, or, not in words")
    default: throw ExpressionError(column: start, message: "\"\(character)\" means nothing here")
    }
  }
}
