// One process of the demo: this executable again, with another subcommand, its standard output as lines, its
// standard error in a file. It dies with the demo, and a Ctrl-C at the terminal reaches the demo alone, which ends
// the others in order.

import ArgumentParser
import CLinux
import FieldBus
import Glibc

struct DemoPart: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo-part", abstract: "Becomes a subcommand that ends with the process that started it.",
    shouldDisplay: false)

  @Option var parent: Int32
  @Argument(parsing: .captureForPassthrough) var command: [String]

  func run() throws {
    // Survives the exec below.
    kerb_die_with_parent(SIGTERM)
    guard getppid() == parent, let path = ProfileFolders.executable else { throw ExitCode(SysExit.unavailable) }
    let words = (["kerb"] + command).map { strdup($0) } + [nil]
    execv(path, words)
    throw ExitCode(SysExit.unavailable)
  }
}

final class DemoProcess {
  let name: String
  private let pid: pid_t
  /// Where its output is read.
  let output: Int32
  private let logPath: String
  private var pending: [UInt8] = []
  /// Once it has ended: the status of waitpid.
  private(set) var status: Int32?

  /// Nil: errno says why.
  init?(name: String, arguments: [String], logPath: String) {
    guard let path = ProfileFolders.executable else { return nil }
    var ends: (Int32, Int32) = (-1, -1)
    let piped = withUnsafeMutableBytes(of: &ends) { pipe($0.baseAddress?.assumingMemoryBound(to: Int32.self)) }
    guard piped == 0 else { return nil }
    for end in [ends.0, ends.1] { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, ends.1, 1)
    posix_spawn_file_actions_addopen(&actions, 2, logPath, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // Signals stay blocked, as here: each part takes them by waiting for them, and none is lost before it does.
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
    let words = (["kerb", "demo-part", "--parent", "\(getpid())"] + arguments).map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var made = pid_t()
    let code = posix_spawn(&made, path, &actions, &attributes, words, environ)
    close(ends.1)
    guard code == 0 else {
      close(ends.0)
      errno = code
      return nil
    }
    _ = kerb_fd_nonblocking(ends.0)
    self.name = name
    self.logPath = logPath
    pid = made
    output = ends.0
  }

  deinit { close(output) }

  func signal(_ number: Int32) {
    if status == nil { kill(pid, number) }
  }

  /// True: it runs.
  func isRunning() -> Bool {
    guard status == nil else { return false }
    var result: Int32 = 0
    if waitpid(pid, &result, WNOHANG) == pid { status = result }
    return status == nil
  }

  /// It ended by itself, with success.
  var endedWell: Bool { status == 0 }

  /// "exit status 78", "signal 11".
  var endingText: String {
    guard let status else { return "running" }
    return status & 0x7F == 0 ? "exit status \(status >> 8 & 0xFF)" : "signal \(status & 0x7F)"
  }

  /// Whole lines that it has printed since the last call.
  func lines() -> [String] {
    var buffer = [UInt8](repeating: 0, count: 16_384)
    while true {
      let count = buffer.withUnsafeMutableBytes { read(output, $0.baseAddress, $0.count) }
      guard count > 0 else { break }
      pending += buffer.prefix(count)
    }
    guard let last = pending.lastIndex(of: 0x0A) else { return [] }
    let whole = pending[..<last]
    pending.removeSubrange(...last)
    return whole.split(separator: 0x0A).map { String(decoding: $0, as: UTF8.self) }
  }

  /// The end of what it said on standard error.
  var lastWords: [String] {
    let text = (try? TextFile.read(logPath, bytesMax: 1 << 20)) ?? ""
    return text.split(separator: "\n").suffix(12).map(String.init)
  }
}
