import Glibc
import Testing

@testable import Store

/// What only somebody without root's rights meets is met in a child process, as another user if this one is root.
@Suite("The step that fits the cause")
struct PathTroubleTests {
  /// Prints the description of each failure, one a line.
  private func said(_ output: [UInt8]?) -> [String] {
    String(decoding: output ?? [], as: UTF8.self).split(separator: "\n").map(String.init)
  }

  @Test("What the agent's user owns and may not use is made his by chmod, and a folder in a file's place is named")
  func own() async {
    let end = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
      let folder = Folder()
      Stranger.become(ownerOf: folder.path)
      write([1], to: folder.file("telemetry.db"))
      chmod(folder.file("telemetry.db"), 0)
      Stranger.say(folder.file("telemetry.db"))
      mkdir(folder.file("alarm.db"), 0o700)
      Stranger.say(folder.file("alarm.db"))
      chmod(folder.path, 0)
      Stranger.say(PathTrouble(folder.path, EACCES, isOwn: true).text)
      Stranger.say(PathTrouble(folder.file("box.key"), EACCES).text)
      chmod(folder.path, 0o700)
      Folder.remove(folder.path)
      exit(0)
    }
    let lines = said(end?.standardOutputContent)
    guard lines.count == 4 else { return #expect(Bool(false), "\(lines)") }
    #expect(lines[0].contains("Permission denied") && lines[0].hasSuffix("(0) keeps it out: chmod u+rw PATH."))
    #expect(lines[1].contains("is a folder, and a file belongs there; move it away"))
    #expect(lines[2].contains("Permission denied") && lines[2].hasSuffix("(0) keeps it out: chmod u+rwx FOLDER"))
    #expect(lines[3].contains("Permission denied") && lines[3].hasSuffix("(0) keeps it out: chmod u+rwx FOLDER"))
    #expect(!lines.contains { $0.contains("chown") })
  }

  @Test(
    "What belongs to another is given to the agent's user and his own group, if it is the box's, and never else",
    .enabled(if: geteuid() == 0, "NOT TESTED HERE: only root can make what belongs to another"))
  func foreign() async throws {
    let end = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
      let folder = Folder()
      chmod(folder.path, 0o755)
      write([1], to: folder.file("telemetry.db"))
      chmod(folder.file("telemetry.db"), 0o600)
      Stranger.become(ownerOf: nil)
      Stranger.say(folder.file("telemetry.db"))
      Stranger.say(PathTrouble(folder.path, EACCES, isOwn: true).text)
      Stranger.say(PathTrouble(folder.file("backup"), EACCES).text)
      print("LEFT \(folder.path)")
      exit(0)
    }
    let lines = said(end?.standardOutputContent)
    guard lines.count == 4 else { return #expect(Bool(false), "\(lines)") }
    Folder.remove(String(lines[3].dropFirst(5)))
    let user = try #require(getpwnam("kerb") ?? getpwuid(65_534))
    let group = try #require(getgrgid(user.pointee.pw_gid))
    let owner = "\(String(cString: user.pointee.pw_name)):\(String(cString: group.pointee.gr_name))"
    #expect(lines[0].hasSuffix("give the file to the agent's user: chown \(owner) PATH."))
    #expect(lines[1].hasSuffix("give the folder to the agent's user: chown -R \(owner) FOLDER"))
    #expect(lines[2].contains("belongs to root (mode 755)") && lines[2].contains("name another place"))
    #expect(!lines[2].contains("chown"))
  }

  @Test(
    "Every other cause has its step, in both languages",
    arguments: [
      (ENOSPC, "du -shx"), (EDQUOT, "du -shx"), (EROFS, "mount -o remount,rw"), (EIO, "replace it"),
      (EISDIR, "move it away"), (EEXIST, "is there already"),
    ])
  func step(_ code: Int32, _ step: String) {
    let folder = Folder()
    let trouble = PathTrouble(folder.file("any"), code)
    #expect(trouble.text.contains(step) && trouble.text.contains(folder.path))
    #expect(!trouble.text.contains("belong") || code == EISDIR)
    #expect(trouble.chineseText.contains(folder.path) && trouble.chineseText != trouble.text)
    #expect(!trouble.isPermission)
  }

  @Test("Where a folder is missing, or is none, that one is named")
  func folders() {
    let folder = Folder()
    write([1], to: folder.file("file"))
    let missing = PathTrouble(folder.file("no/where/telemetry.db"), ENOENT).text
    #expect(missing.contains("; \(folder.file("no")) is not there") && missing.contains("findmnt"))
    #expect(PathTrouble(folder.file("file/x"), ENOTDIR).text.hasPrefix("\(folder.file("file")) is no folder"))
    #expect(PathTrouble(folder.file("telemetry.db"), ENOENT).text.contains("the first start of the agent makes it"))
  }

  @Test("A tool speaks of what it was asked for, and of no agent that waits")
  func tools() {
    let folder = Folder()
    for failure in [StoreFailure.full, .readOnly(path: folder.path), .io(code: 10)] {
      let text = failure.text(atRest: folder.path)
      #expect(text.contains(folder.path) && !text.contains("agent") && !text.contains("memory"), "\(text)")
    }
  }
}

/// In the child process.
private enum Stranger {
  /// Nobody, to whom the folder is given, if this is root; else who it is.
  static func become(ownerOf folder: String?) {
    guard geteuid() == 0 else { return }
    if let folder { chown(folder, 65_534, 65_534) }
    setgroups(0, nil)
    setgid(65_534)
    setuid(65_534)
  }

  /// What is said of a database that can't be opened, or a text; without names that are others each time.
  static func say(_ what: String) {
    var text = what
    if what.hasPrefix("/"), !what.contains(" ") {
      do throws(StoreFailure) {
        _ = try Connection.open(path: what, pagesMax: 100, cacheKiB: 64)
        text = "it was opened"
      } catch { text = "\(error)" }
    }
    var words = text.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
    if let last = words.last, last.hasPrefix("/") {
      words[words.count - 1] = last.hasSuffix(".") ? "PATH." : "FOLDER"
    }
    print(words.joined(separator: " "))
    fflush(nil)
  }
}
