// What ends a command early: what happened, to what, what to do next; and the exit status of sysexits.h.

struct CommandFailure: Error {
  var text: String
  var exitCode: Int32

  init(_ text: String, exitCode: Int32) {
    self.text = text
    self.exitCode = exitCode
  }
}
