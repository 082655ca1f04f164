// How a command ends when it can't do what it was asked: a text for a person, an exit code for a script
// (sysexits.h). Only `main` prints it and exits.

import Store

struct CommandFailure: Error {
  var text: String
  var exitCode: Int32

  init(_ text: String, exitCode: Int32) {
    self.text = text
    self.exitCode = exitCode
  }

  init(_ trouble: PathTrouble) {
    self.init(Self.text(trouble), exitCode: trouble.isPermission ? Self.permission : Self.inputOutput)
  }

  static func text(_ trouble: PathTrouble) -> String {
    Language.current == .chinese ? trouble.chineseText : trouble.text
  }

  static let usage: Int32 = 64
  /// What was asked for does not fit what is: the same again would not either.
  static let otherState: Int32 = 65
  static let unavailable: Int32 = 69
  static let inputOutput: Int32 = 74
  static let tryAgain: Int32 = 75
  static let permission: Int32 = 77
  static let configuration: Int32 = 78
}
