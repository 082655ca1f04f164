// Owns the state folder: that one process has it, where its files are, and where damaged ones go.
//
// Invariants:
//  1. The lock is held from before the first file is opened until after the last is closed; the kernel lets it go when
//     the process dies, however it dies.
//  2. A database moves together with its -wal; the -wal first: alone at its place it could be taken for a new file's.

import CLinux
import Glibc
import StreamCore

struct StateFolder: ~Copyable {
  let path: String
  private let lock: Int32
  private let moved: MovedSets

  static let telemetry = "telemetry.db"
  static let alarms = "alarm.db"

  init(path: String) throws(StoreFailure) {
    let file = path + "/lock"
    var descriptor = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    let isReadOnly = descriptor < 0 && errno == EROFS
    // Locks are the kernel's: they need no file that can be written.
    if isReadOnly { descriptor = open(file, O_RDONLY | O_CLOEXEC) }
    guard descriptor >= 0 else { throw Self.failure(file, isReadOnly ? EROFS : errno) }
    let outcome = kerb_fd_flock(descriptor)
    guard outcome == 0 else {
      let holder = Self.holder(descriptor)
      close(descriptor)
      guard outcome == -EWOULDBLOCK else { throw .unusable(path: file, code: outcome) }
      throw .held(by: holder)
    }
    var name = "kerb run, process \(getpid())\n"
    let isWritten = name.withUTF8 { bytes in
      ftruncate(descriptor, 0) == 0 && pwrite(descriptor, bytes.baseAddress, bytes.count, 0) == bytes.count
    }
    // Only a hint for whoever comes second: a sick disk is met again where it matters.
    guard isWritten || isReadOnly || [ENOSPC, EDQUOT, EIO, EROFS].contains(errno) else {
      let code = -errno
      close(descriptor)
      throw .unusable(path: file, code: code)
    }
    self.path = path
    lock = descriptor
    moved = MovedSets()
    give(file)
  }

  deinit { close(lock) }

  func file(_ name: String) -> String { path + "/" + name }

  /// Tools are run by root, the agent by a user of its own: what is made here belongs to the folder's owner, or the
  /// agent could not write it.
  func give(_ made: String) {
    var status = stat()
    guard geteuid() == 0, stat(path, &status) == 0, status.st_uid != 0 || status.st_gid != 0 else { return }
    _ = lchown(made, status.st_uid, status.st_gid)
  }

  /// False: its file system is mounted read-only.
  var isWritable: Bool { access(path, W_OK) == 0 || errno != EROFS }

  static func failure(_ path: String, _ code: Int32) -> StoreFailure {
    switch code {
    case EROFS: return .readOnly(path: path)
    case ENOSPC, EDQUOT: return .full
    default: return .unusable(path: path, code: -code)
    }
  }

  /// Who says in the lock's file that he has it.
  static func holder(_ lock: Int32) -> String {
    var bytes = [UInt8](repeating: 0, count: 128)
    let count = pread(lock, &bytes, bytes.count, 0)
    let name = String(decoding: bytes.prefix(max(0, count)).prefix { $0 != 0x0A }, as: UTF8.self)
    return name.isEmpty ? "another process" : name
  }

  /// Moves the databases away, into a numbered folder of `quarantine`; the newest has the highest number. The answer:
  /// that folder.
  @discardableResult
  func quarantine(_ names: [String]) throws(StoreFailure) -> String? {
    // An empty set would push a real one out.
    guard names.contains(where: { access(file($0), F_OK) == 0 }) else { return nil }
    let all = file("quarantine")
    guard mkdir(all, 0o750) == 0 || errno == EEXIST else { throw Self.failure(all, errno) }
    let set = try freeSet(in: all)
    give(all)
    give(set)
    for name in names {
      for suffix in ["-wal", "-shm", ""] {
        let from = file(name) + suffix
        guard rename(from, set + "/" + name + suffix) == 0 || errno == ENOENT else { throw Self.failure(from, errno) }
      }
    }
    Self.sync(set)
    Self.sync(path)
    moved.paths.append(set)
    return set
  }

  /// What was moved away since the last call.
  func takeMoved() -> [String] {
    defer { moved.paths.removeAll() }
    return moved.paths
  }

  private func freeSet(in all: String) throws(StoreFailure) -> String {
    let last = "\(all)/\(Limits.quarantineMax)"
    if access(last, F_OK) == 0 {
      Self.removeSet("\(all)/1")
      for number in 2...Limits.quarantineMax { _ = rename("\(all)/\(number)", "\(all)/\(number - 1)") }
    }
    for number in 1...Limits.quarantineMax {
      let set = "\(all)/\(number)"
      if mkdir(set, 0o750) == 0 { return set }
      guard errno == EEXIST else { throw Self.failure(set, errno) }
    }
    throw .unusable(path: last, code: -EEXIST)
  }

  private static let done = "salvaged"

  /// The newest quarantined set that has `name` and whose good parts have not been taken out yet.
  func unsalvaged(_ name: String) -> String? {
    for number in stride(from: Limits.quarantineMax, through: 1, by: -1) {
      let set = file("quarantine/\(number)")
      if access("\(set)/\(name)", F_OK) == 0, access("\(set)/\(Self.done)", F_OK) != 0 { return set }
    }
    return nil
  }

  /// What could be taken out of the quarantined sets has been.
  func salvageIsDone() {
    for number in 1...Limits.quarantineMax {
      let set = file("quarantine/\(number)")
      if access(set, F_OK) == 0, access("\(set)/\(Self.done)", F_OK) != 0 { salvageIsDone(in: set) }
    }
  }

  func salvageIsDone(in set: String?) {
    guard let set else { return }
    let mark = open("\(set)/\(Self.done)", O_WRONLY | O_CREAT | O_CLOEXEC, 0o640)
    if mark >= 0 { close(mark) }
    give("\(set)/\(Self.done)")
    Self.sync(set)
  }

  private static func removeSet(_ set: String) {
    removeFiles(in: set)
    unlink("\(set)/\(done)")
    rmdir(set)
  }

  /// Both databases of a folder that is no store at work.
  static func removeFiles(in folder: String) {
    for name in [telemetry, alarms] {
      for suffix in ["-wal", "-shm", ""] { unlink(folder + "/" + name + suffix) }
    }
  }

  /// Makes renames in a folder durable. A failure is no worse than a cut just before.
  static func sync(_ folder: String) {
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    fsync(descriptor)
    close(descriptor)
  }
}

/// A random UUID (RFC 9562, version 4), lower-case, with hyphens.
func freshStoreID() -> String {
  let digits = Array("0123456789abcdef".utf8)
  var text: [UInt8] = []
  for index in 0..<16 {
    var byte = UInt8.random(in: .min ... .max)
    if index == 6 { byte = byte & 0x0F | 0x40 }
    if index == 8 { byte = byte & 0x3F | 0x80 }
    if index == 4 || index == 6 || index == 8 || index == 10 { text.append(0x2D) }
    text.append(digits[Int(byte >> 4)])
    text.append(digits[Int(byte & 15)])
  }
  return String(decoding: text, as: UTF8.self)
}

/// Written through a folder that is only borrowed.
private final class MovedSets {
  var paths: [String] = []
}
