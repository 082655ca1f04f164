// The screen and the keys of a terminal, for the commands that draw. Whoever takes the keys gives them back:
// `leave()` on every way out.

import CLinux
import Glibc

struct Terminal {
  private var before = termios()

  /// What the screen holds; 80 by 24 where nobody knows, as on a serial console.
  static var size: (columns: Int, rows: Int) {
    var columns: Int32 = 0
    var rows: Int32 = 0
    guard kerb_terminal_size(1, &columns, &rows) == 0, columns > 0, rows > 0 else { return (80, 24) }
    return (Int(columns), Int(rows))
  }

  static var isThere: Bool { isatty(0) == 1 && isatty(1) == 1 }

  // MARK: Full screen

  /// Another screen, no cursor, every key at once.
  init() {
    tcgetattr(0, &before)
    var raw = before
    raw.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG)
    tcsetattr(0, TCSANOW, &raw)
    StandardOutput.write("\u{1B}[?1049h\u{1B}[?25l\u{1B}[2J")
  }

  mutating func leave() {
    StandardOutput.write("\u{1B}[?25h\u{1B}[?1049l")
    tcsetattr(0, TCSANOW, &before)
  }

  enum Key: Equatable {
    case up, down, enter, back, quit, other
  }

  /// What was pressed within the time, in order; often nothing.
  func keys(within ns: Int64) -> [Key] {
    let ready = kerb_fd_wait_readable(0, ns)
    // Interrupted is nothing; hung up is the end.
    guard ready > 0 else { return ready == 0 || ready == -EINTR ? [] : [.quit] }
    var bytes = [UInt8](repeating: 0, count: 64)
    let count = read(0, &bytes, bytes.count)
    return count > 0 ? Self.keys(bytes.prefix(count)) : [.quit]
  }

  /// What a terminal sends for keys. Escape alone is a key, too.
  static func keys(_ bytes: ArraySlice<UInt8>) -> [Key] {
    var keys: [Key] = []
    var rest = bytes
    while let first = rest.popFirst() {
      if first == 0x1B, let opening = rest.first, opening == 0x5B || opening == 0x4F {
        rest.removeFirst()
        // Parameters, then the letter that ends it.
        while let byte = rest.first, !(0x40...0x7E).contains(byte) { rest.removeFirst() }
        keys.append(arrow(rest.popFirst()))
      } else {
        keys.append(key(first))
      }
    }
    return keys
  }

  private static func arrow(_ letter: UInt8?) -> Key {
    switch letter.map({ Character(Unicode.Scalar($0)) }) {
    case "A": return .up
    case "B": return .down
    case "C": return .enter
    case "D": return .back
    default: return .other
    }
  }

  private static func key(_ byte: UInt8) -> Key {
    switch byte {
    case 0x0D, 0x0A: return .enter
    case 0x1B, 0x7F, 0x08: return .back
    case 0x03, 0x04, UInt8(ascii: "q"): return .quit
    case UInt8(ascii: "k"): return .up
    case UInt8(ascii: "j"): return .down
    default: return .other
    }
  }
}
