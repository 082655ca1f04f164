// The box's secret: 32 random bytes in STATE/box.key, made at the first start. Everything secret that the box needs is
// derived from it by a label, so that no derived key says anything about another. `kerb key rotate` puts 32 more
// behind them: from then on those make the pseudonyms, and the first ones all the rest, so that cursors stay.
//
// Invariants:
//  1. The file is made with mode 0600 and complete, or not at all (written beside, synced, then linked to its
//     name, or renamed over the old one).
//  2. A file that others can read, or of another size, is refused, never repaired: it may be somebody's only copy.

import Glibc
import Store

package enum BoxKeyFailure: Error, Sendable, Equatable {
  /// Can't be read or made: errno.
  case unusable(path: String, code: Int32)
  case tooOpen(path: String, mode: UInt32)
  case wrongSize(path: String, bytes: Int)
  case noRandomness

  package var text: String {
    switch self {
    case .unusable(let path, let code): return PathTrouble(path, code).text
    case .tooOpen(let path, let mode):
      return "\(path): others can read the box's key (mode \(String(mode & 0o777, radix: 8))); run: chmod 600 \(path)"
    case .wrongSize(let path, let bytes):
      return "\(path): \(bytes) bytes, expected \(BoxKey.bytes) or \(2 * BoxKey.bytes); restore it from a backup, "
        + "or move it away: then a new key is made, all pseudonyms change and every platform must begin without `after`"
    case .noRandomness: return "the system has no source of random numbers"
    }
  }

  /// What the system has against the file, if that is what it is.
  package var trouble: PathTrouble? {
    if case .unusable(let path, let code) = self { return PathTrouble(path, code) }
    return nil
  }

  /// Somebody else may do it, or it may be done after a chmod.
  package var isPermission: Bool {
    switch self {
    case .unusable(_, let code): return code == EACCES || code == EPERM
    case .tooOpen: return true
    case .wrongSize, .noRandomness: return false
    }
  }
}

package struct BoxKey: Sendable {
  package static let bytes = 32
  private let secret: [UInt8]
  /// Since a rotation.
  private var personal: [UInt8]?

  /// `secret`: 32 bytes.
  package init(secret: [UInt8]) {
    precondition(secret.count == Self.bytes, "a box key has 32 bytes")
    self.secret = secret
  }

  package static func path(statePath: String) -> String { "\(statePath)/box.key" }

  /// Reads `statePath`/box.key, or makes it.
  package static func open(statePath: String) throws(BoxKeyFailure) -> BoxKey {
    let path = path(statePath: statePath)
    if let key = try read(path) { return key }
    try make(path)
    guard let key = try read(path) else { throw .unusable(path: path, code: ENOENT) }
    return key
  }

  /// 32 bytes for one purpose.
  package func derived(_ label: String) -> [UInt8] { Sodium.hmac(Array(label.utf8), key: secret) }
  /// Names the key without telling anything of it.
  package var identity: [UInt8] { Array(derived("identity").prefix(8)) }
  /// Turns a card number into a pseudonym at decoding.
  package var pseudonymKey: [UInt8] {
    personal.map { Sodium.hmac(Array("pseudonym".utf8), key: $0) } ?? derived("pseudonym")
  }
  /// Seals the cursors of one consumer.
  package func cursorKey(consumer: String) -> [UInt8] { derived("cursor:\(consumer)") }
  /// Turns pseudonyms into those of one consumer on the way out.
  package func consumerKey(_ consumer: String, number: Int = 1) -> [UInt8] {
    derived(number == 1 ? "consumer:\(consumer)" : "consumer:\(consumer):\(number)")
  }

  /// Turns pseudonyms into those of `kerb export --personal`.
  package var exportKey: [UInt8] { derived("export") }

  /// Nil: there is none.
  private static func read(_ path: String) throws(BoxKeyFailure) -> BoxKey? {
    // Not waited for: a pipe in its place has no key to give.
    let fd = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    if fd < 0 {
      let code = errno
      if code == ENOENT { return nil }
      throw .unusable(path: path, code: code)
    }
    defer { close(fd) }
    var facts = stat()
    guard fstat(fd, &facts) == 0 else { throw .unusable(path: path, code: errno) }
    if facts.st_mode & 0o077 != 0 { throw .tooOpen(path: path, mode: facts.st_mode) }
    let size = Int(facts.st_size)
    guard size == bytes || size == 2 * bytes else { throw .wrongSize(path: path, bytes: size) }
    var secret = [UInt8](repeating: 0, count: size)
    let got = Glibc.read(fd, &secret, size)
    if got < 0 { throw .unusable(path: path, code: errno) }
    if got != size { throw .wrongSize(path: path, bytes: got) }
    var key = BoxKey(secret: Array(secret[..<bytes]))
    if size > bytes { key.personal = Array(secret[bytes...]) }
    return key
  }

  /// Another key for pseudonyms, in force at the next start of the agent; the old one is nowhere any more.
  package static func rotate(statePath: String) throws(BoxKeyFailure) {
    let path = path(statePath: statePath)
    guard let key = try read(path) else { throw .unusable(path: path, code: ENOENT) }
    guard let fresh = Sodium.randomBytes(bytes) else { throw .noRandomness }
    var facts = stat()
    guard stat(path, &facts) == 0 else { throw .unusable(path: path, code: errno) }
    let draft = try write(key.secret + fresh, beside: path)
    defer { unlink(draft) }
    // Root rotates what belongs to the agent's user.
    guard chown(draft, facts.st_uid, facts.st_gid) == 0, rename(draft, path) == 0 else {
      throw .unusable(path: path, code: errno)
    }
    syncFolder(of: path)
  }

  private static func make(_ path: String) throws(BoxKeyFailure) {
    guard let secret = Sodium.randomBytes(bytes) else { throw .noRandomness }
    let draft = try write(secret, beside: path)
    defer { unlink(draft) }
    // link() does not replace: if another start was faster, its key stands.
    if link(draft, path) != 0, errno != EEXIST { throw .unusable(path: path, code: errno) }
    syncFolder(of: path)
  }

  private static func write(_ secret: [UInt8], beside path: String) throws(BoxKeyFailure) -> String {
    let draft = "\(path).\(getpid())"
    let fd = Glibc.open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    if fd < 0 { throw .unusable(path: path, code: errno) }
    let wrote = Glibc.write(fd, secret, secret.count)
    let failed = wrote != secret.count || fsync(fd) != 0 ? (errno == 0 ? EIO : errno) : 0
    close(fd)
    if failed == 0 { return draft }
    unlink(draft)
    throw .unusable(path: path, code: failed)
  }

  private static func syncFolder(of path: String) {
    let folder = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
    let folderFD = Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard folderFD >= 0 else { return }
    fsync(folderFD)
    close(folderFD)
  }
}
