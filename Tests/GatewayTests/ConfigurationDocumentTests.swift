import FieldBus
import Foundation
import Gateway
import TestSupport
import Testing

/// The documents that speak of the configuration's keys, held against the keys that the readers ask for.
@Suite("Every key of the configuration")
struct ConfigurationDocumentTests {
  /// By section, from a configuration that has them all.
  private static func known() throws -> [String: Set<String>] {
    let profile = """
      kind = "all"
      [identify]
      [frame]
      format = "text"
      [[point]]
      name = "p"
      read = "field 1"
      windows = [{ every = "1m", stats = ["min"] }]
      [[alarm]]
      name = "a"
      when = "p > 1"
      """
    let text =
      ConfigurationReaderTests.whole
      + "\n[[push]]\nname = \"city\"\nkind = \"http\"\nurl = \"https://city.example\"\n"
      + "[alarms]\nclock-wrong = true\n[[bus]]\nname = \"all\"\nprotocol = \"serial\"\nport = \"/dev/kerb-no-all\"\n"
      + "[[device]]\nname = \"all\"\nbus = \"all\"\nprofile = \"all/all\"\n"
      + "[[bus]]\nname = \"bytes\"\nprotocol = \"serial\"\nport = \"/dev/kerb-no-bytes\"\n"
      + "[[device]]\nname = \"bytes\"\nbus = \"bytes\"\nprofile = \"all/bytes\"\n"
    let bytes = """
      kind = "all"
      frame = { format = "binary", length = { at = 0 }, checksum = { type = "lrc" } }
      [[point]]
      name = "p"
      read = "byte 1"
      """
    let site = try ConfigurationSite(
      text, more: [("profiles/all/all.toml", profile), ("profiles/all/bytes.toml", bytes)])
    #expect(site.problems == [])
    return site.diagnostics.knownKeys
  }

  /// By section, from the headings and the first columns of the tables.
  private static func documented(_ file: String) throws -> [String: Set<String>] {
    var keys: [String: Set<String>] = [:]
    var section = ""
    for line in try text(ofFile: "\(packageRoot)/docs/\(file)").split(separator: "\n") {
      if line.hasPrefix("## ") {
        let heading = line.dropFirst(3)
        // The first one without a key is that of profiles; others explain.
        if !heading.hasPrefix("`"), keys["profile"] != nil {
          section = "explained"
          continue
        }
        section = heading.hasPrefix("`") ? heading.filter { !"`[]".contains($0) } : "profile"
        keys[section] = []
        if section != "profile",
          !["identify", "frame", "length", "checksum", "point", "windows", "alarm"].contains(section)
        {
          keys["", default: []].insert(section)
        }
      } else if line.hasPrefix("| `"), let end = line.dropFirst(3).firstIndex(of: "`") {
        keys[section, default: []].insert(String(line.dropFirst(3)[..<end]))
      }
    }
    return keys.filter { $0.key != "explained" }
  }

  @Test(
    "stands in the documentation of both languages, and no other",
    arguments: ["configuration.md", "configuration.zh-CN.md"])
  func documentation(_ file: String) throws {
    let (known, documented) = (try Self.known(), try Self.documented(file))
    #expect(Set(known.keys) == Set(documented.keys))
    for (section, keys) in known { #expect(documented[section] == keys, "[\(section)]") }
  }

  private static func schema(_ file: String) throws -> [String: Any] {
    let data = Data(try text(ofFile: "\(packageRoot)/docs/\(file)").utf8)
    return try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
  }

  private static func definitions(_ schema: [String: Any]) throws -> [String: [String: Any]] {
    try #require(schema["definitions"] as? [String: [String: Any]])
  }

  @Test("stands in the editors' schemas, and no other")
  func schemas() throws {
    var known = try Self.known()
    for (file, root) in [("kerb.schema.json", ""), ("profile.schema.json", "profile")] {
      let schema = try Self.schema(file)
      var sections = try Self.definitions(schema)
      sections[root] = schema
      for (section, table) in sections {
        let properties = try #require(table["properties"] as? [String: Any], "\(file) \(section)")
        #expect(known[section] == Set(properties.keys), "\(file) [\(section)]")
        #expect(table["additionalProperties"] as? Bool == false, "\(file) [\(section)]")
      }
      for shared in ["point", "windows", "alarm"] { #expect(sections[shared] != nil) }
    }
    let kerb = try Self.definitions(Self.schema("kerb.schema.json"))
    let profile = try Self.definitions(Self.schema("profile.schema.json"))
    for section in kerb.keys { known[section] = nil }
    for section in profile.keys { known[section] = nil }
    #expect(Set(known.keys) == ["", "profile"], "sections in neither schema")
  }

  /// Editors don't follow references from one schema file to another.
  @Test("of points and alarms reads the same in both schemas")
  func sharedDefinitions() throws {
    let kerb = try Self.definitions(Self.schema("kerb.schema.json"))
    let profile = try Self.definitions(Self.schema("profile.schema.json"))
    for section in ["point", "windows", "alarm"] {
      let (one, other) = (try #require(kerb[section]), try #require(profile[section]))
      #expect(NSDictionary(dictionary: one) == NSDictionary(dictionary: other), "\(section)")
    }
  }

  @Test("in the documentation's example is one that is read", arguments: ["configuration.md", "configuration.zh-CN.md"])
  func example(_ file: String) throws {
    var inside = false
    var lines: [Substring] = []
    let document = try text(ofFile: "\(packageRoot)/docs/\(file)")
    for line in document.split(separator: "\n", omittingEmptySubsequences: false) {
      if line == "```" { inside = false }
      if inside { lines.append(line) }
      if line == "```toml" { inside = true }
    }
    let site = try ConfigurationSite(lines.joined(separator: "\n"))
    #expect(site.problems == [])
    #expect(site.configuration?.devices.count == 1)
  }
}
