import FieldBus
import StreamCore
import TestSupport
import Testing

@Suite("The library of profiles")
struct ProfileLibraryTests {
  private static let folders = ["\(packageRoot)/profiles"]
  private static var shipped: ProfileLibrary { ProfileLibrary(searchPaths: folders) }

  private static func load(_ id: String, from library: ProfileLibrary) -> (profile: Profile?, problems: [String]) {
    let diagnostics = Diagnostics()
    let place = SourcePlace(file: "kerb.toml", line: 9, column: 11)
    let profile = library.load(id, place: place, key: "device.d.profile", into: diagnostics)
    return (profile, diagnostics.sorted.map(\.text))
  }

  @Test("has the six kinds of a community, the meters, and a device for each kind of frame")
  func shippedKinds() {
    #expect(
      Self.shipped.ids() == [
        "access-gate/card-reader", "access-gate/generic", "electricity-meter/dlt645-generic", "elevator/generic",
        "heat-meter/cjt188-generic", "hydrant/generic", "level-sensor/binary-generic", "manhole-cover/generic",
        "smoke-detector/generic", "streetlight/generic", "water-meter/cjt188-generic", "weather-station/text-generic",
      ])
  }

  @Test("ships nothing that is wrong", arguments: Self.shipped.ids())
  func shippedProfiles(_ id: String) throws {
    let (loaded, problems) = Self.load(id, from: Self.shipped)
    #expect(problems == [])
    let profile = try #require(loaded)
    #expect(Set(profile.title.keys) == ["en", "zh"])
    #expect(profile.source.contains("not a maker's"))
    for alarm in profile.alarms { #expect(Set(alarm.message.keys) == ["en", "zh"], "\(alarm.name)") }
    if profile.frame == nil {
      #expect((5...9).contains(profile.points.count))
      #expect(!profile.alarms.isEmpty)
    }
    if profile.kind == "elevator" { #expect(profile.points.allSatisfy { $0.write == .no }) }
  }

  @Test("keeps card numbers personal", arguments: ["access-gate/generic", "access-gate/card-reader"])
  func cards(_ id: String) throws {
    let profile = try #require(Self.load(id, from: Self.shipped).profile)
    #expect(profile.points.filter(\.personal).map(\.name) == ["card"])
  }

  @Test("asks in all shipped profiles together for every table and most types")
  func variety() {
    let library = Self.shipped
    let points = library.ids().compactMap { Self.load($0, from: library).profile }.flatMap(\.points)
    var tables: Set<RegisterTable> = []
    for point in points { if case .register(let table, _) = point.source { tables.insert(table) } }
    #expect(tables == Set(RegisterTable.allCases))
    let types = Set(points.map(\.type.word))
    #expect(types.isSuperset(of: ["bool", "u16", "i16", "u32", "u64", "f32", "bcd32", "text:12"]))
    #expect(points.contains { $0.bits != nil } && points.contains { $0.order == .cdab })
  }

  @Test("says where it looked for a profile that it does not have, and which is near")
  func missing() {
    let folders = Self.folders + ["/nonexistent"]
    let library = ProfileLibrary(searchPaths: folders)
    let expected =
      "kerb.toml:9:11: device.d.profile: there is no profile \"hydrant/generc\"; did you mean \"hydrant/generic\"?; "
      + "looked in \(folders.joined(separator: ", "))"
    #expect(Self.load("hydrant/generc", from: library).problems == [expected])
    #expect(Self.load("hydrant/generc", from: library).problems == [expected], "and says it to the next who asks")
  }

  @Test(
    "looks only below its folders",
    arguments: ["generic", "hydrant/../x", "/etc/passwd", "a/b/c", "../hydrant/generic"])
  func outside(_ id: String) {
    #expect(
      Self.load(id, from: Self.shipped).problems == [
        "kerb.toml:9:11: device.d.profile: \"\(id)\" is not a profile: write KIND/NAME, for example \"hydrant/generic\""
      ])
  }

  @Test("takes a profile from the first folder that has it, and reads its file once")
  func firstFolder() throws {
    let folder = try TemporaryFolder()
    try folder.write("one/hydrant/generic.toml", "kind = \"hydrant\"\nsource = \"mine\"\n")
    let library = ProfileLibrary(searchPaths: ["\(folder.path)/one"] + Self.folders)
    #expect(Self.load("hydrant/generic", from: library).profile?.source == "mine")
    #expect(Self.load("hydrant/generic", from: library).profile?.source == "mine")
    #expect(library.files == ["\(folder.path)/one/hydrant/generic.toml"])
  }

  @Test("reports a broken file at its place, once, whoever asks")
  func broken() throws {
    let folder = try TemporaryFolder()
    try folder.write("hydrant/x.toml", "kind = \n")
    let library = ProfileLibrary(searchPaths: [folder.path])
    let problems = Self.load("hydrant/x", from: library).problems
    #expect(problems.count == 1)
    #expect(problems.first?.hasPrefix("\(folder.path)/hydrant/x.toml:1:8: not valid TOML:") == true)
    #expect(Self.load("hydrant/x", from: library).problems == [])
  }

  @Test("refuses a file that is not text, or far too large")
  func strangeFiles() throws {
    let folder = try TemporaryFolder()
    try folder.write("hydrant/binary.toml", bytes: [0xFF, 0xFE, 0x00])
    try folder.write("hydrant/large.toml", bytes: Array(repeating: 0x20, count: Limits.profileBytesMax + 1))
    let library = ProfileLibrary(searchPaths: [folder.path])
    let start = "kerb.toml:9:11: device.d.profile: the profile \(folder.path)/hydrant"
    let foreign = "is UTF-16 and not UTF-8 text: save it as UTF-8 in the editor"
    #expect(Self.load("hydrant/binary", from: library).problems == ["\(start)/binary.toml \(foreign)"])
    #expect(Self.load("hydrant/large", from: library).problems == ["\(start)/large.toml is larger than 256KiB"])
  }
}
