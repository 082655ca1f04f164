// Questions on a console: a prompt, a line, an answer that fits or the question again. The end of the input ends it.

import Glibc

struct EndOfInput: Error {}

enum Dialogue {
  /// As it was typed, blanks at both ends gone; `usual` where nothing was.
  static func line(_ question: String, usual: String = "") throws(EndOfInput) -> String {
    let prompt = usual.isEmpty ? "\(question): " : "\(question) [\(usual)]: "
    let bytes = Array(prompt.utf8)
    fflush(nil)
    _ = Glibc.write(1, bytes, bytes.count)
    guard let typed = readLine() else { throw EndOfInput() }
    let answer = typed.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
    return answer.isEmpty ? usual : answer
  }

  /// What is typed is not shown.
  static func secret(_ question: String) throws(EndOfInput) -> String {
    var shown = termios()
    let isTerminal = tcgetattr(0, &shown) == 0
    var hidden = shown
    hidden.c_lflag &= ~tcflag_t(ECHO)
    if isTerminal { tcsetattr(0, TCSAFLUSH, &hidden) }
    defer {
      if isTerminal {
        tcsetattr(0, TCSAFLUSH, &shown)
        show("")
      }
    }
    return try line(question)
  }

  /// Asked again until `problem` finds nothing wrong.
  static func line(
    _ question: String, usual: String = "", problem: (String) -> String?
  ) throws(EndOfInput) -> String {
    while true {
      let answer = try line(question, usual: usual)
      guard let wrong = problem(answer) else { return answer }
      show("  \(wrong)")
    }
  }

  static func yes(_ question: String, usual: Bool) throws(EndOfInput) -> Bool {
    let words = Messages.either("y/n", "y/n")
    let answer = try line("\(question) (\(words))", usual: usual ? "y" : "n") { text in
      ["y", "n", "yes", "no", "是", "否"].contains(text.lowercased())
        ? nil : Messages.either("type y or n", "请输入 y 或 n")
    }
    return ["y", "yes", "是"].contains(answer.lowercased())
  }

  /// The number of one of the options, from 0.
  static func choice(_ question: String, _ options: [String], usual: Int) throws(EndOfInput) -> Int {
    for (index, option) in options.enumerated() { show("  \(index + 1)  \(option)") }
    let answer = try line(question, usual: "\(usual + 1)") { text in
      if let number = Int(text), (1...options.count).contains(number) { return nil }
      return Messages.either("type a number from 1 to {0}", "请输入 1 到 {0} 的数字", "\(options.count)")
    }
    return (Int(answer) ?? usual + 1) - 1
  }

  static func number(_ question: String, usual: Int, in allowed: ClosedRange<Int>) throws(EndOfInput) -> Int {
    let answer = try line(question, usual: "\(usual)") { text in
      if let number = Int(text), allowed.contains(number) { return nil }
      return Messages.either(
        "type a number from {0} to {1}", "请输入 {0} 到 {1} 的数字", "\(allowed.lowerBound)", "\(allowed.upperBound)")
    }
    return Int(answer) ?? usual
  }

  static func heading(_ text: String) {
    show("")
    show(Colour.bold.apply(text))
  }
}
