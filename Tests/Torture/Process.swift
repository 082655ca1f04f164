// One victim, seen from outside: started, listened to until a moment, killed.

import CLinux
import Glibc

struct VictimProcess: ~Copyable {
  private let pid: pid_t
  private let output: Int32
  private var rest: [UInt8]

  /// Nil: it can't be started. Nothing of it is set before that is known: Swift 6.2 can't undo a half-made value.
  init?(_ arguments: [String]) {
    guard let started = Self.start(arguments) else { return nil }
    pid = started.pid
    output = started.output
    rest = []
  }

  private static func start(_ arguments: [String]) -> (pid: pid_t, output: Int32)? {
    var pipes: [Int32] = [0, 0]
    guard pipe(&pipes) == 0 else { return nil }
    for end in pipes { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 1)
    let argv = (["torture"] + arguments).map { strdup($0) } + [nil]
    defer { for word in argv { free(word) } }
    var child: pid_t = 0
    let code = posix_spawn(&child, "/proc/self/exe", &actions, nil, argv, environ)
    posix_spawn_file_actions_destroy(&actions)
    close(pipes[1])
    guard code == 0 else {
      close(pipes[0])
      return nil
    }
    return (child, pipes[0])
  }

  deinit {
    kill(pid, SIGKILL)
    var status: Int32 = 0
    waitpid(pid, &status, 0)
    close(output)
  }

  /// Hands over lines until the time, the end, or `isEnough`. False: it has ended.
  mutating func listen(until deadline: Int64, _ take: (Substring) -> Bool) -> Bool {
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      var polled = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
      guard kerb_poll_until(&polled, 1, deadline) > 0 else { return true }
      let count = read(output, &bytes, bytes.count)
      guard count > 0 else { return false }
      rest += bytes[..<count]
      guard let end = rest.lastIndex(of: 0x0A) else { continue }
      let lines = String(decoding: rest[..<end], as: UTF8.self)
      rest.removeSubrange(...end)
      var isEnough = false
      for line in lines.split(separator: "\n") where take(line) { isEnough = true }
      if isEnough { return true }
    }
  }

  /// Kills it, wherever it is.
  func end() { kill(pid, SIGKILL) }
}
