// From the offset of a byte to the line and column that an editor shows.

extension SourcePlace {
  /// Lines and columns from 1; a column is a character of Unicode, as the parser of TOML counts them.
  package init(file: String, offset: Int, in bytes: UnsafeBufferPointer<UInt8>) {
    var (line, column) = (1, 1)
    for byte in bytes.prefix(offset) {
      if byte == UInt8(ascii: "\n") { (line, column) = (line + 1, 1) } else if byte & 0xC0 != 0x80 { column += 1 }
    }
    self.init(file: file, line: line, column: column)
  }
}
