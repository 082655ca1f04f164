// The box's secret: 32 random bytes in STATE/box.key, made at the first start and never written again. Everything
// secret that the box needs is derived from it by a label, so that no derived key says anything about another.
//
// Invariants:
//  1. The file is made with mode 0600 and complete, or not at all (written beside, synced, then linked to its
//     name).
//  2. A file that others can read, or of another size, is refused, never repaired: it may be somebody's only copy.

import Glibc

package enum BoxKeyFailure: Error, Sendable, Equatable {
  /// Can't be read or made: errno.
  case unusable(path: String, code: Int32)
  case tooOpen(path: String, mode: UInt32)
  case wrongSize(path: String, bytes: Int)
  case noRandomness

  package var text: String {
    switch self {
    case .unusable(let path, let code):
      return "\(path): \(String(cString: strerror(code))); the folder must exist and belong to the agent's user"
    case .tooOpen(let path, let mode):
      return "\(path): others can read the box's key (mode \(String(mode & 0o777, radix: 8))); run: chmod 600 \(path)"
    case .wrongSize(let path, let bytes):
      return "\(path): \(bytes) bytes, expected \(BoxKey.bytes); restore it from a backup, or move it away: then a new "
        + "key is made, all pseudonyms change and every platform must begin without `after`"
    case .noRandomness: return "the system has no source of random numbers"
    }
  }
}

package struct BoxKey: Sendable {
  package static let bytes = 32
  private let secret: [UInt8]

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
  package var pseudonymKey: [UInt8] { derived("pseudonym") }
  /// Seals the cursors of one consumer.
  package func cursorKey(consumer: String) -> [UInt8] { derived("cursor:\(consumer)") }
  /// Turns pseudonyms into those of one consumer on the way out.
  package func consumerKey(_ consumer: String) -> [UInt8] { derived("consumer:\(consumer)") }

  /// Turns pseudonyms into those of `kerb export --personal`.
  package var exportKey: [UInt8] { derived("export") }

  /// Nil: there is none.
  private static func read(_ path: String) throws(BoxKeyFailure) -> BoxKey? {
    let fd = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    if fd < 0 {
      let code = errno
      if code == ENOENT { return nil }
      throw .unusable(path: path, code: code)
    }
    defer { close(fd) }
    var facts = stat()
    guard fstat(fd, &facts) == 0 else { throw .unusable(path: path, code: errno) }
    if facts.st_mode & 0o077 != 0 { throw .tooOpen(path: path, mode: facts.st_mode) }
    if facts.st_size != off_t(bytes) { throw .wrongSize(path: path, bytes: Int(facts.st_size)) }
    var secret = [UInt8](repeating: 0, count: bytes)
    let got = Glibc.read(fd, &secret, bytes)
    if got < 0 { throw .unusable(path: path, code: errno) }
    if got != bytes { throw .wrongSize(path: path, bytes: got) }
    return BoxKey(secret: secret)
  }

  private static func make(_ path: String) throws(BoxKeyFailure) {
    guard let secret = Sodium.randomBytes(bytes) else { throw .noRandomness }
    let draft = "\(path).\(getpid())"
    let fd = Glibc.open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    if fd < 0 { throw .unusable(path: path, code: errno) }
    defer { unlink(draft) }
    let wrote = write(fd, secret, bytes)
    let failed = wrote != bytes || fsync(fd) != 0 ? (errno == 0 ? EIO : errno) : 0
    close(fd)
    if failed != 0 { throw .unusable(path: path, code: failed) }
    // link() does not replace: if another start was faster, its key stands.
    if link(draft, path) != 0, errno != EEXIST { throw .unusable(path: path, code: errno) }
    let folder = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
    let folderFD = Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if folderFD >= 0 {
      fsync(folderFD)
      close(folderFD)
    }
  }
}
