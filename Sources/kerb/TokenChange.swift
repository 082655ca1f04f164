// A platform's new token on its way to whoever asked for it. It is nowhere else: the box keeps a hash.
//
// Invariant: the token is out, on the disk if that is where stdout goes, before anything of the box has changed. What
// can't be shown changes nothing, and the token from before stays.

import Gateway
import Glibc

struct TokenChange {
  let name: String
  let token: String
  /// The consumer's file.
  let path: String
  let json: Bool

  /// What is not the token goes to stderr: `kerb consumer add x > token` has the token alone. Of the JSON object all
  /// is out but whether it is in force, which nobody knows yet.
  func handOver() throws(CommandFailure) {
    if !json { complain(Messages.text(.consumerToken, name)) }
    let code = StandardOutput.hand(over: json ? begun : token + "\n")
    if code == 0 { return }
    throw CommandFailure(
      Self.unseen(StandardOutput.reason(code), WriteStep.text(code)), exitCode: CommandFailure.inputOutput)
  }

  /// The change has been made.
  func tell(_ what: Message, _ files: ConfigurationOptions) {
    if json { return StandardOutput.write(",\"in_force\":\(reload(files))}\n") }
    complain(Messages.text(what, name, path))
    sayWhen(files)
  }

  /// It was shown, and then the change failed.
  func isVoid(_ failure: CommandFailure) -> CommandFailure {
    CommandFailure("\(failure.text)\n\(Self.void())", exitCode: failure.exitCode)
  }

  private var begun: String {
    var writer = JSONWriter()
    writer.object {
      $0.member("name", name)
      $0.member("token", token)
      $0.member("file", path)
    }
    return String(decoding: writer.bytes.dropLast(), as: UTF8.self)
  }

  private static let unseen = Phrase(
    "{0}; the new token could not be shown, so nothing was changed: {1}", "{0}；新令牌未能显示，因此未作任何更改：{1}")
  private static let void = Phrase("the token that was shown is nobody's", "所显示的令牌无效")
}
