// What SQLite says, put into what the caller does next.

import CSQLite
import Glibc

extension StoreFailure {
  init(database: OpaquePointer, path: String) {
    let code = sqlite3_extended_errcode(database)
    switch code & 0xFF {
    case SQLITE_FULL: self = .full
    case SQLITE_CORRUPT, SQLITE_NOTADB: self = .corrupt(code: code)
    case SQLITE_BUSY, SQLITE_LOCKED: self = .held(by: "another program that has \(path) open")
    case SQLITE_READONLY: self = .readOnly(path: path)
    case SQLITE_CANTOPEN, SQLITE_PERM, SQLITE_AUTH: self.init(closed: path, code)
    case SQLITE_IOERR:
      // A quota shows as EDQUOT in a write (SQLITE_IOERR_WRITE, 3), which SQLite does not take for «full».
      let system = sqlite3_system_errno(database)
      if code >> 8 == 3 && (system == EDQUOT || system == ENOSPC) {
        self = .full
      } else {
        self = system == EROFS ? .readOnly(path: path) : .io(code: code)
      }
    default: self = .io(code: code)
    }
  }

  /// SQLite could not open it, and says no more than that: what the system has against the file, or its WAL, is seen.
  init(closed path: String, _ code: Int32) {
    for file in [path, path + "-wal"] {
      var facts = stat()
      if stat(file, &facts) != 0, errno == ENOENT { continue }
      let isFolder = facts.st_mode & S_IFMT == S_IFDIR
      guard isFolder || access(file, R_OK | W_OK) != 0 else { continue }
      let found = isFolder ? EISDIR : errno
      self = found == EROFS ? .readOnly(path: file) : .unusable(path: file, code: -found)
      return
    }
    self = .unusable(path: path, code: code)
  }

  /// For whoever asked a tool, with no agent: nothing waits, and nothing is opened again by itself.
  package func text(atRest statePath: String) -> String {
    switch self {
    case .readOnly(let path): return PathTrouble(path, EROFS).text
    case .full: return PathTrouble(statePath, ENOSPC).text
    case .io(let code):
      return "reading or writing \(statePath) failed (\(Self.text(of: code))); `dmesg` says more; if this stays, the "
        + "storage medium is failing: replace it"
    default: return description
    }
  }

  /// What the system has against a path, if that is what it is.
  package var pathTrouble: PathTrouble? {
    switch self {
    case .readOnly(let path): return PathTrouble(path, EROFS)
    case .unusable(let path, let code) where code < 0: return PathTrouble(path, -code)
    default: return nil
    }
  }

  var isFull: Bool {
    if case .full = self { return true }
    return false
  }

  var isCorrupt: Bool {
    if case .corrupt = self { return true }
    return false
  }
}

extension StoreFailure: CustomStringConvertible {
  package var description: String {
    switch self {
    case .held(let holder):
      return "The store is in use by \(holder). Stop that first, or give this one a state folder of its own."
    case .unusable(let path, let code):
      if code < 0 { return PathTrouble(path, -code).text + "." }
      return "\(path) can't be opened or written (\(Self.text(of: code))). Look for disk errors in the kernel's log "
        + "(dmesg)."
    case .readOnly(let path):
      return "\(path) can't be written: its file system is read-only. What is stored is served, new records wait in "
        + "memory. Look for disk errors in the kernel's log (dmesg); a worn medium must be replaced."
    case .newer(let path, let version):
      return "\(path) was written by a newer kerb (format \(version)). Install that version again, or "
        + "move the file away."
    case .full:
      return "The disk or its quota is full; free some space. A running agent keeps telemetry in memory until then."
    case .io(let code):
      return "Reading or writing the store failed (\(Self.text(of: code))). It is opened again by itself; if this "
        + "stays, the storage medium is failing: replace it."
    case .corrupt(let code):
      return "The store is damaged (\(Self.text(of: code))). It is moved to the folder quarantine and a "
        + "new one is begun."
    case .movedAway(let set):
      return "Files that were damaged, or not of this store, were moved to \(set). What was good in damaged ones was "
        + "taken over, the rest is told as a gap. If this comes again, the storage medium is failing: replace it."
    case .missing(let path, let isThere):
      return isThere
        ? "\(path) was replaced while the agent runs. It goes on with what is there now; stop the agent before you "
          + "touch its files."
        : "\(path) was deleted while the agent runs. It is put back from what is still open; stop the agent before "
          + "you touch its files."
    case .damaged(let path, let code):
      return "The store in \(path) is damaged (\(Self.text(of: code))). Nothing was changed. An agent that starts here "
        + "moves the damaged file to the folder quarantine, takes out what is good and tells the rest as a gap; or put "
        + "a backup in its place with `kerb buffer restore`."
    case .noBackup(let path, let code):
      return "\(path) is no whole backup (\(Self.text(of: code))). Nothing was changed. Name a folder that "
        + "`kerb buffer backup` has finished."
    case .mixedBackup(let path, let one, let other):
      return "\(path) holds files of two stores: \(one), \(other). Nothing was changed. Name a folder whose files were "
        + "made by one `kerb buffer backup`."
    case .strangeBackup(let path):
      return "\(path)-wal is not of the \(Self.name(path)) beside it: it was written for another one, or for an older "
        + "copy of it. Nothing was changed. Name a folder that `kerb buffer backup` has finished; or take that one "
        + "file out of this folder: what it would have brought is then missing."
    case .foreignLog(let path):
      return "\(path)-wal is not of the \(Self.name(path)) beside it: it was written for another one, or for an older "
        + "copy of it. Nothing was changed. An agent that starts here moves it to the folder quarantine; or put a "
        + "backup in the place of all with `kerb buffer restore`."
    case .liveBackup(let path, let holder):
      return "\(path) is the store of a running agent (\(holder)), which writes it meanwhile. Nothing was changed. "
        + "`kerb buffer backup FOLDER` makes a copy of it that can be restored."
    case .busy: return "Too many requests wait for the store. Try again in a moment."
    case .stateless(let why): return "The agent waits for its state: \(why)."
    case .closed: return "The store is closing down. Try again when kerb runs again."
    }
  }

  private static func name(_ path: String) -> Substring { path.split(separator: "/").last ?? "" }

  /// SQLite's name for a code; errno values come negated.
  private static func text(of code: Int32) -> String {
    if code < 0 { return String(cString: strerror(-code)) }
    guard let name = sqlite3_errstr(code) else { return "code \(code)" }
    return "\(String(cString: name)), code \(code)"
  }
}
