// Owns one pty and the link to its slave side. Used by the thread of its line alone.
//
// Invariants:
//  1. The slave side is held open here, too: the master never sees EIO because an agent closed it.
//  2. What the last opener left behind (TIOCEXCL, unread bytes) is gone for the next one, as on a real port.
//  3. At the link's path stands our link or nothing; what is not ours is never replaced.

import CLinux
import Glibc

struct PtyEnd: ~Copyable {
  let master: Int32
  let watch: Int32
  private let slave: Int32
  private let claim: Int32
  private let linkPath: String
  private let slavePath: String
  /// Who has the slave side open, besides us.
  private(set) var openers = 0

  init(link: String) throws(SiteFailure) {
    let parts = try opened(link)
    master = parts.master
    slave = parts.slave
    watch = parts.watch
    claim = parts.claim
    slavePath = parts.path
    linkPath = link
  }

  deinit {
    if linkTarget(linkPath) == slavePath { unlink(linkPath) }
    close(slave)
    close(master)
    close(watch)
    close(claim)
  }

  /// Reads what the watch has seen. True: the last opener has gone.
  mutating func noticeOpeners() -> Bool {
    var buffer = [UInt8](repeating: 0, count: 4_096)
    var left = false
    while true {
      let count = buffer.withUnsafeMutableBytes { read(watch, $0.baseAddress, $0.count) }
      guard count > 0 else { break }
      var place = 0
      while place + MemoryLayout<inotify_event>.size <= count {
        let event = buffer.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: place, as: inotify_event.self) }
        if event.mask & UInt32(IN_OPEN) != 0 {
          openers += 1
        } else {
          openers = Swift.max(0, openers - 1)
          left = true
        }
        place += MemoryLayout<inotify_event>.size + Int(event.len)
      }
    }
    guard left, openers == 0 else { return false }
    _ = kerb_tty_share(slave)
    tcflush(slave, TCIFLUSH)
    return true
  }
}

private struct PtyParts {
  var master: Int32 = -1
  var slave: Int32 = -1
  var watch: Int32 = -1
  var claim: Int32 = -1
  var path = ""

  func closeAll() {
    for fd in [master, slave, watch, claim] where fd >= 0 { close(fd) }
  }
}

private func opened(_ link: String) throws(SiteFailure) -> PtyParts {
  var parts = PtyParts()
  do throws(SiteFailure) {
    parts.claim = kerb_name_claim("kerb-line:" + absolute(link))
    if parts.claim == -EADDRINUSE { throw SiteFailure.linkServed(path: link) }
    if parts.claim < 0 { throw SiteFailure.noPty(code: -parts.claim) }
    var name = [CChar](repeating: 0, count: 64)
    let code = kerb_pty_open(&parts.master, &name, name.count)
    if code < 0 { throw SiteFailure.noPty(code: -code) }
    parts.path = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    parts.slave = open(parts.path, O_RDWR | O_NOCTTY | O_CLOEXEC)
    if parts.slave < 0 { throw SiteFailure.noPty(code: errno) }
    // Raw from the first byte: nothing is echoed to a device that speaks before the agent has set its line.
    _ = kerb_tty_raw(parts.slave, 9600, 78, 1)
    _ = kerb_fd_nonblocking(parts.master)
    parts.watch = inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC))
    _ = inotify_add_watch(parts.watch, parts.path, UInt32(IN_OPEN | IN_CLOSE_WRITE | IN_CLOSE_NOWRITE))
    try placeLink(from: link, to: parts.path)
    return parts
  } catch let failure {
    parts.closeAll()
    throw failure
  }
}

private func placeLink(from link: String, to target: String) throws(SiteFailure) {
  var about = stat()
  if lstat(link, &about) == 0 {
    guard about.st_mode & S_IFMT == S_IFLNK, let old = linkTarget(link), old.hasPrefix("/dev/pts/") else {
      throw .linkTaken(path: link)
    }
  }
  // Never a moment without a link: an agent that looks just now finds the old one or the new one.
  let fresh = link + ".new"
  unlink(fresh)
  if symlink(target, fresh) < 0 { throw .linkFailed(path: link, code: errno) }
  if rename(fresh, link) < 0 {
    let code = errno
    unlink(fresh)
    throw .linkFailed(path: link, code: code)
  }
}

private func linkTarget(_ link: String) -> String? {
  var buffer = [CChar](repeating: 0, count: 4_096)
  let count = readlink(link, &buffer, buffer.count)
  return count > 0 ? String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
}

private func absolute(_ path: String) -> String {
  guard !path.hasPrefix("/"), let folder = getcwd(nil, 0) else { return path }
  defer { free(folder) }
  return String(cString: folder) + "/" + path
}
