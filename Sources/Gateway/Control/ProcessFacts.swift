// What the kernel says about this process. Read when asked; any thread.

import Glibc

package struct ProcessFacts: Sendable {
  /// Resident, and that part of it which is the process's own (RssAnon).
  package var residentBytes: Int64 = 0
  package var privateBytes: Int64 = 0
  package var threads: Int64 = 0

  /// Zeros where the kernel does not say.
  package static func read() -> ProcessFacts {
    var facts = ProcessFacts()
    let fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC)
    if fd < 0 { return facts }
    defer { close(fd) }
    var bytes = [UInt8](repeating: 0, count: 8_192)
    let count = Glibc.read(fd, &bytes, bytes.count)
    if count <= 0 { return facts }
    for line in bytes[..<count].split(separator: 0x0A) {
      let words = String(decoding: line, as: UTF8.self).split { $0 == " " || $0 == "\t" }
      guard words.count >= 2, let value = Int64(words[1]) else { continue }
      switch words[0] {
      case "VmRSS:": facts.residentBytes = value * 1_024
      case "RssAnon:": facts.privateBytes = value * 1_024
      case "Threads:": facts.threads = value
      default: break
      }
    }
    return facts
  }
}
