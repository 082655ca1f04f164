// What somebody far away needs to help: one .tar.gz of texts (POSIX.1-1988 ustar, RFC 1952). The configuration goes in
// as what was read of it, with every secret masked: comments stay here, they are nobody's business.

import FieldBus
import Gateway
import Glibc
import StreamCore

struct SupportBundle {
  private var parts: [(name: String, bytes: [UInt8])] = []
  private static let textBytesMax = 256 * 1_024

  init(_ files: ConfigurationOptions, _ facts: DoctorFacts, findings: [String], document: JSONValue) {
    add("doctor.txt", findings.joined(separator: "\n") + "\n")
    add("doctor.json", document)
    add("version.txt", "kerb \(Version.text)\n")
    for (name, value) in [("status", facts.status), ("buffer", facts.buffer)] where value != .null {
      add("\(name).json", value)
    }
    if facts.agent == .running {
      add("devices.json", .array(facts.deviceList))
      let agent = Agent(options: files)
      for method in ["points", "alarm_log"] {
        if let answer = try? agent.ask(method, method == "alarm_log" ? [("limit", "200")] : []) {
          add("\(method).json", Masked.people(answer))
        }
      }
    }
    if !facts.mistakes.isEmpty { add("mistakes.txt", facts.mistakes.joined(separator: "\n") + "\n") }
    let names = (try? TextFile.names(in: "\(files.folder)/conf.d")) ?? []
    for path in [files.path] + names.filter({ $0.hasSuffix(".toml") }).map({ "\(files.folder)/conf.d/\($0)" }) {
      guard let text = try? TextFile.read(path, bytesMax: Limits.configurationBytesMax),
        let root = TomlFile.parse(text, file: path, into: Diagnostics())
      else { continue }
      add("configuration/\(path.split(separator: "/").last ?? "file").json", Masked.json(root))
    }
    for (name, path) in [
      ("os-release", "/etc/os-release"), ("uptime", "/proc/uptime"), ("memory", "/proc/meminfo"),
      ("mounts", "/proc/mounts"), ("model", "/proc/device-tree/model"), ("kernel", "/proc/version"),
    ] {
      if let text = try? TextFile.read(path, bytesMax: Self.textBytesMax) { add("system/\(name).txt", text) }
    }
    add("system/ports.txt", SerialPorts.all().map { "\($0.path)  \($0.stablePath ?? "-")\n" }.joined())
    add("system/journal.txt", Self.journal())
  }

  /// What systemd keeps of the agent's log. A journal that can't be read must not hold anybody up.
  private static func journal() -> String {
    guard access("/run/systemd/system", F_OK) == 0 else { return "" }
    return Tool.run("timeout", ["10", "journalctl", "-u", "kerb", "-n", "500", "--no-pager", "-o", "short-iso"]).said
  }

  private mutating func add(_ name: String, _ text: String) {
    guard !text.isEmpty else { return }
    parts.append((name, Array(text.utf8)))
  }

  private mutating func add(_ name: String, _ value: JSONValue) {
    var writer = JSONWriter()
    writer.value(value)
    parts.append((name, writer.bytes + [0x0A]))
  }

  /// Mode 0600: what is wrong with a box is not for everybody.
  func write(to path: String) throws(FileProblem) {
    var tar = Tar(unixSeconds: Int64(time(nil)))
    for part in parts { tar.add("kerb-bundle/\(part.name)", part.bytes) }
    try TextFile.write(Gzip.compressed(tar.bytes), to: path, mode: 0o600)
  }
}

/// A configuration's tree without what must stay here.
enum Masked {
  private static let words = ["token", "password", "secret", "psk", "credential"]

  static func json(_ table: TomlTable) -> JSONValue {
    .object(table.members.map { JSONMember(name: $0.key, value: value($0.item.value, key: $0.key)) })
  }

  /// Names of those who acknowledged, and what they wrote: it helps nobody from afar.
  static func people(_ answer: JSONValue) -> JSONValue {
    switch answer {
    case .array(let items): .array(items.map(people))
    case .object(let members):
      .object(
        members.map {
          JSONMember(name: $0.name, value: ["by", "note"].contains($0.name) ? .string("(masked)") : people($0.value))
        })
    default: answer
    }
  }

  private static func value(_ value: TomlValue, key: String) -> JSONValue {
    switch value {
    case .table(let table): return json(table)
    case .array(let items): return .array(items.map { Self.value($0.value, key: key) })
    case .string(let text): return .string(isSecret(key) ? "(masked)" : withoutUser(text))
    case .integer(let number): return isSecret(key) ? .string("(masked)") : .integer(number)
    case .float(let number): return .number(number)
    case .bool(let flag): return .bool(flag)
    case .date(let text): return .string(text)
    }
  }

  /// A key that names a file is no secret itself.
  private static func isSecret(_ key: String) -> Bool {
    let name = key.lowercased()
    return !name.hasSuffix("_file") && words.contains { name.contains($0) }
  }

  /// "mqtts://user:word@host" → "mqtts://(masked)@host".
  static func withoutUser(_ text: String) -> String {
    let parts = text.split(separator: "/", maxSplits: 2, omittingEmptySubsequences: false)
    guard parts.count == 3, parts[0].hasSuffix(":"), parts[1].isEmpty else { return text }
    let authority = parts[2].prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    guard let at = authority.lastIndex(of: "@") else { return text }
    return "\(parts[0])//(masked)\(parts[2][at...])"
  }
}
