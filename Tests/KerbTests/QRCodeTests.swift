import Testing

@testable import kerb

@Suite("The square of a box's identity")
struct QRCodeTests {
  @Test("is drawn light on dark, two rows a line, with a light border, and fits a screen")
  func drawing() throws {
    // The longest name, with key and certificate.
    let (name, print) = (String(repeating: "n", count: 64), String(repeating: "c", count: 43))
    let text = "kerb:\(name);k=0123456789abcdef;c=\(print)"
    let code = try #require(QRCode(text))
    let lines = code.lines
    #expect(lines.count <= CommissionScreen.linesMax)
    #expect(lines.allSatisfy { Table.width($0) == code.rows.count + 2 * QRCode.border })
    // What was drawn, read back.
    for (y, row) in code.rows.enumerated() {
      for (x, isDark) in row.enumerated() {
        let (column, line) = (x + QRCode.border, y + QRCode.border)
        let character = Array(lines[line / 2])[column]
        let isLight = character == "█" || character == (line % 2 == 0 ? "▀" : "▄")
        #expect(isLight == !isDark, "\(x), \(y)")
      }
    }
    #expect(lines[0].allSatisfy { $0 == "█" }, "the border")
    #expect(code.rows[0].prefix(7).allSatisfy { $0 } && code.rows[1][1...5].allSatisfy { !$0 }, "a finder's corner")
  }

  @Test("is none where the text is too long for one")
  func tooLong() {
    #expect(QRCode(String(repeating: "x", count: 4_000)) == nil)
  }
}
