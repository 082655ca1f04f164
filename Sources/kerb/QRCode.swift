// The one door to libqrencode: a text becomes a square of dark and light, drawn with half blocks, two rows a line.
// Light is drawn and dark left out: a console writes light on dark, and so the code comes out as on paper.

import CQREncode
import Gateway
import Glibc

struct QRCode {
  /// Of each row; true: dark.
  let rows: [[Bool]]

  /// Light around it. Four are the standard's; readers make do with two, and a screen has 24 lines.
  static let border = 2

  /// Nil: too long for one.
  init?(_ text: String) {
    guard let code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_L) else { return nil }
    defer { QRcode_free(code) }
    let width = Int(code.pointee.width)
    guard let data = code.pointee.data, width > 0 else { return nil }
    rows = (0..<width).map { y in (0..<width).map { x in data[y * width + x] & 1 == 1 } }
  }

  var lines: [String] {
    let side = rows.count + 2 * Self.border
    func isLight(_ x: Int, _ y: Int) -> Bool {
      let (column, row) = (x - Self.border, y - Self.border)
      guard rows.indices.contains(row), rows.indices.contains(column) else { return y < side }
      return !rows[row][column]
    }
    return stride(from: 0, to: side, by: 2).map { y in
      var line = ""
      for x in 0..<side {
        switch (isLight(x, y), isLight(x, y + 1)) {
        case (true, true): line += "█"
        case (true, false): line += "▀"
        case (false, true): line += "▄"
        case (false, false): line += " "
        }
      }
      return line
    }
  }
}
