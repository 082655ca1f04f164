// Who has a serial port open: looked up in /proc, as far as this user may look.

import FieldBus
import Glibc

enum PortHolders {
  /// "kerb (4711)"; without those that this user may not see.
  static func names(_ path: String) -> [String] {
    guard let real = TextFile.resolved(path) else { return [] }
    var holders: [String] = []
    for process in (try? TextFile.names(in: "/proc")) ?? [] where process.allSatisfy(\.isNumber) {
      if Int32(process) == getpid() { continue }
      for descriptor in (try? TextFile.names(in: "/proc/\(process)/fd")) ?? []
      where TextFile.resolved("/proc/\(process)/fd/\(descriptor)") == real {
        holders.append("\(name(process)) (\(process))")
        break
      }
    }
    return holders
  }

  private static func name(_ process: String) -> String {
    let text = (try? TextFile.read("/proc/\(process)/comm", bytesMax: 256)) ?? "?"
    return String(text.prefix { $0 != "\n" })
  }
}
