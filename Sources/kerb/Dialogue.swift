// Questions on a console: a prompt, a line, an answer that fits or the question again. The end of the input ends it.

import Glibc

struct EndOfInput: Error {}

enum Dialogue {
  /// As it was typed, blanks at both ends gone; `usual` where nothing was.
  static func line(_ question: String, usual: String = "") throws(EndOfInput) -> String {
    try asked(question, usual, isHidden: false)
  }

  private static func asked(_ question: String, _ usual: String, isHidden: Bool) throws(EndOfInput) -> String {
    let prompt = usual.isEmpty ? "\(question): " : "\(question) [\(usual)]: "
    let typed = interruptibly { (mask: inout sigset_t) -> String? in
      var shown = termios()
      let hides = isHidden && tcgetattr(0, &shown) == 0
      if hides {
        var hidden = shown
        hidden.c_lflag &= ~tcflag_t(ECHO)
        tcsetattr(0, TCSAFLUSH, &hidden)
      }
      defer {
        if hides {
          tcsetattr(0, TCSAFLUSH, &shown)
          show("")
        }
      }
      StandardOutput.write(prompt)
      // Who can't see a question can't answer it.
      return StandardOutput.isOpen ? typedLine(&mask) : nil
    }
    guard let typed else { throw EndOfInput() }
    let answer = typed.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
    return answer.isEmpty ? usual : answer
  }

  /// Ctrl-C and a terminal that is lost end a question as the end of the input does: whoever asked tidies up, and the
  /// terminal shows again what is typed. Between questions they end the program. The signals are blocked but for the
  /// wait itself: none is lost on the way to it. `ask` is given the mask to wait with.
  private static func interruptibly(_ ask: (inout sigset_t) -> String?) -> String? {
    let signals = [SIGINT, SIGTERM, SIGHUP]
    var before = Array(repeating: sigaction(), count: signals.count)
    var during = sigaction()
    during.__sigaction_handler.sa_handler = { _ in }
    var (blocked, open) = (sigset_t(), sigset_t())
    sigemptyset(&blocked)
    for signal in signals { sigaddset(&blocked, signal) }
    pthread_sigmask(SIG_BLOCK, &blocked, &open)
    for (index, signal) in signals.enumerated() { sigaction(signal, &during, &before[index]) }
    defer {
      for (index, signal) in signals.enumerated() { sigaction(signal, &before[index], nil) }
      pthread_sigmask(SIG_SETMASK, &open, nil)
    }
    return ask(&open)
  }

  /// Nil at the end of the input and at a signal.
  private static func typedLine(_ mask: inout sigset_t) -> String? {
    var line: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 256)
    while line.last != 0x0A {
      var input = fd_set()
      // Descriptor 0, on every machine that Kerb runs on: they are little-endian.
      withUnsafeMutableBytes(of: &input) { $0[0] = 1 }
      guard pselect(1, &input, nil, nil, nil, &mask) > 0 else { return nil }
      let count = Glibc.read(0, &part, part.count)
      if count <= 0 { return nil }
      line += part[..<count]
    }
    return String(decoding: line.dropLast(), as: UTF8.self)
  }

  /// What is typed is not shown.
  static func secret(_ question: String) throws(EndOfInput) -> String {
    try asked(question, "", isHidden: true)
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
    let words = Phrase("y/n", "y/n")()
    let answer = try line("\(question) (\(words))", usual: usual ? "y" : "n") { text in
      ["y", "n", "yes", "no", "是", "否"].contains(text.lowercased())
        ? nil : Phrase("type y or n", "请输入 y 或 n")()
    }
    return ["y", "yes", "是"].contains(answer.lowercased())
  }

  /// The number of one of the options, from 0.
  static func choice(_ question: String, _ options: [String], usual: Int) throws(EndOfInput) -> Int {
    for (index, option) in options.enumerated() { show("  \(index + 1)  \(option)") }
    let answer = try line(question, usual: "\(usual + 1)") { text in
      if let number = Int(text), (1...options.count).contains(number) { return nil }
      return Phrase("type a number from 1 to {0}", "请输入 1 到 {0} 的数字")("\(options.count)")
    }
    return (Int(answer) ?? usual + 1) - 1
  }

  static func number(_ question: String, usual: Int, in allowed: ClosedRange<Int>) throws(EndOfInput) -> Int {
    let answer = try line(question, usual: "\(usual)") { text in
      if let number = Int(text), allowed.contains(number) { return nil }
      return Phrase(
        "type a number from {0} to {1}", "请输入 {0} 到 {1} 的数字")("\(allowed.lowerBound)", "\(allowed.upperBound)")
    }
    return Int(answer) ?? usual
  }

  static func heading(_ text: String) {
    show("")
    show(Colour.bold.apply(text))
  }
}
