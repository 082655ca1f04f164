// Programs of the system that a command has do what they do best: udevadm, openssl, systemctl. Found by PATH, started
// without a shell, waited for.

import Glibc

struct Tool {
  /// Nil-safe: 127 if there is no such program.
  var status: Int32
  /// The first 64 KiB of what it said, on both channels.
  var said: String

  static let bytesMax = 65_536

  static func run(_ name: String, _ arguments: [String]) -> Tool {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { return Tool(status: 127, said: "") }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
    posix_spawn_file_actions_addclose(&actions, ends[0])
    posix_spawn_file_actions_addclose(&actions, ends[1])
    var words: [UnsafeMutablePointer<CChar>?] = ([name] + arguments).map { strdup($0) }
    words.append(nil)
    defer { for word in words { free(word) } }
    var process: pid_t = 0
    let failure = posix_spawnp(&process, name, &actions, nil, words, environ)
    close(ends[1])
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 4_096)
    while failure == 0 {
      let count = read(ends[0], &part, part.count)
      if count < 0, errno == EINTR { continue }
      if count <= 0 { break }
      if bytes.count < bytesMax { bytes += part[..<count] }
    }
    close(ends[0])
    guard failure == 0 else { return Tool(status: 127, said: String(cString: strerror(failure))) }
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0, errno == EINTR {}
    let code = status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F)
    return Tool(status: code, said: String(decoding: bytes.prefix(bytesMax), as: UTF8.self))
  }
}
