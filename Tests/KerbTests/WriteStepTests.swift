import Glibc
import Testing

@testable import kerb

@Suite("What to do when something can't be written")
struct WriteStepTests {
  @Test("Only what rights can mend asks for rights, in both languages", arguments: [Int32](1...133))
  func rights(code: Int32) {
    let isForbidden = code == EACCES || code == EPERM
    #expect(WriteStep.text(code, in: .english).contains("root") == isForbidden)
    #expect(WriteStep.text(code, in: .chinese).contains("root") == isForbidden)
    #expect(!WriteStep.text(code, in: .chinese).isEmpty)
  }

  @Test("What is not permitted has a status of its own", arguments: [EACCES, EPERM, EROFS, ENOSPC, EIO, ENOENT])
  func status(code: Int32) {
    let failure = CommandFailure(cannotWrite: "there", code)
    #expect(failure.exitCode == ([EACCES, EPERM].contains(code) ? 77 : 74))
    #expect(failure.text.hasPrefix("there"))
    #expect(failure.text.contains("root") == [EACCES, EPERM].contains(code))
  }
}
