// From the offset of a byte to the line and column that an editor shows.

import StreamCore

extension SourcePlace {
  /// Lines and columns from 1; a column is a character of Unicode, as the parser of TOML counts them.
  package init(file: String, offset: Int, in bytes: UnsafeBufferPointer<UInt8>) {
    var (line, column) = (1, 1)
    for byte in bytes.prefix(offset) {
      if byte == UInt8(ascii: "\n") { (line, column) = (line + 1, 1) } else if byte & 0xC0 != 0x80 { column += 1 }
    }
    self.init(file: file, line: line, column: column)
  }

  /// Of the character at `offset` of the text that begins here with its quotation mark.
  package func inside(_ text: String, at offset: Int) -> SourcePlace {
    var place = self
    place.column += 1 + offset
    if hasEscapes { place.column += text.prefix(offset).count { $0 == "\"" || $0 == "\\" } }
    return place
  }
}

/// A text with its lines found.
struct TextLines {
  private let bytes: [UInt8]
  private let starts: [Int]

  init(_ text: String) {
    let bytes = Array(text.utf8)
    self.bytes = bytes
    starts = [0] + bytes.indices.filter { bytes[$0] == UInt8(ascii: "\n") }.map { $0 + 1 }
  }

  /// Of the character there, the first; nil where a line is too long to be counted along again and again.
  func byte(at place: SourcePlace) -> UInt8? {
    guard place.line > 0, place.line <= starts.count else { return nil }
    guard place.column > 0, place.column <= Limits.placeColumnMax else { return nil }
    return bytes[starts[place.line - 1]...].lazy.filter { $0 & 0xC0 != 0x80 }.dropFirst(place.column - 1).first
  }
}
