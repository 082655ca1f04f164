// A profile's file: what kind of device it is, how its bytes are framed, its points and alarms.

import StreamCore

package enum ProfileParser {
  /// What is sound of the profile; everything wrong is reported.
  package static func parse(_ root: TomlTable, id: String, diagnostics: Diagnostics) -> Profile {
    let reader = TableReader(root, section: "profile", diagnostics: diagnostics)
    let folder = id.split(separator: "/").first.map(String.init) ?? id
    var profile = Profile(id: id, kind: kind(reader, folder: folder))
    for (language, text, _) in reader.translations("title") ?? [] { profile.title[language] = text }
    profile.source = reader.string("source") ?? ""
    let registersMax = reader.integer("max_registers", in: 1...Limits.registersPerReadMax)
    profile.registersMax = registersMax ?? Limits.registersPerReadMax
    profile.identification = identification(reader)
    profile.frame = FrameParser.frame(reader)

    let form: PointForm = profile.frame.map { .frame($0) } ?? .registers(max: profile.registersMax)
    let parsed = PointParser.points(of: reader, form: form, kind: profile.kind)
    profile.points = parsed.points
    profile.brokenPoints = parsed.broken
    profile.alarms = AlarmParser.alarms(of: reader, points: parsed.points, broken: parsed.broken)
    reader.finish()
    return profile
  }

  private static func kind(_ reader: TableReader, folder: String) -> String {
    guard let kind = reader.requiredString("kind") else { return folder }
    if kind != folder {
      reader.report("kind", "\"\(kind)\" is not the name of the profile's folder, \"\(folder)\": make them equal")
    }
    return folder
  }

  private static func identification(_ reader: TableReader) -> Identification {
    var result = Identification()
    guard let inner = reader.table("identify") else { return result }
    result.vendor = inner.string("vendor")
    result.product = inner.string("product")
    result.revision = inner.string("revision")
    inner.finish()
    return result
  }
}
