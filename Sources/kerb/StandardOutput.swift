// Standard output: the one way out for what a command prints, be it a terminal, a pipe, or a file on a full disk. From
// any thread.
//
// Invariants:
//  1. Nothing else in this program writes to descriptor 1; scripts/tidy looks.
//  2. What is printed in one call is one piece: it is written whole before anything of another call.
//  3. Nothing is lost in silence. The first failure is kept, what comes after it is dropped, and `main` ends with it.
//  4. A reader that went away wants no more: that is no failure, and is said to nobody.

import CLinux
import FieldBus
import Gateway
import Glibc
import Synchronization

enum StandardOutput {
  enum State: Equatable {
    case open, readerGone
    case failed(code: Int32)

    init(code: Int32) { self = code == EPIPE ? .readerGone : .failed(code: code) }
  }

  /// As a shell tells of a process that SIGPIPE has ended.
  static let readerGoneStatus: Int32 = 128 + SIGPIPE

  private static let piece = Mutex(())
  /// Apart from the pieces: one that waits for a slow reader holds up nobody who only asks.
  private static let kept = Mutex(State.open)

  static var state: State { kept.withLock { $0 } }

  static func write(_ bytes: [UInt8]) {
    piece.withLock { _ in
      guard state == .open else { return }
      let code = WholeWrite.bytes(bytes, to: STDOUT_FILENO)
      if code != 0 { fail(code) }
    }
  }

  static func write(_ text: String) { write(Array(text.utf8)) }

  /// For what is there once only: 0 if it is out, on a disk as far as the disk says so; else errno, and whoever asked
  /// tells of it.
  static func hand(over text: String) -> Int32 {
    piece.withLock { _ in
      var facts = stat()
      let isFile = fstat(STDOUT_FILENO, &facts) == 0 && facts.st_mode & S_IFMT == S_IFREG
      let code = WholeWrite.bytes(Array(text.utf8), to: STDOUT_FILENO)
      if code != 0 { return code }
      return isFile && fsync(STDOUT_FILENO) != 0 ? errno : 0
    }
  }

  /// False: what is printed from now on reaches nobody. For commands that print without an end; also noticed while
  /// they have nothing to say.
  static var isOpen: Bool {
    guard state == .open else { return false }
    var looked = pollfd(fd: STDOUT_FILENO, events: 0, revents: 0)
    guard poll(&looked, 1, 0) > 0, Int32(looked.revents) & Int32(POLLERR | POLLHUP) != 0 else { return true }
    fail(EPIPE)
    return false
  }

  /// The number of a signal that came within the time; 0: none, or nobody reads any more, which is looked for.
  static func waitForSignal(ms: Int64) -> Int32 {
    let end = kerb_monotonic_ns() + ms * 1_000_000
    while isOpen {
      let restMs = (end - kerb_monotonic_ns() + 999_999) / 1_000_000
      if restMs <= 0 { return 0 }
      let signal = kerb_wait_signal(Int32(min(restMs, lookMs)))
      if signal != 0 { return signal }
    }
    return 0
  }

  /// Soon enough for a person, and seldom enough to cost nothing.
  private static let lookMs: Int64 = 200

  private static func fail(_ code: Int32) {
    kept.withLock { if $0 == .open { $0 = State(code: code) } }
  }

  // MARK: Begin and end

  /// A channel that was closed must not become that of the first file that is opened: reading and writing it fails.
  static func claimChannels() {
    for channel in STDIN_FILENO...STDERR_FILENO where fcntl(channel, F_GETFD) < 0 {
      _ = open("/dev/null", channel == STDIN_FILENO ? O_WRONLY : O_RDONLY)
    }
  }

  /// The exit status of a command that ended with `status`. What could not be written is said here.
  static func end(_ status: Int32) -> Int32 {
    // Some file systems say only now that they had no room.
    if state == .open, close(STDOUT_FILENO) != 0, errno != EINTR { fail(errno) }
    switch state {
    case .open: return status
    case .readerGone: return status == 0 ? readerGoneStatus : status
    case .failed(let code):
      complain(incomplete(Self.reason(code), WriteStep.text(code)))
      return CommandFailure.inputOutput
    }
  }

  static func reason(_ code: Int32) -> String { "stdout: \(String(cString: strerror(code)))" }

  private static let incomplete = Phrase("{0}; not all of the output is there: {1}", "{0}；输出不完整：{1}")
}

/// Lines on standard output.
func show(_ lines: String...) { show(lines) }
func show(_ lines: [String]) {
  if lines.isEmpty { return }
  StandardOutput.write(lines.joined(separator: "\n") + "\n")
}

/// JSON on standard output, and a line's end.
func show(_ value: JSONValue) {
  var writer = JSONWriter()
  writer.value(value)
  show(writer)
}

func show(_ writer: JSONWriter) { StandardOutput.write(writer.bytes + [0x0A]) }

/// A line on standard error, where it can be written.
func complain(_ text: String) { _ = WholeWrite.bytes(Array((text + "\n").utf8), to: STDERR_FILENO) }

/// Several, of 80 columns.
func complain(wrapping text: String) {
  for (number, line) in ProfileText.wrapped(text).enumerated() { complain(String(line.dropFirst(number == 0 ? 2 : 0))) }
}
