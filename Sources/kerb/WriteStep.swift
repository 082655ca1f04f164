// What to do when stdout can't be written. Of what has a path PathTrouble knows more.

import Glibc
import Store

enum WriteStep {
  static func text(_ code: Int32, in language: Language = .current) -> String {
    phrase(code).text(in: language)
  }

  private static func phrase(_ code: Int32) -> Phrase {
    switch code {
    case EACCES, EPERM:
      return Phrase("run this as root, or as somebody who may write there", "请用 root 或有写权限的用户运行")
    case EROFS:
      return Phrase("it is mounted read-only: name another place, or mount it writable", "该处以只读方式挂载：请换一个位置，或以可写方式挂载")
    case ENOSPC, EDQUOT:
      return Phrase("make room there, or name another place", "请清理空间，或换一个位置")
    case EFBIG:
      return Phrase("a file may not be that large here (ulimit -f): name another place", "文件超过大小上限（ulimit -f）：请换一个位置")
    case EIO:
      return Phrase("the medium fails: name another place, and look with dmesg", "存储介质出错：请换一个位置，并用 dmesg 查看")
    case EBADF:
      return Phrase("it is closed: name a place for it", "该通道已关闭：请指定输出位置")
    case EPIPE:
      return Phrase("its reader has gone: run this again with one that stays", "读取方已退出：请换一个保持读取的程序重试")
    default:
      return Phrase("name another place", "请换一个位置")
    }
  }
}

extension CommandFailure {
  /// Whose a place is that somebody named, is not for the agent's user to say.
  init(cannotWrite path: String, _ code: Int32) {
    guard code == EACCES || code == EPERM else {
      self.init(PathTrouble(path, code))
      return
    }
    self.init(
      Messages.text(.cannotWrite, path, String(cString: strerror(code)), WriteStep.text(code)),
      exitCode: CommandFailure.permission)
  }
}
