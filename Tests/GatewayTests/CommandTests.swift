// The tools as a person runs them: the built executable, its output and its exit status.

import FieldBus
import Gateway
import Glibc
import StreamCore
import TestSupport
import Testing

private struct Outcome {
  var status: Int32
  var output: String
  var errors: String
}

/// A configuration in a folder of its own.
private final class Desk {
  let folder: String
  var path: String { "\(folder)/kerb.toml" }

  static let good = """
    [gateway]
    id = "box-1"
    [pull]
    listen = ["127.0.0.1:8480"]
    [[bus]]
    name = "rs485-1"
    protocol = "modbus-rtu"
    port = "/dev/null"
    [[device]]
    name = "meter"
    bus = "rs485-1"
    address = 1
      [[device.point]]
      name = "power"
      read = "holding 0"
      type = "u16"

    """

  init(_ text: String = Desk.good) throws {
    var template = Array("/tmp/kerb-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw WireFailure(what: "mkdtemp") }
    folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    write("[gateway]\nruntime = \"\(folder)\"\n" + text.replacing("[gateway]\n", with: ""), to: path)
  }

  deinit {
    for name in ["a", "b", "taken"] { unlink("\(folder)/conf.d/consumer-\(name).toml") }
    rmdir("\(folder)/conf.d")
    unlink(path)
    rmdir(folder)
  }

  func write(_ text: String, to path: String) {
    let fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o640)
    let bytes = Array(text.utf8)
    _ = Glibc.write(fd, bytes, bytes.count)
    close(fd)
  }

  func read(_ path: String) -> String {
    let fd = open(path, O_RDONLY)
    defer { close(fd) }
    var bytes = [UInt8](repeating: 0, count: 65_536)
    return String(decoding: bytes[..<max(0, Glibc.read(fd, &bytes, bytes.count))], as: UTF8.self)
  }

  /// The executable stands beside the tests' bundle, or KERB_EXECUTABLE says what starts it: on another processor.
  static let executable: String = {
    if let named = getenv("KERB_EXECUTABLE") { return String(cString: named) }
    let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    for name in ["debug", "release"] where access("/\(root)/.build/\(name)/kerb", X_OK) == 0 {
      return "/\(root)/.build/\(name)/kerb"
    }
    return "kerb"
  }()

  func run(_ arguments: String..., language: String = "C") throws -> Outcome {
    let outputs = ["\(folder)/out", "\(folder)/err"]
    defer { for path in outputs { unlink(path) } }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for (index, path) in outputs.enumerated() {
      posix_spawn_file_actions_addopen(&actions, Int32(index + 1), path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    }
    func copies(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] {
      var copies: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) }
      copies.append(nil)
      return copies
    }
    var words = copies([Self.executable] + arguments)
    var settings = copies(["KERB_CONFIG=\(path)", "LC_ALL=\(language)"])
    defer { for text in words + settings { free(text) } }
    var pid: pid_t = 0
    let failure = Spawning.start { posix_spawn(&pid, Self.executable, &actions, nil, &words, &settings) }
    guard failure == 0 else {
      throw WireFailure(what: "can't start \(Self.executable)")
    }
    var status: Int32 = 0
    if !eventually({ waitpid(pid, &status, WNOHANG) == pid }) {
      kill(pid, SIGKILL)
      waitpid(pid, &status, 0)
      throw WireFailure(what: "kerb \(arguments.joined(separator: " ")) did not end")
    }
    return Outcome(
      status: status & 0x7F == 0 ? (status >> 8) & 0xFF : -1, output: read(outputs[0]), errors: read(outputs[1]))
  }
}

