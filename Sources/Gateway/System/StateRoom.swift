// The state folder as a person meets it: is it there, whose is it, may it be written, how much room has its partition.
// Read when asked; changes nothing.

import Glibc
import Store
import StreamCore

package struct StateRoom: Sendable {
  package let path: String
  /// Of its partition; nil: there is nothing to ask.
  package private(set) var freeBytes: Int64?
  package private(set) var totalBytes: Int64?

  package init(_ path: String) {
    self.path = path
    var room = statvfs()
    guard statvfs(path, &room) == 0 else { return }
    freeBytes = Int64(room.f_bavail) * Int64(room.f_frsize)
    totalBytes = Int64(room.f_blocks) * Int64(room.f_frsize)
  }

  package init(_ path: String, freeBytes: Int64, totalBytes: Int64) {
    self.path = path
    self.freeBytes = freeBytes
    self.totalBytes = totalBytes
  }

  private var figures: String {
    guard let freeBytes, let totalBytes else { return "" }
    return "\(Self.text(freeBytes)) of \(Self.text(totalBytes)) free"
  }

  private var chineseFigures: String {
    guard let freeBytes, let totalBytes else { return "" }
    return "剩余 \(Self.text(freeBytes))，共 \(Self.text(totalBytes))"
  }

  /// "12.5 MiB"
  package static func text(_ bytes: Int64) -> String {
    PathTrouble.text(bytes: bytes)
  }

  /// Nil: the store is well, and there is room beside it.
  package func trouble(_ report: StoreReport) -> Trouble? {
    switch report.state {
    case .good:
      guard let freeBytes, freeBytes < Limits.stateRoomBytesMin else { return nil }
      return Trouble(
        "state-tight", path,
        "the state partition is as good as full (\(path): \(figures)): the buffer has its room and goes on; "
          + "backups, changes of platforms and restores find none; free some space: du -shx \(path)/* shows "
          + "what takes it",
        "状态分区几乎已满（\(path)：\(chineseFigures)）：缓存的空间已预留，继续运行；备份、平台变更和恢复则没有空间；"
          + "请清理空间：du -shx \(path)/* 可查看占用")
    case .full:
      return Trouble(
        "state-full", path,
        "the state partition is full (\(path): \(figures)): alarms are still stored, telemetry waits in memory and is "
          + "then lost with account; free some space (du -shx \(path)/* shows what takes it), or make `telemetry` "
          + "under [buffer] smaller and restart; everything else runs",
        "状态分区已满（\(path)：\(chineseFigures)）：报警仍会保存，遥测暂存内存，满后丢失并计数；"
          + "请清理空间（du -shx \(path)/* 可查看占用），或减小 [buffer] 的 `telemetry` 后重启；其余照常运行")
    case .readOnly:
      return Trouble(
        "state-read-only", path,
        "the state partition is read-only (\(path)): what is stored is served, new records wait in memory and are then "
          + "lost with account; `dmesg` says why, a worn card must be replaced; mount -o remount,rw makes it writable",
        "状态分区只读（\(path)）：已存数据照常提供，新记录暂存内存，满后丢失并计数；"
          + "`dmesg` 有原因，磨损的存储卡须更换；mount -o remount,rw 可恢复写入")
    case .failing:
      return Trouble(
        "state-failing", path, "the storage fails (\(path)): \(report.lastFailure)",
        "存储故障（\(path)）：\(report.lastFailure)；`dmesg` 有内核信息，若持续请更换存储介质")
    }
  }

  /// Seen from outside, by whoever asks: what would keep the agent from its folder; nil: nothing, or it is not there.
  package var suspicion: (text: String, chineseText: String)? {
    var facts = stat()
    guard stat(path, &facts) == 0 else { return nil }
    if facts.st_mode & S_IFMT != S_IFDIR { return refusal(ENOTDIR) }
    var room = statvfs()
    if statvfs(path, &room) == 0, room.f_flag & UInt(ST_RDONLY) != 0 { return refusal(EROFS) }
    // The package's user; where there is none, whoever asks is the agent.
    guard let user = getpwnam("kerb") else {
      return access(path, R_OK | W_OK | X_OK) == 0 ? nil : refusal(errno)
    }
    guard geteuid() == 0, path.hasPrefix("/var/") else { return nil }
    return facts.st_uid != user.pointee.pw_uid || facts.st_mode & 0o700 != 0o700 ? refusal(EACCES) : nil
  }

  /// Why the agent can't begin with this folder, and what to do. `code`: what making or entering it said.
  package func refusal(_ code: Int32) -> (text: String, chineseText: String) {
    var facts = stat()
    if stat(path, &facts) == 0, facts.st_mode & S_IFMT != S_IFDIR {
      return (
        "\(path) is no folder; move it away, or name another `state` under [gateway]",
        "\(path) 不是目录；请移走它，或在 [gateway] 另设 `state`"
      )
    }
    let trouble = PathTrouble(path, code, isOwn: true)
    return (trouble.text, trouble.chineseText)
  }
}
