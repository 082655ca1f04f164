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
    profile.frame = frame(reader)

    let form: PointForm = reader.has("frame") ? .fields : .registers(max: profile.registersMax)
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

  private static func frame(_ reader: TableReader) -> TextFrame? {
    guard let inner = reader.table("frame") else { return nil }
    inner.require("format")
    if inner.choice("format", among: [("text", true), ("binary", false)]) == false {
      inner.report("format", "\"binary\" is not supported yet: only \"text\" is")
    }
    let end = Array((inner.string("end") ?? "\r\n").utf8)
    if !(1...Limits.frameEndBytesMax).contains(end.count) {
      inner.report("end", "a line's end has 1 to \(Limits.frameEndBytesMax) bytes, got \(end.count)")
    }
    var split: UInt8?
    if let text = inner.string("split") {
      let bytes = Array(text.utf8)
      if bytes.count != 1 {
        inner.report("split", "fields are split by one byte, got \(bytes.count); leave it out for whole lines")
      } else if end.contains(bytes[0]) {
        inner.report("split", "is also part of `end`: lines and fields could not be told apart")
      } else {
        split = bytes[0]
      }
    }
    inner.finish()
    return TextFrame(end: end, split: split)
  }
}
