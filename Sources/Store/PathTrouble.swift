// What an errno of a file or a folder asks of a person: the one table of causes and steps, for the agent, its console
// and the tools. Looks at the path as it is when it is asked; changes nothing.
//
// Invariants:
//  1. What owner and mode are is read, not guessed: who owns a thing already is not told to take it.
//  2. Only what is the box's own is to be given to the agent's user; never a folder above it.

import Glibc

package struct PathTrouble: Sendable {
  package let path: String
  /// What the system said.
  package let code: Int32
  /// The state folder, which is the agent's.
  private let isOwn: Bool

  package init(_ path: String, _ code: Int32, isOwn: Bool = false) {
    self.path = path
    self.code = code
    self.isOwn = isOwn
  }

  package var isPermission: Bool { code == EACCES || code == EPERM }
  package var text: String { words.text }
  package var chineseText: String { words.chineseText }

  private typealias Words = (text: String, chineseText: String)

  private var words: Words {
    let reason = String(cString: strerror(code))
    switch code {
    case EACCES, EPERM: return permission(reason)
    case EROFS:
      return (
        "\(path) can't be written: its file system is read-only; mount -o remount,rw makes it writable, `dmesg` says "
          + "why it is so", "\(path) 无法写入：文件系统只读；mount -o remount,rw 可恢复写入，`dmesg` 有原因"
      )
    case ENOSPC, EDQUOT:
      let (folder, figures) = room
      return (
        "\(path): its partition is full\(figures.text); free some space: du -shx \(folder)/* shows what takes it",
        "\(path)：所在分区已满\(figures.chineseText)；请清理空间：du -shx \(folder)/* 可查看占用"
      )
    case EISDIR:
      return (
        "\(path) is a folder, and a file belongs there; move it away, or name a file",
        "\(path) 是目录，此处应为文件；请移走它，或指定文件"
      )
    case ENOTDIR:
      let wrong = Self.above(path).first { Self.kind($0) != S_IFDIR } ?? path
      return ("\(wrong) is no folder; move it away, or name another place", "\(wrong) 不是目录；请移走它，或改用其他位置")
    case ENOENT: return missing(reason)
    case EEXIST: return ("\(path) is there already; name one that is not there yet", "\(path) 已存在；请另取名称")
    case EIO:
      return (
        "\(path): \(reason); the medium fails: `dmesg` says more; copy what can still be read, and replace it",
        "\(path)：\(reason)；存储介质故障：`dmesg` 有详情；请备份仍可读取的数据并更换"
      )
    default: return ("\(path): \(reason); `dmesg` may say more", "\(path)：\(reason)；`dmesg` 可能有详情")
    }
  }

  // MARK: Permission

  private func permission(_ reason: String) -> Words {
    let culprit = culprit
    var facts = stat()
    guard stat(culprit, &facts) == 0 else { return ("\(path): \(reason)", "\(path)：\(reason)") }
    let isFolder = facts.st_mode & S_IFMT == S_IFDIR
    let needed: mode_t = isFolder ? 0o700 : 0o600
    let mode = String(facts.st_mode & 0o7777, radix: 8)
    let user = Account(running: facts.st_uid)
    if facts.st_uid == user.id, facts.st_mode & needed != needed {
      let step = "chmod u+\(isFolder ? "rwx" : "rw") \(culprit)"
      return (
        "\(path): \(reason); \(culprit) belongs to \(user.name) already, and its mode (\(mode)) keeps it out: \(step)",
        "\(path)：\(reason)；\(culprit) 已属于 \(user.name)，但权限（\(mode)）不允许：\(step)"
      )
    }
    if facts.st_uid == user.id || code == EPERM && geteuid() == 0 {
      return (
        "\(path): \(reason); owner and mode of \(culprit) allow it: is it immutable (lsattr -d), or kept away by the "
          + "service's own limits (systemctl cat kerb) or AppArmor (`dmesg`)?",
        "\(path)：\(reason)；\(culprit) 的所有者和权限允许访问：是否不可变（lsattr -d），或受服务限制（systemctl cat kerb）"
          + "或 AppArmor（`dmesg`）阻止？"
      )
    }
    guard isOwn && culprit == path || Self.isOfBox(culprit) else {
      let owner = Account(facts.st_uid).name
      return (
        "\(path): \(reason); \(culprit) belongs to \(owner) (mode \(mode)) and does not let \(user.name) in: name "
          + "another place, or run this as one who may",
        "\(path)：\(reason)；\(culprit) 属于 \(owner)（权限 \(mode)），不允许 \(user.name)：请改用其他位置，或换有权的用户执行"
      )
    }
    let step = "chown \(isFolder ? "-R " : "")\(user.name):\(user.group) \(culprit)"
    return (
      "\(path): \(reason); give the \(isFolder ? "folder" : "file") to the agent's user: \(step)",
      "\(path)：\(reason)；请将\(isFolder ? "目录" : "文件")交给代理用户：\(step)"
    )
  }

  /// The highest that does not let this process pass; else the thing itself; else, where it is not, or may be written,
  /// its folder.
  private var culprit: String {
    let above = Self.above(path)
    if let closed = above.dropLast().first(where: { access($0, X_OK) != 0 && errno == EACCES }) { return closed }
    // Root may do everything: whoever it asks for may not.
    if access(path, F_OK) == 0, geteuid() == 0 || access(path, R_OK | W_OK) != 0 { return path }
    return above.dropLast().last ?? path
  }

  private static func isOfBox(_ path: String) -> Bool {
    let name = path.split(separator: "/").last.map(String.init) ?? ""
    return ["box.key", "lock", "learned.json", "quarantine"].contains(name)
      || [StateFolder.telemetry, StateFolder.alarms].contains { name == $0 || name == $0 + "-wal" }
  }

  // MARK: What is there

  private func missing(_ reason: String) -> Words {
    let above = Self.above(path)
    if let folder = above.dropLast().first(where: { access($0, F_OK) != 0 }) {
      return (
        "\(path): \(reason); \(folder) is not there: is its partition mounted (findmnt)? Make it, or name another "
          + "place",
        "\(path)：\(reason)；\(folder) 不存在：分区已挂载吗（findmnt）？请创建，或改用其他位置"
      )
    }
    if isOwn {
      return (
        "\(path): \(reason); is its partition mounted (findmnt)? Make the folder and give it to the agent's user",
        "\(path)：\(reason)；分区已挂载吗（findmnt）？请创建目录并交给代理用户"
      )
    }
    if Self.isOfBox(path) {
      return (
        "\(path): \(reason); the first start of the agent makes it: is this the right state folder?",
        "\(path)：\(reason)；代理首次启动时会创建：状态目录是否正确？"
      )
    }
    return ("\(path): \(reason); is the name right?", "\(path)：\(reason)；名称是否正确？")
  }

  private var room: (folder: String, figures: Words) {
    let folder = Self.above(path).last { Self.kind($0) == S_IFDIR } ?? path
    var facts = statvfs()
    guard statvfs(folder, &facts) == 0 else { return (folder, ("", "")) }
    let free = Self.text(bytes: Int64(facts.f_bavail) * Int64(facts.f_frsize))
    let all = Self.text(bytes: Int64(facts.f_blocks) * Int64(facts.f_frsize))
    return (folder, (" (\(free) of \(all) free)", "（剩余 \(free)，共 \(all)）"))
  }

  /// "12.5 MiB"
  package static func text(bytes: Int64) -> String {
    for (size, unit) in [(Int64(1) << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] where bytes >= size {
      let tenths = bytes / size * 10 + bytes % size * 10 / size
      return "\(tenths / 10).\(tenths % 10) \(unit)"
    }
    return "\(bytes) B"
  }

  /// What leads to a path, from the top, and the path itself.
  private static func above(_ path: String) -> [String] {
    var steps = path.hasPrefix("/") ? ["/"] : []
    var step = path.hasPrefix("/") ? "" : "."
    for part in path.split(separator: "/") {
      step = step == "." ? String(part) : "\(step)/\(part)"
      steps.append(step)
    }
    if !path.hasPrefix("/") { steps.insert(".", at: 0) }
    return steps
  }

  private static func kind(_ path: String) -> mode_t? {
    var facts = stat()
    return stat(path, &facts) == 0 ? facts.st_mode & S_IFMT : nil
  }
}

/// A user of the system, with its own group.
private struct Account {
  let id: uid_t
  let name: String
  let group: String

  init(_ id: uid_t) { self.init(id, getpwuid(id)) }

  /// Whoever the agent runs as: this process, if it owns the thing and is not root; else the package's user; without
  /// one, this process.
  init(running owner: uid_t) {
    let own = geteuid()
    if own != 0, own == owner { self.init(own) } else if let user = getpwnam("kerb") {
      self.init(user.pointee.pw_uid, user)
    } else {
      self.init(own)
    }
  }

  private init(_ id: uid_t, _ entry: UnsafeMutablePointer<passwd>?) {
    self.id = id
    guard let entry, let name = entry.pointee.pw_name else {
      (name, group) = ("\(id)", "\(id)")
      return
    }
    self.name = String(cString: name)
    let found = getgrgid(entry.pointee.pw_gid).flatMap { $0.pointee.gr_name }
    group = found.map { String(cString: $0) } ?? "\(entry.pointee.pw_gid)"
  }
}
