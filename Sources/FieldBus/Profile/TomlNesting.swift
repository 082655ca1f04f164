// How deep a TOML text nests, found without nesting: the parser, the tree it builds and the end of that tree all
// recurse by level, and a file of a few kilobytes would take the stack of the agent that reads it.
//
// Invariants:
//  1. Constant memory, one pass: what is read lies on no stack but a list of `levelsMax` brackets.
//  2. Where the text is valid it knows strings, comments, keys and values as the parser does. Where it is not, the
//     parser ends there, and whatever is counted behind it is of no matter.

package struct TomlNesting {
  private enum Part { case start, header, key, value }

  private let bytes: UnsafeBufferPointer<UInt8>
  private var index = 0
  private var part = Part.start
  /// Tables and arrays around what is read now; of them those that the last [header] made.
  private var levels = 0
  private var ofHeader = 0
  /// Brackets that are open, each with the levels inside it.
  private var open: [(isTable: Bool, levels: Int)] = []

  private init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

  /// The offset of the bracket or dot that is one too many; nil if none is. A table that stands in an array of tables
  /// by its header counts once: the tree may be twice as deep.
  package static func excess(in bytes: UnsafeBufferPointer<UInt8>, levelsMax: Int) -> Int? {
    var nesting = TomlNesting(bytes)
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { nesting.index = 3 }
    while nesting.index < bytes.count {
      let at = nesting.index
      nesting.step()
      if nesting.levels > levelsMax { return at }
    }
    return nil
  }

  /// The first text that has no end, and its quotation marks; nil if all have one.
  static func unclosedString(in bytes: UnsafeBufferPointer<UInt8>) -> (offset: Int, quotes: String)? {
    var nesting = TomlNesting(bytes)
    while nesting.index < bytes.count {
      let (at, byte) = (nesting.index, bytes[nesting.index])
      guard byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") else {
        if byte == UInt8(ascii: "#") { nesting.comment() } else { nesting.index += 1 }
        continue
      }
      let isLong = nesting.quotes(byte) >= 3
      if !nesting.string(byte) {
        return (at, String(repeating: Character(Unicode.Scalar(byte)), count: isLong ? 3 : 1))
      }
    }
    return nil
  }

  private mutating func step() {
    let byte = bytes[index]
    switch byte {
    case UInt8(ascii: "#"): return comment()
    case UInt8(ascii: "\""), UInt8(ascii: "'"):
      if part == .start { part = .key }
      _ = string(byte)
      return
    case UInt8(ascii: "\n"): endOfLine()
    case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"): break
    case UInt8(ascii: "["): bracket()
    case UInt8(ascii: "{"): begin(isTable: true)
    case UInt8(ascii: "]"), UInt8(ascii: "}"): close()
    case UInt8(ascii: ","):
      guard let inner = open.last else { break }
      levels = inner.levels
      part = inner.isTable ? .key : .value
    case UInt8(ascii: "="): if part != .header { part = .value }
    case UInt8(ascii: "."): dot()
    default: if part == .start { part = .key }
    }
    index += 1
  }

  private mutating func endOfLine() {
    guard open.isEmpty else { return }
    part = .start
    levels = ofHeader
  }

  private mutating func bracket() {
    switch part {
    case .start:
      part = .header
      levels = 1
      if index + 1 < bytes.count, bytes[index + 1] == UInt8(ascii: "[") {
        levels = 2
        index += 1
      }
      ofHeader = levels
    case .header: break
    case .key, .value: begin(isTable: false)
    }
  }

  private mutating func begin(isTable: Bool) {
    levels += 1
    open.append((isTable, levels))
    part = isTable ? .key : .value
  }

  private mutating func close() {
    guard part != .header, open.popLast() != nil else { return }
    part = .value
  }

  /// Of a number or a date it is none of ours.
  private mutating func dot() {
    guard part == .key || part == .header else { return }
    levels += 1
    if part == .header { ofHeader = levels }
  }

  private mutating func comment() {
    while index < bytes.count, bytes[index] != UInt8(ascii: "\n") { index += 1 }
  }

  private func quotes(_ quote: UInt8) -> Int {
    var count = 0
    while index + count < bytes.count, bytes[index + count] == quote, count < 5 { count += 1 }
    return count
  }

  /// False: it has no end.
  private mutating func string(_ quote: UInt8) -> Bool {
    let hasEscapes = quote == UInt8(ascii: "\"")
    let isLong = quotes(quote) >= 3
    index += isLong ? 3 : 1
    while index < bytes.count {
      switch bytes[index] {
      case UInt8(ascii: "\\") where hasEscapes: index += 2
      case quote where isLong:
        // Two more may stand before the three that end it.
        let count = quotes(quote)
        index += count
        if count >= 3 { return true }
      case quote:
        index += 1
        return true
      // It has no end: the parser says so.
      case UInt8(ascii: "\n") where !isLong: return false
      default: index += 1
      }
    }
    return false
  }
}
