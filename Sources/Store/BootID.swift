// The kernel's name for this boot: the monotonic clock has one meaning for as long. A service that sees nothing of
// /proc but its own processes is told by systemd (`Environment=KERB_BOOT_ID=%b`). Any thread.

import Glibc

/// Empty where nobody knows.
func bootID() -> String {
  bootID(
    kernel: firstLine(of: "/proc/sys/kernel/random/boot_id"), told: getenv("KERB_BOOT_ID").map { String(cString: $0) })
}

/// The kernel's own word goes first: a variable may be another boot's.
func bootID(kernel: String?, told: String?) -> String {
  kernel.flatMap(uuid(of:)) ?? told.flatMap(uuid(of:)) ?? ""
}

/// 32 hexadecimal digits, with hyphens or without, as the kernel writes them; nil: it is something else.
private func uuid(of text: String) -> String? {
  let digits = text.utf8.filter { $0 != 0x2D }
  guard digits.count == 32, digits.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }) else {
    return nil
  }
  var written: [UInt8] = []
  for (index, digit) in digits.enumerated() {
    if [8, 12, 16, 20].contains(index) { written.append(0x2D) }
    written.append(digit)
  }
  return String(decoding: written, as: UTF8.self)
}

private func firstLine(of path: String) -> String? {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { return nil }
  defer { close(descriptor) }
  var bytes = [UInt8](repeating: 0, count: 64)
  let count = read(descriptor, &bytes, bytes.count)
  return String(decoding: bytes.prefix(max(0, count)).prefix { $0 != 0x0A }, as: UTF8.self)
}