@Suite struct CommandTests {
  @Test("A good configuration is counted, a wrong one listed line by line with exit status 78")
  func check() throws {
    let desk = try Desk()
    let good = try desk.run("check")
    #expect(good.status == 0)
    #expect(good.output == "good: 1 buses, 1 devices, 1 points, 1 alarms, 0 consumers\n")
    #expect(try JSONParser.parse(Array(try desk.run("check", "--json").output.utf8))["points"] == .integer(1))
    let wrong = try Desk(Desk.good + "colour = 3\n[[bus]]\nname = \"x\"\n")
    let listed = try wrong.run("check")
    #expect(listed.status == 78)
    let lines = listed.output.split(separator: "\n")
    #expect(lines.count >= 2)
    #expect(lines.allSatisfy { $0.hasPrefix("\(wrong.path):") && $0.split(separator: ":").count >= 4 })
    let json = try wrong.run("check", "--json")
    #expect(json.status == 78)
    let errors = try #require(try JSONParser.parse(Array(json.output.utf8))["errors"]?.array)
    try #require(errors.count == lines.count && !errors.isEmpty)
    for key in ["file", "line", "column", "key", "message"] { #expect(errors[0][key] != nil, "\(key)") }
  }

  @Test("Wrong usage is exit status 64; --help has an example", arguments: [
    ["check"], ["status"], ["points"], ["devices"], ["alarms"], ["read"], ["write"], ["raw"], ["scan"],
    ["monitor"], ["ports"], ["consumer", "add"], ["consumer", "list"], ["version"],
  ])
  func usage(command: [String]) throws {
    let desk = try Desk()
    let words = command + ["--no-such-option", "", ""]
    #expect(try desk.run(words[0], words[1], words[2]).status == 64)
    let help = command.count == 2 ? try desk.run(command[0], command[1], "--help") : try desk.run(command[0], "--help")
    #expect(help.status == 0)
    #expect(help.output.contains("Example:"))
    #expect(help.output.contains("kerb \(command.joined(separator: " "))"))
  }

  @Test("Without an agent: exit status 69, where it was looked for and how to start one, in the reader's language")
  func noAgent() throws {
    let desk = try Desk()
    for command in ["status", "points", "devices", "alarms"] {
      let outcome = try desk.run(command)
      #expect(outcome.status == 69, "\(command)")
      #expect(outcome.output.isEmpty)
      #expect(outcome.errors.contains("\(desk.folder)/control.sock"))
      #expect(outcome.errors.contains("kerb run -c \(desk.path)"))
    }
    #expect(try desk.run("status", language: "zh_CN.UTF-8").errors.contains("没有代理应答"))
  }

  @Test("A consumer gets a file of its own, mode 0640, with the hash and without the token, which is shown once")
  func consumerAdd() throws {
    let desk = try Desk()
    let outcome = try desk.run("consumer", "add", "a", "--device", "meter", "--personal", "pseudonym")
    #expect(outcome.status == 0)
    let token = outcome.output.split(separator: "\n").map(String.init)
    try #require(token.count == 1)
    #expect(token[0].count == 43)
    let file = "\(desk.folder)/conf.d/consumer-a.toml"
    let text = desk.read(file)
    #expect(!text.contains(token[0]))
    #expect(text.contains(Hexadecimal.text(Sodium.sha256(Array(token[0].utf8)))))
    var facts = stat()
    #expect(stat(file, &facts) == 0)
    #expect(facts.st_mode & 0o777 == 0o640)
    #expect(outcome.errors.contains("kerb reload"), "no agent runs here")
    #expect(outcome.errors.contains("in force after"))
    let json = try JSONParser.parse(Array(try desk.run("consumer", "add", "b", "--json").output.utf8))
    #expect(json["name"] == .string("b"))
    #expect(json["token"] != .string(token[0]))
    let list = try JSONParser.parse(Array(try desk.run("consumer", "list", "--json").output.utf8)).array ?? []
    #expect(list.compactMap { $0["name"]?.string } == ["a", "b"])
    #expect(list[0]["devices"] == .array([.string("meter")]))
    #expect(list[0]["personal"] == .string("pseudonym"))
    #expect(try desk.run("consumer", "list").output.contains("meter"))
  }

  @Test("Another token replaces the hash alone; a removed consumer's file is gone, and of other files its lines are")
  func consumerChanged() throws {
    let desk = try Desk()
    #expect(try desk.run("consumer", "add", "a", "--device", "meter").status == 0)
    let file = "\(desk.folder)/conf.d/consumer-a.toml"
    let before = desk.read(file)
    let rotated = try desk.run("consumer", "rotate", "a")
    #expect(rotated.status == 0)
    let token = rotated.output.split(separator: "\n").map(String.init)
    try #require(token.count == 1)
    #expect(token[0].count == 43)
    let after = desk.read(file)
    #expect(after != before)
    #expect(after.contains(Hexadecimal.text(Sodium.sha256(Array(token[0].utf8)))))
    #expect(after.split(separator: "\n").count == before.split(separator: "\n").count)
    #expect(after.contains("devices = [\"meter\"]"))
    var facts = stat()
    #expect(stat(file, &facts) == 0)
    #expect(facts.st_mode & 0o777 == 0o640)
    #expect(try desk.run("consumer", "remove", "b").status == 64)
    #expect(try desk.run("consumer", "rotate", "b").errors.contains("there is no consumer b"))
    #expect(try desk.run("consumer", "remove", "a", "--json").output.contains("\"in_force\":false"))
    #expect(access(file, F_OK) != 0)

    // Among other things, and with a hash in capitals.
    let hash = String(repeating: "AB", count: 32)
    let text = desk.read(desk.path) + "[[consumer]]\nname = \"c\"\ntoken_sha256 = \"\(hash)\" # of 2026\n"
    desk.write(text, to: desk.path)
    #expect(try desk.run("consumer", "rotate", "c").status == 0)
    #expect(!desk.read(desk.path).contains(hash))
    #expect(desk.read(desk.path).hasSuffix("# of 2026\n"))
    #expect(try desk.run("consumer", "remove", "c").status == 0)
    #expect(text.hasPrefix(desk.read(desk.path)) && !desk.read(desk.path).contains("[[consumer]]"))
    #expect(try desk.run("check").status == 0)
  }

  @Test("An existing name, a bad name and a scope that does not exist are refused, and leave no file", arguments: [
    ["a"], ["../a"], [""], ["b", "--device", "mater"], ["b", "--personal", "clear"], ["b", "--lane", "x"],
  ])
  func consumerRefused(arguments: [String]) throws {
    let desk = try Desk()
    #expect(try desk.run("consumer", "add", "a").status == 0)
    let before = desk.read("\(desk.folder)/conf.d/consumer-a.toml")
    let outcome =
      arguments.count == 1
      ? try desk.run("consumer", "add", arguments[0])
      : try desk.run("consumer", "add", arguments[0], arguments[1], arguments[2])
    #expect(outcome.status == 64)
    #expect(outcome.output.isEmpty)
    // Ours, not the argument parser's.
    #expect(!outcome.errors.isEmpty && !outcome.errors.hasPrefix("Error:"), "\(outcome.errors)")
    #expect(desk.read("\(desk.folder)/conf.d/consumer-a.toml") == before)
    #expect(access("\(desk.folder)/conf.d/consumer-b.toml", F_OK) != 0)
    #expect(try desk.run("check").status == 0)
  }

  @Test("Without an agent what was learned is forgotten in the file, unless another agent has it")
  func forget() throws {
    let desk = try Desk()
    let state = "\(desk.folder)/state"
    mkdir(state, 0o750)
    defer {
      for name in ["learned.json", "lock"] { unlink("\(state)/\(name)") }
      rmdir(state)
    }
    desk.write(desk.read(desk.path).replacing("[gateway]\n", with: "[gateway]\nstate = \"\(state)\"\n"), to: desk.path)
    var learned = LearnedDevice()
    learned.latency.add(5_000_000)
    var file = LearnedFile(statePath: state)
    let isWritten = file.write(["meter": learned])
    #expect(isWritten)

    let unknown = try desk.run("devices", "--forget", "mater")
    #expect(unknown.status == 64)
    #expect(unknown.errors.contains("did you mean meter?"))
    let lock = open("\(state)/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o640)
    #expect(flock(lock, LOCK_EX | LOCK_NB) == 0)
    let held = try desk.run("devices", "--forget", "meter")
    #expect(held.status == 69)
    #expect(held.errors.contains(state))
    var kept = LearnedFile(statePath: state)
    let before = kept.read()
    #expect(before["meter"] == learned)
    close(lock)
    Spawning.settle()

    let outcome = try desk.run("devices", "--forget", "all", "--json")
    #expect(outcome.output == "{\"forgotten\":[\"meter\"],\"planned_until_restart\":[]}\n")
    var left = LearnedFile(statePath: state)
    let after = left.read()
    #expect(after.isEmpty)
    #expect(try desk.run("devices", "--forget", "meter", language: "zh_CN.UTF-8").output.contains("meter：已清除"))
  }

  @Test("The version is said for people and for programs")
  func version() throws {
    let desk = try Desk()
    #expect(try desk.run("version").output == "kerb \(Version.text)\n")
    #expect(try desk.run("version", "--json").output == "{\"version\":\"\(Version.text)\"}\n")
  }
}
